//! Reading a file back: any range of it, touching only the nodes that cover the range, and a few
//! leaves ahead of the reader.
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
use crate::ipld::cid::Cid;
use crate::task::{self, Ahead};
use crate::unixfs::node::Kind;
use crate::unixfs::seek::covering;

/// Blocks of one node fetched ahead of the reader. Bounds memory, with [`DEPTH_MAX`], at
/// 8 x depth blocks; a file of a terabyte is four nodes deep.
const AHEAD: usize = 8;
/// Pieces of content waiting for the reader, beside those that are fetched ahead: a reader that
/// sleeps holds them all.
const PIECES: usize = 1;
/// Deepest file that is read: no importer comes near, a chain made to exhaust memory does.
pub(super) const DEPTH_MAX: usize = 64;

/// Content of a file as it arrives.
pub type Content = mpsc::Receiver<Result<Bytes, DagError>>;

/// A part of the file that lies under one child.
pub(super) struct Part {
    pub(super) cid: Cid,
    pub(super) start: u64,
    pub(super) end: u64,
    /// What the parent says is below it, in bytes.
    pub(super) claimed: u64,
}

/// A node whose parts are being read, the first of them in flight.
#[derive(Default)]
struct Level {
    waiting: VecDeque<Part>,
    flying: VecDeque<(Part, Ahead<Result<Unixfs, DagError>>)>,
}

impl Dag {
    /// Size of a file's content in bytes, from its root alone.
    ///
    /// # Errors
    /// [`DagError::IsDirectory`] and [`DagError::NotUnixfs`] for what has no content.
    pub async fn file_size(&self, cid: &Cid) -> Result<u64, DagError> {
        size_of(&self.unixfs(cid).await?)
    }

    /// Streams bytes `start..end` of a file; past its end there is nothing. Dropping the receiver
    /// ends the reading.
    ///
    /// # Errors
    /// As [`Self::file_size`]; what goes wrong later comes through the stream, as its last item.
    pub async fn read(&self, cid: &Cid, start: u64, end: u64) -> Result<Content, DagError> {
        let root = self.unixfs(cid).await?;
        let size = size_of(&root)?;
        let whole = Part { cid: *cid, start: start.min(size), end: end.min(size), claimed: size };
        let (out, content) = mpsc::channel(PIECES);
        let dag = self.clone();
        task::detach(async move {
            let pumped = tokio::select! {
                () = out.closed() => return,
                pumped = dag.pump(whole, root, &out) => pumped,
            };
            if let Err(error) = pumped {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(content)
    }

    /// Sends the content in order; returns early when the reader is gone.
    async fn pump(
        &self,
        whole: Part,
        root: Unixfs,
        out: &mpsc::Sender<Result<Bytes, DagError>>,
    ) -> Result<(), DagError> {
        let mut levels: Vec<Level> = Vec::new();
        let (mut part, mut node) = (whole, root);
        loop {
            let (own, children) = open(&part, node)?;
            if !own.is_empty() && out.send(Ok(own)).await.is_err() {
                return Ok(());
            }
            if !children.is_empty() {
                if levels.len() == DEPTH_MAX {
                    return Err(malformed(&part.cid, &"the file is too deep"));
                }
                levels.push(Level { waiting: children, flying: VecDeque::new() });
            }
            let Some((next, fetched)) = self.next_part(&mut levels) else { return Ok(()) };
            node = fetched.join().await?;
            part = next;
        }
    }

    /// The next part in order, after starting those behind it.
    fn next_part(
        &self,
        levels: &mut Vec<Level>,
    ) -> Option<(Part, Ahead<Result<Unixfs, DagError>>)> {
        loop {
            let level = levels.last_mut()?;
            while level.flying.len() < AHEAD {
                let Some(part) = level.waiting.pop_front() else { break };
                let (dag, cid) = (self.clone(), part.cid);
                level.flying.push_back((part, task::ahead(async move { dag.unixfs(&cid).await })));
            }
            match level.flying.pop_front() {
                Some(next) => return Some(next),
                None => levels.pop(),
            };
        }
    }
}

/// A node's own content within the part, and the parts below it.
pub(super) fn open(part: &Part, node: Unixfs) -> Result<(Bytes, VecDeque<Part>), DagError> {
    if size_of(&node)? != part.claimed {
        return Err(malformed(&part.cid, &"its size is not what its parent says"));
    }
    let (pb, fs) = match node {
        Unixfs::Raw(data) => {
            return Ok((data.slice(part.start as usize..part.end as usize), VecDeque::new()));
        }
        Unixfs::Node(pb, fs) => (pb, fs),
    };
    let (own, wanted) = covering(&fs, part.start, part.end);
    let below = |w: crate::unixfs::seek::Wanted| {
        let (link, size) = (pb.links.get(w.link)?, fs.blocksizes.get(w.link)?);
        Some(Part { cid: link.cid, start: w.start, end: w.end, claimed: *size })
    };
    Ok((own, wanted.into_iter().filter_map(below).collect()))
}

/// Content bytes of a node; an error for what has none.
pub(super) fn size_of(node: &Unixfs) -> Result<u64, DagError> {
    match node {
        Unixfs::Raw(data) => Ok(data.len() as u64),
        Unixfs::Node(_, fs) => match fs.kind {
            Kind::File | Kind::Raw | Kind::Metadata => Ok(fs.size),
            // The target is what a symlink's reader wants.
            Kind::Symlink => Ok(fs.data.len() as u64),
            Kind::Directory | Kind::Shard => Err(DagError::IsDirectory),
        },
    }
}

#[cfg(test)]
mod tests;
