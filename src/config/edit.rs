//! `config edit`: a copy of the configuration is handed to an editor, and takes its place only if it
//! is a configuration.
//!
//! Works beside a running daemon, so without the lock: the change is one rename. Which editor, and
//! how it is started, is the command line's affair.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::disk;
use super::file::MAX_CONFIG_BYTES;
use super::repo::{CONFIG_FILE, RepoError, load_config, load_config_file};

/// A copy of a configuration, being edited; mode 0600, since it holds the private key.
#[derive(Debug)]
pub struct Editing {
    root: PathBuf,
    copy: PathBuf,
}

impl Editing {
    /// Copies the configuration of a repository.
    ///
    /// # Errors
    /// That there is none, or the system's.
    pub fn begin(root: &Path) -> Result<Self, RepoError> {
        load_config(root)?;
        let path = root.join(CONFIG_FILE);
        let failed = |source: io::Error| RepoError::Io { path: path.clone(), source };
        let bytes = disk::read_bounded(&path, MAX_CONFIG_BYTES).map_err(failed)?;
        // Two who edit at a time have a copy each; who is done last wins, as between editors.
        let copy = root.join(format!("config-edit-{}", std::process::id()));
        let failed = |source: io::Error| RepoError::Io { path: copy.clone(), source };
        disk::write_new(&copy, &bytes).map_err(failed)?;
        Ok(Self { root: root.to_owned(), copy })
    }

    /// The file to edit.
    pub fn path(&self) -> &Path {
        &self.copy
    }

    /// Puts the copy in the place of the configuration. One that is none is left where it is, so
    /// that no work is lost.
    ///
    /// # Errors
    /// What is wrong with it, by its path; nothing was changed then.
    pub fn finish(self) -> Result<(), RepoError> {
        load_config_file(&self.copy)?;
        let failed = |source: io::Error| RepoError::Io { path: self.copy.clone(), source };
        fs::rename(&self.copy, self.root.join(CONFIG_FILE)).map_err(failed)?;
        disk::sync_dir(&self.root).map_err(failed)
    }

    /// Leaves the configuration as it is.
    pub fn give_up(self) {
        // A copy that is gone already is what is wanted.
        let _ = fs::remove_file(&self.copy);
    }
}
