//! What time brings: silence, searches, reminders, and how useful peers have been.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::{Duration, Instant};

use super::super::ledger::PeerNo;
use super::super::session::{SEARCH_LOST, SEARCHES_MAX, SessionId, later};
use super::super::wantlist::{Answer, Key};
use super::{Action, Engine};

/// How finely time is looked at while something is wanted.
const TICK: Duration = Duration::from_millis(100);
/// And otherwise.
const IDLE: Duration = Duration::from_secs(10);
/// How often wants are said again and every peer gets another chance.
const ROUND: Duration = Duration::from_secs(30);
/// How often usefulness is reported.
const TAGS: Duration = Duration::from_secs(10);
/// How long a want stays with one peer, whatever that peer does meanwhile: it may be trickling.
const STAY_MAX: Duration = Duration::from_secs(60);
/// A want is passed over when one asked for so much later was answered.
const OVERTAKEN: Duration = Duration::from_secs(2);

impl Engine {
    /// When [`Self::tick`] is due: soon while anything is wanted.
    pub fn next_tick(&self) -> Instant {
        later(self.ticked_at, if self.wants.is_empty() { IDLE } else { TICK })
    }

    /// Looks at the clock.
    pub fn tick(&mut self, now: Instant) {
        self.ticked_at = now;
        self.silences(now);
        if now >= self.round_at {
            self.round_at = later(now, self.jitter(ROUND));
            self.round(now);
        }
        self.feed(now);
        let ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        ids.into_iter().for_each(|id| self.search(now, id));
        if now >= self.tags_at {
            self.tags_at = later(now, TAGS);
            self.tags();
        }
    }

    /// `base` and up to a tenth more, so that nodes do not fall into step.
    fn jitter(&mut self, base: Duration) -> Duration {
        // SplitMix64: chance enough for a delay.
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let tenth = f64::from((mixed >> 32) as u32) / f64::from(u32::MAX) / 10.0;
        base.saturating_add(base.mul_f64(tenth))
    }

    /// Moves on what silent peers were asked for.
    fn silences(&mut self, now: Instant) {
        let numbers: Vec<PeerNo> = self.peers.keys().copied().collect();
        for no in numbers {
            let Some(peer) = self.peers.get_mut(&no) else { continue };
            if peer.told.open() == 0 {
                continue;
            }
            let patience = peer.pace.patience();
            let quiet = now.saturating_duration_since(peer.pace.progress) >= patience;
            let answered = peer.pace.answered;
            let late = |at: Instant| match now.saturating_duration_since(at) {
                age if quiet => age >= patience,
                age if age >= STAY_MAX => true,
                _ => answered.is_some_and(|a| a.saturating_duration_since(at) >= OVERTAKEN),
            };
            let wants = peer.told.open_wants().filter(|(_, at)| late(*at));
            let keys: Vec<Key> = wants.map(|(key, _)| key.clone()).collect();
            match (quiet, keys.is_empty()) {
                (_, true) => continue,
                (true, _) => peer.pace.strike(now),
                (false, _) => peer.pace.miss(),
            }
            if peer.pace.is_hopeless() {
                for session in self.sessions.values_mut() {
                    session.peers.remove(&no);
                }
            }
            keys.iter().for_each(|key| self.silent(no, key));
        }
    }

    /// A peer has not answered for a want: the next one is asked, and this one told when it is.
    fn silent(&mut self, no: PeerNo, key: &Key) {
        self.with_peer(no, |peer| peer.told.answered(key, Answer::Silent));
        let Some(want) = self.wants.get_mut(key) else { return };
        want.tried.insert(no);
        want.slow.insert(no);
        if want.asked == Some(no) {
            want.asked = None;
            self.requeue(key);
        }
    }

    /// Says again what was not answered, and forgets who had not what is still wanted.
    fn round(&mut self, now: Instant) {
        let numbers: Vec<PeerNo> = self.peers.keys().copied().collect();
        for no in numbers {
            self.with_peer(no, |peer| peer.told.remind(now, ROUND));
            self.wake(no);
        }
        let idle = self.wants.iter_mut().filter(|(_, want)| want.asked.is_none());
        let keys: Vec<Key> = idle
            .map(|(key, want)| {
                want.tried.clear();
                key.clone()
            })
            .collect();
        for key in keys {
            self.requeue(&key);
            let told = self.wants.get(&key).map_or(0, |want| want.told.len());
            if self.broadcast.contains(&key) && told < self.peers.len() {
                // Some had no room to be told.
                self.tell_all(now, &key);
            }
        }
    }

    /// Starts a search for the providers of one want of a session in which nothing moves.
    pub(super) fn search(&mut self, now: Instant, id: SessionId) {
        let lonely = self.peers.is_empty();
        let Some(session) = self.sessions.get_mut(&id) else { return };
        session.searches.retain(|_, since| now.saturating_duration_since(*since) < SEARCH_LOST);
        let first = lonely && session.searches.is_empty() && session.tally.searches == 0;
        let due = now >= session.search_at || first;
        if !due || session.searches.len() >= SEARCHES_MAX {
            return;
        }
        // The want that was searched for least, one that nobody is asked for first, then the oldest.
        let wants = session.wants.iter().filter(|key| !session.searches.contains_key(*key));
        let wants = wants.filter_map(|key| Some((key, self.wants.get(key)?)));
        let next = wants.min_by_key(|(_, want)| {
            (want.searches, want.asked.is_some(), std::cmp::Reverse(want.priority))
        });
        let Some(key) = next.map(|(key, _)| key.clone()) else { return };
        let Some(want) = self.wants.get_mut(&key) else { return };
        session.searched(now, key.clone(), want.searches);
        want.searches = want.searches.saturating_add(1);
        self.actions.push_back(Action::FindProviders { session: id, cid: *key.cid() });
    }

    /// Reports usefulness where it changed: a peer that brings or fetches much, or that a session
    /// counts on, is worth keeping.
    fn tags(&mut self) {
        let members: std::collections::BTreeSet<PeerNo> = {
            let busy = self.sessions.values().filter(|session| !session.wants.is_empty());
            busy.flat_map(|session| session.peers.iter().copied()).collect()
        };
        for (no, peer) in &mut self.peers {
            let account = peer.ledger.account;
            let bytes = account.sent_bytes.saturating_add(account.received_bytes);
            let lately = bytes.saturating_sub(peer.tagged_bytes);
            peer.tagged_bytes = bytes;
            // 1 KiB counts for little, a gigabyte for as much as there is.
            let traffic = lately.checked_ilog2().unwrap_or(0).saturating_sub(9).min(21);
            let wants = u32::from(peer.ledger.count() > 0).saturating_mul(7);
            let member = u32::from(members.contains(no)).saturating_mul(30);
            let value = traffic.saturating_mul(3).saturating_add(wants).saturating_add(member);
            if value != peer.tag {
                peer.tag = value;
                self.actions.push_back(Action::Tag { peer: peer.id, value });
            }
        }
    }
}
