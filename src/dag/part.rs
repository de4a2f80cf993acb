//! Parts of a DAG as a CAR: the blocks along a path, and below its end as much as is asked for.
//!
//! Every block is sent as it is read. What is kept is a stack of links, and where no block may
//! come twice, a mark for each block that was sent.
//!
//! Source: ipfs/specs trustless-gateway.md, IPIP-402, IPIP-412.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::export::{PIECES, Pieces};
use super::order::{Mark, Order, mark};
use super::read::{DEPTH_MAX, Part, open, size_of};
use super::tree::{Found, SHARD_DEPTH_MAX, links_of};
use super::{Dag, DagError, Unixfs, as_unixfs, malformed};
use crate::ipld::block::Block;
use crate::ipld::car;
use crate::ipld::cid::{Cid, codec, hash};
use crate::ipld::path::Path;
use crate::task;
use crate::unixfs::node::Kind;

/// Most blocks that a walk without repeats tells apart: 200 MiB of marks, for a DAG of 1 TiB. What
/// is larger is asked for with repeats, which needs no marks.
const MARKS_MAX: usize = 4 << 20;
/// Most links that wait in a walk with repeats, 20 MiB of them. A DAG that is deep and broad at
/// once comes there, one of files and folders does not.
const WAITING_MAX: usize = 128 << 10;

/// What of a DAG is sent, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// How much below the end of the path.
    pub scope: Scope,
    /// Whether a block is sent each time it is met.
    pub repeats: bool,
}

/// How much is sent below the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Nothing but the block at the end.
    Block,
    /// What reading the file, or a part of it, or listing the folder takes.
    Entity(Option<Span>),
    /// Everything.
    All,
}

/// A part of a file, first and last byte; negative numbers count from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub from: i64,
    /// The last byte; `None` for the file's last.
    pub to: Option<i64>,
}

impl Span {
    /// The bytes meant in a file of a size: first, and one past the last. Both are equal when
    /// nothing of it is there.
    fn within(self, size: u64) -> (u64, u64) {
        let at = |n: i64| match u64::try_from(n) {
            Ok(n) => i128::from(n),
            Err(_) => i128::from(size).saturating_add(n.into()),
        };
        let clamp = |n: i128| u64::try_from(n.max(0)).unwrap_or(u64::MAX).min(size);
        let start = clamp(at(self.from));
        let end = self.to.map_or(size, |to| clamp(at(to).saturating_add(1)));
        (start, end.max(start))
    }
}

/// Why a walk ended early.
enum Stop {
    /// The reader is gone.
    Gone,
    Failed(DagError),
}

impl From<DagError> for Stop {
    fn from(error: DagError) -> Self {
        Self::Failed(error)
    }
}

/// The sending end of the CAR.
struct Sending<'a>(&'a mpsc::Sender<Result<Bytes, DagError>>);

impl Sending<'_> {
    /// Sends a block; one of an identity CID is in the CID already.
    async fn send(&self, block: Block) -> Result<(), Stop> {
        if block.cid().hash().code() == hash::IDENTITY {
            return Ok(());
        }
        let (cid, data) = block.into_parts();
        for piece in car::section(&cid, data) {
            self.piece(piece).await?;
        }
        Ok(())
    }

    async fn piece(&self, piece: Bytes) -> Result<(), Stop> {
        self.0.send(Ok(piece)).await.map_err(|_| Stop::Gone)
    }
}

/// What a walk has met; nothing is kept where repeats are welcome.
struct Met(Option<HashSet<Mark>>);

impl Met {
    fn new(repeats: bool) -> Self {
        Self((!repeats).then(HashSet::new))
    }

    /// Whether a block was met before and need not be visited again.
    fn meet(&mut self, cid: &Cid) -> Result<bool, Stop> {
        let Some(marks) = &mut self.0 else { return Ok(false) };
        if marks.len() >= MARKS_MAX {
            return Err(too_many());
        }
        Ok(!marks.insert(mark(&cid.hash().to_bytes())))
    }
}

fn too_many() -> Stop {
    DagError::TooLarge("a DAG of so many blocks is sent with repeats only").into()
}

impl Dag {
    /// Streams a part of a DAG as a CARv1 whose root is the end of the path: first the blocks that
    /// the path leads through, then, depth first, those below its end.
    ///
    /// # Errors
    /// The path's and its last block's, at once; of other blocks as the stream's last item.
    pub async fn part(&self, path: &Path, extent: Extent) -> Result<Pieces, DagError> {
        let (way, resolved) = self.trace(path).await?;
        self.block(&resolved.cid).await?;
        let (out, pieces) = mpsc::channel(PIECES);
        let dag = self.clone();
        task::detach(async move {
            if let Err(Stop::Failed(error)) = dag.send_part(way, resolved.cid, extent, &out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(pieces)
    }

    async fn send_part(
        &self,
        way: Vec<Cid>,
        end: Cid,
        extent: Extent,
        out: &mpsc::Sender<Result<Bytes, DagError>>,
    ) -> Result<(), Stop> {
        let to = Sending(out);
        to.piece(car::header(&[end])).await?;
        // None of these comes again below: no block has its own hash under it.
        for cid in way {
            to.send(self.block(&cid).await?).await?;
        }
        match extent.scope {
            Scope::All if extent.repeats => self.send_all(end, &to).await,
            Scope::All => self.send_each(end, &to).await,
            Scope::Entity(span) => self.send_entity(end, span, extent.repeats, &to).await,
            Scope::Block => to.send(self.block(&end).await?).await,
        }
    }

    /// Everything below a block, each block once.
    async fn send_each(&self, root: Cid, to: &Sending<'_>) -> Result<(), Stop> {
        let (mut order, mut met) = (Order::new(root), 0usize);
        while let Some(visit) = order.next() {
            met = met.saturating_add(1);
            if met > MARKS_MAX {
                return Err(too_many());
            }
            if visit.known && visit.cid.codec() == codec::RAW {
                continue;
            }
            let block = self.block(&visit.cid).await?;
            order.below(super::links_of(&block)?.into_iter().map(|(cid, _)| cid).collect());
            if !visit.known {
                to.send(block).await?;
            }
        }
        Ok(())
    }

    /// Everything below a block, each block as often as it is met.
    async fn send_all(&self, root: Cid, to: &Sending<'_>) -> Result<(), Stop> {
        let mut waiting = vec![root];
        while let Some(cid) = waiting.pop() {
            let block = self.block(&cid).await?;
            let links = super::links_of(&block)?;
            if waiting.len().saturating_add(links.len()) > WAITING_MAX {
                let text = "a DAG so deep and broad is sent without repeats only";
                return Err(DagError::TooLarge(text).into());
            }
            waiting.extend(links.into_iter().rev().map(|(cid, _)| cid));
            to.send(block).await?;
        }
        Ok(())
    }

    /// What reading a file or listing a folder takes; of anything else its block.
    async fn send_entity(
        &self,
        root: Cid,
        span: Option<Span>,
        repeats: bool,
        to: &Sending<'_>,
    ) -> Result<(), Stop> {
        let block = self.block(&root).await?;
        // What cannot be read as UnixFS is one block: its reader finds out the same way.
        let Ok(node) = as_unixfs(&block) else { return to.send(block).await };
        match &node {
            Unixfs::Node(_, fs) if fs.kind == Kind::Shard => {
                self.send_shards(root, Met::new(repeats), to).await
            }
            Unixfs::Node(_, fs) if matches!(fs.kind, Kind::Directory | Kind::Symlink) => {
                to.send(block).await
            }
            _ => {
                let size = size_of(&node)?;
                let (start, end) = span.map_or((0, size), |span| span.within(size));
                self.send_file(Part { cid: root, start, end, claimed: size }, repeats, to).await
            }
        }
    }

    /// Every shard of a folder. One that was met has been sent with all below it.
    async fn send_shards(&self, root: Cid, mut met: Met, to: &Sending<'_>) -> Result<(), Stop> {
        let mut levels = vec![vec![root].into_iter()];
        while let Some(level) = levels.last_mut() {
            let Some(cid) = level.next() else {
                levels.pop();
                continue;
            };
            if met.meet(&cid)? {
                continue;
            }
            let block = self.block(&cid).await?;
            let node = as_unixfs(&block)?;
            let shard = matches!(&node, Unixfs::Node(_, fs) if fs.kind == Kind::Shard);
            if !shard || levels.len() > SHARD_DEPTH_MAX {
                return Err(malformed(&cid, &"a HAMT leads to what is no shard of it").into());
            }
            let below = links_of(node)?.filter_map(|found| match found {
                Found::Shard(cid) => Some(cid),
                Found::Entry(_) => None,
            });
            levels.push(below.collect::<Vec<_>>().into_iter());
            to.send(block).await?;
        }
        Ok(())
    }

    /// The nodes of a file that cover a part of it. One that is wanted whole and was met whole has
    /// been sent with all below it; one that is wanted in part is opened again, and there are two
    /// of those on a level at most.
    async fn send_file(&self, file: Part, repeats: bool, to: &Sending<'_>) -> Result<(), Stop> {
        let (mut sent, mut whole) = (Met::new(repeats), Met::new(repeats));
        let mut levels = vec![VecDeque::from([file])];
        while let Some(level) = levels.last_mut() {
            let Some(part) = level.pop_front() else {
                levels.pop();
                continue;
            };
            let all = part.start == 0 && part.end == part.claimed;
            if all && whole.meet(&part.cid)? {
                continue;
            }
            let again = sent.meet(&part.cid)?;
            let block = self.block(&part.cid).await?;
            let (_, below) = open(&part, as_unixfs(&block)?)?;
            if !again {
                to.send(block).await?;
            }
            if levels.len() > DEPTH_MAX {
                return Err(malformed(&part.cid, &"the file is too deep").into());
            }
            levels.push(below);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_count_from_either_end() {
        let span = |from, to| Span { from, to };
        for (given, meant) in [
            (span(0, None), (0, 10)),
            (span(0, Some(0)), (0, 1)),
            (span(2, Some(4)), (2, 5)),
            (span(2, Some(99)), (2, 10)),
            (span(2, Some(-3)), (2, 8)),
            (span(-3, None), (7, 10)),
            (span(-3, Some(-1)), (7, 10)),
            (span(-99, Some(-3)), (0, 8)),
            (span(-99, None), (0, 10)),
            (span(10, None), (10, 10)),
            (span(99, Some(100)), (10, 10)),
            (span(8, Some(-9)), (8, 8)),
            (span(i64::MIN, Some(i64::MAX)), (0, 10)),
            (span(i64::MAX, Some(i64::MIN)), (10, 10)),
        ] {
            assert_eq!(given.within(10), meant, "{given:?}");
        }
        assert_eq!(span(0, None).within(0), (0, 0));
    }
}
