//! `repo gc`: deleting what nothing holds.

use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::ipld::cid::{self, Cid};
use crate::store::pin::now;
use crate::store::{Core, StoreError};
use crate::task;

/// A block that was deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GcEvent {
    /// Which, as CIDv1 of raw bytes: the store knows hashes, not codecs.
    pub cid: Cid,
    /// Its size in bytes.
    pub size: u64,
}

impl Node {
    /// Releases expired pins, deletes every block that no pin holds and gives their space back. Nobody
    /// waits for it: blocks that an operation in flight relies on stay.
    pub async fn gc(&self) -> Results<GcEvent> {
        self.events(collect)
    }

    /// Tells which blocks [`Self::gc`] would delete, and deletes none. What only pins hold that expire
    /// until then is not among them.
    pub async fn gc_plan(&self) -> Results<GcEvent> {
        self.events(plan)
    }

    fn events(&self, work: Work) -> Results<GcEvent> {
        let (out, events) = mpsc::channel(RESULTS);
        let core = self.store.core();
        task::detach_blocking(move || {
            if let Err(error) = work(&core, &out) {
                // A reader that is gone wants no error either.
                let _ = out.blocking_send(Err(error.into()));
            }
        });
        events
    }
}

/// What tells of blocks on its way.
type Work = fn(&Core, &mpsc::Sender<Result<GcEvent, Error>>) -> Result<(), StoreError>;

fn plan(core: &Core, out: &mpsc::Sender<Result<GcEvent, Error>>) -> Result<(), StoreError> {
    core.plan_garbage(&mut |freed| {
        let event = GcEvent { cid: cid::of_hash(&freed.hash), size: freed.size.into() };
        task::send(out, Ok(event))
    })
}

/// Frees, step by step. An error stops it: what cannot be read is not garbage.
fn collect(core: &Core, out: &mpsc::Sender<Result<GcEvent, Error>>) -> Result<(), StoreError> {
    core.release_expired(now())?;
    let mut heard = true;
    core.collect(&mut |freed| {
        let event = GcEvent { cid: cid::of_hash(&freed.hash), size: freed.size.into() };
        // Nobody listens: what is freed is freed, the rest can wait.
        heard = task::send(out, Ok(event));
        heard
    })?;
    if heard { core.compact() } else { Ok(()) }
}
