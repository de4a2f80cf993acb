//! What the server answers, refuses and remembers.

use std::time::Duration;

use libp2p_identity::Keypair;

use super::*;
use crate::ipns::record::{self, Content};
use crate::routing::records::Limits;
use crate::store::Store;

struct House {
    local: PeerId,
    own: Vec<Multiaddr>,
    table: Mutex<Table>,
    known: Mutex<Known>,
    records: Records,
    start: Instant,
}

const UNIX: u64 = 1_800_000_000;

fn addr(text: &str) -> Multiaddr {
    text.parse().unwrap()
}

impl House {
    fn new() -> Self {
        let local = PeerId::random();
        let store = Store::in_memory().unwrap();
        Self {
            local,
            own: vec![addr("/ip4/8.8.8.8/tcp/4001")],
            table: Mutex::new(Table::new(local, Scope::Wan, false)),
            known: Mutex::default(),
            records: Records::new(store, Scope::Wan, Limits::default()),
            start: Instant::now(),
        }
    }

    fn filled() -> Self {
        let house = Self::new();
        for n in 20..60 {
            let addrs = [addr(&format!("/ip4/{n}.1.1.1/tcp/4001"))];
            house.table.lock().unwrap().insert(PeerId::random(), &addrs, house.start);
        }
        house
    }

    fn at(&self, seconds: u64) -> Now {
        Now { instant: self.start + Duration::from_secs(seconds), unix: UNIX + seconds }
    }

    fn ask(&self, sender: PeerId, message: Message, now: Now) -> Result<Option<Message>, Refusal> {
        let Self { local, own, table, known, records, .. } = self;
        let (scope, loopback) = (Scope::Wan, false);
        Server { local: *local, scope, loopback, table, known, own, records }
            .answer(sender, message, now)
    }

    fn find(&self, sender: PeerId, wanted: PeerId) -> Vec<Contact> {
        let message = Message::new(Kind::FindNode, wanted.to_bytes());
        self.ask(sender, message, self.at(0)).unwrap().unwrap().closer
    }
}

fn hash() -> Bytes {
    let mut bytes = vec![0x12, 0x20];
    bytes.extend_from_slice(&[7; 32]);
    bytes.into()
}

#[test]
fn trap_10_asked_for_itself_it_gives_itself() {
    let empty = House::new();
    let asker = PeerId::random();
    let own = Contact { peer: empty.local, addrs: empty.own.clone() };
    assert_eq!(empty.find(asker, empty.local), [own]);
    let house = House::filled();
    let found = house.find(asker, house.local);
    assert_eq!(found[0].peer, house.local);
    assert_eq!(found.len(), BUCKET_PEERS + 1);
}

#[test]
fn a_client_that_is_connected_is_found() {
    let house = House::filled();
    let (asker, client) = (PeerId::random(), PeerId::random());
    assert!(house.find(asker, client).iter().all(|c| c.peer != client));
    let addrs = vec![addr("/ip4/9.9.9.9/tcp/1")];
    house.known.lock().unwrap().connected(client, addrs.clone());
    assert_eq!(house.find(asker, client)[0], Contact { peer: client, addrs });
    assert!(house.find(client, client).iter().all(|c| c.peer != client), "none is told of itself");
    house.known.lock().unwrap().gone(&client);
    assert!(house.find(asker, client).iter().all(|c| c.peer != client));
    let saved = Contact { peer: client, addrs: vec![addr("/ip4/9.9.9.9/tcp/2")] };
    house.records.save_peers(std::slice::from_ref(&saved), UNIX).unwrap();
    assert_eq!(house.find(asker, client)[0], saved);
    let asker = house.table.lock().unwrap().entries().next().unwrap().contact.peer;
    assert!(house.find(asker, house.local).iter().all(|c| c.peer != asker));
}

#[test]
fn providers_are_told_with_addresses_and_closer_peers() {
    let house = House::filled();
    let provider = PeerId::random();
    let addrs = vec![addr("/ip4/9.9.9.9/tcp/1"), addr("/ip4/10.0.0.1/tcp/1")];
    let add = Message::add_provider(hash(), Contact { peer: provider, addrs: addrs.clone() });
    assert!(house.ask(provider, add, house.at(0)).unwrap().is_none(), "no answer is due");
    let get = || Message::new(Kind::GetProviders, hash());
    let answer = house.ask(PeerId::random(), get(), house.at(1)).unwrap().unwrap();
    assert_eq!(answer.providers, [Contact { peer: provider, addrs: addrs[..1].to_vec() }]);
    assert_eq!(answer.closer.len(), BUCKET_PEERS);
    house.records.announced(&[hash()], UNIX).unwrap();
    let answer = house.ask(PeerId::random(), get(), house.at(1)).unwrap().unwrap();
    assert_eq!(answer.providers[0].peer, house.local, "it is a provider itself");
}

#[test]
fn trap_12_provider_records_that_are_refused() {
    let house = House::new();
    let (sender, other) = (PeerId::random(), PeerId::random());
    let add = |key: Bytes, peer, address: &str| {
        let contact = Contact { peer, addrs: vec![addr(address)] };
        house.ask(sender, Message::add_provider(key, contact), house.at(0))
    };
    let public = "/ip4/9.9.9.9/tcp/1";
    assert!(matches!(add(hash(), other, public), Err(Refusal::Provider)));
    assert!(matches!(add(hash(), sender, "/ip4/10.0.0.1/tcp/1"), Err(Refusal::Provider)));
    let mut long = vec![0x00, 80];
    long.extend_from_slice(&[1; 80]);
    for key in [Bytes::new(), "no multihash".into(), hash().slice(..33), long.into()] {
        assert!(matches!(add(key, sender, public), Err(Refusal::Key)));
    }
    assert!(add(hash(), sender, public).is_ok());
    let bare = Message::add_provider(hash(), Contact { peer: sender, addrs: Vec::new() });
    assert!(matches!(house.ask(sender, bare, house.at(0)), Err(Refusal::Provider)));
}

#[test]
fn values_are_judged_when_put_and_when_given() {
    let house = House::new();
    let key = Keypair::generate_ed25519();
    let name: Bytes = [validate::IPNS, &key.public().to_peer_id().to_bytes()].concat().into();
    let sign = |sequence, life: i64| {
        let eol = Moment { seconds: UNIX as i64 + life, nanos: 0 };
        let content = Content { value: "/ipfs/x", eol, sequence, ttl_ns: 1 };
        record::Record::sign(&key, &content).unwrap()
    };
    let put = |value: Bytes, at| {
        let message = Message::put_value(name.clone(), value);
        house.ask(PeerId::random(), message, house.at(at))
    };
    let get = |at| {
        let message = Message::new(Kind::GetValue, name.clone());
        let answer = house.ask(PeerId::random(), message, house.at(at)).unwrap().unwrap();
        answer.record.map(|record| record.value)
    };
    assert_eq!(get(0), None);
    let (old, new) = (sign(1, 1000), sign(2, 500));
    let echo = put(new.clone(), 0).unwrap().unwrap();
    assert_eq!(echo, Message::put_value(name.clone(), new.clone()));
    assert!(matches!(put(old.clone(), 0), Err(Refusal::Older)));
    assert_eq!(get(1), Some(new));
    assert_eq!(get(501), None, "expired");
    assert!(put(old.clone(), 501).is_ok(), "an expired one holds nobody up");
    assert_eq!(get(502), Some(old.clone()));
    assert!(matches!(put("junk".into(), 0), Err(Refusal::Invalid(_))));
    let mut foreign = Message::put_value(name.clone(), old);
    foreign.key = "/ipns/other".into();
    let refused = house.ask(PeerId::random(), foreign, house.at(0));
    assert!(matches!(refused, Err(Refusal::Record)));
    let bare = Message::new(Kind::PutValue, name.clone());
    assert!(matches!(house.ask(PeerId::random(), bare, house.at(0)), Err(Refusal::Record)));
}

/// Security case 19: a peer has a budget, and only that peer runs out of it.
#[test]
fn a_peer_that_asks_without_end_is_refused() {
    let house = House::new();
    let greedy = PeerId::random();
    let ping = || Message::new(Kind::Ping, Bytes::new());
    let served = (0..100_000).take_while(|_| house.ask(greedy, ping(), house.at(0)).is_ok());
    assert_eq!(served.count(), WORK_AT_ONCE as usize);
    assert!(house.ask(PeerId::random(), ping(), house.at(0)).is_ok());
    let served = (0..100_000).take_while(|_| house.ask(greedy, ping(), house.at(1)).is_ok());
    assert_eq!(served.count(), WORK_A_SECOND as usize);
    for _ in 0..PEERS_MAX + 10 {
        house.ask(PeerId::random(), ping(), house.at(1)).unwrap();
    }
    assert!(house.known.lock().unwrap().budgets.len() <= PEERS_MAX);
}

#[test]
fn a_message_without_a_key_is_refused() {
    let house = House::new();
    for kind in [Kind::FindNode, Kind::GetProviders, Kind::GetValue] {
        let refused = house.ask(PeerId::random(), Message::new(kind, ""), house.at(0));
        assert!(matches!(refused, Err(Refusal::Key)));
    }
    let strange = Message::new(Kind::FindNode, "no peer at all");
    assert!(house.ask(PeerId::random(), strange, house.at(0)).is_ok(), "any key has neighbours");
}
