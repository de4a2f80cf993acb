//! Folders in the making: what was imported stands here until everything below it has come.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ImportError, Shape};
use crate::unixfs::directory::{Directory, Settings};
use crate::unixfs::layout::Emit;
use crate::unixfs::node::Meta;
use crate::unixfs::{Child, UnixfsError};

/// What comes to its place.
pub enum Placed {
    /// A finished entry.
    Done(Child),
    /// A folder, with what it came with.
    Folder(Meta),
}

/// How folders are written.
pub struct Rules {
    /// When a folder is spread, and the names of its blocks.
    pub settings: Settings,
    /// Which folders stay, and what they carry.
    pub shape: Shape,
}

/// Told of each finished folder: its path, its root, what it came with.
type Tell<'a> = &'a mut dyn FnMut(&[Bytes], Child, Meta) -> Result<(), ImportError>;

/// A folder, and the folders in it, which are not finished either.
#[derive(Default)]
pub struct Folder {
    directory: Directory,
    /// What it came with.
    own: Meta,
    below: BTreeMap<Bytes, Folder>,
}

impl Folder {
    /// Puts something where its path in this folder says; the folders above it are made as well. The
    /// empty path is that of the folder itself.
    ///
    /// # Errors
    /// That a name cannot be one. Names that are there twice are found by [`Self::finish`].
    pub fn place(&mut self, path: &[Bytes], placed: Placed) -> Result<(), UnixfsError> {
        let child = match placed {
            Placed::Done(child) => child,
            Placed::Folder(own) => {
                self.folder(path).own = own;
                return Ok(());
            }
        };
        let Some((name, above)) = path.split_last() else {
            return Err(UnixfsError::Name(String::new()));
        };
        self.folder(above).directory.insert(name, child)
    }

    /// The folder at a path, made if it is not there.
    fn folder(&mut self, path: &[Bytes]) -> &mut Self {
        path.iter().fold(self, |at, name| at.below.entry(name.clone()).or_default())
    }

    /// Writes the folder and all below it, bottom up, and tells of each; `path` is its own. Recursion
    /// is bounded by the depth of paths.
    ///
    /// # Errors
    /// [`ImportError::Conflict`] tells the path that is there twice; the two functions' own.
    pub fn finish(
        self,
        rules: &Rules,
        path: &mut Vec<Bytes>,
        emit: Emit<'_, ImportError>,
        tell: Tell<'_>,
    ) -> Result<Child, ImportError> {
        let Self { mut directory, own, below } = self;
        for (name, folder) in below {
            if !rules.shape.empty_dirs && folder.is_empty() {
                continue;
            }
            path.push(name.clone());
            let child = folder.finish(rules, path, emit, tell)?;
            path.pop();
            directory.insert(&name, child)?;
        }
        directory.carry(rules.shape.stamp.folder(&own));
        let child = directory.finish(&rules.settings, emit).map_err(|error| match error {
            ImportError::Unixfs(UnixfsError::Twice(name)) => {
                path.push(name.into());
                ImportError::Conflict(shown(path))
            }
            other => other,
        })?;
        tell(path, child, own)?;
        Ok(child)
    }

    fn is_empty(&self) -> bool {
        self.directory.is_empty() && self.below.is_empty()
    }
}

/// A path in one line.
pub fn shown(path: &[Bytes]) -> String {
    let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
    names.join("/")
}
