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

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Dag, DagError, Unixfs, malformed};
use crate::ipld::cid::{Cid, codec};
use crate::task;
use crate::unixfs::hamt;
use crate::unixfs::node::{FsNode, Kind, Mtime};

/// Entries waiting for the reader.
const ENTRIES: usize = 64;
/// Deepest HAMT: its hash has 64 bits, a level uses at least 3 of them.
pub(super) const SHARD_DEPTH_MAX: usize = 22;

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
            if let Err(error) = dag.list(root, &out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(entries)
    }

    /// Sends entries depth first; shards are opened when they are reached.
    async fn list(
        &self,
        root: Unixfs,
        out: &mpsc::Sender<Result<Entry, DagError>>,
    ) -> Result<(), DagError> {
        let mut stack = vec![links_of(root)?];
        while let Some(level) = stack.last_mut() {
            let Some(found) = level.next() else {
                stack.pop();
                continue;
            };
            match found {
                Found::Entry(entry) => {
                    if out.send(Ok(entry)).await.is_err() {
                        return Ok(());
                    }
                }
                Found::Shard(cid) => {
                    let node = self.unixfs(&cid).await?;
                    let shard = matches!(&node, Unixfs::Node(_, fs) if fs.kind == Kind::Shard);
                    if !shard || stack.len() >= SHARD_DEPTH_MAX {
                        return Err(malformed(&cid, &"a HAMT leads to what is no shard of it"));
                    }
                    stack.push(links_of(node)?);
                }
            }
        }
        Ok(())
    }

    /// What an entry is: raw blocks tell it by their CID and size, others are opened.
    ///
    /// # Errors
    /// As [`Dag::unixfs`]; what is not UnixFS is [`What::Other`], not an error.
    pub async fn what(&self, cid: &Cid) -> Result<What, DagError> {
        Ok(self.what_and_when(cid).await?.0)
    }

    /// The same, with the time of its last change where it tells one.
    ///
    /// # Errors
    /// As [`Self::what`].
    pub async fn what_and_when(&self, cid: &Cid) -> Result<(What, Option<Mtime>), DagError> {
        if cid.codec() == codec::RAW {
            return Ok((What::File(self.block_size(cid).await?), None));
        }
        match self.unixfs(cid).await {
            Ok(Unixfs::Raw(data)) => Ok((What::File(data.len() as u64), None)),
            Ok(Unixfs::Node(_, fs)) => Ok((what(&fs), fs.mtime)),
            Err(DagError::NotUnixfs(_)) => Ok((What::Other, None)),
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
