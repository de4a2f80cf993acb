//! The only place that starts tasks and threads: names, joining, panics passed on; and places for them.
//!
//! A panic in a task is a bug, never an answer: it is raised again in whoever waits.
#![allow(clippy::disallowed_methods, reason = "this is where they are allowed")]

pub mod places;

use std::future::Future;

use tokio::task::{JoinError, JoinHandle};

/// Items in flight between a worker and its reader: a bound for every event stream.
pub const EVENTS_IN_FLIGHT: usize = 64;

/// Runs blocking work (the store, files, hashing) off the async threads and waits for it.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    join(tokio::task::spawn_blocking(work)).await
}

/// Waits for async work in blocking work: for that alone, never in a task.
pub fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(work)
}

/// Starts blocking work whose results arrive by a channel; nobody waits for its end.
pub fn detach_blocking(work: impl FnOnce() + Send + 'static) {
    drop(tokio::task::spawn_blocking(work));
}

/// Starts an async task whose results arrive by a channel; it ends when the channel closes.
pub fn detach(work: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(work));
}

/// Starts an async task that can be waited for.
pub fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work)
}

/// Waits for a task and passes its panic on.
pub async fn join<T>(handle: impl Future<Output = Result<T, JoinError>>) -> T {
    match handle.await {
        Ok(value) => value,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody waits for what was aborted; a runtime that is going down cancels tasks, too, and
            // then whoever waits is about to be dropped.
            Err(_) => std::future::pending().await,
        },
    }
}

/// A task ahead of whoever may want its result; it ends when this is dropped.
#[derive(Debug)]
pub struct Ahead<T>(JoinHandle<T>);

/// Starts a task ahead.
pub fn ahead<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Ahead<T> {
    Ahead(tokio::spawn(work))
}

impl<T> Ahead<T> {
    /// Waits for it and passes its panic on.
    pub async fn join(mut self) -> T {
        join(&mut self.0).await
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Threads for work that is bound by the processor: one a core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Starts a named thread for work that never waits for tasks.
///
/// # Errors
/// When the system refuses a thread.
pub fn thread(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Starts an async task that a tracker waits for.
pub fn track(
    tracker: &tokio_util::task::TaskTracker,
    work: impl Future<Output = ()> + Send + 'static,
) {
    drop(tracker.spawn(work));
}

/// Time for a reader to take one result before it counts as gone: work that holds others up must
/// not wait for a client that stopped reading and never closed.
const STUCK_TIME: std::time::Duration = std::time::Duration::from_secs(300);

/// Sends a result from blocking work; `false` when the reader is gone, or stuck.
pub fn send<T>(out: &tokio::sync::mpsc::Sender<T>, item: T) -> bool {
    use tokio::sync::mpsc::error::TrySendError;
    match out.try_send(item) {
        Ok(()) => true,
        Err(TrySendError::Closed(_)) => false,
        Err(TrySendError::Full(item)) => {
            tokio::runtime::Handle::current().block_on(out.send_timeout(item, STUCK_TIME)).is_ok()
        }
    }
}
