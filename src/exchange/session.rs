//! A session: wants that belong together, and the peers that have answered for one of them.
//!
//! Who has one block of a DAG mostly has the others, so a session asks its own peers for the block
//! itself, and everybody only while it knows nobody. Owns the queues and the pace of the search for
//! providers; what is sent to whom is decided in `engine/feed.rs`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::ledger::PeerNo;
use super::wantlist::Key;
use crate::ipld::cid::Cid;

/// Peers of one session: enough to fill any line, few enough to be chosen from for every want.
pub const PEERS_MAX: usize = 32;
/// Providers of one session that are being dialled and remembered.
pub const EXPECTED_MAX: usize = 64;
/// Wants of one session that everybody is asked for at a time, as in Kubo.
pub const BROADCAST_MAX: usize = 64;
/// Searches for providers of one session at a time.
pub const SEARCHES_MAX: usize = 4;
/// How long nothing may come before providers are searched, at first and at most.
pub const SEARCH_GAPS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// A search that was not ended by then is taken for lost.
pub const SEARCH_LOST: Duration = Duration::from_secs(120);

/// A session's name. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(super) u64);

/// Wants that belong together.
#[derive(Debug)]
pub struct Session {
    /// All of them.
    pub wants: BTreeSet<Key>,
    /// Those that wait for room with a peer; some may be asked for already or be gone.
    pub queue: VecDeque<Key>,
    /// Those that no peer of the session has, waiting for room to ask everybody.
    pub stuck: VecDeque<Key>,
    /// Those for which everybody is asked and nobody has answered.
    pub broadcasts: usize,
    /// Connected peers that have answered for a want.
    pub peers: BTreeSet<PeerNo>,
    /// Providers that are being dialled, and for what.
    pub expected: BTreeMap<PeerId, Key>,
    /// Searches under way, and since when.
    pub searches: BTreeMap<Key, Instant>,
    /// When the next one starts if nothing comes before.
    pub search_at: Instant,
    /// What came of it so far.
    pub tally: Tally,
}

/// What a session has tried, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Searches for providers that were started.
    pub searches: u32,
    /// Providers that they found.
    pub providers: u32,
    /// Providers that could not be dialled.
    pub dial_failures: u32,
    /// Answers that a block is there.
    pub haves: u32,
    /// Answers that it is not.
    pub dont_haves: u32,
    /// Blocks that came.
    pub blocks: u64,
}

/// What the connected peers say of the want that waits longest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// The block.
    pub cid: Option<Cid>,
    /// Peers that were asked for it.
    pub asked: usize,
    /// Those that have it, as they say or a search said.
    pub have: usize,
    /// Those that said they have it not.
    pub have_not: usize,
}

/// What a session is about, for somebody who waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Blocks that are wanted.
    pub wants: usize,
    /// Those asked of a peer.
    pub asked: usize,
    /// Connected peers that speak Bitswap.
    pub connected: usize,
    /// Those of them that answered for a want of the session.
    pub peers: usize,
    /// Providers that are being dialled.
    pub dialling: usize,
    /// How it stands with the want that waits longest.
    pub round: Round,
    /// What was tried.
    pub tally: Tally,
}

impl Status {
    /// Whom the node asked, and what they said: `asked 2 connected peers: 1 does not have it, 1
    /// has not answered`.
    fn asked(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Round { asked, have, have_not, .. } = self.round;
        match (self.connected, asked) {
            (0, _) => return write!(f, "no connected peer to ask"),
            (1, 0) => return write!(f, "1 connected peer, not asked yet"),
            (some, 0) => return write!(f, "{some} connected peers, none asked yet"),
            (_, 1) => write!(f, "asked 1 connected peer: ")?,
            (_, some) => write!(f, "asked {some} connected peers: ")?,
        }
        let silent = asked.saturating_sub(have).saturating_sub(have_not);
        let said = [
            (have, "has it", "have it"),
            (have_not, "does not have it", "do not have it"),
            (silent, "has not answered", "have not answered"),
        ];
        let mut between = "";
        for (count, one, more) in said.into_iter().filter(|(count, _, _)| *count > 0) {
            write!(f, "{between}{count} {}", if count == 1 { one } else { more })?;
            between = ", ";
        }
        Ok(())
    }

    /// Where the node searched, what it found, and how dialling that goes. What could not be dialled
    /// comes last, so that a reason can follow.
    pub(super) fn searched(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tally { searches, providers, dial_failures, .. } = self.tally;
        match searches {
            0 => write!(f, "not searched for providers yet")?,
            1 => write!(f, "searched for providers once: ")?,
            2 => write!(f, "searched for providers twice: ")?,
            more => write!(f, "searched for providers {more} times: ")?,
        }
        match providers {
            _ if searches == 0 => {}
            0 => write!(f, "found none")?,
            some => write!(f, "found {some}")?,
        }
        if self.dialling > 0 {
            write!(f, ", dialling {}", self.dialling)?;
        }
        match dial_failures {
            0 => Ok(()),
            some => write!(f, ", could not dial {some}"),
        }
    }
}

impl fmt::Display for Status {
    /// One line for people, which ends as [`Self::searched`] does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked(f)?;
        if self.wants > 1 {
            write!(f, "; {} more blocks wanted", self.wants.saturating_sub(1))?;
        }
        if self.tally.blocks > 0 {
            write!(f, "; {} blocks came before", self.tally.blocks)?;
        }
        write!(f, "; ")?;
        self.searched(f)
    }
}

impl Session {
    /// One without wants or peers.
    pub fn new(now: Instant) -> Self {
        Self {
            wants: BTreeSet::new(),
            queue: VecDeque::new(),
            stuck: VecDeque::new(),
            broadcasts: 0,
            peers: BTreeSet::new(),
            expected: BTreeMap::new(),
            searches: BTreeMap::new(),
            search_at: now,
            tally: Tally::default(),
        }
    }

    /// Whether wants wait for room.
    pub fn is_hungry(&self) -> bool {
        !self.queue.is_empty() || !self.stuck.is_empty()
    }

    /// A peer answered for a want; `false` when there are enough.
    pub fn join(&mut self, peer: PeerNo) -> bool {
        let joined = self.peers.len() < PEERS_MAX && self.peers.insert(peer);
        if joined {
            // What nobody had, the newcomer may have.
            let stuck = std::mem::take(&mut self.stuck);
            stuck.into_iter().rev().for_each(|key| self.queue.push_front(key));
        }
        joined
    }

    /// A provider is being dialled. One whose dial never ended makes room for it.
    pub fn dialling(&mut self, peer: PeerId, key: Key) {
        if self.expected.len() >= EXPECTED_MAX {
            self.expected.pop_first();
        }
        self.expected.insert(peer, key);
    }

    /// Puts a want at the head of the queue: it has waited longest.
    pub fn requeue(&mut self, key: &Key) {
        if self.queue.front() != Some(key) {
            self.queue.push_front(key.clone());
            self.trim();
        }
    }

    /// Ends a want.
    pub fn drop_want(&mut self, key: &Key) {
        self.wants.remove(key);
        self.searches.remove(key);
        self.trim();
    }

    /// Keys of ended wants, and keys that stand there twice, stay in the queues until it pays to
    /// clear them out.
    fn trim(&mut self) {
        let bound = self.wants.len().saturating_mul(2).saturating_add(64);
        for queue in [&mut self.queue, &mut self.stuck] {
            if queue.len() > bound {
                let mut seen = BTreeSet::new();
                queue.retain(|key| self.wants.contains(key) && seen.insert(key.clone()));
            }
        }
    }

    /// Something came: the search for providers can wait.
    pub fn progressed(&mut self, now: Instant) {
        self.search_at = later(now, SEARCH_GAPS.0);
    }

    /// A search starts for a want that was searched for `before` times. Every want has its first
    /// search before any has its second, and then ever more time passes.
    pub fn searched(&mut self, now: Instant, key: Key, before: u32) {
        self.searches.insert(key, now);
        self.tally.searches = self.tally.searches.saturating_add(1);
        let gap = SEARCH_GAPS.0.saturating_mul(1 << before.min(6));
        self.search_at = later(now, gap.min(SEARCH_GAPS.1));
    }
}

/// `now` and a while; a clock at its end stands still.
pub fn later(now: Instant, while_: Duration) -> Instant {
    now.checked_add(while_).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(connected: usize, round: Round, tally: Tally) -> String {
        Status { wants: 1, connected, round, tally, ..Status::default() }.to_string()
    }

    #[test]
    fn what_is_tried_is_told_in_words() {
        let round = Round { asked: 2, have_not: 1, ..Round::default() };
        let tally = Tally { searches: 2, providers: 1, dial_failures: 1, ..Tally::default() };
        assert_eq!(
            status(2, round, tally),
            "asked 2 connected peers: 1 does not have it, 1 has not answered; \
             searched for providers twice: found 1, could not dial 1"
        );
        let nothing = (Round::default(), Tally::default());
        assert_eq!(
            status(0, nothing.0, nothing.1),
            "no connected peer to ask; not searched for providers yet"
        );
        let round = Round { asked: 3, have: 3, ..Round::default() };
        let tally = Tally { searches: 1, blocks: 7, ..Tally::default() };
        assert_eq!(
            status(9, round, tally),
            "asked 3 connected peers: 3 have it; 7 blocks came before; \
             searched for providers once: found none"
        );
    }
}
