//! The routing table: who stands where in the key space, and who is worth asking.
//!
//! Pure: time is passed in. Holds peers that serve the protocol and were heard from; what is read
//! in answers of others is not held here but in the lookup that read it. Memory is bounded by
//! 256 buckets of [`BUCKET_PEERS`], of which a network of a million servers fills 16.
//!
//! Source: libp2p/specs kad-dht (k-buckets), ipfs/specs src/routing/kad-dht.md (refresh, IP
//! diversity).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId};

use super::key::{Key, REFRESH_BITS_MAX};
use super::scope::{IpGroup, Scope, ip_group};
use super::wire::{ADDRS_MAX, Contact};

/// Peers of one bucket: `k` of Kademlia.
pub const BUCKET_PEERS: usize = 20;
/// Age at which a bucket is refreshed.
pub const REFRESH_AFTER: Duration = Duration::from_secs(600);
/// Time without an answer after which a peer makes room for a new one in a full bucket: six
/// refreshes that it took no part in.
pub const STALE_AFTER: Duration = Duration::from_secs(3600);
/// Failures in a row after which a peer is dropped. One may be the fault of the own line.
const FAILURES_MAX: u8 = 2;
/// Peers of one IP group in the whole public table: whoever rents a network cannot fill it.
const GROUP_MAX: usize = 3;
/// Peers of one IP group in a bucket of the public table.
const GROUP_BUCKET_MAX: usize = 2;

/// What became of a peer that was offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It is new in the table.
    Added,
    /// It was there; its addresses and time are renewed.
    Renewed,
    /// Its bucket is full of peers that are still useful.
    Full,
    /// It is this node, or none of its addresses belongs to the table's scope.
    Unfit,
    /// Too many peers of its IP group are in the table or the bucket.
    Crowded,
}

/// A peer of the table.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The peer and its addresses, all of the table's scope.
    pub contact: Contact,
    /// When it entered.
    pub added: Instant,
    /// When it last answered, or was last heard of by identify.
    pub useful: Instant,
    key: Key,
    group: Option<IpGroup>,
    failures: u8,
}

#[derive(Debug, Default)]
struct Bucket {
    entries: Vec<Entry>,
    refreshed: Option<Instant>,
}

/// The peers of one DHT.
#[derive(Debug)]
pub struct Table {
    local: PeerId,
    key: Key,
    scope: Scope,
    loopback: bool,
    /// By leading bits shared with the own key; buckets never filled are not there.
    buckets: BTreeMap<u16, Bucket>,
    groups: HashMap<IpGroup, usize>,
}

/// What a bucket holds, for `ipfs stats dht`.
#[derive(Clone, Debug)]
pub struct BucketStat {
    /// Leading bits that its peers share with this node.
    pub bits: u16,
    /// When it was last refreshed.
    pub refreshed: Option<Instant>,
    /// Its peers.
    pub entries: Vec<Entry>,
}

impl Table {
    /// An empty table around `local`. `loopback`: as [`Scope::admits`].
    pub fn new(local: PeerId, scope: Scope, loopback: bool) -> Self {
        let key = Key::of_peer(&local);
        Self { local, key, scope, loopback, buckets: BTreeMap::new(), groups: HashMap::new() }
    }

    /// Offers a peer that answered, or that identify says serves the protocol. Its first address
    /// should be the one of its connection: that one decides its IP group.
    pub fn insert(&mut self, peer: PeerId, addrs: &[Multiaddr], now: Instant) -> Inserted {
        let mut addrs = self.scope.filter(addrs, self.loopback);
        addrs.truncate(ADDRS_MAX);
        if peer == self.local || addrs.is_empty() {
            return Inserted::Unfit;
        }
        let (key, group) = (Key::of_peer(&peer), ip_group(&addrs));
        let added = match self.remove(&peer) {
            Some(old) => Some(old.added),
            None => None,
        };
        let entry = Entry {
            contact: Contact { peer, addrs },
            added: added.unwrap_or(now),
            useful: now,
            key,
            group,
            failures: 0,
        };
        let bits = key.common_bits(&self.key);
        if self.is_crowded(bits, group) {
            return Inserted::Crowded;
        }
        if !self.make_room(bits, now) {
            return Inserted::Full;
        }
        if let Some(group) = group.filter(|_| self.scope == Scope::Wan) {
            let count = self.groups.entry(group).or_default();
            *count = count.saturating_add(1);
        }
        self.buckets.entry(bits).or_default().entries.push(entry);
        if added.is_some() { Inserted::Renewed } else { Inserted::Added }
    }

    /// Whether one more peer of the group would be too many. Only the public table asks: a local
    /// network is one group. There a peer without an IP (a name that was not resolved) has none to
    /// be counted by, and all of those are refused.
    fn is_crowded(&self, bits: u16, group: Option<IpGroup>) -> bool {
        if self.scope == Scope::Lan {
            return false;
        }
        let Some(group) = group else { return true };
        let total = self.groups.get(&group).copied().unwrap_or(0);
        let bucket = self.buckets.get(&bits).map_or(0, |bucket| {
            bucket.entries.iter().filter(|entry| entry.group == Some(group)).count()
        });
        total >= GROUP_MAX || bucket >= GROUP_BUCKET_MAX
    }

    /// Drops the stalest peer of a full bucket; `false` when all are still useful.
    fn make_room(&mut self, bits: u16, now: Instant) -> bool {
        let Some(bucket) = self.buckets.get(&bits) else { return true };
        if bucket.entries.len() < BUCKET_PEERS {
            return true;
        }
        let stale = |entry: &&Entry| {
            entry.failures > 0 || now.saturating_duration_since(entry.useful) > STALE_AFTER
        };
        let stalest = bucket.entries.iter().filter(stale).min_by_key(|entry| entry.useful);
        match stalest.map(|entry| entry.contact.peer) {
            Some(peer) => self.remove(&peer).is_some(),
            None => false,
        }
    }

    /// A peer answered.
    pub fn answered(&mut self, peer: &PeerId, now: Instant) {
        if let Some(entry) = self.entry_mut(peer) {
            entry.useful = now;
            entry.failures = 0;
        }
    }

    /// A peer could not be reached, or gave no answer; the second time in a row it is dropped.
    pub fn failed(&mut self, peer: &PeerId) {
        let Some(entry) = self.entry_mut(peer) else { return };
        entry.failures = entry.failures.saturating_add(1);
        if entry.failures >= FAILURES_MAX {
            self.remove(peer);
        }
    }

    /// Takes a peer out: it no longer serves the protocol.
    pub fn remove(&mut self, peer: &PeerId) -> Option<Entry> {
        let bits = Key::of_peer(peer).common_bits(&self.key);
        let entries = &mut self.buckets.get_mut(&bits)?.entries;
        let at = entries.iter().position(|entry| entry.contact.peer == *peer)?;
        let entry = entries.remove(at);
        if let Some(group) = entry.group
            && let Some(count) = self.groups.get_mut(&group)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.groups.remove(&group);
            }
        }
        Some(entry)
    }

    fn entry_mut(&mut self, peer: &PeerId) -> Option<&mut Entry> {
        let bits = Key::of_peer(peer).common_bits(&self.key);
        let entries = &mut self.buckets.get_mut(&bits)?.entries;
        entries.iter_mut().find(|entry| entry.contact.peer == *peer)
    }

    /// A peer, if it is in the table.
    pub fn get(&self, peer: &PeerId) -> Option<&Entry> {
        let bits = Key::of_peer(peer).common_bits(&self.key);
        self.buckets.get(&bits)?.entries.iter().find(|entry| entry.contact.peer == *peer)
    }

    /// At most `count` peers, nearest first, without `except`.
    pub fn closest(&self, target: &Key, count: usize, except: Option<&PeerId>) -> Vec<Contact> {
        let entries = self.entries().filter(|entry| Some(&entry.contact.peer) != except);
        // A full table has a few hundred peers: sorting them all is cheaper than walking buckets
        // in the order of a target that is not the own key.
        let mut near: Vec<_> = entries.map(|entry| (entry.key.distance(target), entry)).collect();
        near.sort_unstable_by_key(|(distance, _)| *distance);
        near.into_iter().take(count).map(|(_, entry)| entry.contact.clone()).collect()
    }

    /// Every peer, by bucket.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.buckets.values().flat_map(|bucket| &bucket.entries)
    }

    /// Number of peers.
    pub fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.entries.len()).sum()
    }

    /// Whether there is nobody to ask.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Buckets that were not refreshed for [`REFRESH_AFTER`], from 0 to one beyond the deepest
    /// that has peers, at most [`REFRESH_BITS_MAX`].
    pub fn due(&self, now: Instant) -> Vec<u16> {
        let filled = self.buckets.iter().filter(|(_, bucket)| !bucket.entries.is_empty());
        let deepest = filled.map(|(bits, _)| bits.saturating_add(1)).max().unwrap_or(0);
        let old = |bits: &u16| {
            let refreshed = self.buckets.get(bits).and_then(|bucket| bucket.refreshed);
            refreshed.is_none_or(|at| now.saturating_duration_since(at) >= REFRESH_AFTER)
        };
        (0..=deepest.min(REFRESH_BITS_MAX)).filter(old).collect()
    }

    /// A lookup for a key in this bucket has ended.
    pub fn refreshed(&mut self, bits: u16, now: Instant) {
        self.buckets.entry(bits.min(256)).or_default().refreshed = Some(now);
    }

    /// The bucket of a key.
    pub fn bucket_of(&self, key: &Key) -> u16 {
        key.common_bits(&self.key)
    }

    /// The own key.
    pub fn local_key(&self) -> &Key {
        &self.key
    }

    /// What every bucket that has peers holds.
    pub fn stats(&self) -> Vec<BucketStat> {
        let stat = |(bits, bucket): (&u16, &Bucket)| BucketStat {
            bits: *bits,
            refreshed: bucket.refreshed,
            entries: bucket.entries.clone(),
        };
        let filled = self.buckets.iter().filter(|(_, bucket)| !bucket.entries.is_empty());
        filled.map(stat).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::super::key::random_peer_at;
    use super::*;

    fn addr(n: u32) -> Vec<Multiaddr> {
        // One group each: 11.x is one company's, so start at 41.
        let [_, _, c, d] = n.to_be_bytes();
        vec![format!("/ip4/{}.{}.1.1/tcp/4001", 41 + c % 20, d).parse().unwrap()]
    }

    fn lan(n: u32) -> Vec<Multiaddr> {
        vec![format!("/ip4/10.0.0.{}/tcp/4001", n % 256).parse().unwrap()]
    }

    /// Random inserts, failures and removals; a plain list is the oracle.
    #[test]
    fn the_closest_are_those_of_a_sorted_list() {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let local = PeerId::random();
            let mut table = Table::new(local, Scope::Lan, false);
            let mut oracle: Vec<PeerId> = Vec::new();
            let start = Instant::now();
            for n in 0..400u32 {
                let now = start + Duration::from_secs(u64::from(n));
                match rng.random_range(0..10) {
                    0 if !oracle.is_empty() => {
                        let gone = oracle.swap_remove(rng.random_range(0..oracle.len()));
                        assert!(table.remove(&gone).is_some());
                    }
                    1 if !oracle.is_empty() => {
                        let gone = oracle.swap_remove(rng.random_range(0..oracle.len()));
                        table.failed(&gone);
                        table.answered(&gone, now);
                        table.failed(&gone);
                        assert!(table.get(&gone).is_some(), "an answer forgives");
                        table.failed(&gone);
                    }
                    _ => {
                        let peer = PeerId::random();
                        match table.insert(peer, &lan(n), now) {
                            Inserted::Added => oracle.push(peer),
                            Inserted::Full => {
                                let mine = Key::of_peer(&peer).common_bits(table.local_key());
                                let same = |p: &&PeerId| {
                                    Key::of_peer(p).common_bits(table.local_key()) == mine
                                };
                                assert_eq!(oracle.iter().filter(same).count(), BUCKET_PEERS);
                            }
                            other => panic!("{other:?}"),
                        }
                    }
                }
                let target = Key::of(&n.to_be_bytes());
                let mut wanted = oracle.clone();
                wanted.sort_by_key(|peer| Key::of_peer(peer).distance(&target));
                wanted.truncate(BUCKET_PEERS);
                let found: Vec<_> =
                    table.closest(&target, 20, None).into_iter().map(|c| c.peer).collect();
                assert_eq!(found, wanted);
                assert_eq!(table.len(), oracle.len());
            }
        }
    }

    #[test]
    fn a_full_bucket_drops_only_who_is_stale() {
        let mut rng = StdRng::seed_from_u64(2);
        let mut table = Table::new(PeerId::random(), Scope::Lan, false);
        let key = *table.local_key();
        let mut far = || random_peer_at(&key, 0, &mut rng).unwrap();
        let start = Instant::now();
        let first = far();
        assert_eq!(table.insert(first, &lan(1), start), Inserted::Added);
        let later = start + Duration::from_secs(60);
        for _ in 1..BUCKET_PEERS {
            assert_eq!(table.insert(far(), &lan(1), later), Inserted::Added);
        }
        assert_eq!(table.insert(far(), &lan(1), later), Inserted::Full);
        assert_eq!(table.insert(first, &lan(2), start), Inserted::Renewed);
        let stale = start + STALE_AFTER + Duration::from_secs(1);
        assert_eq!(table.insert(far(), &lan(1), stale), Inserted::Added);
        assert!(table.get(&first).is_none());
        assert_eq!(table.insert(far(), &lan(1), stale), Inserted::Full);
    }

    /// Security case 17: one network cannot fill the public table.
    #[test]
    fn one_network_gets_three_places_and_two_of_a_bucket() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut table = Table::new(PeerId::random(), Scope::Wan, false);
        let (key, now) = (*table.local_key(), Instant::now());
        let mut at = |bits| random_peer_at(&key, bits, &mut rng).unwrap();
        let same = addr(7);
        let first = at(0);
        assert_eq!(table.insert(first, &same, now), Inserted::Added);
        assert_eq!(table.insert(at(0), &same, now), Inserted::Added);
        assert_eq!(table.insert(at(0), &same, now), Inserted::Crowded);
        assert_eq!(table.insert(at(1), &same, now), Inserted::Added);
        assert_eq!(table.insert(at(2), &same, now), Inserted::Crowded);
        assert_eq!(table.insert(at(2), &addr(8), now), Inserted::Added);
        table.remove(&first);
        assert_eq!(table.insert(at(2), &same, now), Inserted::Added);
        assert_eq!(table.insert(at(3), &lan(1), now), Inserted::Unfit);
        let name = ["/dns4/x.org/tcp/1".parse().unwrap()];
        assert_eq!(table.insert(at(3), &name, now), Inserted::Crowded);
    }

    #[test]
    fn buckets_are_due_once_in_ten_minutes() {
        let mut table = Table::new(PeerId::random(), Scope::Lan, false);
        let start = Instant::now();
        assert_eq!(table.due(start), [0]);
        let mut rng = StdRng::seed_from_u64(4);
        let peer = random_peer_at(table.local_key(), 3, &mut rng).unwrap();
        table.insert(peer, &lan(1), start);
        assert_eq!(table.due(start), [0, 1, 2, 3, 4]);
        table.refreshed(1, start);
        table.refreshed(3, start);
        assert_eq!(table.due(start), [0, 2, 4]);
        assert_eq!(table.due(start + REFRESH_AFTER), [0, 1, 2, 3, 4]);
    }
}
