//! Import: files, folders and symlinks become DAGs in the store.
//!
//! Synchronous from end to end: reading files, hashing and the store all are. Runs on a thread of
//! its own; what it makes known goes through [`Importer`]'s callback.
//!
//! All files are one pipeline: while the leaves of some are hashed, the next ones are read. What was
//! read takes its place in the order of the source.

mod hashing;
mod shape;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use crate::dag::DagError;
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, CidError};
use crate::store::{Blocks as _, StoreError, Writer};
use crate::unixfs::layout::Builder;
use crate::unixfs::node::{Meta, symlink_payload, with_meta};
use crate::unixfs::profile::Profile;
use crate::unixfs::{Child, UnixfsError};
use hashing::Hashers;
use tree::{Nodes, Placed, Rules, Tree, shown};

pub use shape::{Shape, Stamp, Take};

/// Deepest folder that is imported: names come from strangers, recursion is bounded by this.
pub const DEPTH_MAX: usize = 256;

/// Entries that wait for their turn before reading stops for them.
const PENDING_MAX: usize = 4096;

/// Something to import, at a path relative to the import's root.
pub struct Entry {
    /// Names from the top down; never empty. A single empty name is that of a file without one,
    /// which is called by its CID.
    pub path: Vec<Bytes>,
    /// What stands there.
    pub content: Content,
    /// The permissions and the time it came with.
    pub meta: Meta,
}

/// What an entry is.
pub enum Content {
    /// A file whose bytes come from somewhere. Opened when its turn comes.
    File(Box<dyn Read + Send>),
    /// A file of this machine. Opened when its turn comes, or not long before.
    Open(Opened),
    /// A folder, which may have entries of its own.
    Directory,
    /// A symlink to this target.
    Symlink(Bytes),
}

impl Content {
    /// Whether it is a file of this machine: to read on keeps nobody waiting.
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// What a file is read from; `None` for what is no file.
    pub fn into_reader(self) -> Option<Box<dyn Read + Send>> {
        match self {
            Self::File(reader) => Some(reader),
            Self::Open(opened) => Some(Box::new(opened)),
            Self::Directory | Self::Symlink(_) => None,
        }
    }
}

/// A file of this machine, read from where it stands. Its errors tell its name.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub file: File,
    /// What it is called in errors.
    pub at: PathBuf,
    /// Set when whoever opened it for this process is gone: nobody wants it read any more.
    pub gone: Option<Arc<AtomicBool>>,
}

impl Opened {
    /// Whether it is still to be read.
    ///
    /// # Errors
    /// In the words of an upload whose bytes stopped.
    fn is_wanted(gone: Option<&AtomicBool>) -> io::Result<()> {
        match gone.is_some_and(|gone| gone.load(Ordering::Relaxed)) {
            true => Err(io::Error::other("the upload was cut short")),
            false => Ok(()),
        }
    }
}

impl Read for Opened {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Self::is_wanted(self.gone.as_deref())?;
        self.file.read(buf).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            _ => unread(&self.at, &error),
        })
    }
}

fn unread(at: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("read {at:?}: {error}"))
}

/// Entries, those of one top name together, the top itself first if it comes at all; an error ends
/// the import and names what failed.
pub type Source = Box<dyn Iterator<Item = io::Result<Entry>> + Send>;

/// Something made known while importing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bytes of this file read so far.
    Progress {
        /// The file.
        path: Vec<Bytes>,
        /// Bytes, from its beginning.
        bytes: u64,
    },
    /// An entry is a DAG now. Durable only when the whole import is.
    Added {
        /// The entry; empty for the root of a wrapped import.
        path: Vec<Bytes>,
        /// Its root.
        child: Child,
        /// What it came with.
        meta: Meta,
    },
}

/// Why an import failed. Nothing of it is pinned then.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The source's: names the file.
    #[error("{0}")]
    Source(#[from] io::Error),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A folder that was written and could not be read back.
    #[error(transparent)]
    Dag(#[from] DagError),
    /// Settings, names, or a trie that cannot be built.
    #[error(transparent)]
    Unixfs(#[from] UnixfsError),
    /// The hash function.
    #[error(transparent)]
    Hash(#[from] CidError),
    /// Whoever listened is gone: the import was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Two entries of one name, or an entry below a file.
    #[error("{0:?} is there twice")]
    Conflict(String),
}

/// Where events go; an error stops the import.
pub type Listener<'a> = &'a mut dyn FnMut(Event) -> Result<(), ImportError>;

/// What was read, and waits for its turn.
enum Pending {
    /// A file.
    File(Box<Growing>),
    /// A symlink.
    Done(Vec<Bytes>, Child, Meta),
    /// A folder, whatever comes into it.
    Folder(Vec<Bytes>, Meta),
    /// Everything of one root came before this.
    RootEnds,
}

/// A file whose leaves are being read and hashed.
struct Growing {
    path: Vec<Bytes>,
    /// What it came with.
    own: Meta,
    tree: Builder,
    /// Leaves that are being hashed.
    flying: usize,
    /// Whether its last leaf was read.
    read: bool,
}

/// The entry at the top to which those that come belong.
struct Root {
    name: Bytes,
    is_folder: bool,
}

/// An import in progress.
pub struct Importer<'w, 's> {
    profile: Profile,
    blocks: Kept<'w, 's>,
    hashers: Hashers,
    shape: Shape,
    rules: Rules,
    pending: VecDeque<Pending>,
    /// The root that is read.
    reading: Option<Root>,
    /// The folder that is a root, in the making.
    top: Option<Tree>,
    roots: Vec<Child>,
}

/// Where blocks go.
struct Kept<'w, 's> {
    writer: &'w mut Writer<'s>,
    /// Whether blocks are kept, or only named.
    keep: bool,
}

impl Kept<'_, '_> {
    fn put(&mut self, block: &Block) -> Result<(), ImportError> {
        if self.keep {
            self.writer.put(block)?;
        }
        Ok(())
    }
}

impl Nodes for Kept<'_, '_> {
    fn put(&mut self, block: Block) -> Result<(), ImportError> {
        self.put(&block)
    }

    fn get(&self, cid: &Cid) -> Result<Block, ImportError> {
        Ok(self.writer.block(cid)?.ok_or_else(|| StoreError::Missing(Box::new(*cid)))?)
    }
}

impl<'w, 's> Importer<'w, 's> {
    /// An import under `profile` into `writer`; with `keep` unset nothing is stored. The top entries
    /// become roots, each on its own, or one folder around them.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn new(
        profile: Profile,
        writer: &'w mut Writer<'s>,
        keep: bool,
        shape: Shape,
    ) -> io::Result<Self> {
        Ok(Self {
            profile,
            blocks: Kept { writer, keep },
            hashers: Hashers::start(profile.leaf_prefix())?,
            shape,
            rules: Rules { settings: profile.directories(), shape },
            pending: VecDeque::new(),
            reading: None,
            top: shape.wrap.then(|| Tree::new(Vec::new(), keep && shape.empty_dirs)),
            roots: Vec::new(),
        })
    }

    /// Imports every entry and gives the roots.
    ///
    /// # Errors
    /// The first one met, with what it was about.
    pub fn run(mut self, source: Source, listen: Listener<'_>) -> Result<Vec<Child>, ImportError> {
        for entry in source {
            let Entry { path, content, meta } = entry?;
            self.admit(&path, matches!(content, Content::Directory))?;
            match content {
                Content::Directory => self.pending.push_back(Pending::Folder(path, meta)),
                Content::Symlink(target) => {
                    let child = self.symlink(&target, &meta)?;
                    self.pending.push_back(Pending::Done(path, child, meta));
                }
                Content::File(reader) => self.file(reader, false, path, meta, listen)?,
                Content::Open(opened) => self.opened(opened, path, meta, listen)?,
            }
            self.advance(self.pending.len() >= PENDING_MAX, listen)?;
        }
        self.pending.push_back(Pending::RootEnds);
        self.advance(true, listen)?;
        Ok(self.roots)
    }

    /// Refuses a path that cannot be, and sees where a root ends: two may have one name, as files of
    /// that name from two folders do.
    fn admit(&mut self, path: &[Bytes], is_folder: bool) -> Result<(), ImportError> {
        let Some(name) = path.first() else { return Err(UnixfsError::Name(String::new()).into()) };
        if path.len() > DEPTH_MAX {
            let text = format!("more than {DEPTH_MAX} folders deep: {}", shown(path));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
        }
        if self.shape.wrap {
            return Ok(());
        }
        match &self.reading {
            Some(root) if path.len() > 1 && root.name == *name => {
                let below_file = || ImportError::Conflict(shown(path));
                return root.is_folder.then_some(()).ok_or_else(below_file);
            }
            Some(_) => self.pending.push_back(Pending::RootEnds),
            None => {}
        }
        self.reading = Some(Root { name: name.clone(), is_folder: is_folder || path.len() > 1 });
        Ok(())
    }

    /// Reads a file of this machine: it alone is read into memory that was not cleared before.
    fn opened(
        &mut self,
        Opened { file, at, gone }: Opened,
        path: Vec<Bytes>,
        own: Meta,
        listen: Listener<'_>,
    ) -> Result<(), ImportError> {
        let mut listen = |event: Event| {
            Opened::is_wanted(gone.as_deref())?;
            listen(event)
        };
        let read = self.file(Box::new(file), true, path, own, &mut listen);
        read.map_err(|error| match error {
            ImportError::Source(error) => unread(&at, &error).into(),
            other => other,
        })
    }

    /// Reads one file to its end: chunks go off to be hashed while the next ones are read; each on its
    /// own where a reader that is not `local` may keep them waiting.
    fn file(
        &mut self,
        reader: Box<dyn Read + Send>,
        local: bool,
        path: Vec<Bytes>,
        own: Meta,
        listen: Listener<'_>,
    ) -> Result<(), ImportError> {
        let Profile { layout, file_links, .. } = self.profile;
        let mut chunks = self.profile.chunks(reader, &self.shape.stamp.file(&own));
        let tree = Builder::new(layout, file_links, self.profile.node_prefix());
        let growing = Growing { path: path.clone(), own, tree, flying: 0, read: false };
        self.pending.push_back(Pending::File(Box::new(growing)));
        let prefix = self.profile.leaf_prefix();
        let mut read = 0u64;
        while let Some(framed) = chunks.next_block()? {
            read += framed.content as u64;
            self.hashers.submit(prefix, framed, local);
            if let Some(Pending::File(file)) = self.pending.back_mut() {
                file.flying += 1;
            }
            self.advance(false, listen)?;
            listen(Event::Progress { path: path.clone(), bytes: read })?;
        }
        self.hashers.settle();
        if let Some(Pending::File(file)) = self.pending.back_mut() {
            file.read = true;
        }
        Ok(())
    }

    /// Places what has its turn. Waits for leaves in flight when there are as many as allowed, or
    /// for `all` of them.
    fn advance(&mut self, all: bool, listen: Listener<'_>) -> Result<(), ImportError> {
        loop {
            while let Some(first) = self.pending.pop_front() {
                match first {
                    Pending::File(file) if file.flying > 0 || !file.read => {
                        self.pending.push_front(Pending::File(file));
                        break;
                    }
                    other => self.settle(other, listen)?,
                }
            }
            match self.hashers.take(all)? {
                Some((block, content)) => self.leaf(&block, content)?,
                None => return Ok(()),
            }
        }
    }

    /// Takes a leaf of the first file that waits for any: they come in the order they were read in.
    fn leaf(&mut self, block: &Block, content: usize) -> Result<(), ImportError> {
        let Some(Pending::File(mut file)) = self.pending.pop_front() else { return Ok(()) };
        self.blocks.put(block)?;
        let tsize = block.data().len() as u64;
        let child = Child { cid: *block.cid(), tsize, size: content as u64 };
        file.tree.push(child, &mut |block| self.blocks.put(&block))?;
        file.flying -= 1;
        self.pending.push_front(Pending::File(file));
        Ok(())
    }

    /// Gives a finished entry its place, or ends a root.
    fn settle(&mut self, pending: Pending, listen: Listener<'_>) -> Result<(), ImportError> {
        match pending {
            Pending::File(file) => {
                let meta = self.shape.stamp.file(&file.own);
                let child = file.tree.finish(&meta, &mut |block| self.blocks.put(&block))?;
                self.done(file.path, child, file.own, listen)
            }
            Pending::Done(path, child, own) => self.done(path, child, own, listen),
            Pending::Folder(path, own) => self.place(&path, Placed::Folder(own)),
            Pending::RootEnds => {
                let Some(tree) = self.top.take() else { return Ok(()) };
                let mut tell = |path: &[Bytes], child, meta| {
                    listen(Event::Added { path: path.to_vec(), child, meta })
                };
                let root = tree.finish(&self.rules, &mut self.blocks, &mut tell)?;
                self.roots.push(root);
                Ok(())
            }
        }
    }

    /// Tells of a file or symlink and places it.
    fn done(
        &mut self,
        mut path: Vec<Bytes>,
        child: Child,
        meta: Meta,
        listen: Listener<'_>,
    ) -> Result<(), ImportError> {
        if matches!(path.as_slice(), [name] if name.is_empty()) {
            path = vec![child.cid.to_string().into()];
        }
        self.place(&path, Placed::Done(child))?;
        listen(Event::Added { path, child, meta })
    }

    /// Puts an entry below the root it belongs to.
    fn place(&mut self, path: &[Bytes], placed: Placed) -> Result<(), ImportError> {
        let above = usize::from(!self.shape.wrap);
        if let (Placed::Done(child), true) = (&placed, path.len() == above) {
            self.roots.push(*child);
            return Ok(());
        }
        let (root, inside) = path.split_at(above);
        let early = self.blocks.keep && self.shape.empty_dirs;
        let tree = self.top.get_or_insert_with(|| Tree::new(root.to_vec(), early));
        tree.place(inside, placed, &self.rules, &mut self.blocks)
    }

    fn symlink(&mut self, target: &[u8], own: &Meta) -> Result<Child, ImportError> {
        let payload = with_meta(symlink_payload(target), &self.shape.stamp.symlink(own));
        let node = crate::ipld::codec::dag_pb::Node { links: Vec::new(), data: Some(payload) };
        let block = Block::hashed(self.profile.node_prefix(), node.encode().into())?;
        let child = Child { cid: *block.cid(), tsize: block.data().len() as u64, size: 0 };
        self.blocks.put(&block)?;
        Ok(child)
    }
}
