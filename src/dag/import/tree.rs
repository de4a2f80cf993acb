//! Folders in the making: what was imported stands here until everything below it has come.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::ImportError;
use crate::unixfs::directory::{Directory, Settings};
use crate::unixfs::layout::Emit;
use crate::unixfs::{Child, UnixfsError};

/// A folder, and the folders in it, which are not finished either.
#[derive(Default)]
pub struct Folder {
    directory: Directory,
    below: BTreeMap<Bytes, Folder>,
}

impl Folder {
    /// Puts a finished entry where its path says, or makes a folder there for `None`; the folders
    /// above it are made as well. The path is that within this folder, and not empty.
    ///
    /// # Errors
    /// That a name cannot be one. Names that are there twice are found by [`Self::finish`].
    pub fn place(&mut self, path: &[Bytes], child: Option<Child>) -> Result<(), UnixfsError> {
        let Some((name, above)) = path.split_last() else {
            return Err(UnixfsError::Name(String::new()));
        };
        let mut at = self;
        for folder in above {
            at = at.below.entry(folder.clone()).or_default();
        }
        match child {
            Some(child) => at.directory.insert(name, child)?,
            None => drop(at.below.entry(name.clone()).or_default()),
        }
        Ok(())
    }

    /// Writes the folder and all below it, bottom up, and tells of each; `path` is its own. Recursion
    /// is bounded by the depth of paths.
    ///
    /// # Errors
    /// [`ImportError::Conflict`] tells the path that is there twice; the two functions' own.
    pub fn finish(
        self,
        settings: &Settings,
        path: &mut Vec<Bytes>,
        emit: Emit<'_, ImportError>,
        tell: &mut dyn FnMut(&[Bytes], Child) -> Result<(), ImportError>,
    ) -> Result<Child, ImportError> {
        let Self { mut directory, below } = self;
        for (name, folder) in below {
            path.push(name.clone());
            let child = folder.finish(settings, path, emit, tell)?;
            path.pop();
            directory.insert(&name, child)?;
        }
        let child = directory.finish(settings, emit).map_err(|error| match error {
            ImportError::Unixfs(UnixfsError::Twice(name)) => {
                path.push(name.into());
                ImportError::Conflict(shown(path))
            }
            other => other,
        })?;
        tell(path, child)?;
        Ok(child)
    }
}

/// A path in one line.
pub fn shown(path: &[Bytes]) -> String {
    let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
    names.join("/")
}
