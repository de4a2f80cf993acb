//! What the node lacks is no fault of a request's: while it is full, or offline, requests wait, and
//! none is forgotten.

use std::sync::atomic::AtomicBool;

use super::super::account::{put_rows, row_of};
use super::super::request::Status as At;
use super::super::row::Row;
use super::*;
use crate::node::Error;
use crate::store::StoreError;
use crate::store::pin::now;
use crate::store::tenants::TenantBatch;

const MS: Duration = Duration::from_millis(1);

/// Peers whose blocks find no room while a flag is up.
struct Crowded {
    full: Arc<AtomicBool>,
    asked: Arc<AtomicU64>,
    peers: Peers,
}

impl Session for Crowded {
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        if self.full.load(Ordering::Relaxed) {
            let (wanted, used, limit) = (1, 4711, 4711);
            let no_room = ExchangeError::Store(StoreError::NoRoom { wanted, used, limit });
            return Box::pin(async { Err(no_room) });
        }
        self.peers.fetch(cid)
    }

    fn progress(&self) -> BoxFuture<'_, Progress> {
        self.peers.progress()
    }
}

fn crowded(ours: &Store, theirs: &Store) -> (Service, Arc<AtomicBool>, Arc<AtomicU64>) {
    let (full, asked) = (Arc::new(AtomicBool::new(true)), Arc::<AtomicU64>::default());
    let peers = Peers {
        theirs: theirs.clone(),
        ours: ours.clone(),
        delay: MS,
        sent: Arc::default(),
        asked: Asked::default(),
    };
    let session = Crowded { full: Arc::clone(&full), asked: Arc::clone(&asked), peers };
    let mut node = node(ours);
    node.dag = Dag::new(ours.clone()).asking(Box::new(session), Patience::Endless);
    (node.service(), full, asked)
}

/// Waits until nothing is ready, or nothing is begun, and nothing in flight.
async fn quiet(service: &Service, begun: impl Fn() -> bool) {
    let since = Instant::now();
    while !begun() || !service.state().jobs.lock().unwrap().is_empty() {
        assert!(since.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(5 * MS).await;
    }
}

#[tokio::test]
async fn a_full_node_keeps_its_queue_and_what_is_to_be_replaced() {
    let (ours, theirs) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let blocks: Vec<Block> = (0..40).map(|n| leaf(n, 100)).collect();
    theirs.core().put_unpinned(&blocks).unwrap();
    ours.core().put_unpinned(&blocks[..1]).unwrap();
    let (service, full, asked) = crowded(&ours, &theirs);
    let who = access(&service, 1, Limits::default());
    // One try, and no request may be charged with it.
    let settings = Working { workers: 4, tries: 1, ..Working::default() };
    let worker = Worker::start(&service, settings);
    let old = service.add(&who, ask(blocks[0].cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 1).await;
    worker.stop().await;
    service.replace(&who, &old.id, ask(blocks[1].cid())).await.unwrap();
    for block in &blocks[2..] {
        service.add(&who, ask(block.cid())).await.unwrap();
    }
    let worker = Worker::start(&service, settings);
    quiet(&service, || asked.load(Ordering::Relaxed) > 0).await;
    tokio::time::sleep(100 * MS).await;
    let tried = asked.load(Ordering::Relaxed);
    assert!((1..=4).contains(&tried), "{tried} were begun on a full node");
    let found = service.find(&who, &all()).await.unwrap();
    assert_eq!(found.count, 39);
    let told = |request: &&super::super::Request| {
        let details = &request.info["status_details"];
        assert!(request.status == Status::Queued && !request.info.contains_key("tries"));
        assert!(!details.contains("4711"), "{details}");
        details.starts_with("this node is full; it goes on when there is room; again at 20")
    };
    assert_eq!(found.results.iter().filter(told).count() as u64, tried);
    let pinned = |n: usize| ours.core().pin_row_of(blocks[n].cid(), "t1").unwrap().is_some();
    assert!(pinned(0) && !pinned(1));
    // Who filled it twice running waits longer, and still fails never.
    let first = service.state().queue.lock().unwrap().due().unwrap();
    assert!((now() + 20..=now() + 30).contains(&first));
    let key = service.state().queue.lock().unwrap().next(first, 1, &|_| None).unwrap();
    let stop = CancellationToken::new();
    let state = service.state().clone();
    let errand = state.begin(&ours.core(), &who.tenant, key.1, &stop).unwrap().unwrap();
    let errand = Arc::new(errand);
    let end = service.fetch(&errand, &settings).await;
    state.end(&ours.core(), &errand, end, 1).unwrap();
    let row = row_of(&ours.core(), 1, key.1).unwrap().unwrap();
    assert!(row.status == At::Queued && row.tries == 0 && row.not_before > now() + 200);
    worker.stop().await;
    // There is room again: a node that starts then goes on at once.
    full.store(false, Ordering::Relaxed);
    let (service, full, _) = crowded(&ours, &theirs);
    full.store(false, Ordering::Relaxed);
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, settings);
    until(&service, &who, Status::Pinned, 39).await;
    assert!(!pinned(0) && pinned(1));
    worker.stop().await;
}

#[test]
fn after_a_pause_fetches_begin_one_by_one() {
    let state = super::super::State::default();
    assert_eq!(state.most(20), 20);
    let now = Instant::now();
    let ago = |seconds| now.checked_sub(Duration::from_secs(seconds)).unwrap();
    for (until, most) in [
        (now + Duration::from_secs(9), 0),
        (ago(1), 1),
        (ago(31), 2),
        (ago(61), 4),
        (ago(151), 20),
        (ago(3000), 20),
    ] {
        *state.paused.lock().unwrap() = Some(until);
        assert_eq!(state.most(20), most);
    }
}

#[tokio::test]
async fn a_node_that_is_offline_pins_what_is_here_and_keeps_the_rest() {
    let (ours, theirs) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let children = [leaf(1, 100), leaf(2, 100), leaf(3, 100)];
    let roots = [parent(&[&children[0]], 100), parent(&[&children[1], &children[2]], 100)];
    for store in [&ours, &theirs] {
        store.core().put_unpinned(&roots).unwrap();
        store.core().put_unpinned(&children[..2]).unwrap();
    }
    theirs.core().put_unpinned(&children).unwrap();
    let service = node(&ours).service();
    let who = access(&service, 1, Limits::default());
    let settings = Working { tries: 1, ..Working::default() };
    let worker = Worker::start(&service, settings);
    for root in &roots {
        service.add(&who, ask(root.cid())).await.unwrap();
    }
    until(&service, &who, Status::Pinned, 1).await;
    quiet(&service, || service.queue().iter().all(|line| line.ready == 0)).await;
    let found = service.find(&who, &all()).await.unwrap();
    let [waits, _] = &found.results[..] else { panic!("{found:?}") };
    let details = &waits.info["status_details"];
    assert_eq!((waits.status, waits.cid.clone()), (Status::Queued, roots[1].cid().to_string()));
    assert!(details.starts_with("this node is offline; again at 20"), "{details}");
    assert!(!waits.info.contains_key("tries"));
    worker.stop().await;
    // Online, it is fetched at once.
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, settings);
    until(&service, &who, Status::Pinned, 2).await;
    worker.stop().await;
}

/// Rows of requests that have failed, each with so many bytes of meta.
fn failed(ours: &Store, count: u64, bytes: usize) {
    let mut batch = TenantBatch::default();
    for n in 0..count {
        let row = Row {
            status: At::Failed,
            tries: 5,
            hold: None,
            random: n,
            not_before: 0,
            expires: 0,
            bytes: 0,
            blocks: 0,
            cid: leaf(n, 9).cid().to_string(),
            keeps: None,
            name: String::new(),
            reason: "no".into(),
            origins: Vec::new(),
            meta: [("k".to_owned(), "v".repeat(bytes))].into(),
        };
        put_rows(&mut batch, 1, (n + 1) * 1000, &row);
    }
    ours.core().write_tenants(batch).unwrap();
}

#[tokio::test]
async fn who_has_too_many_failed_requests_removes_some_and_none_goes_by_itself() {
    for (count, bytes) in [(10_000, 0), (1_200, 15 << 10)] {
        let (ours, theirs) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
        failed(&ours, count, bytes);
        let service = online(&ours, &theirs, MS).0.service();
        let who = access(&service, 1, Limits { pin_bytes: Some(10), ..Limits::default() });
        let told = match service.add(&who, ask(leaf(1, 9).cid())).await {
            Err(Error::Quota(told)) => told,
            other => panic!("{other:?}"),
        };
        assert!(told.starts_with(&format!("{count} requests have failed, of ")), "{told}");
        assert!(told.ends_with("; remove some"), "{told}");
        let found = service.find(&who, &all()).await.unwrap();
        assert_eq!(found.count, count);
        let enough = if bytes == 0 { 1 } else { 200 };
        for request in &found.results[..enough] {
            service.remove(&who, &request.id).await.unwrap();
        }
        // One more that fails: every one of them stays.
        theirs.core().put_unpinned(&[leaf(1, 11)]).unwrap();
        service.add(&who, ask(leaf(1, 11).cid())).await.unwrap();
        let worker = Worker::start(&service, Working::default());
        until(&service, &who, Status::Failed, count + 1 - enough as u64).await;
        worker.stop().await;
        let kept = service.state().account(1).open(&ours.core(), service.state()).unwrap().failed;
        let again = node(&ours).service();
        let read = again.state().account(1).open(&ours.core(), again.state()).unwrap().failed;
        assert_eq!(kept, read);
    }
}
