//! Announcing over a network in memory: who is told, in how many messages, and what a stop loses.

use super::super::dht::fake::{Network, contact};
use super::super::dht::scope::Scope;
use super::*;
use crate::store::Store;

fn hashes(from: u32, count: u32) -> Vec<Multihash> {
    let hash = |n: u32| Multihash::wrap(0x12, Key::of(&n.to_be_bytes()).bytes()).unwrap();
    (from..from + count).map(hash).collect()
}

fn no_keys() -> AllKeys {
    Arc::new(|| mpsc::channel(1).1)
}

fn all_of(keys: Vec<Multihash>) -> AllKeys {
    Arc::new(move || {
        let (out, stream) = mpsc::channel(keys.len().max(1));
        keys.iter().for_each(|key| out.try_send(*key).unwrap());
        stream
    })
}

async fn joined(network: &Network, nodes: &[Dht], store: Store) -> Dht {
    let dht = network.node_over(Scope::Wan, 150, store);
    dht.bootstrap(vec![contact(&nodes[0])]).await;
    dht
}

fn provider(dht: &Dht, keys: AllKeys) -> Provider {
    let settings = Settings { workers: 2, ..Settings::default() };
    Provider::new(vec![dht.clone()], dht.records().clone(), settings, keys)
}

async fn drained(provider: &Provider) {
    for _ in 0..400 {
        let stats = provider.stats().await.unwrap();
        if stats.waiting_new + stats.waiting_again == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{:?}", provider.stats().await.unwrap());
}

/// Whoever is told answers nothing, and may still be writing when the teller is done: so it is asked
/// for again for a while.
async fn is_found(dht: &Dht, hash: &Multihash) -> bool {
    for _ in 0..100 {
        if dht.find_providers(*hash, 1, Watch::default()).recv().await.is_some() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    false
}

/// Keys are read from the store a region at a time, never collected.
#[tokio::test]
async fn trap_11_one_lookup_serves_a_region() {
    let network = Network::default();
    let nodes = network.filled(Scope::Wan, 60).await;
    let dht = joined(&network, &nodes, Store::in_memory().unwrap()).await;
    let provider = provider(&dht, no_keys());
    let keys = hashes(0, 500);
    provider.add(&keys).await.unwrap();
    assert_eq!(provider.stats().await.unwrap().waiting_new, 500);
    let stop = CancellationToken::new();
    let running = provider.clone();
    let token = stop.clone();
    let run = task::spawn(async move { running.run(token).await });
    drained(&provider).await;
    stop.cancel();
    task::join(run).await;
    let stats = provider.stats().await.unwrap();
    assert_eq!(stats.told, 500);
    assert!(stats.regions < 50, "{} lookups for 500 keys", stats.regions);
    for key in keys.iter().step_by(50) {
        assert!(is_found(&nodes[17], key).await);
    }
}

#[tokio::test]
async fn the_root_goes_first_and_what_fails_waits() {
    let network = Network::default();
    let nodes = network.filled(Scope::Wan, 30).await;
    let store = Store::in_memory().unwrap();
    let lonely = network.node_over(Scope::Wan, 150, store.clone());
    let keys = hashes(0, 2);
    let refused = provider(&lonely, no_keys()).provide_now(&keys[0]).await;
    assert!(matches!(refused, Err(RoutingError::NoPeers(_))));
    assert_eq!(provider(&lonely, no_keys()).stats().await.unwrap().waiting_new, 1);
    drop(lonely);
    let dht = joined(&network, &nodes, store).await;
    let after_restart = provider(&dht, no_keys());
    assert_eq!(after_restart.stats().await.unwrap().waiting_new, 1);
    assert_eq!(after_restart.provide_now(&keys[1]).await.unwrap(), 20);
    assert!(is_found(&nodes[5], &keys[1]).await);
    assert_eq!(after_restart.stats().await.unwrap().waiting_new, 1, "the other still waits");
    dht.set_own_addrs(&[]);
    let refused = after_restart.provide_now(&keys[1]).await;
    assert!(matches!(refused, Err(RoutingError::NoAddress(_))), "never an empty record");
    assert_eq!(after_restart.clear().await.unwrap(), 2);
}

#[tokio::test]
async fn trap_12_everything_is_told_again_every_22_hours() {
    let network = Network::default();
    let nodes = network.filled(Scope::Wan, 30).await;
    let dht = joined(&network, &nodes, Store::in_memory().unwrap()).await;
    let keys = hashes(0, 3000);
    let provider = provider(&dht, all_of(keys.clone()));
    let now = unix_now();
    let told: Vec<Bytes> = keys[..10].iter().map(|key| key.to_bytes().into()).collect();
    dht.records().announced(&told, now - 60).unwrap();
    assert_eq!(provider.round_if_due(now).await.unwrap(), Some(2990), "not what was just told");
    assert_eq!(provider.round_if_due(now + 60).await.unwrap(), None);
    assert_eq!(provider.round_if_due(now + 22 * 3600).await.unwrap(), Some(3000));
    let stats = provider.stats().await.unwrap();
    assert_eq!((stats.waiting_again, stats.round_began), (3000, now + 22 * 3600));
    set_round(dht.records(), now + 23 * 3600, 0).unwrap();
    let again = provider.round_if_due(now + 23 * 3600 + 1).await.unwrap();
    assert_eq!(again, Some(3000), "an interrupted round begins again");
    assert_eq!(dht.records().last_announced(&told[0]).unwrap(), Some(now - 60));
}

#[test]
fn slices_cover_the_key_space() {
    for workers in 1..=WORKERS_MAX {
        let mut next = [0; 32];
        for slice in 0..workers {
            let (from, end) = slice_of(slice, workers);
            assert_eq!(from, next);
            match end {
                Some(end) => next = end,
                None => assert_eq!(slice, workers - 1),
            }
        }
    }
    assert_eq!(after(&[255; 32]), [0; 32]);
    let mut one = [0; 32];
    one[31] = 255;
    assert_eq!(after(&one)[30..], [1, 0]);
}
