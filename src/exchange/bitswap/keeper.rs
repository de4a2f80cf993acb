//! Putting fetched blocks into the store, as many at a time as have come meanwhile.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use tokio::sync::{mpsc, oneshot};

use super::super::ExchangeError;
use crate::ipld::block::Block;
use crate::ipld::cid::Cid;
use crate::store::{Store, StoreError};
use crate::task;

/// Blocks that wait to be put; with those of one batch, what a fast peer may hold in memory.
pub const WAITING: usize = 64;
/// Batches that were put and are not looked at yet.
const TOLD: usize = 8;
/// Blocks put in one batch.
const BATCH_BLOCKS: usize = 64;
/// Bytes put in one batch, as far as blocks allow.
const BATCH_BYTES: usize = 8 << 20;

/// Who waits for a block, and under which name.
pub struct Waiter {
    /// The name it was asked for under.
    pub cid: Cid,
    /// Where it goes.
    pub reply: oneshot::Sender<Result<Block, ExchangeError>>,
}

/// A block on its way into the store.
pub struct Arrived {
    /// The block.
    pub block: Block,
    /// Told once it is there.
    pub waiters: Vec<Waiter>,
}

/// Blocks that are in the store now, with their sizes in bytes.
pub type Kept = Vec<(Cid, u32)>;

/// Starts the thread; it ends when nobody can give it blocks any more and all are put. Every batch
/// that was put is told of: whoever gives blocks must listen while it waits for room.
pub fn start(store: Store) -> (mpsc::Sender<Arrived>, mpsc::Receiver<Kept>) {
    let (arrive, mut arrived) = mpsc::channel::<Arrived>(WAITING);
    let (tell, told) = mpsc::channel(TOLD);
    task::detach_blocking(move || {
        while let Some(first) = arrived.blocking_recv() {
            let mut bytes = first.block.data().len();
            let mut batch = vec![first];
            while batch.len() < BATCH_BLOCKS
                && bytes < BATCH_BYTES
                && let Ok(next) = arrived.try_recv()
            {
                bytes = bytes.saturating_add(next.block.data().len());
                batch.push(next);
            }
            let kept = keep(&store, batch);
            // Without anybody to tell, what came is put all the same.
            if !kept.is_empty() {
                let _ = tell.blocking_send(kept);
            }
        }
    });
    (arrive, told)
}

/// Puts a batch and tells whoever waits.
fn keep(store: &Store, batch: Vec<Arrived>) -> Kept {
    let blocks: Vec<Block> = batch.iter().map(|arrived| arrived.block.clone()).collect();
    let put = store.core().put_unpinned(&blocks);
    for Arrived { block, waiters } in batch {
        for Waiter { cid, reply } in waiters {
            // A waiter that is gone wants nothing.
            let _ = reply.send(outcome(&put, &block, cid));
        }
    }
    let size = |block: &Block| u32::try_from(block.data().len()).unwrap_or(u32::MAX);
    match put {
        Ok(_) => blocks.iter().map(|block| (*block.cid(), size(block))).collect(),
        Err(_) => Vec::new(),
    }
}

fn outcome(
    put: &Result<Vec<Cid>, StoreError>,
    block: &Block,
    cid: Cid,
) -> Result<Block, ExchangeError> {
    match put {
        Ok(_) => block.clone().named(cid).ok_or(ExchangeError::Closed),
        Err(error) => Err(ExchangeError::Store(error.clone())),
    }
}
