//! A barrier that callers share: whoever waits at the same time is served by one piece of work.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::lock;

/// Counts callers, and up to which of them the work is done.
#[derive(Default)]
pub struct Barrier {
    /// Raised by each caller before it waits.
    asked: AtomicU64,
    /// Every caller up to this one is covered by work that began after it came.
    covered: Mutex<u64>,
}

impl Barrier {
    /// Returns once `work`, begun after this call, is done: by this caller or by another.
    ///
    /// # Errors
    /// The work's. Nobody is covered by it then: the next caller tries again.
    pub fn pass<E>(&self, work: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        let mine = self.asked.fetch_add(1, SeqCst) + 1;
        let mut covered = lock(&self.covered);
        if *covered < mine {
            let upto = self.asked.load(SeqCst);
            work()?;
            *covered = upto;
        }
        Ok(())
    }
}
