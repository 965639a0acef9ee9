//! Everything that can be checked and opened before the first request.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::{connect, find_workspace};
use crate::config::{self, ApiConfig, FetchRequest, InputError, ParsedInputs};
use crate::download::Destination;
use crate::environment::Environment;
use crate::error::StepError;
use crate::http::Clients;
use crate::http::tls::TrustStore;
use crate::report::log::Log;
use crate::report::outputs::{OutputFileFormat, OutputPaths, OutputSinks};
use crate::workspace::{PathError, Workspace};

/// Everything that a step needs.
pub(super) struct Prepared<'a> {
    pub(super) api_config: &'a ApiConfig,
    pub(super) request: &'a FetchRequest,
    pub(super) clients: Clients,
    pub(super) destination: Destination,
}

/// Checks the inputs, the machine and the destination, and opens what gets the outputs. All input errors are reported together. The
/// outputs are written even if the step cannot begin, because those of an earlier step must not be taken for this one's.
/// `argument_error` is returned instead, if the arguments are invalid.
pub(super) fn prepare<'a>(
    environment: &Environment,
    inputs: &'a ParsedInputs,
    argument_error: Option<StepError>,
    log: &Log,
) -> (OutputSinks, Result<Prepared<'a>, StepError>) {
    let workspace = find_workspace(environment);
    let mut trust_store = connect::system_trust_store(environment);
    let mut errors = inputs.errors.clone();
    let paths = match &workspace {
        Ok(workspace) => ResolvedPaths::new(environment, workspace, inputs, &mut trust_store, &mut errors),
        Err(_) => ResolvedPaths::default(),
    };
    config::sort(&mut errors);

    let github_output = environment.variable("GITHUB_OUTPUT");
    let (sinks, opened) = OutputSinks::open(github_output, &paths.outputs, workspace.as_ref().ok());
    let open = || {
        if let Some(error) = argument_error {
            return Err(error);
        }
        let config = inputs.api_config.as_ref().zip(inputs.request.as_ref());
        let Some((api_config, request)) = config.filter(|_| errors.is_empty()) else {
            return Err(StepError::Inputs(errors));
        };
        let workspace = workspace?;
        if environment.is_container_action() {
            paths.warn_outside_workspace(&workspace, log);
        }

        let clients = connect::clients(api_config, trust_store, log)?;
        opened?;
        let filename = inputs.paths.filename.as_deref();
        let destination = Destination::prepare(&workspace, &paths.directory, filename, Some(&paths.outputs))?;
        Ok(Prepared { api_config, request, clients, destination })
    };
    (sinks, open())
}

/// The paths in the inputs, resolved.
#[derive(Default)]
struct ResolvedPaths {
    directory: PathBuf,
    outputs: OutputPaths,
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
        let mut outputs = OutputPaths {
            output_file: paths.output_file.as_deref().and_then(|path| resolve("output-file", path)),
            output_file_format: paths.output_file.as_deref().map(OutputFileFormat::of).unwrap_or_default(),
            output_directory: paths.output_directory.as_deref().and_then(|path| resolve("output-directory", path)),
        };
        errors.extend(connect::add_ca_file(trust_store, workspace, inputs));

        let filename = paths.filename.as_ref();
        let ca_file = paths.ca_file.as_deref().and_then(|path| fs::canonicalize(workspace.root().join(path)).ok());
        let runner_file = |name| environment.variable(name).and_then(|path| fs::canonicalize(path).ok());
        let taken = [
            (filename.map(|filename| directory.join(filename)), "the path of the export file"),
            (Some(directory.clone()), "the directory for the files"),
            (ca_file, "the ca-file"),
            (runner_file("GITHUB_OUTPUT"), "GITHUB_OUTPUT"),
            (runner_file("GITHUB_STEP_SUMMARY"), "GITHUB_STEP_SUMMARY"),
        ];
        for (path, what) in taken {
            errors.extend(path.into_iter().flat_map(|path| remove_conflicts(&mut outputs, &path, what, workspace)));
        }
        errors.extend(remove_output_file_conflict(&mut outputs, workspace));
        Self { directory, outputs }
    }

    /// Warns about paths in a container that is removed after the step.
    fn warn_outside_workspace(&self, workspace: &Workspace, log: &Log) {
        let outputs = &self.outputs;
        for (input, path) in [
            ("directory", Some(&self.directory)),
            ("output-file", outputs.output_file.as_ref()),
            ("output-directory", outputs.output_directory.as_ref()),
        ] {
            if let Some(path) = path.filter(|path| !path.starts_with(workspace.root())) {
                log.warning(&format!(
                    "{input} {} is outside the workspace; later steps may not find the file, because the container is removed after this step; use a path relative to the workspace",
                    workspace.display_path(path)
                ));
            }
        }
    }
}

/// Removes the output paths that would overwrite `taken`, so that opening them does not clear it. Returns an error for each.
fn remove_conflicts(outputs: &mut OutputPaths, taken: &Path, what: &str, workspace: &Workspace) -> Vec<InputError> {
    let output_file = outputs.output_file.take_if(|path| taken.starts_with(path));
    let output_file = output_file.map(|path| output_file_conflict(&path, taken, what, workspace));
    let output = outputs.output_in_directory(taken);
    let output_directory = output.and_then(|output| Some((output, outputs.output_directory.take()?)));
    let output_directory = output_directory.map(|(output, path)| {
        let reason = format!("would contain the output file `{output}`, which is also {what}; use another directory");
        InputError::with_value("output-directory", &workspace.display_path(&path), &reason)
    });
    output_file.into_iter().chain(output_directory).collect()
}

/// Removes an output file that is one of the files in the output directory, or the directory or one above it.
fn remove_output_file_conflict(outputs: &mut OutputPaths, workspace: &Workspace) -> Option<InputError> {
    let (path, directory) = (outputs.output_file.clone()?, outputs.output_directory.clone()?);
    let (taken, what) = match outputs.output_in_directory(&path) {
        Some(output) => (path.clone(), format!("the file `{output}` in the output-directory")),
        None if directory.starts_with(&path) => (directory, "the output-directory".to_owned()),
        None => return None,
    };
    outputs.output_file = None;
    Some(output_file_conflict(&path, &taken, &what, workspace))
}

/// Returns the error of an output file whose path is `taken`, or would have to be a directory above it.
fn output_file_conflict(path: &Path, taken: &Path, what: &str, workspace: &Workspace) -> InputError {
    let reason = if path == taken {
        format!("is also {what}; use another path")
    } else {
        format!("must be a file, but {what} is below it; use another path")
    };
    InputError::with_value("output-file", &workspace.display_path(path), &reason)
}
