//! Listing folders: plain ones and HAMTs alike, in the order of the blocks, a page at a time.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Dag, DagError, Unixfs, malformed};
use crate::ipld::cid::{Cid, codec};
use crate::task::{self, Ahead};
use crate::unixfs::hamt;
use crate::unixfs::node::{FsNode, Kind, Mtime};

/// Entries waiting for the reader.
const ENTRIES: usize = 64;
/// Deepest HAMT: its hash has 64 bits, a level uses at least 3 of them.
pub(super) const SHARD_DEPTH_MAX: usize = 22;
/// Shards of one folder fetched ahead of the reader, over all levels. Bounds memory, with
/// [`SHARD_DEPTH_MAX`], at 30 shards, whatever the folder's size.
const SHARDS_AHEAD: usize = 8;

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name; bytes, since names need not be UTF-8.
    pub name: Bytes,
    /// Where it leads.
    pub cid: Cid,
    /// Cumulative size as the folder claims it, in bytes.
    pub tsize: u64,
}

/// What an entry is, as far as `ls` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A file and its size in bytes.
    File(u64),
    /// A folder.
    Directory,
    /// A symlink and its target.
    Symlink(Bytes),
    /// Not UnixFS.
    Other,
}

/// A file, folder or symlink, as far as its root tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// What it is.
    pub what: What,
    /// Its permission bits (07777), where it tells them.
    pub mode: Option<u32>,
    /// When it was changed last, where it tells that.
    pub mtime: Option<Mtime>,
}

impl From<What> for About {
    fn from(what: What) -> Self {
        Self { what, mode: None, mtime: None }
    }
}

/// A folder's node whose links are being listed.
struct Level {
    links: VecDeque<Found>,
    /// Links of it, from the first on, whose shards have been asked for.
    asked: usize,
    flying: VecDeque<Ahead<Result<Unixfs, DagError>>>,
}

impl Level {
    fn of(node: Unixfs) -> Result<Self, DagError> {
        let links = links_of(node)?.collect();
        Ok(Self { links, asked: 0, flying: VecDeque::new() })
    }

    /// Asks for shards to come: for `most`, and for the first of all in any case.
    fn ask(&mut self, dag: &Dag, most: usize) {
        while self.flying.is_empty() || self.flying.len() < most {
            let Some(found) = self.links.get(self.asked) else { return };
            if let Found::Shard(cid) = found {
                let (dag, cid) = (dag.clone(), *cid);
                self.flying.push_back(task::ahead(async move { dag.unixfs(&cid).await }));
            }
            self.asked = self.asked.saturating_add(1);
        }
    }

    fn next(&mut self) -> Option<Found> {
        self.asked = self.asked.saturating_sub(1);
        self.links.pop_front()
    }
}

/// Entries of a folder as they are found.
pub type Entries = mpsc::Receiver<Result<Entry, DagError>>;

impl Dag {
    /// Streams the entries of a folder. A dag-pb node that is no folder yields its named links,
    /// a block without links nothing.
    ///
    /// # Errors
    /// The root's; later ones come through the stream, as its last item.
    pub async fn entries(&self, cid: &Cid) -> Result<Entries, DagError> {
        let (out, entries) = mpsc::channel(ENTRIES);
        if cid.codec() != codec::DAG_PB {
            self.block(cid).await?;
            return Ok(entries);
        }
        let root = self.unixfs(cid).await?;
        let dag = self.clone();
        task::detach(async move {
            let listed = tokio::select! {
                () = out.closed() => return,
                listed = dag.list(root, &out) => listed,
            };
            if let Err(error) = listed {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(entries)
    }

    /// Sends entries depth first, while the shards that come next are on their way.
    async fn list(
        &self,
        root: Unixfs,
        out: &mpsc::Sender<Result<Entry, DagError>>,
    ) -> Result<(), DagError> {
        let mut stack = vec![Level::of(root)?];
        loop {
            let above = stack.split_last().map_or(&[][..], |(_, above)| above);
            let flying = above.iter().fold(0usize, |sum, l| sum.saturating_add(l.flying.len()));
            let Some(level) = stack.last_mut() else { return Ok(()) };
            level.ask(self, SHARDS_AHEAD.saturating_sub(flying));
            match level.next() {
                None => drop(stack.pop()),
                Some(Found::Entry(entry)) => {
                    if out.send(Ok(entry)).await.is_err() {
                        return Ok(());
                    }
                }
                Some(Found::Shard(cid)) => {
                    let node = match level.flying.pop_front() {
                        Some(asked) => asked.join().await?,
                        None => self.unixfs(&cid).await?,
                    };
                    let shard = matches!(&node, Unixfs::Node(_, fs) if fs.kind == Kind::Shard);
                    if !shard || stack.len() >= SHARD_DEPTH_MAX {
                        return Err(malformed(&cid, &"a HAMT leads to what is no shard of it"));
                    }
                    stack.push(Level::of(node)?);
                }
            }
        }
    }

    /// What an entry is: raw blocks tell it by their CID and size, others are opened.
    ///
    /// # Errors
    /// As [`Dag::unixfs`]; what is not UnixFS is [`What::Other`], not an error.
    pub async fn what(&self, cid: &Cid) -> Result<What, DagError> {
        Ok(self.about(cid).await?.what)
    }

    /// The same, with its permissions and the time of its last change where it tells them.
    ///
    /// # Errors
    /// As [`Self::what`].
    pub async fn about(&self, cid: &Cid) -> Result<About, DagError> {
        if cid.codec() == codec::RAW {
            return Ok(What::File(self.block_size(cid).await?).into());
        }
        self.opened(cid).await
    }

    /// What an entry of a folder is. A raw block that is not here is not fetched for its size: that
    /// is what the folder claims.
    ///
    /// # Errors
    /// As [`Self::what`].
    pub async fn about_entry(&self, entry: &Entry) -> Result<About, DagError> {
        if entry.cid.codec() != codec::RAW {
            return self.opened(&entry.cid).await;
        }
        let at = entry.cid;
        let row = self.store.run(move |core| core.stat(&at)).await?;
        Ok(What::File(row.map_or(entry.tsize, |row| row.size.into())).into())
    }

    async fn opened(&self, cid: &Cid) -> Result<About, DagError> {
        match self.unixfs(cid).await {
            Ok(Unixfs::Raw(data)) => Ok(What::File(data.len() as u64).into()),
            Ok(Unixfs::Node(_, fs)) => {
                Ok(About { what: what(&fs), mode: fs.mode, mtime: fs.mtime })
            }
            Err(DagError::NotUnixfs(_)) => Ok(What::Other.into()),
            Err(error) => Err(error),
        }
    }
}

fn what(fs: &FsNode) -> What {
    match fs.kind {
        Kind::Directory | Kind::Shard => What::Directory,
        Kind::Symlink => What::Symlink(fs.data.clone()),
        Kind::File | Kind::Raw | Kind::Metadata => What::File(fs.size),
    }
}

/// A link of a folder's node.
pub(super) enum Found {
    Entry(Entry),
    Shard(Cid),
}

/// The links of a folder's node, told apart.
pub(super) fn links_of(node: Unixfs) -> Result<std::vec::IntoIter<Found>, DagError> {
    let Unixfs::Node(pb, fs) = node else { return Ok(Vec::new().into_iter()) };
    let shard = fs.kind == Kind::Shard;
    if !shard && fs.kind != Kind::Directory {
        return Ok(Vec::new().into_iter());
    }
    let mut found = Vec::with_capacity(pb.links.len());
    for link in pb.links {
        let label = link.name.unwrap_or_default();
        let name = match shard {
            true => hamt::entry_name(&label, fs.fanout).map_err(|e| malformed(&link.cid, &e))?,
            false => Some(label),
        };
        found.push(match name {
            None => Found::Shard(link.cid),
            Some(name) => {
                Found::Entry(Entry { name, cid: link.cid, tsize: link.tsize.unwrap_or(0) })
            }
        });
    }
    Ok(found.into_iter())
}
