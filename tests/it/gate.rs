//! Deleting and adding exclude each other, also when a caller goes away in the middle.

use std::future::Future;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use henge::ipld::cid::Cid;
use henge::ipld::path::Path;
use henge::node::Settings;
use henge::node::add::AddOptions;
use henge::node::block::BlockPutOptions;
use henge::node::pin::{PinAddOptions, PinRmOptions};
use henge::store::backend::{Backend, BackendError, Batch, Durability, Family, Row};
use henge::store::memory::Memory;
use henge::store::{Mode, Pin, Store};
use henge::unixfs::profile::Profile;
use henge::{Error, Node};

/// Long enough for anything in memory, short enough to wait for in vain.
const A_WHILE: Duration = Duration::from_millis(200);

/// A backend whose writes wait while it is shut.
#[derive(Clone, Default)]
struct Door(Arc<(Memory, Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    shut: bool,
    waiting: usize,
}

impl Door {
    fn set(&self, shut: bool) {
        self.0.1.lock().unwrap().shut = shut;
        self.0.2.notify_all();
    }

    fn waiting(&self) -> usize {
        self.0.1.lock().unwrap().waiting
    }
}

impl Backend for Door {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        self.0.0.get(family, key)
    }

    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError> {
        self.0.0.page(family, prefix, after, limit)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), BackendError> {
        let mut state = self.0.1.lock().unwrap();
        state.waiting += 1;
        let mut state = self.0.2.wait_while(state, |state| state.shut).unwrap();
        state.waiting -= 1;
        self.0.0.write(batch, durability)
    }

    fn flush(&self, family: Family) -> Result<(), BackendError> {
        self.0.0.flush(family)
    }

    fn compact(&self, family: Family) -> Result<(), BackendError> {
        self.0.0.compact(family)
    }
}

fn node(door: &Door) -> Node {
    let settings = Settings {
        peer_id: String::new(),
        public_key: String::new(),
        repo_root: std::path::PathBuf::new(),
        storage_max: 0,
        import: Profile::V0_2015,
    };
    Node::new(settings, Store::over(Box::new(door.clone())).unwrap())
}

async fn put(node: Node, text: &'static str, pin: bool) -> Result<Cid, Error> {
    let options = BlockPutOptions { pin, ..Default::default() };
    node.block_put(Bytes::from_static(text.as_bytes()), &options).await
}

/// Starts work, waits until it writes, and drops its future.
async fn abandoned<T: Send + 'static>(door: &Door, work: impl Future<Output = T> + Send + 'static) {
    door.set(true);
    let work = tokio::spawn(work);
    while door.waiting() == 0 {
        assert!(!work.is_finished(), "it ended before it wrote");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    work.abort();
    assert!(work.await.is_err(), "it was dropped while it wrote");
}

async fn drained(node: &Node) {
    let mut freed = node.gc().await;
    while let Some(event) = freed.recv().await {
        event.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_went_away_let_gc_run_beside_its_pin() {
    let door = Door::default();
    let node = node(&door);
    let cid = put(node.clone(), "pinned", true).await.unwrap();
    let at = Path::of(cid);
    let (one, two, three) = (node.clone(), node.clone(), node.clone());
    let (pinned, unpinned) = ([at.clone()], [at]);
    let works: [std::pin::Pin<Box<dyn Future<Output = bool> + Send>>; 3] = [
        Box::pin(async move { put(one, "another", true).await.is_ok() }),
        Box::pin(async move { two.pin_add(&pinned, &PinAddOptions::default()).await.is_ok() }),
        Box::pin(async move { three.pin_rm(&unpinned, &PinRmOptions::default()).await.is_ok() }),
    ];
    for work in works {
        abandoned(&door, work).await;
        let early = tokio::time::timeout(A_WHILE, node.gc()).await;
        // Opened first: a runtime with a thread at a shut door never ends.
        door.set(false);
        assert!(early.is_err(), "gc began while the work was under way");
        drained(&node).await;
    }
    assert!(node.block_get(&Path::of(cid)).await.is_err(), "unpinned and collected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_went_away_let_an_add_run_beside_its_removal() {
    let door = Door::default();
    let node = node(&door);
    let cid = put(node.clone(), "loose", false).await.unwrap();
    let removing = node.clone();
    abandoned(&door, async move { removing.block_rm(cid).await.is_ok() }).await;
    let add = node.add(Box::new(std::iter::empty()), AddOptions::default());
    let early = tokio::time::timeout(A_WHILE, add).await;
    door.set(false);
    assert!(early.is_err(), "an add began while the block was being removed");
    drained(&node).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_expired_waits_for_adds_and_adds_do_not_wait_for_it() {
    let door = Door::default();
    let node = node(&door);
    let cid = put(node.clone(), "expired", true).await.unwrap();
    let pin = Pin::new(cid, Mode::Recursive, "").unwrap().expiring(Some(1)).unwrap();
    node.store().core().pin(&pin).unwrap();
    door.set(true);
    let adding = tokio::spawn(put(node.clone(), "another", true));
    while door.waiting() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let released = tokio::time::timeout(Duration::from_secs(20), node.release_expired()).await;
    door.set(false);
    assert_eq!(released.unwrap().unwrap(), 0, "it waited for the add, or did not");
    adding.await.unwrap().unwrap();
    assert_eq!(node.store().core().pin_row(&cid).unwrap(), Some(pin));
    assert_eq!(node.release_expired().await.unwrap(), 1);
    assert_eq!(node.release_expired().await.unwrap(), 0);
    assert_eq!(node.store().core().pin_row(&cid).unwrap(), None);
}
