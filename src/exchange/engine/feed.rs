//! Whom to ask: a session's queue meets the room its peers have.
//!
//! A want goes to the peer that will bring it soonest: all peers of a session work at their own
//! speed, and one that lies or lags gets less.
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

use super::super::ledger::PeerNo;
use super::super::session::{BROADCAST_MAX, Session, SessionId};
use super::super::wantlist::{Key, TOLD_MAX};
use super::super::wire::{Kind, readable};
use super::Engine;

/// Wants of all sessions that everybody is asked for: leaves a quarter of what a peer is told for
/// wants that are its own.
const BROADCAST_ALL_MAX: usize = TOLD_MAX / 4 * 3;
/// Wants of one session that are asked for before it is the next one's turn.
const FEED_MAX: usize = 8;
/// Wants that a peer takes over at a time, and how much later than by it they would come: so many
/// times as late, and so many seconds more.
const RELIEF_MAX: usize = 4;
const RELIEF_FACTOR: f64 = 1.5;
const RELIEF_MIN_S: f64 = 0.5;
/// Peers asked for word of a block that the first one had not.
const ALTERNATES_MAX: usize = 8;

/// Whom to ask for a block.
enum Choice {
    Ask(PeerNo),
    /// Those that may have it are busy.
    Wait,
    /// No peer of the session is left.
    Nobody,
}

impl Engine {
    /// Lets every session that waits for room have some, in turn.
    pub(super) fn feed(&mut self, now: Instant) {
        loop {
            // Those whose turn it is first: room comes by ones and twos.
            let ids = self.hungry.range(self.turn..).chain(self.hungry.range(..self.turn));
            let ids: Vec<SessionId> = ids.copied().collect();
            let mut fed = false;
            for id in ids {
                if self.feed_session(now, id, FEED_MAX) {
                    fed = true;
                    self.turn = SessionId(id.0.saturating_add(1));
                }
            }
            if !fed {
                return;
            }
        }
    }

    /// Asks for at most `count` wants of a session's queue, as far as there is room; whether any
    /// was.
    pub(super) fn feed_session(&mut self, now: Instant, id: SessionId, count: usize) -> bool {
        let mut fed = 0usize;
        while fed < count
            && let Some(session) = self.sessions.get_mut(&id)
        {
            let Some(key) = session.queue.pop_front() else { break };
            let idle = self.wants.get(&key).is_some_and(|want| want.asked.is_none());
            if !idle || !session.wants.contains(&key) {
                continue;
            }
            match self.choose(&key) {
                Choice::Ask(no) => {
                    self.ask(now, no, &key);
                    fed = fed.saturating_add(1);
                }
                Choice::Wait => {
                    if let Some(session) = self.sessions.get_mut(&id) {
                        session.queue.push_front(key);
                    }
                    break;
                }
                Choice::Nobody => {
                    if let Some(session) = self.sessions.get_mut(&id)
                        && !self.broadcast.contains(&key)
                    {
                        session.stuck.push_back(key);
                    }
                }
            }
        }
        self.feed_stuck(now, id);
        if !self.sessions.get(&id).is_some_and(Session::is_hungry) {
            self.hungry.remove(&id);
        }
        if self.peers.is_empty() {
            // Nobody can be asked: the search is all there is.
            self.search(now, id);
        }
        fed > 0
    }

    /// Asks everybody for what no peer of the session has.
    fn feed_stuck(&mut self, now: Instant, id: SessionId) {
        while self.broadcast.len() < BROADCAST_ALL_MAX
            && let Some(session) = self.sessions.get_mut(&id)
            && session.broadcasts < BROADCAST_MAX
            && let Some(key) = session.stuck.pop_front()
        {
            let Some(want) = self.wants.get_mut(&key) else { continue };
            let wanted = session.wants.contains(&key) && want.asked.is_none();
            if !wanted || !self.broadcast.insert(key.clone()) {
                continue;
            }
            want.counted = Some(id);
            session.broadcasts = session.broadcasts.saturating_add(1);
            self.tell_all(now, &key);
        }
    }

    /// Asks every peer whether it has a block.
    pub(super) fn tell_all(&mut self, now: Instant, key: &Key) {
        let peers: Vec<PeerNo> = self.peers.keys().copied().collect();
        peers.into_iter().for_each(|no| self.tell(now, no, key, Kind::Have));
    }

    /// Gives a peer that will be idle soon a part of what a slower one is still to bring. The slower
    /// one is told, mostly before it sends: it sends in the order in which it was asked.
    pub(super) fn relieve(&mut self, now: Instant, no: PeerNo) {
        for _ in 0..RELIEF_MAX {
            let Some(peer) = self.peers.get(&no).filter(|peer| peer.has_room()) else { return };
            let soon = peer.queue_s().mul_add(RELIEF_FACTOR, RELIEF_MIN_S);
            let late = |other: &&PeerNo| {
                self.peers.get(other).is_some_and(|p| p.has_backlog() && p.queue_s() > soon)
            };
            let mates = self.sessions.values().filter(|session| session.peers.contains(&no));
            let mut slow = mates.flat_map(|session| session.peers.iter()).filter(late);
            let found = slow.find_map(|slow| Some((*slow, self.last_of(*slow, no)?)));
            let Some((slow, key)) = found else { return };
            if let Some(want) = self.wants.get_mut(&key) {
                want.slow.insert(slow);
            }
            self.ask(now, no, &key);
        }
    }

    /// The want that `slow` will answer last, if `other` may be asked for it.
    fn last_of(&self, slow: PeerNo, other: PeerNo) -> Option<Key> {
        let open = self.peers.get(&slow)?.told.open_wants();
        let version = self.peers.get(&other)?.version;
        let may = |key: &Key| {
            let want = self.wants.get(key).filter(|want| want.asked == Some(slow))?;
            let sessions = want.sessions.iter().filter_map(|id| self.sessions.get(id));
            let member = sessions.map(|session| &session.peers).any(|p| p.contains(&other));
            let can = member && !want.tried.contains(&other);
            (can && readable(key.cid(), version).is_some()).then_some(want.priority)
        };
        let open = open.filter_map(|(key, _)| Some((may(key)?, key)));
        open.min_by_key(|(priority, _)| *priority).map(|(_, key)| key.clone())
    }

    /// The peer that will bring a block soonest.
    fn choose(&self, key: &Key) -> Choice {
        let Some(want) = self.wants.get(key) else { return Choice::Nobody };
        let mut best: Option<(f64, PeerNo)> = None;
        let mut full = false;
        let sessions = want.sessions.iter().filter_map(|id| self.sessions.get(id));
        let members = sessions.flat_map(|session| session.peers.iter());
        let peers: BTreeSet<PeerNo> = members.chain(&want.haves).copied().collect();
        for no in peers.iter().filter(|no| !want.tried.contains(*no)) {
            let Some(peer) = self.peers.get(no) else { continue };
            if readable(key.cid(), peer.version).is_none() {
                continue;
            }
            if !peer.has_room() {
                full = true;
                continue;
            }
            let claims = want.haves.contains(no);
            // Others claim it and this one does not.
            let doubt = if claims || want.haves.is_empty() { 1.0 } else { 4.0 };
            let cost = peer.expected_s(claims) * doubt;
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, *no));
            }
        }
        match best {
            Some((_, no)) => Choice::Ask(no),
            None if full => Choice::Wait,
            None => Choice::Nobody,
        }
    }

    /// Asks a peer for a block.
    fn ask(&mut self, now: Instant, no: PeerNo, key: &Key) {
        self.tell(now, no, key, Kind::Block);
        let Some(want) = self.wants.get_mut(key) else { return };
        if !want.told.contains(&no) {
            // It is told too much already.
            want.tried.insert(no);
            return self.requeue(key);
        }
        want.asked = Some(no);
        let slow = std::mem::take(&mut want.slow);
        let slow: Vec<PeerNo> = slow.into_iter().filter(|slow| *slow != no).collect();
        want.told.retain(|told| !slow.contains(told));
        for slow in slow {
            self.with_peer(slow, |peer| peer.told.withdraw(key));
            self.wake(slow);
        }
        self.uncount(key);
        self.ask_alternates(now, no, key);
    }

    /// After a failure, asks others of the session for word of the block, to know where to turn next.
    fn ask_alternates(&mut self, now: Instant, no: PeerNo, key: &Key) {
        let Some(want) = self.wants.get(key).filter(|want| !want.tried.is_empty()) else { return };
        let sessions = want.sessions.iter().filter_map(|id| self.sessions.get(id));
        let fresh = |other: &PeerNo| {
            let speaks = self.peers.get(other).is_some_and(|p| p.version.has_presences());
            *other != no && speaks && !want.tried.contains(other) && !want.told.contains(other)
        };
        let peers = sessions.flat_map(|session| session.peers.iter().copied()).filter(fresh);
        let peers: Vec<PeerNo> = peers.take(ALTERNATES_MAX).collect();
        peers.into_iter().for_each(|other| self.tell(now, other, key, Kind::Have));
    }

    /// Puts a want on what a peer is told, if it can read it.
    pub(super) fn tell(&mut self, now: Instant, no: PeerNo, key: &Key, kind: Kind) {
        let (Some(want), Some(peer)) = (self.wants.get_mut(key), self.peers.get_mut(&no)) else {
            return;
        };
        // What it was asked for already is not asked for less.
        let known = peer.told.wish(key).is_some_and(|wish| wish >= kind) && kind == Kind::Have;
        // An older peer takes a question for a want, and would send what another is sending.
        let twice = kind == Kind::Have && want.asked.is_some() && !peer.version.has_presences();
        if known || twice || readable(key.cid(), peer.version).is_none() {
            return;
        }
        if peer.told.open() == 0 {
            // Its patience begins with the first want.
            peer.pace.progress = now;
        }
        if peer.told.ask(now, key, kind, want.priority) {
            want.told.insert(no);
            self.wake(no);
        }
    }
}
