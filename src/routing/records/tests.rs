//! Records over the store in memory: lives, caps, and who goes when one is reached.

use super::*;

const NOW: u64 = 1_800_000_000;

fn records(limits: Limits) -> Records {
    Records::new(Store::in_memory().unwrap(), Scope::Wan, limits)
}

fn at(group: u8) -> Contact {
    let addr = format!("/ip4/1.{group}.0.1/tcp/4001").parse().unwrap();
    Contact { peer: PeerId::random(), addrs: vec![addr] }
}

#[test]
fn providers_live_48_hours_and_their_addresses_24() {
    let records = records(Limits::default());
    let one = at(1);
    assert_eq!(records.add_provider(b"hash", &one, NOW).unwrap(), Kept::Added);
    assert_eq!(records.add_provider(b"hash", &one, NOW).unwrap(), Kept::Renewed);
    assert_eq!(records.counts().unwrap().providers, 1);
    assert!(records.providers(b"hash", NOW).unwrap().iter().eq([&one]));
    assert!(records.providers(b"other", NOW).unwrap().is_empty());
    let bare = Contact { addrs: Vec::new(), ..one.clone() };
    assert_eq!(records.providers(b"hash", NOW + ADDRESS_LIFE_S).unwrap(), [bare]);
    assert!(records.providers(b"hash", NOW + PROVIDER_LIFE_S).unwrap().is_empty());
    assert_eq!(records.sweep(NOW + PROVIDER_LIFE_S - 1).unwrap(), Swept::default());
    assert_eq!(records.sweep(NOW + PROVIDER_LIFE_S).unwrap().providers, 1);
    assert_eq!(records.counts().unwrap(), Counts::default());
    let left = records.core().records(b"", None, 10).unwrap();
    assert!(left.is_empty(), "the addresses go with the last row");
}

#[test]
fn scopes_are_apart() {
    let store = Store::in_memory().unwrap();
    let [wan, lan] =
        [Scope::Wan, Scope::Lan].map(|scope| Records::new(store.clone(), scope, Limits::default()));
    wan.add_provider(b"hash", &at(1), NOW).unwrap();
    assert!(lan.providers(b"hash", NOW).unwrap().is_empty());
    assert_eq!(lan.counts().unwrap().providers, 0);
}

/// Whoever fills a key first does not keep others out, and one network pushes out its own.
#[test]
fn trap_13_a_full_key_gives_up_the_crowded() {
    let limits = Limits { providers_of_key: 10, ..Limits::default() };
    let records = records(limits);
    let honest = at(1);
    records.add_provider(b"hash", &honest, NOW).unwrap();
    for n in 0..50 {
        records.add_provider(b"hash", &at(2), NOW + n).unwrap();
    }
    let found = records.providers(b"hash", NOW + 50).unwrap();
    assert_eq!(found.len(), 10);
    assert!(found.contains(&honest), "the flood is of another network");
    let newest = at(3);
    records.add_provider(b"hash", &newest, NOW + 50).unwrap();
    let found = records.providers(b"hash", NOW + 50).unwrap();
    assert!(found.contains(&newest) && found.contains(&honest) && found.len() == 10);
    assert_eq!(records.counts().unwrap().providers, 10);
    let late = NOW + PROVIDER_LIFE_S + 45;
    records.add_provider(b"hash", &at(4), late).unwrap();
    assert_eq!(records.providers(b"hash", late).unwrap().len(), 6, "the expired go first");
}

/// Security case 19.
#[test]
fn a_full_table_takes_the_new_and_a_peer_has_its_share() {
    let limits = Limits { providers: 100, providers_of_peer: 20, ..Limits::default() };
    let records = records(limits);
    let greedy = at(1);
    let kept = (0u32..30)
        .filter(|n| records.add_provider(&n.to_be_bytes(), &greedy, NOW).unwrap() == Kept::Added)
        .count();
    assert_eq!(kept, 20);
    for n in 0u32..300 {
        let one = at(2);
        records.add_provider(&n.to_be_bytes(), &one, NOW + 1).unwrap();
        assert!(records.providers(&n.to_be_bytes(), NOW + 1).unwrap().contains(&one));
    }
    assert_eq!(records.counts().unwrap().providers, 100);
    let counted = records.count().unwrap();
    assert_eq!(counted.providers, 100, "what is carried on is what is there");
    let rows = records.addresses(&greedy.peer.to_bytes()).unwrap().rows;
    let held = (0u32..30)
        .filter(|n| {
            let found = records.providers(&n.to_be_bytes(), NOW + 1).unwrap();
            found.iter().any(|c| c.peer == greedy.peer)
        })
        .count();
    assert_eq!(rows as usize, held);
}

#[test]
fn values_are_kept_if_better_and_while_they_live() {
    let records = records(Limits { values: 5, ..Limits::default() });
    let (key, one, two) = ("/pk/x".into(), "one".into(), "two".into());
    assert!(records.put_value(&key, &one, NOW, |old| old.is_none()).unwrap());
    assert!(!records.put_value(&key, &two, NOW, |old| old != Some(&one)).unwrap());
    assert_eq!(records.value(&key, NOW).unwrap(), Some((one.clone(), NOW)));
    let late = NOW + VALUE_LIFE_S;
    assert_eq!(records.value(&key, late).unwrap(), None);
    assert!(records.put_value(&key, &two, late, |old| old.is_none()).unwrap());
    for n in 0..20 {
        let key = format!("/pk/{n}").into();
        records.put_value(&key, &one, late + n, |_| true).unwrap();
        assert!(records.value(&key, late + n).unwrap().is_some());
    }
    assert_eq!(records.counts().unwrap().values, 5);
    assert_eq!(records.sweep(late + 100 + VALUE_LIFE_S).unwrap().values, 5);
}

#[test]
fn peers_are_remembered_for_a_week() {
    let records = records(Limits { peers: 3, ..Limits::default() });
    let peers: Vec<Contact> = (0..4).map(at).collect();
    records.save_peers(&peers[..2], NOW).unwrap();
    records.save_peers(&peers[1..], NOW + 1).unwrap();
    let found = records.saved_peers(10, NOW + 2).unwrap();
    assert_eq!(found.len(), 3, "the cap");
    assert_eq!(found[2], peers[0], "those seen last come first");
    assert_eq!(records.saved_peer(&peers[1].peer, NOW + 2).unwrap(), Some(peers[1].clone()));
    assert_eq!(records.saved_peer(&peers[1].peer, NOW + 1 + PEER_LIFE_S).unwrap(), None);
    assert_eq!(records.sweep(NOW + 1 + PEER_LIFE_S).unwrap().peers, 3);
}

#[test]
fn announcements_outlive_a_restart() {
    let store = Store::in_memory().unwrap();
    let open = || Records::new(store.clone(), Scope::Wan, Limits::default());
    let hashes: Vec<Bytes> = (0u8..10).map(|n| vec![0x12, n].into()).collect();
    open().enqueue(Queue::New, &hashes, NOW).unwrap();
    open().enqueue(Queue::New, &hashes[..3], NOW + 9).unwrap();
    let all = open().waiting(Queue::New, &[0; 32], 100).unwrap();
    assert_eq!(all.len(), 10);
    assert!(all.is_sorted_by_key(|w| w.digest) && all.iter().all(|w| w.since == NOW));
    let from = open().waiting(Queue::New, &all[4].digest, 3).unwrap();
    assert_eq!(from, all[4..7]);
    open().enqueue(Queue::Again, &hashes[7..9], NOW).unwrap();
    open().announced(&hashes[..8], NOW + 1).unwrap();
    assert_eq!(open().count_waiting(Queue::Again, 100).unwrap(), 1);
    assert_eq!(open().count_waiting(Queue::New, 100).unwrap(), 2);
    assert_eq!(open().last_announced(&hashes[0]).unwrap(), Some(NOW + 1));
    assert_eq!(open().last_announced(&hashes[9]).unwrap(), None);
    assert_eq!(open().forget_announced(NOW + 1).unwrap(), 0);
    assert_eq!(open().forget_announced(NOW + 2).unwrap(), 8);
    assert_eq!(open().clear_waiting().unwrap(), 3);
    open().set_mark("cursor", "here".into()).unwrap();
    assert_eq!(open().mark("cursor").unwrap().unwrap(), "here");
}
