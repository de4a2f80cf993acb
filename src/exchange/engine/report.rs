//! What can be told about the engine: counters, wantlists, ledgers, and what a session has tried.
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

use libp2p::PeerId;

use super::super::ledger::Account;
use super::super::session::{Round, Session, SessionId, Status};
use super::super::wire::Presence;
use super::Engine;
use crate::ipld::cid::Cid;

/// Counters since the start, as `ipfs bitswap stat` shows them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Messages that were read.
    pub messages_received: u64,
    /// Blocks that came, wanted or not.
    pub blocks_received: u64,
    /// Their bytes.
    pub data_received: u64,
    /// Blocks that came again.
    pub dup_blocks_received: u64,
    /// Their bytes.
    pub dup_data_received: u64,
    /// Blocks that nobody here asked for.
    pub unsolicited_blocks: u64,
    /// Blocks that were sent.
    pub blocks_sent: u64,
    /// Their bytes.
    pub data_sent: u64,
}

/// The account with a peer, as `ipfs bitswap ledger` shows it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ledger {
    /// Bytes of blocks sent.
    pub sent_bytes: u64,
    /// Bytes of blocks received.
    pub received_bytes: u64,
    /// Blocks sent and received.
    pub exchanged: u64,
    /// Bytes sent for each byte received, counting one byte that was not.
    pub debt_ratio: f64,
}

impl Engine {
    /// Counters.
    pub fn stat(&self) -> Stat {
        self.stat
    }

    /// Connected peers that speak Bitswap.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.values().map(|peer| peer.id)
    }

    /// Whether nothing is wanted, by nobody: no memory is held but for peers and sessions.
    pub fn is_idle(&self) -> bool {
        self.wants.is_empty() && self.waiting.is_empty() && self.broadcast.is_empty()
    }

    /// What a session has tried; `None` when it is over.
    pub fn status(&self, id: SessionId) -> Option<Status> {
        let session = self.sessions.get(&id)?;
        let wants = session.wants.iter().filter_map(|key| self.wants.get(key));
        Some(Status {
            wants: session.wants.len(),
            asked: wants.filter(|want| want.asked.is_some()).count(),
            connected: self.peers.len(),
            peers: session.peers.len(),
            dialling: session.expected.len(),
            round: self.standing(session),
            tally: session.tally,
        })
    }

    /// Connected peers that a session asks for its blocks: they are said to have some, or sent some.
    /// At most 32.
    pub fn asking(&self, id: SessionId) -> Vec<PeerId> {
        let peers = self.sessions.get(&id).map(|session| &session.peers);
        let peers = peers.into_iter().flatten().filter_map(|no| self.peers.get(no));
        peers.map(|peer| peer.id).collect()
    }

    /// What the peers say of the want of a session that waits longest.
    fn standing(&self, session: &Session) -> Round {
        let wants = session.wants.iter().filter_map(|key| Some((key, self.wants.get(key)?)));
        // Earlier wants have the higher priority.
        let Some((key, want)) = wants.max_by_key(|(_, want)| want.priority) else {
            return Round::default();
        };
        let asked: BTreeSet<_> = want.told.union(&want.tried).collect();
        let have = asked.iter().filter(|no| want.haves.contains(**no)).count();
        let said = asked.iter().filter_map(|no| self.peers.get(*no)?.told.said(key));
        let have_not = said.filter(|said| *said == Presence::DontHave).count();
        Round { cid: Some(*key.cid()), asked: asked.len(), have, have_not }
    }

    /// What is wanted here.
    pub fn wantlist(&self) -> impl Iterator<Item = &Cid> {
        self.wants.keys().map(|key| key.cid())
    }

    /// What a connected peer wants of us; nothing for one that is not connected.
    pub fn wantlist_of(&self, peer: PeerId) -> Vec<Cid> {
        let peer = self.numbers.get(&peer).and_then(|no| self.peers.get(no));
        peer.map(|peer| peer.ledger.wantlist().copied().collect()).unwrap_or_default()
    }

    /// The account with a peer; zeros for one that is not known.
    pub fn ledger(&self, peer: PeerId) -> Ledger {
        let standing = self.numbers.get(&peer).and_then(|no| self.peers.get(no));
        let account = standing.map(|peer| peer.ledger.account);
        Ledger::of(account.or_else(|| self.gone.get(&peer).copied()).unwrap_or_default())
    }

    /// Every account in which something stands, also with peers that are gone.
    pub fn ledgers(&self) -> Vec<(PeerId, Ledger)> {
        let standing = self.peers.values().map(|peer| (peer.id, peer.ledger.account));
        let all = standing.chain(self.gone.iter().map(|(id, account)| (*id, *account)));
        let used = all.filter(|(_, account)| *account != Account::default());
        used.map(|(id, account)| (id, Ledger::of(account))).collect()
    }
}

impl Ledger {
    fn of(account: Account) -> Self {
        Self {
            sent_bytes: account.sent_bytes,
            received_bytes: account.received_bytes,
            exchanged: account.exchanged,
            debt_ratio: account.sent_bytes as f64 / (account.received_bytes as f64 + 1.0),
        }
    }
}
