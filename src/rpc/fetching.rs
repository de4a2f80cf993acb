//! `diag fetches`, which is henge's own: what requests are trying that wait for blocks.
//!
//! A client that wants to hear of its own request names it (`watch=`), and asks by that name.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::node;
use crate::node::bitswap::{Fetching, Progress};

/// Requests with a name at a time; further ones have none.
const NAMED_MAX: usize = 1024;
/// Bytes of a name.
const NAME_MAX_BYTES: usize = 64;

/// Requests with a name that may wait for blocks; clones share them.
#[derive(Clone, Default)]
pub struct Named(Arc<Mutex<HashMap<String, Arc<Fetching>>>>);

impl Named {
    /// Names a request.
    pub fn add(&self, name: &str, fetching: Fetching) {
        let mut named = self.lock();
        named.retain(|_, fetching| !fetching.is_over());
        if named.len() < NAMED_MAX && name.len() <= NAME_MAX_BYTES {
            named.insert(name.to_owned(), Arc::new(fetching));
        }
    }

    fn get(&self, name: &str) -> Option<Arc<Fetching>> {
        self.lock().get(name).cloned()
    }

    /// Whole values are put in and taken out: a holder that panicked left nothing half-done.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Fetching>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the request of a name is trying, or every one; nothing for those that wait for nothing.
pub async fn fetches(router: &Router, args: Args) -> Result<Reply, Error> {
    let fetches = match args.all() {
        [] => match router.node.fetches().await {
            Err(node::Error::Offline) => Vec::new(),
            fetches => fetches?,
        },
        [name, ..] => match router.named.get(name) {
            Some(fetching) => fetching.progress().await.into_iter().collect(),
            None => Vec::new(),
        },
    };
    let shape = |progress: &Progress| {
        let cid = progress.status.round.cid?;
        Some(json!({
            "Cid": { "/": args.cid(&cid) },
            "Wanted": progress.status.wants,
            "Tried": progress.to_string(),
        }))
    };
    let shown: Vec<Value> = fetches.iter().filter_map(shape).collect();
    Ok(Reply::Value(json!({ "Fetches": shown })))
}
