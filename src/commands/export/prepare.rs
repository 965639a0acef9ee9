//! Everything that can be checked and opened before the first request.

use std::path::PathBuf;

use super::super::{connect, find_workspace};
use crate::config::{self, ApiConfig, FetchRequest, InputError, ParsedInputs};
use crate::download::Destination;
use crate::environment::Environment;
use crate::error::StepError;
use crate::http::Clients;
use crate::http::tls::TrustStore;
use crate::report::log::Log;
use crate::report::outputs::{self, OutputSinks};
use crate::workspace::{PathError, Workspace};

/// Everything that a step needs.
pub(super) struct Prepared<'a> {
    pub(super) api_config: &'a ApiConfig,
    pub(super) request: &'a FetchRequest,
    pub(super) clients: Clients,
    pub(super) destination: Destination,
    pub(super) sinks: OutputSinks,
}

/// Checks the inputs, the machine and the destination. All input errors are reported together.
pub(super) fn prepare<'a>(
    environment: &Environment,
    inputs: &'a ParsedInputs,
    log: &Log,
) -> Result<Prepared<'a>, StepError> {
    let workspace = find_workspace(environment);
    let mut trust_store = connect::system_trust_store(environment);
    let mut errors = inputs.errors.clone();
    let paths = match &workspace {
        Ok(workspace) => ResolvedPaths::new(environment, workspace, inputs, &mut trust_store, &mut errors),
        Err(_) => ResolvedPaths::default(),
    };
    config::sort(&mut errors);

    let open = || {
        let config = inputs.api_config.as_ref().zip(inputs.request.as_ref());
        let Some((api_config, request)) = config.filter(|_| errors.is_empty()) else {
            return Err(StepError::Inputs(errors));
        };
        let workspace = workspace?;
        if environment.is_container_action() {
            paths.warn_outside_workspace(&workspace, log);
        }

        let clients = connect::clients(api_config, trust_store, log)?;
        let output_file = paths.output_file.as_deref();
        let sinks = OutputSinks::open(environment.variable("GITHUB_OUTPUT"), output_file, &workspace)?;
        let filename = request.filename.as_deref();
        let destination = Destination::prepare(&workspace, &paths.directory, filename, output_file)?;
        Ok(Prepared { api_config, request, clients, destination, sinks })
    };
    open().inspect_err(|_| {
        // The outputs of an earlier step must not be taken for this one's.
        if let Some(path) = &paths.output_file {
            outputs::clear_stale(path);
        }
    })
}

/// The paths in the inputs, resolved.
#[derive(Default)]
struct ResolvedPaths {
    directory: PathBuf,
    output_file: Option<PathBuf>,
}

impl ResolvedPaths {
    /// Resolves the paths, and adds the certificate authorities in `ca-file` to the trust store.
    fn new(
        environment: &Environment,
        workspace: &Workspace,
        inputs: &ParsedInputs,
        trust_store: &mut TrustStore,
        errors: &mut Vec<InputError>,
    ) -> Self {
        let paths = &inputs.paths;
        let mut resolve = |input: &'static str, path: &str| match workspace.resolve(path) {
            Ok(resolved) => Some(resolved),
            Err(error) => {
                // In a container action, an absolute path is accepted but of little use: see `warn_outside_workspace`.
                let accepted = match error {
                    PathError::Outside(_) if environment.is_container_action() => "; use a path inside it",
                    PathError::Outside(_) => "; use a path inside it, or an absolute path",
                    PathError::Unprintable | PathError::Unreadable { .. } => "",
                };
                errors.push(InputError::with_value(input, path, &format!("{error}{accepted}")));
                None
            }
        };
        let directory = resolve("directory", &paths.directory).unwrap_or_default();
        let mut output_file = paths.output_file.as_deref().and_then(|path| resolve("output-file", path));
        errors.extend(connect::add_ca_file(trust_store, workspace, inputs));

        let filename = inputs.request.as_ref().and_then(|request| request.filename.as_deref());
        let ca_file = paths.ca_file.as_deref().and_then(|path| workspace.resolve(path).ok());
        let taken = [
            (
                filename.map(|filename| directory.join(filename)),
                "is also the path of the export file; use another path",
            ),
            (ca_file, "is also the ca-file; use another path"),
        ];
        for (taken, reason) in taken {
            // The file must be neither written nor cleared.
            if let Some(path) = output_file.take_if(|path| taken.as_ref() == Some(&*path)) {
                errors.push(InputError::with_value("output-file", &workspace.display_path(&path), reason));
            }
        }
        Self { directory, output_file }
    }

    /// Warns about paths in a container that is removed after the step.
    fn warn_outside_workspace(&self, workspace: &Workspace, log: &Log) {
        for (input, path) in [("directory", Some(&self.directory)), ("output-file", self.output_file.as_ref())] {
            if let Some(path) = path.filter(|path| !path.starts_with(workspace.root())) {
                log.warning(&format!(
                    "{input} {} is outside the workspace; later steps may not find the file, because the container is removed after this step; use a path relative to the workspace",
                    workspace.display_path(path)
                ));
            }
        }
    }
}
