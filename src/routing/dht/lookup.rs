//! One iterative lookup: whom to ask next, what was learned, and when it is over.
//!
//! Sans-IO: answers, failures and the time go in, peers to ask come out. Whoever drives it owns
//! the streams. Memory is bounded by [`SEEN_MAX`] peers, whatever strangers answer.
//!
//! Source: ipfs/specs src/routing/kad-dht.md (lookup: k 20, alpha 10, beta 3), libp2p/specs
//! kad-dht (peer routing, content routing).
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

use libp2p::PeerId;

use super::key::{Distance, Key};
use super::scope::Scope;
use super::table::BUCKET_PEERS;
use super::wire::{ADDRS_MAX, Contact, Kind, Message, Record};

/// Requests under way at once: alpha.
pub const PARALLEL: usize = 10;
/// Nearest peers that must have answered before a lookup may end: beta.
pub const RESILIENCY: usize = 3;
/// Peers that one lookup keeps. Nearest first: who is further away than all of these is never
/// asked. A lookup on the public network hears of one or two hundred.
pub const SEEN_MAX: usize = 1000;
/// Peers that one lookup asks, failures included: what an adversary who answers with ever nearer
/// inventions can make it do.
pub const ASKED_MAX: usize = 300;
/// Closer peers taken of one answer: k, one more for the peer asked for, and some patience.
const CLOSER_MAX: usize = 32;
/// Providers that one lookup collects.
pub const PROVIDERS_MAX: usize = 1000;
/// A lookup's longest life.
pub const LOOKUP_TIME: Duration = Duration::from_secs(60);
/// Time after which a request no longer counts against [`PARALLEL`]: the rest of the lookup goes
/// on without it, and its answer is still taken. A peer that is there answers within a second.
const SLOW: Duration = Duration::from_secs(3);

/// What is looked for, and thus when it is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The k closest peers to the key.
    Closest,
    /// One peer's addresses: ends when they are known.
    Peer(PeerId),
    /// Providers of a multihash; ends at this many.
    Providers(usize),
    /// Records under a key. Whoever validates them decides when there are enough: counted here,
    /// invalid ones would end the lookup, too.
    Values,
}

/// What the driver of a lookup does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send [`Lookup::message`] to this peer.
    Ask(Contact),
    /// Nothing to do before an answer, a failure, or this time.
    Wait(Instant),
    /// The lookup has ended; answers still under way are of no use.
    Done,
}

/// What is new in an answer.
#[derive(Clone, Debug, Default)]
pub struct News {
    /// Providers that were not known, or now have addresses that were not.
    pub providers: Vec<Contact>,
    /// The record, not yet validated.
    pub record: Option<Record>,
    /// Peers that were not known, as the answer named them.
    pub closer: Vec<Contact>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Heard,
    Asked(Instant),
    Answered,
    Failed,
}

#[derive(Debug)]
struct Candidate {
    contact: Contact,
    state: State,
}

/// A lookup under way.
#[derive(Debug)]
pub struct Lookup {
    goal: Goal,
    key: Vec<u8>,
    target: Key,
    local: PeerId,
    scope: Scope,
    loopback: bool,
    until: Instant,
    candidates: BTreeMap<Distance, Candidate>,
    /// Peers whose providing was reported, and whether with an address.
    providers: HashMap<PeerId, bool>,
    asked: usize,
    /// Addresses of the peer that is looked for.
    found: Option<Contact>,
    /// Ended once, ended for good.
    over: bool,
}

/// Of whom and where a lookup is made.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// This node: never asked.
    pub local: PeerId,
    /// Only addresses of this scope are kept.
    pub scope: Scope,
    /// As [`Scope::admits`].
    pub loopback: bool,
}

impl Lookup {
    /// A lookup for the point of `key` (a multihash, a binary peer ID, a record's key), starting
    /// at `seeds`, the closest of the table.
    pub fn new(origin: Origin, goal: Goal, key: &[u8], seeds: Vec<Contact>, now: Instant) -> Self {
        let Origin { local, scope, loopback } = origin;
        let until = now.checked_add(LOOKUP_TIME).unwrap_or(now);
        let mut lookup = Self {
            goal,
            key: key.to_vec(),
            target: Key::of(key),
            local,
            scope,
            loopback,
            until,
            candidates: BTreeMap::new(),
            providers: HashMap::new(),
            asked: 0,
            found: None,
            over: false,
        };
        for seed in seeds {
            lookup.hear(seed);
        }
        lookup
    }

    /// What every peer is asked.
    pub fn message(&self) -> Message {
        let kind = match self.goal {
            Goal::Closest | Goal::Peer(_) => Kind::FindNode,
            Goal::Providers(_) => Kind::GetProviders,
            Goal::Values => Kind::GetValue,
        };
        Message::new(kind, self.key.clone())
    }

    /// What to do now. Call again after each [`Step::Ask`] until it says otherwise.
    pub fn step(&mut self, now: Instant) -> Step {
        if self.over || now >= self.until || self.is_satisfied() || self.is_settled(now) {
            self.over = true;
            return Step::Done;
        }
        let started = self.candidates.values().filter_map(|c| match c.state {
            State::Asked(at) => Some(at),
            State::Heard | State::Answered | State::Failed => None,
        });
        let fresh = started.filter(|at| now.saturating_duration_since(*at) < SLOW);
        let oldest = fresh.clone().min();
        if fresh.count() < PARALLEL && self.asked < ASKED_MAX {
            let heard = |c: &&mut Candidate| c.state == State::Heard;
            if let Some(next) = self.candidates.values_mut().find(heard) {
                next.state = State::Asked(now);
                self.asked = self.asked.saturating_add(1);
                return Step::Ask(next.contact.clone());
            }
        }
        let slow = oldest.and_then(|at| at.checked_add(SLOW)).unwrap_or(self.until);
        Step::Wait(slow.min(self.until))
    }

    /// Whether what was looked for is found.
    fn is_satisfied(&self) -> bool {
        match self.goal {
            Goal::Closest | Goal::Values => false,
            Goal::Peer(_) => self.found.is_some(),
            Goal::Providers(enough) => self.providers.values().filter(|a| **a).count() >= enough,
        }
    }

    /// Whether asking on would bring nothing nearer: of the k nearest that are not known to be dead
    /// all have answered. Those who are slow count as dead once [`RESILIENCY`] nearer or further
    /// ones have answered, so that one silent peer costs [`SLOW`] and not its whole time limit.
    fn is_settled(&self, now: Instant) -> bool {
        let slow = |c: &Candidate| match c.state {
            State::Asked(at) => now.saturating_duration_since(at) >= SLOW,
            State::Heard | State::Answered | State::Failed => false,
        };
        let alive = self.candidates.values().filter(|c| c.state != State::Failed);
        let mut answered = 0usize;
        for candidate in alive.clone().filter(|c| !slow(c)).take(BUCKET_PEERS) {
            match candidate.state {
                State::Answered | State::Failed => answered = answered.saturating_add(1),
                State::Heard if self.asked >= ASKED_MAX => {}
                State::Heard | State::Asked(_) => return false,
            }
        }
        answered >= RESILIENCY || !alive.clone().any(slow)
    }

    /// An answer arrived. Takes nothing of a peer that was not asked.
    pub fn answered(&mut self, peer: &PeerId, answer: Message) -> News {
        let distance = Key::of_peer(peer).distance(&self.target);
        match self.candidates.get_mut(&distance) {
            Some(candidate) if matches!(candidate.state, State::Asked(_) | State::Failed) => {
                candidate.state = State::Answered;
            }
            _ => return News::default(),
        }
        let record = answer.record.filter(|record| record.key == self.key);
        let mut news = News { record, ..News::default() };
        for provider in answer.providers {
            news.providers.extend(self.provider(provider));
        }
        for contact in answer.closer.into_iter().take(CLOSER_MAX) {
            news.closer.extend(self.hear(contact));
        }
        news
    }

    /// A peer could not be reached, or gave no answer.
    pub fn failed(&mut self, peer: &PeerId) {
        let distance = Key::of_peer(peer).distance(&self.target);
        if let Some(candidate) = self.candidates.get_mut(&distance)
            && matches!(candidate.state, State::Asked(_))
        {
            candidate.state = State::Failed;
        }
    }

    /// Learns of a peer; gives it back when it is new.
    fn hear(&mut self, contact: Contact) -> Option<Contact> {
        let contact = self.admissible(contact);
        if contact.peer == self.local {
            return None;
        }
        if self.goal == Goal::Peer(contact.peer) && !contact.addrs.is_empty() {
            self.found = Some(contact.clone());
        }
        if contact.addrs.is_empty() {
            return None;
        }
        let distance = Key::of_peer(&contact.peer).distance(&self.target);
        if let Some(known) = self.candidates.get_mut(&distance) {
            // The first to name a peer may have named it wrongly: keep what others say as well.
            for addr in contact.addrs {
                if known.contact.addrs.len() < ADDRS_MAX && !known.contact.addrs.contains(&addr) {
                    known.contact.addrs.push(addr);
                }
            }
            return None;
        }
        let candidate = Candidate { contact: contact.clone(), state: State::Heard };
        self.candidates.insert(distance, candidate);
        if self.candidates.len() > SEEN_MAX {
            self.candidates.pop_last();
        }
        Some(contact)
    }

    /// Learns of a provider; gives it back when that is news.
    fn provider(&mut self, contact: Contact) -> Option<Contact> {
        let contact = self.admissible(contact);
        let reachable = !contact.addrs.is_empty();
        let full = self.providers.len() >= PROVIDERS_MAX;
        match self.providers.get_mut(&contact.peer) {
            Some(known) if *known || !reachable => return None,
            Some(known) => *known = true,
            None if full => return None,
            None => {
                self.providers.insert(contact.peer, reachable);
            }
        }
        Some(contact)
    }

    fn admissible(&self, contact: Contact) -> Contact {
        let addrs = self.scope.filter(&contact.addrs, self.loopback);
        Contact { peer: contact.peer, addrs }
    }

    /// The peer that was looked for, once its addresses are known.
    pub fn found(&self) -> Option<&Contact> {
        self.found.as_ref()
    }

    /// At most `count` peers that answered, nearest first: where a record belongs.
    pub fn closest(&self, count: usize) -> Vec<Contact> {
        let answered = self.candidates.values().filter(|c| c.state == State::Answered);
        answered.take(count).map(|c| c.contact.clone()).collect()
    }

    /// Peers asked so far, and how many of them answered.
    pub fn asked(&self) -> (usize, usize) {
        let answered = self.candidates.values().filter(|c| c.state == State::Answered).count();
        (self.asked, answered)
    }

    /// The point that is looked for.
    pub fn target(&self) -> &Key {
        &self.target
    }
}

#[cfg(test)]
mod tests;
