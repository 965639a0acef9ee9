//! The environment of the process, as its caller set it up.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// Arguments, environment variables and working directory.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The arguments, without the program's name.
    pub arguments: Vec<OsString>,
    /// The environment variables.
    pub variables: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

/// The CI system that reads the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CiSystem {
    /// GitHub Actions, which runs some lines of the log as commands.
    GitHub,
    /// Azure Pipelines, which has its own commands.
    Azure,
    /// Any other CI system, or none.
    Other,
}

impl Environment {
    /// Returns a variable; `None` if it is empty.
    #[must_use]
    pub(crate) fn variable(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.variables.iter().find(|(known, _)| known == name)?;
        Some(value.as_os_str()).filter(|value| !value.is_empty())
    }

    /// Returns the CI system that the process runs in.
    #[must_use]
    pub(crate) fn ci_system(&self) -> CiSystem {
        if self.variable("GITHUB_ACTIONS").is_some_and(|value| value == "true") {
            CiSystem::GitHub
        } else if self.variable("TF_BUILD").is_some() {
            CiSystem::Azure
        } else {
            CiSystem::Other
        }
    }

    /// Whether the program runs as a GitHub container action. Its container is removed after the step, so later steps see
    /// only the files in mounted directories.
    ///
    /// The runner mounts the workspace as `/github/workspace` for a container action (actions/runner,
    /// `ContainerActionHandler.cs`), and only there. In a job with a `container`, all steps share that container.
    #[must_use]
    pub(crate) fn is_container_action(&self) -> bool {
        self.ci_system() == CiSystem::GitHub
            && self.variable("GITHUB_WORKSPACE").is_some_and(|path| path == "/github/workspace")
    }
}
