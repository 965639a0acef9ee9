//! The workspace: where the inputs' paths lead, and whose the files are.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, fchown};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;

use crate::text::sanitize;

/// Where the step works: `$GITHUB_WORKSPACE`, and where that is not set the working directory.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    owner: Option<Owner>,
}

/// Whose the files are to be, when root makes them for somebody else.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

/// A path of an input that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// It leads out of the workspace.
    #[error("leads out of the workspace ({0}); a path inside of it is accepted, or an absolute one")]
    Outside(&'static str),
    /// It leads to a place whose name cannot be told in a line.
    #[error(
        "leads to a place whose name holds control characters or is not valid UTF-8, so it could not be told to the following steps"
    )]
    Untold,
    /// It goes through something that is not a directory, or cannot be looked at.
    #[error("cannot be used: {at}: {why}")]
    Unreadable {
        /// The part of the path that is in the way.
        at: String,
        /// What the system says of it.
        why: String,
    },
}

impl Workspace {
    /// Finds the workspace.
    ///
    /// # Errors
    ///
    /// When it is not a directory that can be looked at.
    pub fn find(github_workspace: Option<&OsStr>, working_directory: &Path) -> anyhow::Result<Self> {
        let named = github_workspace.filter(|path| !path.is_empty()).map(Path::new);
        let path = working_directory.join(named.unwrap_or(Path::new("")));
        let found = || -> io::Result<(PathBuf, Metadata)> {
            let root = fs::canonicalize(&path)?;
            let metadata = fs::metadata(&root)?;
            if !metadata.is_dir() {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            Ok((root, metadata))
        };
        let (root, metadata) = found().with_context(|| {
            let path = if path.as_os_str().is_empty() { Path::new("in the working directory") } else { &path };
            format!("the workspace {} cannot be used", path.display())
        })?;
        // Files that root makes in somebody else's workspace break later steps and the next checkout
        // (actions/runner#434).
        let is_ours = !rustix::process::geteuid().is_root() || metadata.uid() == 0;
        let owner = (!is_ours).then(|| Owner { user: metadata.uid(), group: metadata.gid() });
        Ok(Self { root, owner })
    }

    /// Its path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The absolute path that an input names, without links as far as it exists. A relative one must stay inside the
    /// workspace.
    ///
    /// # Errors
    ///
    /// [`PathError`] when it does not, be it by `..` or by a link, and when it has a name that cannot be told.
    pub fn resolve(&self, path: &str) -> Result<PathBuf, PathError> {
        let path = Path::new(path);
        let resolved = if path.is_absolute() { canonicalize_existing(path) } else { self.inside(path)? };
        let told = resolved.strip_prefix(&self.root).unwrap_or(&resolved).to_str();
        if told.is_none_or(|told| told.chars().any(sanitize::is_unprintable)) {
            return Err(PathError::Untold);
        }
        Ok(resolved)
    }

    fn inside(&self, path: &Path) -> Result<PathBuf, PathError> {
        let mut resolved = self.root.clone();
        for component in path.components() {
            match component {
                Component::ParentDir if resolved == self.root => return Err(PathError::Outside("by ..")),
                Component::ParentDir => {
                    resolved.pop();
                }
                Component::Normal(name) => resolved = self.descend(&resolved.join(name))?,
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(resolved)
    }

    /// The path itself, or where it leads to if it is a link.
    fn descend(&self, path: &Path) -> Result<PathBuf, PathError> {
        let unreadable =
            |error: io::Error| PathError::Unreadable { at: path.display().to_string(), why: error_text(&error) };
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
            Err(error) => Err(unreadable(error)),
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::canonicalize(path).map_err(unreadable)?;
                if target.starts_with(&self.root) { Ok(target) } else { Err(PathError::Outside("by a link")) }
            }
            Ok(_) => Ok(path.to_owned()),
        }
    }

    /// How a path is told to the following steps: relative to the workspace where it is inside, for then it is valid
    /// inside and outside of the container; else absolute.
    #[must_use]
    pub fn display_path(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
            inside => inside.unwrap_or(path).display().to_string(),
        }
    }

    /// Makes a directory and those above it that are missing, and returns the made ones, the uppermost first.
    ///
    /// # Errors
    ///
    /// When one cannot be made. Those made before it are removed again.
    pub fn create_directories(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut missing: Vec<PathBuf> =
            path.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        missing.reverse();
        for (made, directory) in missing.iter().enumerate() {
            let made_and_given = DirBuilder::new().mode(0o755).create(directory).and_then(|()| {
                let directory = File::open(directory)?;
                self.give_to_owner(&directory)
            });
            if let Err(error) = made_and_given {
                // A step beside this one has been faster; what it has made is not ours to remove.
                if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() {
                    return self.create_directories(path).map(|more| [&missing[..made], &more].concat());
                }
                remove_empty_directories(&missing[..=made]);
                return Err(error);
            }
        }
        Ok(missing)
    }

    /// Hands a file or a directory over to the owner of the workspace, where root has made it for somebody else.
    ///
    /// # Errors
    ///
    /// When the system does not allow it.
    pub fn give_to_owner(&self, file: &File) -> io::Result<()> {
        match self.owner {
            Some(owner) => fchown(file, Some(owner.user), Some(owner.group)),
            None => Ok(()),
        }
    }
}

/// An absolute path whose existing part has no links: the workspace is known by such a path, too.
fn canonicalize_existing(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    match existing {
        Some((part, real)) => match path.strip_prefix(part) {
            Ok(rest) if rest.as_os_str().is_empty() => real,
            // What is not there has no links: `..` takes the last name away.
            Ok(rest) => rest.components().fold(real, |mut path, component| {
                if component == Component::ParentDir {
                    path.pop();
                } else {
                    path.push(component);
                }
                path
            }),
            Err(_) => path.to_owned(),
        },
        None => path.to_owned(),
    }
}

/// Removes directories that are empty, the last one first.
pub fn remove_empty_directories(made: &[PathBuf]) {
    for directory in made.iter().rev() {
        // One that is not empty any more is somebody's by now.
        let _ = fs::remove_dir(directory);
    }
}

/// What the system says of an error, without its number.
#[must_use]
pub fn error_text(error: &io::Error) -> String {
    sanitize::without_os_code(&error.to_string()).to_lowercase()
}

#[cfg(test)]
mod tests;
