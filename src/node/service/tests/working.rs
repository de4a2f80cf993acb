//! The worker: what it fetches, gives up, puts back and lets go.

use super::super::account::{delete_rows, put_rows, row_of};
use super::*;
use crate::node::Error;
use crate::store::pin::now;
use crate::store::tenants::TenantBatch;

fn stores() -> (Store, Store) {
    (Store::in_memory().unwrap(), Store::in_memory().unwrap())
}

const MS: Duration = Duration::from_millis(1);

#[tokio::test]
async fn a_dag_is_fetched_weighed_and_pinned() {
    let (ours, theirs) = stores();
    let leaves: Vec<Block> = (0..5).map(|n| leaf(n, 1000)).collect();
    let root = parent(&leaves.iter().collect::<Vec<_>>(), 1000);
    theirs.core().put_unpinned(&leaves).unwrap();
    theirs.core().put_unpinned(std::slice::from_ref(&root)).unwrap();
    let (node, sent) = online(&ours, &theirs, MS);
    let service = node.service();
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, Working::default());
    let request = service.add(&who, ask(root.cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 1).await;
    let weight = root.data().len() as u64 + 5000;
    assert_eq!(sent.load(Ordering::Relaxed), weight);
    assert_eq!(service.used(&who.tenant).await.unwrap(), (weight, 0));
    let request = service.request(&who, &request.id).await.unwrap();
    assert_eq!(request.info["dag_size"], weight.to_string());
    // Again, and for somebody else: nothing more comes, and each is charged for it once.
    let other = access(&service, 2, Limits::default());
    let second = service.add(&who, ask(root.cid())).await.unwrap();
    service.add(&other, ask(root.cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 2).await;
    until(&service, &other, Status::Pinned, 1).await;
    assert_eq!(sent.load(Ordering::Relaxed), weight);
    for who in [&who, &other] {
        assert_eq!(service.used(&who.tenant).await.unwrap(), (weight, 0));
    }
    // It stays until the last lets go, whatever is collected.
    let collect = || async {
        let mut freed = node.gc().await;
        while freed.recv().await.is_some() {}
        ours.core().stat(leaves[0].cid()).unwrap().is_some()
    };
    service.remove(&who, &request.id).await.unwrap();
    assert!(collect().await && service.used(&who.tenant).await.unwrap() == (weight, 0));
    service.remove(&who, &second.id).await.unwrap();
    assert!(collect().await && service.used(&who.tenant).await.unwrap() == (0, 0));
    service.remove_all(&other.tenant).await.unwrap();
    assert!(!collect().await);
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_had_is_tried_again_and_then_has_failed() {
    let (ours, theirs) = stores();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits::default());
    let settings = Working { stall: 50 * MS, tries: 2, ..Working::default() };
    let worker = Worker::start(&service, settings);
    let request = service.add(&who, ask(leaf(1, 9).cid())).await.unwrap();
    let tried = loop {
        let request = service.request(&who, &request.id).await.unwrap();
        if request.info.contains_key("tries") {
            break request;
        }
        tokio::time::sleep(MS).await;
    };
    assert_eq!((tried.status, tried.info["tries"].as_str()), (Status::Queued, "1"));
    let details = &tried.info["status_details"];
    assert!(details.starts_with("tried 1 times, again at 2"), "{details}");
    assert!(details.contains("no new block within 50ms: "), "{details}");
    worker.stop().await;
    // A minute later.
    let state = service.state().clone();
    let key = (1, request.created);
    let errand = {
        let due = state.queue.lock().unwrap().due().unwrap();
        assert!((now() + 50..now() + 62).contains(&due));
        assert_eq!(state.queue.lock().unwrap().next(due, 1, &|_| None), Some(key));
        let stop = CancellationToken::new();
        state.begin(&ours.core(), &who.tenant, request.created, &stop).unwrap().unwrap()
    };
    let errand = Arc::new(errand);
    let end = service.fetch(&errand, &settings).await;
    state.end(&ours.core(), &errand, end, 2).unwrap();
    let failed = service.request(&who, &request.id).await.unwrap();
    let details = &failed.info["status_details"];
    assert_eq!(failed.status, Status::Failed);
    assert!(details.starts_with("not had in 2 tries over "), "{details}");
}

#[tokio::test]
async fn removing_ends_a_fetch_and_stopping_puts_it_back() {
    let (ours, theirs) = stores();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, Working::default());
    let gone = service.add(&who, ask(leaf(1, 9).cid())).await.unwrap();
    service.add(&who, ask(leaf(2, 9).cid())).await.unwrap();
    until(&service, &who, Status::Pinning, 2).await;
    service.remove(&who, &gone.id).await.unwrap();
    until(&service, &who, Status::Pinning, 1).await;
    let since = Instant::now();
    while service.state().jobs.lock().unwrap().len() > 1 {
        assert!(since.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(MS).await;
    }
    worker.stop().await;
    let found = service.find(&who, &all()).await.unwrap();
    assert_eq!((found.count, found.results[0].status), (1, Status::Queued));
    assert_eq!(found.results[0].info["status_details"], "Queue position: 1 of 1");
    assert!(!found.results[0].info.contains_key("tries"));
    assert!(service.state().jobs.lock().unwrap().is_empty());
}

#[tokio::test]
async fn no_limit_of_bytes_is_passed_whatever_roots_claim() {
    let (ours, theirs) = stores();
    // 100 DAGs of 10,000 bytes and something; half of the roots claim nothing.
    let mut roots = Vec::new();
    for n in 0..100 {
        let leaves: Vec<Block> = (0..10).map(|m| leaf(n * 10 + m, 1000)).collect();
        let root = parent(&leaves.iter().collect::<Vec<_>>(), if n % 2 == 0 { 1000 } else { 0 });
        theirs.core().put_unpinned(&leaves).unwrap();
        theirs.core().put_unpinned(std::slice::from_ref(&root)).unwrap();
        roots.push(root);
    }
    let one = roots[0].data().len() as u64 + 10_000;
    let limit = 10 * one + one / 2;
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits { bytes: Some(limit), ..Limits::default() });
    let worker = Worker::start(&service, Working { workers: 60, ..Working::default() });
    for root in &roots {
        service.add(&who, ask(root.cid())).await.unwrap();
    }
    let since = Instant::now();
    loop {
        let (bytes, reserved) = service.used(&who.tenant).await.unwrap();
        assert!(bytes + reserved <= limit, "{bytes} and {reserved} of {limit}");
        // What found no room beside the others waits a minute, and counts as ended here.
        if service.queue().iter().all(|line| line.ready == 0 && line.fetching.is_empty()) {
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(MS).await;
    }
    let found = service.find(&who, &all()).await.unwrap();
    let mut sum = 0;
    for request in &found.results {
        let root = roots.iter().find(|root| root.cid().to_string() == request.cid).unwrap();
        let details = &request.info["status_details"];
        match request.status {
            Status::Pinned => sum += root.data().len() as u64 + 10_000,
            Status::Failed => assert!(details.starts_with("needs "), "{details}"),
            Status::Queued => assert!(details.contains(" 107.1 KiB are left"), "{details}"),
            Status::Pinning => panic!("{details}"),
        }
    }
    assert_eq!(service.used(&who.tenant).await.unwrap(), (sum, 0));
    assert!((one..=limit).contains(&sum), "{sum} of {limit}");
    worker.stop().await;
}

#[tokio::test]
async fn a_claim_that_cannot_fit_ends_it_with_the_first_block() {
    let (ours, theirs) = stores();
    let child = leaf(1, 10);
    let root = parent(&[&child], 5 << 30);
    theirs.core().put_unpinned(&[child, root.clone()]).unwrap();
    let (node, sent) = online(&ours, &theirs, MS);
    let service = node.service();
    for (n, limits, said) in [
        (1, Limits { bytes: Some(1 << 30), ..Limits::default() }, "1.0 GiB of 1.0 GiB are left"),
        (2, Limits { pin_bytes: Some(1 << 20), ..Limits::default() }, "one pin may have 1.0 MiB"),
    ] {
        let who = access(&service, n, limits);
        let worker = Worker::start(&service, Working::default());
        service.add(&who, ask(root.cid())).await.unwrap();
        until(&service, &who, Status::Failed, 1).await;
        worker.stop().await;
        let found = service.find(&who, &all()).await.unwrap();
        let details = &found.results[0].info["status_details"];
        assert!(details.starts_with("needs 5.0 GiB") && details.contains(said), "{details}");
    }
    assert_eq!(sent.load(Ordering::Relaxed), root.data().len() as u64);
}

#[tokio::test]
async fn a_hundred_asks_at_the_edge_do_not_pass_it() {
    let (ours, theirs) = stores();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits { pins: Some(40), ..Limits::default() });
    let asking = (0..100).map(|n| {
        let (service, who) = (service.clone(), who.clone());
        crate::task::spawn(async move { service.add(&who, ask(leaf(n, 9).cid())).await })
    });
    let (mut taken, mut times) = (0, std::collections::BTreeSet::new());
    for asked in asking.collect::<Vec<_>>() {
        match asked.await.unwrap() {
            Ok(request) => {
                taken += 1;
                assert!(times.insert(request.created) && request.created % 1000 == 0);
            }
            Err(Error::Quota(text)) => assert!(text.contains("40 pins"), "{text}"),
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!((taken, service.find(&who, &all()).await.unwrap().count), (40, 40));
    // What goes makes room, and replacing needs none.
    let found = service.find(&who, &all()).await.unwrap();
    let id = &found.results[0].id;
    service.replace(&who, id, ask(leaf(200, 9).cid())).await.unwrap();
    assert!(service.add(&who, ask(leaf(201, 9).cid())).await.is_err());
    service.remove(&who, &found.results[1].id).await.unwrap();
    assert!(service.add(&who, ask(leaf(201, 9).cid())).await.is_ok());
}

#[tokio::test]
async fn what_expires_goes_with_its_pin() {
    let (ours, theirs) = stores();
    let blocks = [leaf(1, 9), leaf(2, 9), leaf(3, 9)];
    ours.core().put_unpinned(&blocks).unwrap();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, Working::default());
    for (block, key, value) in [
        (&blocks[0], "expire-in", "1s"),
        (&blocks[1], "expires", "2100-01-01T00:00:00Z"),
        (&blocks[2], "tag", "x"),
    ] {
        let meta = [(key.to_owned(), value.to_owned())].into();
        service.add(&who, PinAsk { meta, ..ask(block.cid()) }).await.unwrap();
    }
    until(&service, &who, Status::Pinned, 3).await;
    worker.stop().await;
    tokio::time::sleep(1100 * MS).await;
    service.state().release_expired(&ours.core()).unwrap();
    let found = service.find(&who, &all()).await.unwrap();
    let pinned = |n: usize| ours.core().pin_row_of(blocks[n].cid(), "t1").unwrap().is_some();
    assert_eq!((found.count, pinned(0), pinned(1), pinned(2)), (2, false, true, true));
    assert_eq!(found.results[1].info["pinned_until"], "2100-01-01T00:00:00Z");
    assert_eq!(service.used(&who.tenant).await.unwrap(), (18, 0));
}

#[tokio::test]
async fn expired_requests_of_two_tenants_made_at_one_time_go() {
    let (ours, theirs) = stores();
    let service = online(&ours, &theirs, MS).0.service();
    let mut batch = TenantBatch::default();
    let who: Vec<Access> = (1..4).map(|n| access(&service, n, Limits::default())).collect();
    for who in &who {
        let number = who.tenant.number;
        let made = service.add(who, ask(leaf(1, 9).cid())).await.unwrap().created;
        let mut row = row_of(&ours.core(), number, made).unwrap().unwrap();
        delete_rows(&mut batch, number, made, &row);
        row.expires = 7;
        put_rows(&mut batch, number, 1000, &row);
    }
    ours.core().write_tenants(batch).unwrap();
    let service = online(&ours, &theirs, MS).0.service();
    let who: Vec<Access> = (1..4).map(|n| access(&service, n, Limits::default())).collect();
    service.state().release_expired(&ours.core()).unwrap();
    for who in &who {
        assert_eq!(service.find(who, &all()).await.unwrap().count, 0);
    }
}

#[tokio::test]
async fn a_tenant_at_its_limit_fetches_again_what_it_holds() {
    let (ours, theirs) = stores();
    ours.core().put_unpinned(&[leaf(1, 100)]).unwrap();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits { bytes: Some(100), ..Limits::default() });
    let worker = Worker::start(&service, Working::default());
    service.add(&who, ask(leaf(1, 100).cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 1).await;
    worker.stop().await;
    let state = service.state().clone();
    for (n, may) in [(1, true), (2, false)] {
        let request = service.add(&who, ask(leaf(n, 100).cid())).await.unwrap();
        let stop = CancellationToken::new();
        let begun = state.begin(&ours.core(), &who.tenant, request.created, &stop);
        assert_eq!(begun.unwrap().unwrap().job.promised(100).is_ok(), may);
    }
    assert_eq!(service.used(&who.tenant).await.unwrap(), (100, 0));
}

/// Peers that meet a bug at one block.
struct Buggy(Cid, Peers);

impl Session for Buggy {
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>> {
        assert!(cid != self.0, "a bug");
        self.1.fetch(cid)
    }

    fn progress(&self) -> BoxFuture<'_, Progress> {
        self.1.progress()
    }
}

#[tokio::test]
async fn a_panic_ends_one_request_and_not_the_queue() {
    let (ours, theirs) = stores();
    let leaves = [leaf(1, 100), leaf(2, 100), leaf(3, 100)];
    let root = parent(&[&leaves[0], &leaves[1]], 100);
    theirs.core().put_unpinned(&leaves).unwrap();
    theirs.core().put_unpinned(std::slice::from_ref(&root)).unwrap();
    let (sent, asked) = (Arc::default(), Asked::default());
    let peers = Peers { theirs, ours: ours.clone(), delay: MS, sent, asked };
    let session = Buggy(*leaves[1].cid(), peers);
    let mut node = node(&ours);
    node.dag = Dag::new(ours.clone()).asking(Box::new(session), Patience::Endless);
    let service = node.service();
    // One worker, which is to be free again; and what the first was promised is given back.
    let limits = Limits { in_flight: Some(1), bytes: Some(300), ..Limits::default() };
    let who = access(&service, 1, limits);
    let worker = Worker::start(&service, Working { workers: 1, ..Working::default() });
    let broken = service.add(&who, ask(root.cid())).await.unwrap();
    service.add(&who, ask(leaves[2].cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 1).await;
    let broken = service.request(&who, &broken.id).await.unwrap();
    let details = &broken.info["status_details"];
    assert_eq!(broken.status, Status::Failed);
    assert!(details.starts_with("this node failed at it"), "{details}");
    worker.stop().await;
    assert_eq!(service.used(&who.tenant).await.unwrap(), (100, 0));
}

#[tokio::test]
async fn what_is_replaced_is_held_until_the_new_one_is_here() {
    let (ours, theirs) = stores();
    let blocks = [leaf(1, 100), leaf(2, 100)];
    ours.core().put_unpinned(&blocks[..1]).unwrap();
    let service = online(&ours, &theirs, MS).0.service();
    // No room for both: what goes counts as room for what comes.
    let who = access(&service, 1, Limits { bytes: Some(150), ..Limits::default() });
    let worker = Worker::start(&service, Working::default());
    let old = service.add(&who, ask(blocks[0].cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 1).await;
    service.replace(&who, &old.id, ask(blocks[1].cid())).await.unwrap();
    until(&service, &who, Status::Pinning, 1).await;
    let pinned = |n: usize| ours.core().pin_row_of(blocks[n].cid(), "t1").unwrap().is_some();
    assert!(pinned(0) && !pinned(1));
    worker.stop().await;
    theirs.core().put_unpinned(&blocks[1..]).unwrap();
    let worker = Worker::start(&service, Working::default());
    until(&service, &who, Status::Pinned, 1).await;
    assert!(!pinned(0) && pinned(1));
    assert_eq!(service.used(&who.tenant).await.unwrap(), (100, 0));
    worker.stop().await;
}

#[tokio::test]
async fn what_others_hold_makes_no_room_when_it_is_replaced() {
    let (ours, theirs) = stores();
    let blocks = [leaf(1, 100), leaf(2, 100)];
    ours.core().put_unpinned(&blocks).unwrap();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits { bytes: Some(150), ..Limits::default() });
    let worker = Worker::start(&service, Working::default());
    let old = service.add(&who, ask(blocks[0].cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 1).await;
    service.add(&who, ask(blocks[0].cid())).await.unwrap();
    until(&service, &who, Status::Pinned, 2).await;
    service.replace(&who, &old.id, ask(blocks[1].cid())).await.unwrap();
    until(&service, &who, Status::Failed, 1).await;
    assert_eq!(service.used(&who.tenant).await.unwrap(), (100, 0));
    worker.stop().await;
}

#[tokio::test]
async fn what_has_come_for_a_pin_in_flight_is_not_collected() {
    let (ours, theirs) = stores();
    let leaves = [leaf(1, 1000), leaf(2, 1000)];
    let root = parent(&[&leaves[0], &leaves[1]], 1000);
    theirs.core().put_unpinned(&[root.clone(), leaves[0].clone()]).unwrap();
    let (node, sent) = online(&ours, &theirs, MS);
    let service = node.service();
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, Working::default());
    let request = service.add(&who, ask(root.cid())).await.unwrap();
    let since = Instant::now();
    while sent.load(Ordering::Relaxed) < root.data().len() as u64 + 1000 {
        assert!(since.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(MS).await;
    }
    let collect = || async {
        let mut freed = node.gc().await;
        while freed.recv().await.is_some() {}
        [root.cid(), leaves[0].cid()].map(|cid| ours.core().stat(cid).unwrap().is_some())
    };
    assert_eq!(collect().await, [true, true]);
    service.remove(&who, &request.id).await.unwrap();
    worker.stop().await;
    assert_eq!(collect().await, [false, false]);
}

#[tokio::test]
async fn no_request_has_the_time_of_one_that_was_removed() {
    let (ours, theirs) = stores();
    let service = online(&ours, &theirs, MS).0.service();
    let who = access(&service, 1, Limits::default());
    let mut last = 0;
    for n in 0..50 {
        let request = service.add(&who, ask(leaf(n, 9).cid())).await.unwrap();
        assert!(request.created > last);
        last = request.created;
        service.remove(&who, &request.id).await.unwrap();
    }
}

#[test]
fn delegates_are_those_that_were_told_or_else_our_own_each_once() {
    let node = node(&Store::in_memory().unwrap());
    let service = node.service();
    assert_eq!(service.delegates(&[]), [format!("/p2p/{}", node.settings().peer_id)]);
    let told: Vec<String> = (0..60).map(|n| format!("/p2p/{}", n / 2)).collect();
    let once: Vec<String> = (0..20).map(|n| format!("/p2p/{n}")).collect();
    assert_eq!(service.delegates(&told), once);
}
