//! What is tried while a command waits for blocks from others, told on standard error: a line soon
//! after nothing comes, and another when it changes.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::stream::Stream;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::output::{list, safe, text};
use crate::rpc::Reply;
use crate::task;

/// Commands that may wait for blocks.
const FETCHING: &[&str] = &[
    "block/get",
    "block/stat",
    "cat",
    "dag/export",
    "dag/get",
    "dag/resolve",
    "dag/stat",
    "get",
    "ls",
    "pin/add",
    "pin/update",
    "provide/once",
    "refs",
    "resolve",
    "routing/provide",
    "swarm/connect",
    "dag/import",
];
/// How often to look; nothing came since the last look when something is told.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Least time between two lines.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Whether a command may wait for blocks.
pub fn may_wait(command: &str) -> bool {
    FETCHING.contains(&command)
}

/// Tells until it is dropped.
pub struct Waiting {
    came: Arc<AtomicBool>,
    _stop: DropGuard,
}

impl Waiting {
    /// Begins to; `ask` asks the node what one request is trying.
    pub fn start<F>(ask: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Option<Value>> + Send,
    {
        let (came, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let (seen, stopped) = (Arc::clone(&came), stop.clone());
        task::detach(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = tell(&seen, ask) => {}
            }
        });
        Self { came, _stop: stop.drop_guard() }
    }

    /// The reply; what comes of it is noted, and its end ends this.
    pub fn over(self, reply: Reply) -> Reply {
        match reply {
            Reply::Lines(inner) => Reply::Lines(Box::pin(Watched { inner, waiting: self })),
            Reply::Bytes { stream, length } => {
                Reply::Bytes { stream: Box::pin(Watched { inner: stream, waiting: self }), length }
            }
            done => done,
        }
    }
}

async fn tell<F>(came: &AtomicBool, ask: impl Fn() -> F)
where
    F: Future<Output = Option<Value>>,
{
    let (mut told, mut at): (String, Option<Instant>) = (String::new(), None);
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let recent = at.is_some_and(|at| at.elapsed() < SAY_EVERY);
        if came.swap(false, Ordering::Relaxed) || recent {
            continue;
        }
        // A daemon of another kind does not know the question.
        let Some(reply) = ask().await else { return };
        let Some(fetch) = list(&reply, "Fetches").first() else { continue };
        let cid = fetch.get("Cid").map(|cid| text(cid, "/")).unwrap_or_default();
        let line = format!("waiting for {cid}: {}", safe(text(fetch, "Tried")));
        if line != told {
            eprintln!("{line}");
            (told, at) = (line, Some(Instant::now()));
        }
    }
}

/// A reply's items, noted as they come.
struct Watched<S> {
    inner: S,
    waiting: Waiting,
}

impl<S: Stream + Unpin> Stream for Watched<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let next = Pin::new(&mut self.inner).poll_next(cx);
        if next.is_ready() {
            self.waiting.came.store(true, Ordering::Relaxed);
        }
        next
    }
}
