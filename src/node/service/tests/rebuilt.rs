//! After rows of the database were damaged, what tenants hold is counted again.

use super::super::account::row_of;
use super::*;
use crate::store::keys::tenants::{self as keys, Holding};
use crate::store::tenants::TenantBatch;

#[tokio::test]
async fn what_two_requests_hold_outlives_one_of_them_though_the_count_was_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = [leaf(1, 100), leaf(2, 30), leaf(3, 9)];
    let number = 7;
    let (first, replacing) = {
        let ours = Store::open(folder.path()).unwrap();
        ours.core().put_unpinned(&blocks[..2]).unwrap();
        let service = node(&ours).service();
        let who = access(&service, number, Limits::default());
        let worker = Worker::start(&service, Working::default());
        let first = service.add(&who, ask(blocks[0].cid())).await.unwrap();
        service.add(&who, ask(blocks[0].cid())).await.unwrap();
        let old = service.add(&who, ask(blocks[1].cid())).await.unwrap();
        until(&service, &who, Status::Pinned, 3).await;
        worker.stop().await;
        let replacing = service.replace(&who, &old.id, ask(blocks[2].cid())).await.unwrap();
        assert_eq!(service.used(&who.tenant).await.unwrap(), (130, 0));
        // Tables of the sums are read with holes.
        let mut holes = TenantBatch::default();
        let held = Holding { requests: 1, bytes: 100, blocks: 1 };
        holes.put(keys::held(blocks[0].cid(), number), held.encode());
        holes.put(keys::used(number), keys::bytes_used(5));
        ours.core().write_tenants(holes).unwrap();
        (first, replacing)
    };
    std::fs::write(folder.path().join("rows").join("DAMAGED"), "").unwrap();
    let ours = Store::open(folder.path()).unwrap();
    assert!(!folder.path().join("rows").join("DAMAGED").exists());
    assert!(row_of(&ours.core(), number, first.created).unwrap().is_some());
    assert!(ours.core().tenant_rows(keys::holdings(), None, 9).unwrap().is_empty());
    let service = node(&ours).service();
    let who = access(&service, number, Limits::default());
    assert_eq!(service.used(&who.tenant).await.unwrap(), (130, 0));
    let held = ours.core().tenant_row(&keys::held(blocks[0].cid(), number)).unwrap().unwrap();
    let two = Holding { requests: 2, bytes: 100, blocks: 1 };
    assert_eq!(Holding::decode(&held), Some(two));
    let pinned = |n: usize| ours.core().pin_row_of(blocks[n].cid(), "t7").unwrap().is_some();
    service.remove(&who, &first.id).await.unwrap();
    assert!(pinned(0) && pinned(1));
    service.remove(&who, &replacing.id).await.unwrap();
    assert!(pinned(0) && !pinned(1));
    assert_eq!(service.used(&who.tenant).await.unwrap(), (100, 0));
}
