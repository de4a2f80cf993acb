//! Everything at once: requests come, are replaced and go while others are fetched and garbage is
//! collected. Nobody waits for ever, no limit is passed, and afterwards rows, pins and sums agree.

use std::collections::BTreeSet;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::node::service::account::row_of;
use crate::store::keys::tenants as keys;

const LEAVES: u64 = 40;
const BYTES: u64 = 500;
const LIMIT: u64 = 25 * BYTES;

/// Makes, replaces, removes and looks for a while.
async fn act(service: Service, who: Access, seed: u64, until: Instant) {
    let mut rng = StdRng::seed_from_u64(seed);
    while Instant::now() < until {
        let cid = *leaf(rng.random_range(0..LEAVES), BYTES as usize).cid();
        let some = Filter { limit: 20, ..all() };
        let found = service.find(&who, &some).await.unwrap().results;
        let old = (!found.is_empty()).then(|| &found[rng.random_range(0..found.len())]);
        // Somebody else may have been faster: that it is gone is an answer, too.
        match (rng.random_range(0..4), old) {
            (0, Some(old)) => drop(service.remove(&who, &old.id).await),
            (1, Some(old)) => drop(service.replace(&who, &old.id, ask(&cid)).await),
            _ => drop(service.add(&who, ask(&cid)).await.unwrap()),
        }
        let (bytes, _) = service.used(&who.tenant).await.unwrap();
        assert!(bytes <= LIMIT, "seed {seed}: {bytes}");
    }
}

/// What rows of a tenant say that it holds, by the key under which that is counted.
fn held(store: &Store, service: &Service, who: &Access) -> BTreeSet<Bytes> {
    let (core, state) = (store.core(), service.state());
    let account = state.account(who.tenant.number);
    let book = account.open(&core, state).unwrap();
    let mut held = BTreeSet::new();
    for status in Status::ALL {
        for created in book.index.next(status, None, usize::MAX) {
            let row = row_of(&core, who.tenant.number, created).unwrap().unwrap();
            let own = row.parsed().filter(|_| status == Status::Pinned);
            let cids = own.into_iter().chain(row.keeps);
            held.extend(cids.map(|cid| keys::held(&cid, who.tenant.number)));
        }
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_lost_or_stuck_when_everything_happens_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Store::open(folder.path()).unwrap(), Store::in_memory().unwrap());
    let blocks: Vec<Block> = (0..LEAVES).map(|n| leaf(n, BYTES as usize)).collect();
    theirs.core().put_unpinned(&blocks).unwrap();
    let (node, _) = online(&ours, &theirs, Duration::from_millis(1));
    let service = node.service();
    let worker = Worker::start(&service, Working::default());
    let limits = Limits { bytes: Some(LIMIT), ..Limits::default() };
    let tenants: Vec<Access> = (1..4).map(|n| access(&service, n, limits)).collect();
    let (seed, until) = (rand::random::<u64>(), Instant::now() + Duration::from_secs(3));
    eprintln!("seed {seed}");
    let acting = (0..9).map(|n| {
        let who = tenants[n % 3].clone();
        crate::task::spawn(act(service.clone(), who, seed.wrapping_add(n as u64), until))
    });
    let acting: Vec<_> = acting.collect();
    while Instant::now() < until {
        let mut freed = node.gc().await;
        while freed.recv().await.is_some() {}
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ended = async {
        for one in acting {
            one.await.unwrap();
        }
        worker.stop().await;
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.expect("nobody waits for ever");
    for who in &tenants {
        let held = held(&ours, &service, who);
        let (bytes, reserved) = service.used(&who.tenant).await.unwrap();
        assert_eq!((bytes, reserved), (held.len() as u64 * BYTES, 0), "seed {seed}");
        assert!(bytes <= LIMIT && bytes > 0, "seed {seed}: {bytes}");
        for block in &blocks {
            let number = who.tenant.number;
            let pinned = ours.core().pin_row_of(block.cid(), &who.tenant.name).unwrap();
            assert_eq!(pinned.is_some(), held.contains(&keys::held(block.cid(), number)));
            let here = ours.core().get(block.cid()).unwrap().is_some();
            assert!(here || pinned.is_none(), "seed {seed}: a pinned block is gone");
        }
    }
}
