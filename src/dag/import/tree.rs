//! What becomes of a root that is a folder: what was imported stands here until the folder that it
//! belongs to is finished.
//!
//! A source that walks folders comes to each of them once, so a folder that it left is written at once:
//! then memory goes with the open folders, not with all entries, and blocks are stored beside the node
//! that holds them. A source in any other order is told by an entry of a folder that is finished: that one
//! is read back, and from then on no folder of the root is finished before the end.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use bytes::Bytes;

use super::{ImportError, Shape};
use crate::dag::as_unixfs;
use crate::dag::tree::{Found, SHARD_DEPTH_MAX, links_of};
use crate::ipld::block::Block;
use crate::ipld::cid::Cid;
use crate::unixfs::directory::{Directory, Settings};
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
#[derive(Clone, Copy)]
pub struct Rules {
    /// When a folder is spread, and the names of its blocks.
    pub settings: Settings,
    /// Which folders stay, and what they carry.
    pub shape: Shape,
}

/// Where nodes of folders go.
pub trait Nodes {
    /// Takes a node.
    ///
    /// # Errors
    /// The store's.
    fn put(&mut self, block: Block) -> Result<(), ImportError>;
    /// Gives one back that it took.
    ///
    /// # Errors
    /// The store's.
    fn get(&self, cid: &Cid) -> Result<Block, ImportError>;
}

/// Told of each finished folder: its path, its root, what it came with.
type Tell<'a> = &'a mut dyn FnMut(&[Bytes], Child, Meta) -> Result<(), ImportError>;

/// A root that is a folder, in the making.
pub struct Tree {
    /// Its own path.
    path: Vec<Bytes>,
    top: Folder,
    finished: Finished,
    /// Whether entries came as from a walk so far.
    in_order: bool,
}

/// Folders that are finished, what leads to them and what they came with, in the order in which they are
/// told.
type Finished = BTreeMap<Spot, (Child, Meta)>;

/// A path, its names joined: there is one for each folder, however deep. What lies below a folder comes
/// before it.
#[derive(PartialEq, Eq)]
struct Spot(Bytes);

impl Spot {
    fn of(path: &[Bytes]) -> Self {
        Self(path.join(&b'/').into())
    }

    /// The names in it; none in the path of a root without one.
    fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|byte| *byte == b'/').filter(|name| !name.is_empty())
    }

    fn path(&self) -> Vec<Bytes> {
        self.names().map(|name| self.0.slice_ref(name)).collect()
    }
}

impl Ord for Spot {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mut own, mut others) = (self.names(), other.names());
        loop {
            match (own.next(), others.next()) {
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => return a.cmp(b),
                (a, b) => return b.is_some().cmp(&a.is_some()),
            }
        }
    }
}

impl PartialOrd for Spot {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A folder, and the folders in it.
#[derive(Default)]
struct Folder {
    directory: Directory,
    /// What it came with.
    own: Meta,
    below: BTreeMap<Bytes, Below>,
    /// The one of those to which an entry came last.
    last: Option<Bytes>,
}

/// A folder in a folder.
enum Below {
    Open(Box<Folder>),
    /// Among those that are finished.
    Finished,
}

/// What finishing a folder takes.
struct Finishing<'a> {
    rules: &'a Rules,
    finished: &'a mut Finished,
    nodes: &'a mut dyn Nodes,
}

impl Tree {
    /// The root with this path. With `early`, folders are finished when the source leaves them: nodes
    /// must be kept for that, and so must folders without entries, which may get some.
    pub fn new(path: Vec<Bytes>, early: bool) -> Self {
        let (top, finished) = (Folder::default(), Finished::new());
        Self { path, top, finished, in_order: early }
    }

    /// Puts something where its path below this root says; the folders above it are made as well. The
    /// empty path is that of the root itself.
    ///
    /// # Errors
    /// That a name cannot be one; those of nodes. Names that are there twice are found when their
    /// folder is finished.
    pub fn place(
        &mut self,
        path: &[Bytes],
        placed: Placed,
        rules: &Rules,
        nodes: &mut dyn Nodes,
    ) -> Result<(), ImportError> {
        let child = match placed {
            Placed::Done(child) => child,
            Placed::Folder(own) => {
                self.folder(path, rules, nodes)?.own = own;
                return Ok(());
            }
        };
        let Some((name, above)) = path.split_last() else {
            return Err(UnixfsError::Name(String::new()).into());
        };
        Ok(self.folder(above, rules, nodes)?.directory.insert(name, child)?)
    }

    /// The folder at a path, made if it is not there, and read back if it is finished.
    fn folder(
        &mut self,
        path: &[Bytes],
        rules: &Rules,
        nodes: &mut dyn Nodes,
    ) -> Result<&mut Folder, ImportError> {
        let Self { path: root, top, finished, in_order } = self;
        let spot = |depth| [root.as_slice(), path.get(..depth).unwrap_or_default()].concat();
        let mut at = top;
        for (depth, name) in path.iter().enumerate() {
            if *in_order && at.last.as_ref().is_some_and(|last| last != name) {
                let finishing = &mut Finishing { rules, finished, nodes };
                at.leave(&mut spot(depth), finishing)?;
            }
            if let Some(Below::Finished) = at.below.get(name) {
                *in_order = false;
                let spot = Spot::of(&spot(depth + 1));
                let folder = Folder::read_back(spot, finished, nodes)?;
                at.below.insert(name.clone(), Below::Open(Box::new(folder)));
            }
            if at.last.as_ref() != Some(name) {
                at.last = Some(name.clone());
            }
            let open = || Below::Open(Box::default());
            match at.below.entry(name.clone()).or_insert_with(open) {
                Below::Open(folder) => at = folder,
                Below::Finished => return Err(ImportError::Conflict(shown(path))),
            }
        }
        if *in_order && at.last.is_some() {
            let finishing = &mut Finishing { rules, finished, nodes };
            at.leave(&mut spot(path.len()), finishing)?;
        }
        Ok(at)
    }

    /// Writes what is not written yet, bottom up, and tells of every folder.
    ///
    /// # Errors
    /// [`ImportError::Conflict`] tells the path that is there twice; those of nodes and of `tell`.
    pub fn finish(
        self,
        rules: &Rules,
        nodes: &mut dyn Nodes,
        tell: Tell<'_>,
    ) -> Result<Child, ImportError> {
        let Self { mut path, top, mut finished, .. } = self;
        let finishing = &mut Finishing { rules, finished: &mut finished, nodes };
        let root = top.finish(&mut path, finishing)?;
        let mut told = finished.iter();
        told.try_for_each(|(spot, (child, own))| tell(&spot.path(), *child, *own))?;
        Ok(root)
    }
}

impl Folder {
    /// The source has left the folder it was in below this one, which is at `path`: finishes it.
    fn leave(
        &mut self,
        path: &mut Vec<Bytes>,
        finishing: &mut Finishing<'_>,
    ) -> Result<(), ImportError> {
        let Some(name) = self.last.take() else { return Ok(()) };
        let Some(Below::Open(folder)) = self.below.get_mut(&name) else { return Ok(()) };
        path.push(name.clone());
        std::mem::take(folder.as_mut()).finish(path, finishing)?;
        path.pop();
        self.below.insert(name, Below::Finished);
        Ok(())
    }

    /// Writes the folder, which is at `path`, and all below it, bottom up. Recursion is bounded by the
    /// depth of paths.
    fn finish(
        self,
        path: &mut Vec<Bytes>,
        finishing: &mut Finishing<'_>,
    ) -> Result<Child, ImportError> {
        let Self { mut directory, own, below, .. } = self;
        for (name, below) in below {
            path.push(name.clone());
            let child = match below {
                Below::Open(folder) if folder.is_empty() && !finishing.rules.shape.empty_dirs => {
                    None
                }
                Below::Open(folder) => Some(folder.finish(path, finishing)?),
                Below::Finished => finishing.finished.get(&Spot::of(path)).map(|(child, _)| *child),
            };
            path.pop();
            if let Some(child) = child {
                directory.insert(&name, child)?;
            }
        }
        let Finishing { rules, finished, nodes } = finishing;
        directory.carry(rules.shape.stamp.folder(&own));
        let put = &mut |block| nodes.put(block);
        let child = directory.finish(&rules.settings, put).map_err(|error| match error {
            ImportError::Unixfs(UnixfsError::Twice(name)) => {
                path.push(name.into());
                ImportError::Conflict(shown(path))
            }
            other => other,
        })?;
        finished.insert(Spot::of(path), (child, own));
        Ok(child)
    }

    /// Reads a finished folder back, to be written again with more in it.
    fn read_back(
        spot: Spot,
        finished: &mut Finished,
        nodes: &dyn Nodes,
    ) -> Result<Self, ImportError> {
        let Some((root, own)) = finished.remove(&spot) else { return Ok(Self::default()) };
        let mut folder = Self { own, ..Self::default() };
        let mut path = spot.path();
        let mut shards = vec![(root.cid, 0)];
        while let Some((cid, depth)) = shards.pop() {
            for found in links_of(as_unixfs(&nodes.get(&cid)?)?)? {
                match found {
                    Found::Shard(_) if depth >= SHARD_DEPTH_MAX => {
                        return Err(UnixfsError::TooDeep.into());
                    }
                    Found::Shard(cid) => shards.push((cid, depth + 1)),
                    Found::Entry(entry) => {
                        path.push(entry.name.clone());
                        let below = Spot::of(&path);
                        path.pop();
                        if finished.contains_key(&below) {
                            folder.below.insert(entry.name, Below::Finished);
                            continue;
                        }
                        let child = Child { cid: entry.cid, tsize: entry.tsize, size: 0 };
                        folder.directory.insert(&entry.name, child)?;
                    }
                }
            }
        }
        Ok(folder)
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
