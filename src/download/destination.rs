//! The destination of the files.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::filename;
use super::partial_file::{CompleteFile, PartialFile};
use super::text_type::TextType;
use crate::error::StepError;
use crate::report::history::TextEncoding;
use crate::report::outputs::{OutputPathConflict, OutputPaths};
use crate::workspace::{Workspace, remove_empty_directories};

/// The directory for the files. If it was created for this step and no file is saved, it is removed again.
#[derive(Debug)]
pub struct Destination {
    workspace: Workspace,
    directory: PathBuf,
    /// The files with outputs, which a downloaded file must not replace.
    output_paths: OutputPaths,
    /// The directories that were created for the files, parents first.
    created: Vec<PathBuf>,
    /// Whether a file was saved.
    has_file: Cell<bool>,
    /// Index of the run that each saved file is of.
    owners: RefCell<BTreeMap<PathBuf, usize>>,
    /// The files of each run, by run and name. Includes files that were not saved because another run has the path, so that the
    /// numbers in the names of a run do not depend on other runs.
    names: RefCell<BTreeMap<(usize, String), NamedFile>>,
    /// The files that were renamed since [`Destination::take_renamed`] was called.
    renamed: RefCell<Vec<RenamedFile>>,
    /// The files that were replaced since [`Destination::take_replaced`] was called.
    replaced: RefCell<Vec<ReplacedFile>>,
}

/// A file that has a name.
#[derive(Debug)]
struct NamedFile {
    /// The position of the file in its run.
    position: usize,
    /// The name without a number.
    requested: String,
}

/// A saved file that was renamed, because a file that comes earlier in the same run has its name.
#[derive(Debug)]
pub(crate) struct RenamedFile {
    /// Path before, as in [`WrittenFile`].
    pub(crate) from: String,
    /// Path now.
    pub(crate) to: String,
    /// File name now.
    pub(crate) filename: String,
}

/// A file of this step that was replaced, because a run that comes earlier in the inputs has a file of the same path.
#[derive(Debug)]
pub(crate) struct ReplacedFile {
    /// Path as in [`WrittenFile`].
    pub(crate) path: String,
    /// Index of the run that it was of.
    pub(crate) run: usize,
    /// Index of the run that has the path now.
    pub(crate) by: usize,
}

/// A file at its destination.
#[derive(Debug)]
pub(super) struct WrittenFile {
    /// Path relative to the workspace if it is inside, else absolute.
    pub(super) path: String,
    pub(super) filename: String,
    pub(super) size: u64,
    pub(super) sha256: String,
    pub(super) source_sha256: String,
    pub(super) encoding: TextEncoding,
}

/// Writes the directory as messages show it.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&display_directory(&self.workspace, &self.directory))
    }
}

impl Destination {
    /// Creates the directory if it is missing, and checks that files can be created there.
    ///
    /// # Errors
    ///
    /// If no file can be created there, or if `filename` is taken by a directory or a file with outputs.
    pub fn prepare(
        workspace: &Workspace,
        directory: &Path,
        filename: Option<&str>,
        output_paths: Option<&OutputPaths>,
    ) -> anyhow::Result<Self> {
        let displayed = display_directory(workspace, directory);
        let created =
            workspace.create_directories(directory).with_context(|| format!("cannot create directory {displayed}"))?;
        let destination = Self {
            workspace: workspace.clone(),
            directory: directory.to_owned(),
            output_paths: output_paths.cloned().unwrap_or_default(),
            created,
            has_file: Cell::new(false),
            owners: RefCell::default(),
            names: RefCell::default(),
            renamed: RefCell::default(),
            replaced: RefCell::default(),
        };

        destination.create_partial_file().with_context(|| format!("cannot create a file in {displayed}"))?;
        if let Some(filename) = filename {
            destination.path(filename)?;
        }
        Ok(destination)
    }

    /// Returns the path for a file name.
    ///
    /// # Errors
    ///
    /// If it is taken by a directory or a file with outputs. A link is replaced, not followed.
    fn path(&self, filename: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory.join(filename);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_dir()) {
            bail!(
                "{} is a directory, so the file cannot be saved there; remove it, or set another directory",
                self.workspace.display_path(&path)
            );
        }
        if let Some(input) = self.output_paths.input_for(&path) {
            return Err(OutputPathConflict { path: self.workspace.display_path(&path), input }.into());
        }
        Ok(path)
    }

    /// Creates an empty partial file.
    ///
    /// # Errors
    ///
    /// If it cannot be created, or its owner cannot be changed to that of the workspace.
    pub(super) fn create_partial_file(&self) -> anyhow::Result<PartialFile> {
        Ok(PartialFile::new(self.workspace.create_temporary_file(&self.directory)?))
    }

    /// Starts the conversion of a partial file to UTF-8. Nothing may have been received yet.
    ///
    /// # Errors
    ///
    /// If the file for the text cannot be created.
    pub(super) fn start_conversion(&self, partial: &mut PartialFile, text_type: TextType) -> anyhow::Result<()> {
        let text = self.workspace.create_temporary_file(&self.directory);
        let text = text.context("cannot create the file for the converted text")?;
        partial.start_conversion(text_type, text)
    }

    /// Renames a complete file to its destination, and replaces what is there. If an earlier file of the same run has this name,
    /// `-2`, `-3` … is added. If another run has a file of this path, the file of the run that comes earlier in the inputs stays.
    ///
    /// # Errors
    ///
    /// [`StepError::PathConflict`] if a run that comes earlier has a file of this path, or an error of this machine; also if a later
    /// file of this run cannot be renamed. An existing file is left unchanged then.
    pub(super) fn save(
        &self,
        complete: CompleteFile,
        filename: &str,
        run: usize,
        position: usize,
    ) -> Result<WrittenFile, StepError> {
        let filename = self.claim_name(filename, run, position)?;
        let CompleteFile { file, size, sha256, source_sha256, encoding } = complete;
        let path = self.move_to(&filename, run, |path| file.persist(path).map(drop).map_err(|error| error.error))?;
        Ok(WrittenFile { path, filename, size, sha256, source_sha256, encoding })
    }

    /// Returns the first of the names `a.zip`, `a-2.zip`, `a-3.zip` … that no earlier file of this run has. If a later file has it,
    /// because the download of this one was postponed, that one gets its next name.
    fn claim_name(&self, requested: &str, run: usize, position: usize) -> Result<String, StepError> {
        let mut names = self.names.borrow_mut();
        let is_claimable = |name: &String| names.get(&(run, name.clone())).is_none_or(|file| file.position > position);
        let numbered = (2..).map(|number| filename::numbered(requested, number));
        let name = std::iter::once(requested.to_owned()).chain(numbered).find(is_claimable).unwrap_or_default();

        let later = names.insert((run, name.clone()), NamedFile { position, requested: requested.to_owned() });
        drop(names);
        if let Some(later) = later {
            let next_name = self.claim_name(&later.requested, run, later.position)?;
            self.rename(&name, &next_name, run)?;
        }
        Ok(name)
    }

    /// Renames a saved file of a run.
    fn rename(&self, name: &str, new_name: &str, run: usize) -> Result<(), StepError> {
        let from = self.directory.join(name);
        // It was not saved if another run has the path.
        if self.owners.borrow().get(&from) != Some(&run) {
            return Ok(());
        }

        let to = self.move_to(new_name, run, |to| fs::rename(&from, to))?;
        self.owners.borrow_mut().remove(&from);
        let from = self.workspace.display_path(&from);
        self.renamed.borrow_mut().push(RenamedFile { from, to, filename: new_name.to_owned() });
        Ok(())
    }

    /// Moves a file of a run to its path, unless a run that comes earlier has a file there. Returns the path.
    fn move_to(
        &self,
        filename: &str,
        run: usize,
        rename: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<String, StepError> {
        let path = self.path(filename)?;
        let displayed = self.workspace.display_path(&path);
        let owner = self.owners.borrow().get(&path).copied();
        if let Some(other) = owner.filter(|&other| other < run) {
            return Err(StepError::PathConflict { path: displayed, other });
        }

        rename(&path).with_context(|| format!("cannot move the complete file to {displayed}"))?;
        self.has_file.set(true);
        self.owners.borrow_mut().insert(path, run);
        if let Some(other) = owner.filter(|&other| other > run) {
            self.replaced.borrow_mut().push(ReplacedFile { path: displayed.clone(), run: other, by: run });
        }
        Ok(displayed)
    }

    /// Takes the files that were renamed since the last call.
    pub(crate) fn take_renamed(&self) -> Vec<RenamedFile> {
        self.renamed.take()
    }

    /// Takes the files that were replaced since the last call.
    pub(crate) fn take_replaced(&self) -> Vec<ReplacedFile> {
        self.replaced.take()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.has_file.get() {
            remove_empty_directories(&self.created);
        }
    }
}

fn display_directory(workspace: &Workspace, directory: &Path) -> String {
    match workspace.display_path(directory).as_str() {
        "." => "the workspace".to_owned(),
        path => path.to_owned(),
    }
}
