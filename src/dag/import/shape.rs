//! What becomes of the entries of an import: which folders stay, what their nodes carry.

use crate::unixfs::node::{Meta, Mtime};

/// How entries become nodes.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Whether a folder is put around everything.
    pub wrap: bool,
    /// Whether folders without entries stay; roots always do.
    pub empty_dirs: bool,
    /// What nodes carry.
    pub stamp: Stamp,
}

/// Permissions and time that nodes carry.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Permission bits; symlinks have none.
    pub mode: Take<u32>,
    /// Modification time.
    pub mtime: Take<Mtime>,
}

/// Where a node's permissions or time come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Take<T> {
    /// It carries none.
    Nothing,
    /// From the entry, if it came with any.
    Own,
    /// The same for all.
    This(T),
}

impl<T: Copy> Take<T> {
    /// What was given for all comes before what each has.
    pub fn of(given: Option<T>, preserve: bool) -> Self {
        match given {
            Some(value) => Self::This(value),
            None if preserve => Self::Own,
            None => Self::Nothing,
        }
    }

    fn pick(self, own: Option<T>) -> Option<T> {
        match self {
            Self::Nothing => None,
            Self::Own => own,
            Self::This(value) => Some(value),
        }
    }
}

impl Stamp {
    /// Nothing.
    pub const NONE: Self = Self { mode: Take::Nothing, mtime: Take::Nothing };

    /// What a folder's node carries.
    pub fn folder(&self, own: &Meta) -> Meta {
        Meta { mode: self.mode.pick(own.mode), mtime: self.mtime.pick(own.mtime) }
    }

    /// What a file's root carries: no permissions at all are none in Kubo's nodes, too.
    pub fn file(&self, own: &Meta) -> Meta {
        let meta = self.folder(own);
        Meta { mode: meta.mode.filter(|mode| *mode != 0), ..meta }
    }

    /// What a symlink's node carries.
    pub fn symlink(&self, own: &Meta) -> Meta {
        Meta { mode: None, ..self.folder(own) }
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self { wrap: false, empty_dirs: true, stamp: Stamp::NONE }
    }
}
