//! Answering others: one function from a message to an answer, over the table and the records.
//!
//! Synchronous, since it reads and writes the store: whoever calls it does so off the async
//! threads. Every peer has a budget, and every answer a bound.
//!
//! Source: ipfs/specs src/routing/kad-dht.md (RPC messages, server behaviour), libp2p/specs
//! kad-dht.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId};

use super::key::Key;
use super::scope::Scope;
use super::table::{BUCKET_PEERS, Table};
use super::validate::{self, InvalidValue};
use super::wire::{ADDRS_MAX, Contact, KEY_MAX_BYTES, Kind, Message, Record};
use crate::ipld::cid::Multihash;
use crate::ipns::time::{self, Moment};
use crate::routing::records::{Kept, PROVIDER_LIFE_S, Records};
use crate::store::StoreError;

/// Peers whose budgets and addresses are kept: more than a node has connections.
pub const PEERS_MAX: usize = 8192;
/// Work that a peer may ask for a second, and at once after a pause. A node that announces a
/// hundred million keys sends a server some 30,000 records for a region; it sends them again when
/// it is refused, at the latest in the next round.
const WORK_A_SECOND: f64 = 1000.0;
const WORK_AT_ONCE: f64 = 20_000.0;

/// Why a message is not answered. The stream is then to be reset, as go does.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// This node is a client of the DHT.
    #[error("this node does not serve the DHT")]
    Client,
    /// The sender asks for more than its share.
    #[error("too many requests of one peer")]
    Rate,
    /// The key is missing, too long, or not of the kind the message needs.
    #[error("the key does not fit the message")]
    Key,
    /// A PUT_VALUE without a record, or whose record has another key.
    #[error("the record is missing or has another key")]
    Record,
    /// The value is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidValue),
    /// A better value is here.
    #[error("an older record than the one here")]
    Older,
    /// None of the provider records was taken: not the sender's own, without a fit address, or
    /// more than one peer may have.
    #[error("no provider record was taken")]
    Provider,
    /// The records could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// When a message arrived, by the clock that never jumps and by the calendar.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// For budgets and the table.
    pub instant: Instant,
    /// Seconds since 1970, for records.
    pub unix: u64,
}

/// Peers that are connected, whether or not they serve: where they are, and what they may still
/// ask for. Bounded by [`PEERS_MAX`].
#[derive(Debug, Default)]
pub struct Known {
    addrs: HashMap<PeerId, Vec<Multiaddr>>,
    budgets: HashMap<PeerId, (f64, Instant)>,
}

impl Known {
    /// A peer is connected and has these addresses of the scope.
    pub fn connected(&mut self, peer: PeerId, mut addrs: Vec<Multiaddr>) {
        addrs.truncate(ADDRS_MAX);
        if addrs.is_empty() {
            self.addrs.remove(&peer);
        } else if self.addrs.len() < PEERS_MAX || self.addrs.contains_key(&peer) {
            self.addrs.insert(peer, addrs);
        }
    }

    /// A peer is no longer connected. Its budget stays, so that coming back does not refill it.
    pub fn gone(&mut self, peer: &PeerId) {
        self.addrs.remove(peer);
    }

    /// Where a connected peer is.
    pub fn addrs(&self, peer: &PeerId) -> Option<&[Multiaddr]> {
        self.addrs.get(peer).map(Vec::as_slice)
    }

    /// Takes the cost of a request off the sender's budget; `false` when it is spent.
    fn spend(&mut self, peer: PeerId, cost: f64, now: Instant) -> bool {
        if self.budgets.len() >= PEERS_MAX && !self.budgets.contains_key(&peer) {
            // Budgets that are full again say nothing; failing that, the oldest goes.
            self.budgets.retain(|_, (left, at)| refilled(*left, *at, now) < WORK_AT_ONCE);
            if self.budgets.len() >= PEERS_MAX {
                let oldest = self.budgets.iter().min_by_key(|(_, (_, at))| *at);
                if let Some(oldest) = oldest.map(|(peer, _)| *peer) {
                    self.budgets.remove(&oldest);
                }
            }
        }
        let (left, at) = self.budgets.entry(peer).or_insert((WORK_AT_ONCE, now));
        let have = refilled(*left, *at, now);
        (*left, *at) = (if have < cost { have } else { have - cost }, now);
        have >= cost
    }
}

fn refilled(left: f64, at: Instant, now: Instant) -> f64 {
    let gained = now.saturating_duration_since(at).as_secs_f64() * WORK_A_SECOND;
    (left + gained).min(WORK_AT_ONCE)
}

/// What a message costs its sender, in units of storing a provider record.
fn cost(kind: Kind) -> f64 {
    match kind {
        Kind::Ping | Kind::AddProvider => 1.0,
        Kind::FindNode => 2.0,
        Kind::GetProviders | Kind::GetValue => 5.0,
        // A signature, perhaps of RSA, and 10 KiB on the disk.
        Kind::PutValue => 50.0,
    }
}

/// What the server answers from.
pub struct Server<'a> {
    /// This node.
    pub local: PeerId,
    /// Which DHT.
    pub scope: Scope,
    /// As [`Scope::admits`].
    pub loopback: bool,
    /// Who serves.
    pub table: &'a Mutex<Table>,
    /// Who is connected.
    pub known: &'a Mutex<Known>,
    /// Addresses of this node, of the scope.
    pub own: &'a [Multiaddr],
    /// What is kept.
    pub records: &'a Records,
}

impl Server<'_> {
    /// The answer to a message; `None` for one that wants none.
    ///
    /// # Errors
    /// [`Refusal`]: the stream it came by is to be reset.
    pub fn answer(
        &self,
        sender: PeerId,
        message: Message,
        now: Now,
    ) -> Result<Option<Message>, Refusal> {
        if !lock(self.known).spend(sender, cost(message.kind), now.instant) {
            return Err(Refusal::Rate);
        }
        match message.kind {
            Kind::Ping => Ok(Some(Message::new(Kind::Ping, message.key))),
            Kind::FindNode => self.find_node(&sender, &message.key, now).map(Some),
            Kind::GetProviders => self.get_providers(&sender, message.key, now).map(Some),
            Kind::AddProvider => self.add_provider(&sender, message, now).map(|()| None),
            Kind::GetValue => self.get_value(&sender, message.key, now).map(Some),
            Kind::PutValue => self.put_value(message, now).map(Some),
        }
    }

    /// Closer peers, and always the one asked for if it is known: it may be a client, which is in
    /// nobody's table. Whoever asks a node for itself gets it and its neighbours: go starts that
    /// way and fails on an empty list.
    fn find_node(&self, sender: &PeerId, key: &Bytes, now: Now) -> Result<Message, Refusal> {
        if key.is_empty() {
            return Err(Refusal::Key);
        }
        let mut answer = Message::new(Kind::FindNode, Bytes::new());
        answer.closer = self.closest(key, sender);
        let Ok(wanted) = PeerId::from_bytes(key) else { return Ok(answer) };
        // Nobody is told of itself.
        if wanted != *sender && !answer.closer.iter().any(|contact| contact.peer == wanted) {
            let addrs = self.whereabouts(&wanted, now)?;
            if !addrs.is_empty() {
                answer.closer.insert(0, Contact { peer: wanted, addrs });
            }
        }
        Ok(answer)
    }

    /// Where a peer is, as far as this scope may know.
    fn whereabouts(&self, peer: &PeerId, now: Now) -> Result<Vec<Multiaddr>, Refusal> {
        if *peer == self.local {
            return Ok(self.own.to_vec());
        }
        if let Some(addrs) = lock(self.known).addrs(peer) {
            return Ok(addrs.to_vec());
        }
        let saved = self.records.saved_peer(peer, now.unix)?;
        let addrs = saved.map(|contact| contact.addrs).unwrap_or_default();
        Ok(self.scope.filter(&addrs, self.loopback))
    }

    fn get_providers(&self, sender: &PeerId, key: Bytes, now: Now) -> Result<Message, Refusal> {
        if key.is_empty() || key.len() > KEY_MAX_BYTES {
            return Err(Refusal::Key);
        }
        let mut answer = Message::new(Kind::GetProviders, key);
        answer.providers = self.records.providers(&answer.key, now.unix)?;
        let told = self.records.last_announced(&answer.key)?;
        let own = told.is_some_and(|at| at.saturating_add(PROVIDER_LIFE_S) > now.unix);
        if own && !self.own.is_empty() {
            let contact = Contact { peer: self.local, addrs: self.own.to_vec() };
            answer.providers.insert(0, contact);
        }
        answer.closer = self.closest(&answer.key, sender);
        Ok(answer)
    }

    /// Only the sender can say that it has something, and only with an address of the scope:
    /// others drop a record without one.
    fn add_provider(&self, sender: &PeerId, message: Message, now: Now) -> Result<(), Refusal> {
        if message.key.len() > KEY_MAX_BYTES || Multihash::from_bytes(&message.key).is_err() {
            return Err(Refusal::Key);
        }
        let own = message.providers.into_iter().find(|contact| contact.peer == *sender);
        let mut contact = own.ok_or(Refusal::Provider)?;
        contact.addrs = self.scope.filter(&contact.addrs, self.loopback);
        if contact.addrs.is_empty() {
            return Err(Refusal::Provider);
        }
        match self.records.add_provider(&message.key, &contact, now.unix)? {
            Kept::Added | Kept::Renewed => Ok(()),
            Kept::Refused => Err(Refusal::Provider),
        }
    }

    /// A value that was valid when it came and is no longer is not served.
    fn get_value(&self, sender: &PeerId, key: Bytes, now: Now) -> Result<Message, Refusal> {
        if key.is_empty() {
            return Err(Refusal::Key);
        }
        let mut answer = Message::new(Kind::GetValue, key.clone());
        let kept = self.records.value(&key, now.unix)?;
        let valid = kept.filter(|(value, _)| validate::validate(&key, value, now.unix).is_ok());
        answer.record = valid.map(|(value, received)| {
            let seconds = i64::try_from(received).unwrap_or(i64::MAX);
            let time_received = time::format(Moment { seconds, nanos: 0 });
            Record { key, value, time_received }
        });
        answer.closer = self.closest(&answer.key, sender);
        Ok(answer)
    }

    fn put_value(&self, message: Message, now: Now) -> Result<Message, Refusal> {
        let record = message.record.ok_or(Refusal::Record)?;
        if record.key != message.key {
            return Err(Refusal::Record);
        }
        let (key, value) = (&record.key, &record.value);
        validate::validate(key, value, now.unix)?;
        let better = |old: Option<&Bytes>| match old {
            Some(old) if validate::validate(key, old, now.unix).is_ok() => {
                validate::is_better(key, value, old)
            }
            Some(_) | None => true,
        };
        match self.records.put_value(key, value, now.unix, better)? {
            true => Ok(Message::put_value(record.key, record.value)),
            false => Err(Refusal::Older),
        }
    }

    fn closest(&self, key: &[u8], sender: &PeerId) -> Vec<Contact> {
        lock(self.table).closest(&Key::of(key), BUCKET_PEERS, Some(sender))
    }
}

/// A lock whose holder panicked guards nothing half-done that matters: at worst a peer is missing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
