//! `repo gc`: deleting what nothing holds.

use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::ipld::cid::{self, Cid};
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
    /// Releases expired pins, deletes every block that no pin holds and gives their space back. Waits for adds in
    /// progress, whose blocks are not pinned yet.
    pub async fn gc(&self) -> Results<GcEvent> {
        let exclusive = self.gate.clone().write_owned().await;
        let (out, events) = mpsc::channel(RESULTS);
        let core = self.store.core();
        task::detach_blocking(move || {
            if let Err(error) = collect(&core, &out) {
                // A reader that is gone wants no error either.
                let _ = out.blocking_send(Err(error.into()));
            }
            drop(exclusive);
        });
        events
    }
}

/// Plans and frees, step by step. An error stops it: what cannot be read is not garbage.
fn collect(core: &Core, out: &mpsc::Sender<Result<GcEvent, Error>>) -> Result<(), StoreError> {
    super::pin::release_expired(core)?;
    core.sweep_pending()?;
    core.release_orphans()?;
    let mut after = None;
    loop {
        let step = core.plan_garbage(after.as_ref())?;
        core.free(&step.garbage)?;
        for freed in &step.garbage {
            let event = GcEvent { cid: cid::of_hash(&freed.hash), size: freed.size.into() };
            if !task::send(out, Ok(event)) {
                return Ok(()); // Nobody listens: what is freed is freed, the rest can wait.
            }
        }
        match step.next {
            Some(next) => after = Some(next),
            None => return core.compact(),
        }
    }
}
