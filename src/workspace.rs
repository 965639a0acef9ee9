//! The workspace: resolves the paths in the inputs, and gives what is created there to its owner.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Component, Path, PathBuf};

use anyhow::Context;
use tempfile::{Builder, NamedTempFile};

use crate::text::sanitize;

/// The workspace: `$GITHUB_WORKSPACE`, or the working directory.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// Absolute and without links.
    root: PathBuf,
    /// `None` if new files belong to the right user anyway.
    owner: Option<Owner>,
}

/// The user and the group that get new files.
#[derive(Clone, Copy, Debug)]
struct Owner {
    user: u32,
    group: u32,
}

/// Why the path in an input cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PathError {
    /// A relative path leads outside the workspace, through this.
    #[error("leads outside the workspace (through {0})")]
    Outside(&'static str),
    /// No output can hold the path.
    #[error("leads to a path that is not valid UTF-8 or contains control characters, which no output can hold")]
    Unprintable,
    /// A part of the path is not a directory, or cannot be read.
    #[error("cannot be used: {path}: {cause}")]
    Unreadable {
        /// This part of the path.
        path: String,
        cause: String,
    },
}

impl Workspace {
    /// Finds the workspace.
    ///
    /// # Errors
    ///
    /// If it is not a directory that can be read.
    pub fn find(github_workspace: Option<&OsStr>, working_directory: &Path) -> anyhow::Result<Self> {
        let path = match github_workspace.filter(|path| !path.is_empty()) {
            Some(path) => working_directory.join(path),
            None => working_directory.to_owned(),
        };
        let (root, metadata) = canonicalize_directory(&path).with_context(|| {
            if path.as_os_str().is_empty() {
                "cannot use the working directory".to_owned()
            } else {
                format!("cannot use the workspace {}", path.display())
            }
        })?;

        // Files of root in a workspace of another user break later steps and the next checkout (actions/runner#434).
        let is_owner = !rustix::process::geteuid().is_root() || metadata.uid() == 0;
        let owner = (!is_owner).then(|| Owner { user: metadata.uid(), group: metadata.gid() });

        Ok(Self { root, owner })
    }

    /// Returns the absolute path of the workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the absolute path that an input names. Links in it are resolved as far as they lead to something that exists.
    ///
    /// # Errors
    ///
    /// [`PathError::Outside`] if a relative path leads outside the workspace, through `..` or a link.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, PathError> {
        let path = Path::new(path);
        let resolved = if path.is_absolute() { canonicalize_existing(path) } else { self.resolve_relative(path)? };

        let displayed = resolved.strip_prefix(&self.root).unwrap_or(&resolved).to_str();
        if displayed.is_none_or(|path| path.chars().any(sanitize::is_unprintable)) {
            return Err(PathError::Unprintable);
        }
        Ok(resolved)
    }

    fn resolve_relative(&self, path: &Path) -> Result<PathBuf, PathError> {
        let mut resolved = self.root.clone();
        for component in path.components() {
            match component {
                Component::ParentDir if resolved == self.root => return Err(PathError::Outside("..")),
                Component::ParentDir => {
                    resolved.pop();
                }
                Component::Normal(name) => resolved = self.follow_link(&resolved.join(name))?,
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        Ok(resolved)
    }

    /// Returns the target of a link, or the path itself if it is not a link.
    fn follow_link(&self, path: &Path) -> Result<PathBuf, PathError> {
        let unreadable =
            |error: io::Error| PathError::Unreadable { path: path.display().to_string(), cause: error_text(&error) };

        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
            Err(error) => Err(unreadable(error)),
            Ok(metadata) if metadata.is_symlink() => {
                let target = fs::canonicalize(path).map_err(unreadable)?;
                if target.starts_with(&self.root) { Ok(target) } else { Err(PathError::Outside("a link")) }
            }
            Ok(_) => Ok(path.to_owned()),
        }
    }

    /// Returns a path as later steps get it: relative to the workspace if it is inside, because the workspace has another
    /// path outside of a container; else absolute.
    pub(crate) fn display_path(&self, path: &Path) -> String {
        match path.strip_prefix(&self.root) {
            Ok(inside) if inside.as_os_str().is_empty() => ".".to_owned(),
            Ok(inside) => inside.display().to_string(),
            Err(_) => path.display().to_string(),
        }
    }

    /// Creates a directory and its missing parents. Returns the created ones, parents first.
    ///
    /// # Errors
    ///
    /// If one cannot be created. Those that were created are removed then.
    pub(crate) fn create_directories(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let missing = path.ancestors().take_while(|path| !path.exists());
        let mut missing: Vec<PathBuf> = missing.map(Path::to_owned).collect();
        missing.reverse();

        for (index, directory) in missing.iter().enumerate() {
            let Err(error) = self.create_directory(directory) else { continue };
            // A concurrent step created it, and keeps it.
            if error.kind() == io::ErrorKind::AlreadyExists && directory.is_dir() {
                return self.create_directories(path).map(|others| [&missing[..index], &others].concat());
            }
            remove_empty_directories(&missing[..=index]);
            return Err(error);
        }
        Ok(missing)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o755).create(path)?;
        self.give_to_owner(&File::open(path)?)
    }

    /// Creates an empty temporary file with a hidden name, which is removed when it is dropped. Other users can read it, because
    /// later steps may run as another user.
    ///
    /// # Errors
    ///
    /// If it cannot be created, or its owner cannot be changed to that of the workspace.
    pub(crate) fn create_temporary_file(&self, directory: &Path) -> io::Result<NamedTempFile> {
        // By default, nobody else can read a temporary file.
        let readable = fs::Permissions::from_mode(0o644);
        let mut builder = Builder::new();
        let file =
            builder.prefix(".webadmit-export-").suffix(".partial").permissions(readable).tempfile_in(directory)?;
        self.give_to_owner(file.as_file())?;
        Ok(file)
    }

    /// Gives a file or directory to the owner of the workspace if this process is root and the workspace is not root's.
    ///
    /// # Errors
    ///
    /// If the system does not allow it.
    pub(crate) fn give_to_owner(&self, file: &File) -> io::Result<()> {
        match self.owner {
            Some(owner) => fchown(file, Some(owner.user), Some(owner.group)),
            None => Ok(()),
        }
    }
}

fn canonicalize_directory(path: &Path) -> io::Result<(PathBuf, Metadata)> {
    let path = fs::canonicalize(path)?;
    let metadata = fs::metadata(&path)?;
    if !metadata.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok((path, metadata))
}

/// Resolves the links in the existing part of an absolute path, so that it can be compared with the workspace's path.
fn canonicalize_existing(path: &Path) -> PathBuf {
    let existing = path.ancestors().find_map(|part| Some((part, fs::canonicalize(part).ok()?)));
    let Some((existing, mut resolved)) = existing else { return path.to_owned() };

    let missing = path.strip_prefix(existing).unwrap_or(Path::new(""));
    for component in missing.components() {
        if component == Component::ParentDir {
            // A part that cannot be resolved is taken literally, so its parent is the path without its last name.
            resolved.pop();
        } else {
            resolved.push(component);
        }
    }
    resolved
}

/// Removes the directories that are empty, starting with the last one.
pub(crate) fn remove_empty_directories(directories: &[PathBuf]) {
    for directory in directories.iter().rev() {
        // One that is not empty is in use.
        let _ = fs::remove_dir(directory);
    }
}

/// Returns the text of an error without the system's error number.
pub(crate) fn error_text(error: &io::Error) -> String {
    sanitize::without_os_code(&error.to_string()).to_lowercase()
}

#[cfg(test)]
mod tests;
