//! What every implementation of [`Routing`] must do.

use bytes::Bytes;
use libp2p::PeerId;
use libp2p_identity::Keypair;

use super::dht::fake::{Network, id};
use super::dht::scope::Scope;
use super::dht::{Dht, unix_now, validate};
use super::{Routing, RoutingError, Watch};
use crate::ipld::cid::Multihash;
use crate::ipns::record::{Content, Record};
use crate::ipns::time::Moment;

pub fn hash(n: u8) -> Multihash {
    Multihash::wrap(0x12, &[n; 32]).unwrap()
}

/// A name and a function that signs a record of a sequence for it.
pub fn name() -> (Bytes, impl Fn(u64) -> Bytes) {
    let key = Keypair::generate_ed25519();
    let name = [validate::IPNS, &key.public().to_peer_id().to_bytes()].concat().into();
    let sign = move |sequence| {
        let eol = Moment { seconds: unix_now() as i64 + 600, nanos: 0 };
        Record::sign(&key, &Content { value: "/ipfs/x", eol, sequence, ttl_ns: 1 }).unwrap()
    };
    (name, sign)
}

/// With or without a network.
pub async fn anywhere(routing: &dyn Routing) {
    let watch = Watch::default();
    let mut nobody = routing.find_providers(hash(200), 0, Watch::default());
    assert_eq!(nobody.recv().await, None, "a search for nothing ends");
    assert!(routing.find_peer(PeerId::random(), &watch).await.is_err());
    let (name, sign) = name();
    let missing = routing.get_value(name.clone(), &watch).await;
    assert!(matches!(missing, Err(RoutingError::NotFound)));
    let junk = routing.put_value(name.clone(), "junk".into(), &watch).await;
    assert!(matches!(junk, Err(RoutingError::Invalid(_))));
    let nowhere = routing.put_value("/other/x".into(), sign(1), &watch).await;
    assert!(matches!(nowhere, Err(RoutingError::Invalid(_))));
    // Signed once: another second makes another record.
    let (fifth, sixth) = (sign(5), sign(6));
    routing.put_value(name.clone(), fifth.clone(), &watch).await.unwrap();
    assert_eq!(routing.get_value(name.clone(), &watch).await.unwrap(), fifth);
    routing.put_value(name.clone(), sixth.clone(), &watch).await.unwrap();
    assert_eq!(routing.get_value(name, &watch).await.unwrap(), sixth);
}

/// In a network in which `other` is a node and `peer` serves.
pub async fn online(routing: &dyn Routing, other: &Dht, peer: PeerId) {
    anywhere(routing).await;
    let watch = Watch::default();
    assert_eq!(routing.find_peer(peer, &watch).await.unwrap().peer, peer);
    other.provide(&hash(100), &watch).await.unwrap();
    let mut found = routing.find_providers(hash(100), 1, Watch::default());
    assert_eq!(found.recv().await.unwrap().peer, id(other));
    assert_eq!(found.recv().await, None);
    assert!(routing.provide(hash(101), &watch).await.unwrap() > 0);
    let mut found = other.find_providers(hash(101), 0, Watch::default());
    assert!(found.recv().await.is_some(), "others find what was provided");
}

#[tokio::test]
async fn a_dht_passes_the_whole_suite() {
    let nodes = Network::default().filled(Scope::Lan, 30).await;
    online(&nodes[5], &nodes[6], id(&nodes[7])).await;
}
