//! Whole DHTs over a network in memory.

use std::time::Duration;

use bytes::Bytes;
use libp2p_identity::Keypair;

use super::fake::{Network, contact, id};
use super::*;
use crate::ipld::cid::Multihash;
use crate::ipns::record::{Content, Record};
use crate::ipns::time::Moment;
use crate::routing::upkeep;

fn hash(n: u8) -> Multihash {
    Multihash::wrap(0x12, &[n; 32]).unwrap()
}

#[tokio::test]
async fn what_one_provides_another_finds() {
    let network = Network::default();
    let nodes = network.filled(Scope::Wan, 60).await;
    assert!(nodes.iter().all(|node| node.peers() >= 15), "bootstrapping fills the tables");
    let told = nodes[7].provide(&hash(1), &Watch::default()).await.unwrap();
    assert_eq!(told, BUCKET_PEERS);
    let (watch, mut events) = Watch::new(1000);
    let mut found = nodes[33].find_providers(hash(1), 0, watch);
    assert_eq!(found.recv().await, Some(contact(&nodes[7])));
    assert_eq!(found.recv().await, None, "each provider once, then the end");
    let mut steps = Vec::new();
    while let Some(event) = events.recv().await {
        steps.push(event.step);
    }
    for step in [QueryStep::SendingQuery, QueryStep::PeerResponse, QueryStep::Provider] {
        assert!(steps.contains(&step), "{step:?}");
    }
    let mut nobody = nodes[33].find_providers(hash(2), 0, Watch::default());
    assert_eq!(nobody.recv().await, None);
}

#[tokio::test]
async fn nothing_is_announced_without_an_address_or_peers() {
    let network = Network::default();
    let alone = network.node(Scope::Wan, 1);
    let watch = Watch::default();
    let refused = alone.provide(&hash(1), &watch).await;
    assert!(matches!(refused, Err(RoutingError::NoPeers(Scope::Wan))));
    alone.set_own_addrs(&["/ip4/10.0.0.1/tcp/1".parse().unwrap()]);
    let refused = alone.provide(&hash(1), &watch).await;
    assert!(matches!(refused, Err(RoutingError::NoAddress(Scope::Wan))));
    assert!(matches!(
        alone.find_peer(PeerId::random(), &watch).await,
        Err(RoutingError::NoPeers(_))
    ));
    let dead = PeerId::random();
    let other = network.node(Scope::Wan, 2);
    other.on_peer(dead, &["/ip4/9.9.9.9/tcp/1".parse().unwrap()], true);
    let refused = other.provide(&hash(1), &watch).await;
    assert!(refused.is_err(), "silence is not success");
}

#[tokio::test]
async fn trap_15_only_addresses_of_the_scope_are_told() {
    let network = Network::default();
    let node = network.node(Scope::Wan, 1);
    let own = format!("/ip4/8.8.8.8/tcp/1/p2p/{}", id(&node));
    let addrs = [own.as_str(), "/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1"];
    node.set_own_addrs(&addrs.map(|text| text.parse().unwrap()));
    let told: Vec<String> = node.own_addrs().iter().map(ToString::to_string).collect();
    assert_eq!(told, ["/ip4/8.8.8.8/tcp/1"]);
}

#[tokio::test]
async fn clients_are_found_and_not_asked() {
    let network = Network::default();
    let nodes = network.filled(Scope::Lan, 30).await;
    let client = network.node(Scope::Lan, 200);
    client.set_server(false);
    client.bootstrap(vec![contact(&nodes[0])]).await;
    assert!(client.peers() > 10);
    assert!(matches!(
        client.handle(id(&nodes[0]), Message::new(wire::Kind::Ping, "")).await,
        Err(Refusal::Client)
    ));
    // It is connected to one of its neighbours, since it looked for them; that one tells others.
    let near = client.closest(id(&client).to_bytes().into(), &Watch::default()).await[0].peer;
    let near = nodes.iter().find(|node| id(node) == near).unwrap();
    near.on_peer(id(&client), &client.own_addrs(), false);
    let asker = nodes.iter().find(|node| id(node) != id(near)).unwrap();
    let found = asker.find_peer(id(&client), &Watch::default()).await;
    assert_eq!(found.unwrap(), contact(&client));
    assert!(nodes.iter().all(|node| {
        node.stats()
            .iter()
            .all(|bucket| bucket.entries.iter().all(|entry| entry.contact.peer != id(&client)))
    }));
}

#[tokio::test]
async fn the_newest_value_is_found_and_spread() {
    let network = Network::default();
    let nodes = network.filled(Scope::Wan, 40).await;
    let key = Keypair::generate_ed25519();
    let name: Bytes = [validate::IPNS, &key.public().to_peer_id().to_bytes()].concat().into();
    let sign = |sequence| {
        let eol = Moment { seconds: unix_now() as i64 + 600, nanos: 0 };
        Record::sign(&key, &Content { value: "/ipfs/x", eol, sequence, ttl_ns: 1 }).unwrap()
    };
    let watch = Watch::default();
    let (old, new) = (sign(1), sign(2));
    assert!(matches!(
        nodes[1].put_value(name.clone(), "junk".into(), &watch).await,
        Err(RoutingError::Invalid(_))
    ));
    assert!(nodes[1].put_value(name.clone(), old.clone(), &watch).await.unwrap() >= 19);
    assert_eq!(nodes[30].get_value(name.clone(), &watch).await.unwrap(), old);
    // Those who have it are 20, or 21 with who put it, and 16 of them end a lookup: the six nearest
    // get the new one, so that it is among any 16. The others are told it after.
    for near in &nodes[1].closest(name.clone(), &watch).await[..6] {
        let near = nodes.iter().find(|node| id(node) == near.peer).unwrap();
        let put = Message::put_value(name.clone(), new.clone());
        near.handle(id(&nodes[2]), put).await.unwrap();
    }
    assert_eq!(nodes[30].get_value(name.clone(), &watch).await.unwrap(), new);
    let has_new = |node: &&Dht| {
        let kept = node.records().value(&name, unix_now()).unwrap();
        kept.is_some_and(|(value, _)| value == new)
    };
    let mut holders = 0;
    for _ in 0..400 {
        holders = nodes.iter().filter(has_new).count();
        if holders >= 16 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(holders >= 16, "{holders} hold the new one");
    assert!(matches!(
        nodes[2].get_value("/ipns/x".into(), &watch).await,
        Err(RoutingError::NotFound)
    ));
}

#[tokio::test]
async fn dead_peers_leave_the_table_and_saved_ones_come_back() {
    let network = Network::default();
    let store = crate::store::Store::in_memory().unwrap();
    let nodes = network.filled(Scope::Lan, 30).await;
    let node = network.node_over(Scope::Lan, 99, store.clone());
    node.bootstrap(vec![contact(&nodes[0])]).await;
    assert!(node.refresh().await.unwrap() > 0);
    assert_eq!(node.refresh().await.unwrap(), 0, "not again within ten minutes");
    drop(node);
    let again = network.node_over(Scope::Lan, 99, store);
    assert!(again.bootstrap(Vec::new()).await > 10, "saved peers are enough to start");
    drop(nodes);
    for _ in 0..3 {
        again.closest(Bytes::from_static(b"key"), &Watch::default()).await;
    }
    assert!(again.peers() <= 10, "{} of the dead are left", again.peers());
}

#[tokio::test]
async fn it_is_looked_after_from_one_peer_on() {
    let network = Network::default();
    let nodes = network.filled(Scope::Lan, 20).await;
    let node = network.node(Scope::Lan, 99);
    let (dhts, seeds) = ([node.clone()], [contact(&nodes[0])]);
    let filled = async {
        while node.peers() <= 10 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = upkeep::look(&dhts, &seeds) => panic!("it ends only with whoever wants it"),
        outcome = tokio::time::timeout(Duration::from_secs(2), filled) => outcome.unwrap(),
    }
}

#[tokio::test]
async fn a_provider_record_that_is_not_taken_ends_no_stream() {
    let network = Network::default();
    let node = network.node(Scope::Wan, 1);
    let key = hash(1).to_bytes();
    let foreign = Message::add_provider(key, contact(&network.node(Scope::Wan, 2)));
    assert!(matches!(node.handle(PeerId::random(), foreign).await, Ok(None)));
    assert_eq!(node.records().counts().unwrap().providers, 0);
}

#[tokio::test]
async fn dropping_the_receiver_ends_the_lookup() {
    let network = Network::default();
    let nodes = network.filled(Scope::Wan, 20).await;
    drop(nodes[1].find_providers(hash(1), 0, Watch::default()));
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(nodes[1].shared.lookups.available_permits(), LOOKUPS);
}
