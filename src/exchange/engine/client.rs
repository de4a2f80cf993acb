//! The client's half: what sessions want, and what the answers of peers mean.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::BTreeSet;
use std::time::Instant;

use libp2p::PeerId;

use super::super::ledger::PeerNo;
use super::super::session::{Session, SessionId};
use super::super::wantlist::{Answer, Key};
use super::super::wire::{Kind, Presence};
use super::peer::Peer;
use super::{Action, Engine, RECENT_MAX, Want};
use crate::ipld::block::Block;
use crate::ipld::cid::{self, Cid, hash};

/// Peers remembered to have a block.
const HAVES_MAX: usize = 32;

impl Engine {
    /// The key of a CID, spelled as it was wanted: peers know the want by that.
    pub(super) fn key(&self, cid: &Cid) -> Key {
        let key = Key::of(cid);
        self.wants.get_key_value(&key).map(|(known, _)| known.clone()).unwrap_or(key)
    }

    /// Begins a session.
    pub fn open_session(&mut self, now: Instant) -> SessionId {
        let id = SessionId(self.next_no);
        self.next_no = self.next_no.saturating_add(1);
        self.sessions.insert(id, Session::new(now));
        id
    }

    /// Ends a session and takes its wants back.
    pub fn close_session(&mut self, now: Instant, id: SessionId) {
        let Some(session) = self.sessions.get(&id) else { return };
        for key in session.wants.clone() {
            self.leave(id, &key);
        }
        self.sessions.remove(&id);
        self.hungry.remove(&id);
        self.feed(now);
    }

    /// Wants a block for a session; `false` for a CID that no peer can be asked for: under a hash
    /// that is not allowed, or one that carries its own data.
    pub fn want(&mut self, now: Instant, id: SessionId, cid: &Cid) -> bool {
        if cid::check(cid).is_err() || cid.hash().code() == hash::IDENTITY {
            return false;
        }
        let key = self.key(cid);
        let Some(session) = self.sessions.get_mut(&id) else { return false };
        if session.wants.is_empty() {
            session.progressed(now);
        }
        if !session.wants.insert(key.clone()) {
            return true;
        }
        session.queue.push_back(key.clone());
        if let Some(want) = self.wants.get_mut(&key) {
            want.sessions.push(id);
        } else {
            self.wants.insert(key, Want::new(id, self.next_priority));
            self.next_priority =
                self.next_priority.checked_sub(1).filter(|p| *p > 0).unwrap_or(i32::MAX);
        }
        self.hungry.insert(id);
        self.feed_session(now, id, 1);
        true
    }

    /// Takes a want back. Peers are told when no other session has it.
    pub fn cancel(&mut self, now: Instant, id: SessionId, cid: &Cid) {
        self.leave(id, &self.key(cid));
        self.feed(now);
    }

    /// Providers of a CID, which are being dialled or are connected; `done` ends the search.
    pub fn on_providers(
        &mut self,
        now: Instant,
        id: SessionId,
        cid: &Cid,
        peers: &[PeerId],
        done: bool,
    ) {
        let key = self.key(cid);
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let found = u32::try_from(peers.len()).unwrap_or(u32::MAX);
        session.tally.providers = session.tally.providers.saturating_add(found);
        if done {
            session.searches.remove(&key);
        }
        for peer in peers {
            match self.numbers.get(peer).copied() {
                Some(no) => self.provider(id, &key, no),
                None => {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.dialling(*peer, key.clone());
                    }
                }
            }
        }
        self.feed(now);
    }

    /// A provider could not be dialled.
    pub fn on_dial_failed(&mut self, id: PeerId) {
        for session in self.sessions.values_mut() {
            if session.expected.remove(&id).is_some() {
                session.tally.dial_failures = session.tally.dial_failures.saturating_add(1);
            }
        }
    }

    /// A connected peer is said to provide a block.
    fn provider(&mut self, id: SessionId, key: &Key, no: PeerNo) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.join(no);
            self.hungry.insert(id);
        }
        if let Some(want) = self.wants.get_mut(key) {
            want.claim(no);
            self.requeue(key);
        }
    }

    /// Tells a newcomer what everybody is asked for, and the sessions that waited for it.
    pub(super) fn greet(&mut self, now: Instant, no: PeerNo, peer: PeerId) {
        let mut awaited = Vec::new();
        for (id, session) in &mut self.sessions {
            if let Some(key) = session.expected.remove(&peer) {
                awaited.push((*id, key));
            }
        }
        for (id, key) in awaited {
            self.provider(id, &key, no);
        }
        let keys: Vec<Key> = self.broadcast.iter().cloned().collect();
        keys.iter().for_each(|key| self.tell(now, no, key, Kind::Have));
    }

    /// A peer is gone: what was expected from it goes to others.
    pub(super) fn part(&mut self, no: PeerNo, peer: &Peer) {
        for session in self.sessions.values_mut() {
            session.peers.remove(&no);
        }
        self.wants.values_mut().for_each(|want| want.forget(no));
        for key in peer.told.wants() {
            if let Some(want) = self.wants.get_mut(key).filter(|want| want.asked == Some(no)) {
                want.asked = None;
                self.requeue(key);
            }
        }
    }

    /// A block came.
    pub(super) fn block(&mut self, now: Instant, no: PeerNo, block: Block) {
        let key = self.key(block.cid());
        let bytes = block.data().len() as u64;
        self.stat.blocks_received = self.stat.blocks_received.saturating_add(1);
        self.stat.data_received = self.stat.data_received.saturating_add(bytes);
        let Some(peer) = self.peers.get_mut(&no) else { return };
        let account = &mut peer.ledger.account;
        account.received_bytes = account.received_bytes.saturating_add(bytes);
        account.exchanged = account.exchanged.saturating_add(1);
        let (asked_at, open, from) = (peer.told.asked_at(&key), peer.told.open(), peer.id);
        peer.told.forget(&key);
        if let Some(asked_at) = asked_at {
            peer.pace.hit(now, asked_at, open, bytes);
            self.believe(no);
        }
        let Some(sessions) = self.end(&key, Some(no)) else {
            return self.unwanted(no, &key, bytes);
        };
        for id in &sessions {
            if let Some(session) = self.sessions.get_mut(id) {
                session.join(no);
                session.progressed(now);
                session.tally.blocks = session.tally.blocks.saturating_add(1);
            }
        }
        self.remember(key);
        self.actions.push_back(Action::Deliver { block, sessions, from });
    }

    /// A block that is not wanted: one that came twice, or one that nobody asked for.
    fn unwanted(&mut self, no: PeerNo, key: &Key, bytes: u64) {
        if self.recent.1.contains(key) {
            self.stat.dup_blocks_received = self.stat.dup_blocks_received.saturating_add(1);
            self.stat.dup_data_received = self.stat.dup_data_received.saturating_add(bytes);
        } else {
            self.stat.unsolicited_blocks = self.stat.unsolicited_blocks.saturating_add(1);
            self.with_peer(no, |peer| peer.pace.miss());
        }
    }

    fn remember(&mut self, key: Key) {
        let (order, keys) = &mut self.recent;
        if keys.insert(key.clone()) {
            order.push_back(key);
        }
        while order.len() > RECENT_MAX {
            if let Some(old) = order.pop_front() {
                keys.remove(&old);
            }
        }
    }

    /// A silent peer speaks again: what was not asked of another is expected from it once more.
    fn believe(&mut self, no: PeerNo) {
        let Some(peer) = self.peers.get_mut(&no) else { return };
        if std::mem::take(&mut peer.pace.strikes) == 0 {
            return;
        }
        let keys: Vec<Key> = peer.told.silent_wants().cloned().collect();
        for key in keys {
            let Some(want) = self.wants.get_mut(&key) else { continue };
            if want.asked.is_none() && peer.told.wish(&key) == Some(Kind::Block) {
                want.asked = Some(no);
                want.tried.remove(&no);
                want.slow.remove(&no);
                peer.told.reopen(&key);
            }
        }
    }

    /// HAVEs and DONT_HAVEs came.
    pub(super) fn presences(&mut self, now: Instant, no: PeerNo, answers: &[(Cid, Presence)]) {
        for (cid, presence) in answers {
            let key = self.key(cid);
            let Some(peer) = self.peers.get_mut(&no) else { return };
            // Only an answer counts, so that nobody joins a session uninvited.
            let wish = peer.told.wish(&key);
            let Some(want) = self.wants.get_mut(&key).filter(|_| wish.is_some()) else { continue };
            match presence {
                // It was silent about this very want: its word is not enough any more.
                Presence::Have if peer.pace.strikes > 0 && want.tried.contains(&no) => continue,
                Presence::Have => {
                    want.claim(no);
                    if wish == Some(Kind::Have) {
                        peer.told.answered(&key, Answer::Said(Presence::Have));
                    }
                }
                Presence::DontHave => {
                    if wish == Some(Kind::Block) || want.haves.remove(&no) {
                        peer.pace.miss();
                    }
                    peer.told.answered(&key, Answer::Said(Presence::DontHave));
                    want.haves.remove(&no);
                    want.tried.insert(no);
                    if wish == Some(Kind::Block) {
                        peer.pace.progress = now;
                        // It would send the block when it comes by it, until another is asked.
                        want.slow.insert(no);
                    }
                    if want.asked == Some(no) {
                        want.asked = None;
                        self.requeue(&key);
                    }
                }
            }
            self.answered(now, no, &key, *presence);
        }
    }

    /// What an answer means for the sessions of a want.
    fn answered(&mut self, now: Instant, no: PeerNo, key: &Key, presence: Presence) {
        let Some(want) = self.wants.get(key) else { return };
        let everybody = want.tried.len() >= self.peers.len();
        let hopeless = self.peers.get(&no).is_some_and(|peer| peer.pace.is_hopeless());
        for id in &want.sessions {
            let Some(session) = self.sessions.get_mut(id) else { continue };
            if presence == Presence::Have {
                session.tally.haves = session.tally.haves.saturating_add(1);
                if session.join(no) {
                    self.hungry.insert(*id);
                }
            } else {
                session.tally.dont_haves = session.tally.dont_haves.saturating_add(1);
                if hopeless {
                    session.peers.remove(&no);
                }
                if everybody {
                    session.search_at = session.search_at.min(now);
                }
            }
        }
        if presence == Presence::Have {
            self.requeue(key);
        }
    }

    /// Puts a want at the head of its sessions' queues: it has waited longest.
    pub(super) fn requeue(&mut self, key: &Key) {
        let Some(want) = self.wants.get(key).filter(|want| want.asked.is_none()) else { return };
        for id in &want.sessions {
            if let Some(session) = self.sessions.get_mut(id) {
                session.requeue(key);
                self.hungry.insert(*id);
            }
        }
    }

    /// Takes a session off a want, and the want off the peers when it was the last.
    fn leave(&mut self, id: SessionId, key: &Key) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.drop_want(key);
        }
        let Some(want) = self.wants.get_mut(key) else { return };
        want.sessions.retain(|other| *other != id);
        if want.sessions.is_empty() {
            self.end(key, None);
        } else if want.counted == Some(id) {
            self.uncount(key);
        }
    }

    /// Ends a want: peers are told, but for the one that sent the block and knows.
    pub(super) fn end(&mut self, key: &Key, from: Option<PeerNo>) -> Option<Vec<SessionId>> {
        self.uncount(key);
        let want = self.wants.remove(key)?;
        self.broadcast.remove(key);
        for id in &want.sessions {
            if let Some(session) = self.sessions.get_mut(id) {
                session.drop_want(key);
            }
        }
        for no in want.told.into_iter().filter(|no| Some(*no) != from) {
            self.with_peer(no, |peer| peer.told.withdraw(key));
            self.wake(no);
        }
        Some(want.sessions)
    }

    /// The want takes no more room among those that everybody is asked for.
    pub(super) fn uncount(&mut self, key: &Key) {
        let Some(want) = self.wants.get_mut(key) else { return };
        let Some(id) = want.counted.take() else { return };
        if let Some(session) = self.sessions.get_mut(&id) {
            session.broadcasts = session.broadcasts.saturating_sub(1);
            if session.is_hungry() {
                self.hungry.insert(id);
            }
        }
    }
}

impl Want {
    fn new(id: SessionId, priority: i32) -> Self {
        Self {
            sessions: vec![id],
            priority,
            asked: None,
            haves: BTreeSet::new(),
            tried: BTreeSet::new(),
            slow: BTreeSet::new(),
            told: BTreeSet::new(),
            counted: None,
            searches: 0,
        }
    }

    /// A peer is said to have it.
    fn claim(&mut self, no: PeerNo) {
        if self.haves.len() < HAVES_MAX {
            self.haves.insert(no);
        }
        self.tried.remove(&no);
    }

    /// A peer is gone.
    fn forget(&mut self, no: PeerNo) {
        for set in [&mut self.haves, &mut self.tried, &mut self.slow, &mut self.told] {
            set.remove(&no);
        }
    }
}
