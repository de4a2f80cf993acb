//! Import: files, folders and symlinks become DAGs in the store.
//!
//! Synchronous from end to end: reading files, hashing and RocksDB all are. Runs on a thread of
//! its own; what it makes known goes through [`Importer`]'s callback.

mod hashing;
mod shape;

use std::collections::BTreeMap;
use std::io::{self, Read};

use bytes::Bytes;

use crate::ipld::block::Block;
use crate::ipld::cid::CidError;
use crate::store::{StoreError, Writer};
use crate::unixfs::directory::Directory;
use crate::unixfs::layout::Builder;
use crate::unixfs::node::{Meta, symlink_payload, with_meta};
use crate::unixfs::profile::Profile;
use crate::unixfs::{Child, UnixfsError};
use hashing::Hashers;

pub use shape::{Shape, Stamp, Take};

/// Deepest folder that is imported: names come from strangers, recursion is bounded by this.
pub const DEPTH_MAX: usize = 256;

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
    /// A file. Opened when its turn comes.
    File(Box<dyn Read + Send>),
    /// A folder, which may have entries of its own.
    Directory,
    /// A symlink to this target.
    Symlink(Bytes),
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

/// A folder in the making, or a finished entry.
enum Tree {
    Done(Child),
    Folder(Meta, BTreeMap<Bytes, Tree>),
}

/// An import in progress.
pub struct Importer<'w, 's> {
    profile: Profile,
    writer: &'w mut Writer<'s>,
    hashers: Hashers,
    /// Whether blocks are kept, or only named.
    keep: bool,
    shape: Shape,
}

impl<'w, 's> Importer<'w, 's> {
    /// An import under `profile` into `writer`; with `keep` unset nothing is stored.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn new(profile: Profile, writer: &'w mut Writer<'s>, keep: bool) -> io::Result<Self> {
        let shape = Shape::default();
        Ok(Self { profile, writer, hashers: Hashers::start()?, keep, shape })
    }

    /// Imports every entry and gives the roots: the top entries, each on its own and finished
    /// before the next begins, or one folder around them.
    ///
    /// # Errors
    /// The first one met, with what it was about.
    pub fn run(
        &mut self,
        source: Source,
        shape: Shape,
        listen: Listener<'_>,
    ) -> Result<Vec<Child>, ImportError> {
        self.shape = shape;
        let mut top: BTreeMap<Bytes, Tree> = BTreeMap::new();
        let mut roots = Vec::new();
        for entry in source {
            let Entry { mut path, content, meta } = entry?;
            if !shape.wrap && begins_root(&top, &path) {
                self.finish(std::mem::take(&mut top), &mut roots, listen)?;
            }
            let leaf = match content {
                Content::Directory => Tree::Folder(meta, BTreeMap::new()),
                Content::File(reader) => Tree::Done(self.file(reader, &path, &meta, listen)?),
                Content::Symlink(target) => Tree::Done(self.symlink(&target, &meta)?),
            };
            if let Tree::Done(child) = leaf {
                if matches!(path.as_slice(), [name] if name.is_empty()) {
                    path = vec![child.cid.to_string().into()];
                }
                listen(Event::Added { path: path.clone(), child, meta })?;
            }
            place(&mut top, &path, leaf)?;
        }
        if shape.wrap {
            return Ok(vec![self.folder(&Meta::NONE, top, &mut Vec::new(), listen)?]);
        }
        self.finish(top, &mut roots, listen)?;
        Ok(roots)
    }

    /// Builds the top entries that are complete.
    fn finish(
        &mut self,
        top: BTreeMap<Bytes, Tree>,
        roots: &mut Vec<Child>,
        listen: Listener<'_>,
    ) -> Result<(), ImportError> {
        for (name, tree) in top {
            roots.push(match tree {
                Tree::Done(child) => child,
                Tree::Folder(meta, entries) => {
                    self.folder(&meta, entries, &mut vec![name], listen)?
                }
            });
        }
        Ok(())
    }

    /// Builds folders from the bottom up. Recursion is bounded by [`DEPTH_MAX`].
    fn folder(
        &mut self,
        meta: &Meta,
        entries: BTreeMap<Bytes, Tree>,
        path: &mut Vec<Bytes>,
        listen: Listener<'_>,
    ) -> Result<Child, ImportError> {
        let mut directory = Directory::new(self.shape.stamp.folder(meta));
        for (name, tree) in entries {
            let child = match tree {
                Tree::Done(child) => child,
                Tree::Folder(_, below) if below.is_empty() && !self.shape.empty_dirs => continue,
                Tree::Folder(meta, below) => {
                    path.push(name.clone());
                    let child = self.folder(&meta, below, path, listen)?;
                    path.pop();
                    child
                }
            };
            directory.insert(&name, child)?;
        }
        let settings = self.profile.directories();
        let child = directory.finish(&settings, &mut |block| self.keep(&block))?;
        listen(Event::Added { path: path.clone(), child, meta: *meta })?;
        Ok(child)
    }

    fn symlink(&mut self, target: &[u8], own: &Meta) -> Result<Child, ImportError> {
        let payload = with_meta(symlink_payload(target), &self.shape.stamp.symlink(own));
        let node = crate::ipld::codec::dag_pb::Node { links: Vec::new(), data: Some(payload) };
        let block = Block::hashed(self.profile.node_prefix(), node.encode().into())?;
        let child = Child { cid: *block.cid(), tsize: block.data().len() as u64, size: 0 };
        self.keep(&block)?;
        Ok(child)
    }

    /// One file: chunks are read here, hashed on every core, and taken back in order.
    fn file(
        &mut self,
        reader: Box<dyn Read + Send>,
        path: &[Bytes],
        own: &Meta,
        listen: Listener<'_>,
    ) -> Result<Child, ImportError> {
        let Profile { layout, file_links, .. } = self.profile;
        let meta = self.shape.stamp.file(own);
        let mut chunks = self.profile.chunks(reader, &meta);
        let mut tree = Builder::new(layout, file_links, self.profile.node_prefix());
        let prefix = self.profile.leaf_prefix();
        let mut read = 0u64;
        loop {
            let framed = chunks.next_block()?;
            let ended = framed.is_none();
            if let Some(framed) = framed {
                read += framed.content as u64;
                self.hashers.submit(prefix, framed);
            }
            while let Some((block, content)) = self.hashers.take(ended)? {
                self.leaf(&mut tree, block, content)?;
            }
            if ended {
                break;
            }
            listen(Event::Progress { path: path.to_vec(), bytes: read })?;
        }
        tree.finish(&meta, &mut |block| self.keep(&block))
    }

    fn leaf(
        &mut self,
        tree: &mut Builder,
        block: Block,
        content: usize,
    ) -> Result<(), ImportError> {
        self.keep(&block)?;
        let tsize = block.data().len() as u64;
        let child = Child { cid: *block.cid(), tsize, size: content as u64 };
        tree.push(child, &mut |block| self.keep(&block))
    }

    fn keep(&mut self, block: &Block) -> Result<(), ImportError> {
        if self.keep {
            self.writer.put(block)?;
        }
        Ok(())
    }
}

/// Whether a path is that of another root than the one being built. Two roots may have one name:
/// files of that name from two folders.
fn begins_root(top: &BTreeMap<Bytes, Tree>, path: &[Bytes]) -> bool {
    let same = |name: &Bytes| path.len() > 1 && path.first() == Some(name);
    top.keys().next().is_some_and(|name| !same(name))
}

/// Puts an entry where its path says, making the folders above it.
fn place(top: &mut BTreeMap<Bytes, Tree>, path: &[Bytes], leaf: Tree) -> Result<(), ImportError> {
    let shown = || {
        let names: Vec<_> = path.iter().map(|n| String::from_utf8_lossy(n)).collect();
        names.join("/")
    };
    if path.len() > DEPTH_MAX {
        let text = format!("more than {DEPTH_MAX} folders deep: {}", shown());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text).into());
    }
    let Some((name, above)) = path.split_last() else {
        return Err(UnixfsError::Name(String::new()).into());
    };
    let mut at = top;
    for folder in above {
        let next =
            at.entry(folder.clone()).or_insert_with(|| Tree::Folder(Meta::NONE, BTreeMap::new()));
        match next {
            Tree::Folder(_, entries) => at = entries,
            Tree::Done(_) => return Err(ImportError::Conflict(shown())),
        }
    }
    match (at.get_mut(name), &leaf) {
        (Some(Tree::Folder(known, _)), Tree::Folder(meta, _)) => {
            *known = *meta; // Its entries came first.
            Ok(())
        }
        (Some(_), _) => Err(ImportError::Conflict(shown())),
        (None, _) => {
            at.insert(name.clone(), leaf);
            Ok(())
        }
    }
}
