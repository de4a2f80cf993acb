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

use libp2p::PeerId;

use super::super::session::{SessionId, Status};
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
            tally: session.tally,
        })
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

    /// The account with a peer; zeros for one that is not connected.
    pub fn ledger(&self, peer: PeerId) -> Ledger {
        let peer = self.numbers.get(&peer).and_then(|no| self.peers.get(no));
        let account = peer.map(|peer| peer.ledger.account).unwrap_or_default();
        Ledger {
            sent_bytes: account.sent_bytes,
            received_bytes: account.received_bytes,
            exchanged: account.exchanged,
            debt_ratio: account.sent_bytes as f64 / (account.received_bytes as f64 + 1.0),
        }
    }
}
