//! Lookups over a network that exists only here: seeded, with failures and liars.

use std::collections::{BinaryHeap, HashMap};

use libp2p::Multiaddr;
use libp2p::multihash::Multihash;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::routing::dht::table::{Inserted, Table};

fn peer(rng: &mut StdRng) -> PeerId {
    let mut digest = [0; 32];
    rng.fill_bytes(&mut digest);
    PeerId::from_multihash(Multihash::wrap(0x12, &digest).unwrap()).unwrap()
}

fn contact(peer: PeerId) -> Contact {
    Contact { peer, addrs: vec!["/ip4/10.0.0.1/tcp/4001".parse().unwrap()] }
}

struct World {
    tables: HashMap<PeerId, Table>,
    peers: Vec<PeerId>,
    dead: Vec<PeerId>,
    providers: HashMap<PeerId, Vec<Contact>>,
    rng: StdRng,
    start: Instant,
}

impl World {
    /// `count` nodes that know each other as well as their tables allow, a share of them dead.
    fn new(seed: u64, count: usize, dead_percent: u32) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let start = Instant::now();
        let peers: Vec<PeerId> = (0..count).map(|_| peer(&mut rng)).collect();
        let mut tables = HashMap::new();
        for own in &peers {
            let mut table = Table::new(*own, Scope::Lan, false);
            for other in &peers {
                table.insert(*other, &contact(*other).addrs, start);
            }
            tables.insert(*own, table);
        }
        let dead = peers.iter().filter(|_| rng.random_range(0..100) < dead_percent).copied();
        let dead = dead.collect();
        Self { tables, peers, dead, providers: HashMap::new(), rng, start }
    }

    fn alive(&self) -> impl Iterator<Item = PeerId> + '_ {
        self.peers.iter().filter(|peer| !self.dead.contains(peer)).copied()
    }

    fn closest_alive(&self, key: &[u8]) -> Vec<PeerId> {
        let target = Key::of(key);
        let mut all: Vec<PeerId> = self.alive().collect();
        all.sort_by_key(|peer| Key::of_peer(peer).distance(&target));
        all.truncate(BUCKET_PEERS);
        all
    }

    fn lookup(&mut self, goal: Goal, key: &[u8]) -> (Lookup, Vec<Contact>, Duration) {
        let alive: Vec<PeerId> = self.alive().collect();
        let local = alive[self.rng.random_range(0..alive.len())];
        let seeds = self.tables[&local].closest(&Key::of(key), BUCKET_PEERS, None);
        let origin = Origin { local, scope: Scope::Lan, loopback: false };
        let mut lookup = Lookup::new(origin, goal, key, seeds, self.start);
        let mut found = Vec::new();
        // What arrives when: earliest first. Times in ms.
        let mut arrivals: BinaryHeap<(std::cmp::Reverse<u64>, PeerId)> = BinaryHeap::new();
        let mut now = 0;
        loop {
            let at = |ms| self.start + Duration::from_millis(ms);
            match lookup.step(at(now)) {
                Step::Done => return (lookup, found, Duration::from_millis(now)),
                Step::Ask(asked) => {
                    let dead = self.dead.contains(&asked.peer);
                    let delay = if dead { 10_000 } else { self.rng.random_range(20..400) };
                    arrivals.push((std::cmp::Reverse(now + delay), asked.peer));
                }
                Step::Wait(until) => {
                    let until = (until - self.start).as_millis() as u64;
                    match arrivals.peek().copied() {
                        Some((std::cmp::Reverse(then), peer)) if then <= until => {
                            arrivals.pop();
                            now = then.max(now);
                            found.extend(self.deliver(&mut lookup, &peer));
                        }
                        _ => now = until,
                    }
                }
            }
        }
    }

    fn deliver(&self, lookup: &mut Lookup, peer: &PeerId) -> Vec<Contact> {
        if self.dead.contains(peer) {
            lookup.failed(peer);
            return Vec::new();
        }
        let mut answer = lookup.message();
        answer.closer = self.tables[peer].closest(lookup.target(), BUCKET_PEERS, None);
        answer.providers = self.providers.get(peer).cloned().unwrap_or_default();
        lookup.answered(peer, answer).providers
    }
}

#[test]
fn five_hundred_nodes_find_the_true_closest() {
    for (seed, dead) in [(1, 0), (2, 10), (3, 30)] {
        let mut world = World::new(seed, 500, dead);
        for n in 0u32..10 {
            let key = n.to_be_bytes();
            let (lookup, _, took) = world.lookup(Goal::Closest, &key);
            let found: Vec<PeerId> = lookup.closest(20).into_iter().map(|c| c.peer).collect();
            let wanted: Vec<PeerId> = world.closest_alive(&key);
            let own = lookup.local;
            let wanted: Vec<PeerId> = wanted.into_iter().filter(|p| *p != own).collect();
            let hits = wanted.iter().filter(|peer| found.contains(peer)).count();
            // Tables here are never cleaned, so of the 20 that each names a share is dead.
            let need = if dead < 20 { wanted.len() - 1 } else { wanted.len() * 7 / 10 };
            assert!(hits >= need, "{hits} of {} with {dead} % dead", wanted.len());
            assert!(took < Duration::from_secs(15), "{took:?} with {dead} % dead");
            assert!(lookup.asked().0 <= 80, "{:?}", lookup.asked());
        }
    }
}

#[test]
fn providers_are_found_as_soon_as_one_tells() {
    let mut world = World::new(4, 500, 20);
    let provider = contact(peer(&mut world.rng));
    let key = b"some multihash";
    for holder in world.closest_alive(key).into_iter().step_by(4) {
        world.providers.insert(holder, vec![provider.clone()]);
    }
    let (_, found, _) = world.lookup(Goal::Providers(10), key);
    assert!(found.iter().eq([&provider]), "once, however many tell");
    let (lookup, found, took) = world.lookup(Goal::Providers(1), key);
    assert_eq!(found, [provider]);
    assert!(took < Duration::from_secs(10) && lookup.asked().1 < 60);
}

#[test]
fn a_peer_is_found_by_its_id() {
    let mut world = World::new(5, 300, 10);
    for n in 0..5 {
        let wanted = world.alive().nth(n * 7).unwrap();
        let (lookup, ..) = world.lookup(Goal::Peer(wanted), &wanted.to_bytes());
        if lookup.local != wanted {
            assert_eq!(lookup.found(), Some(&contact(wanted)));
        }
    }
}

fn local() -> Origin {
    Origin { local: PeerId::random(), scope: Scope::Lan, loopback: false }
}

/// Security case 16: one who answers with ever nearer inventions ends at a bound.
#[test]
fn inventions_end_at_a_bound() {
    let mut rng = StdRng::seed_from_u64(6);
    let now = Instant::now();
    let seeds = vec![contact(peer(&mut rng))];
    let mut lookup = Lookup::new(local(), Goal::Providers(5000), b"key", seeds, now);
    loop {
        match lookup.step(now) {
            Step::Ask(asked) => {
                let mut answer = lookup.message();
                answer.closer = (0..200).map(|_| contact(peer(&mut rng))).collect();
                answer.providers = (0..200).map(|_| contact(peer(&mut rng))).collect();
                lookup.answered(&asked.peer, answer);
            }
            Step::Done => break,
            Step::Wait(_) => panic!("everybody answered"),
        }
    }
    assert!(lookup.asked().0 <= ASKED_MAX);
    assert!(lookup.candidates.len() <= SEEN_MAX && lookup.providers.len() <= PROVIDERS_MAX);
}

#[test]
fn it_takes_nothing_unasked_and_nothing_of_another_scope() {
    let now = Instant::now();
    let [first, second] = [PeerId::random(), PeerId::random()].map(contact);
    let origin = local();
    let mut lookup = Lookup::new(origin, Goal::Closest, b"key", vec![first.clone()], now);
    let public: Multiaddr = "/ip4/1.2.3.4/tcp/1".parse().unwrap();
    let mut answer = lookup.message();
    answer.closer = vec![
        second.clone(),
        Contact { peer: PeerId::random(), addrs: vec![public] },
        contact(origin.local),
    ];
    assert!(lookup.answered(&first.peer, answer.clone()).closer.is_empty(), "not asked yet");
    assert_eq!(lookup.step(now), Step::Ask(first.clone()));
    assert!(lookup.answered(&first.peer, answer).closer.iter().eq([&second]));
    assert_eq!(lookup.step(now), Step::Ask(second.clone()));
    assert!(matches!(lookup.step(now), Step::Wait(_)));
    lookup.failed(&second.peer);
    assert_eq!(lookup.step(now), Step::Done);
    assert_eq!(lookup.closest(20), [first]);
    assert!(lookup.step(now + LOOKUP_TIME) == Step::Done);
}

#[test]
fn a_silent_peer_does_not_hold_the_lookup_up() {
    let now = Instant::now();
    let seeds: Vec<Contact> = (0..8).map(|_| contact(PeerId::random())).collect();
    let mut lookup = Lookup::new(local(), Goal::Closest, b"key", seeds, now);
    let mut asked = Vec::new();
    while let Step::Ask(contact) = lookup.step(now) {
        asked.push(contact.peer);
    }
    assert_eq!(asked.len(), 8);
    for peer in &asked[1..] {
        lookup.answered(peer, lookup.message());
    }
    assert_eq!(lookup.step(now), Step::Wait(now + SLOW));
    assert_eq!(lookup.step(now + SLOW), Step::Done);
    let mut table = Table::new(PeerId::random(), Scope::Lan, false);
    assert_eq!(table.insert(asked[0], &contact(asked[0]).addrs, now), Inserted::Added);
}
