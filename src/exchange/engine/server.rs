//! The server's half: what peers want, and what becomes of it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::Instant;

use libp2p::PeerId;

use super::super::ledger::PeerNo;
use super::super::wire::Entry;
use super::{Action, Engine};
use crate::ipld::cid::Cid;

impl Engine {
    /// The index's answer to [`Action::Lookup`]: for each CID the block's size in bytes, or `None`
    /// when it is not here.
    pub fn on_index(&mut self, id: PeerId, found: &[(Cid, Option<u32>)]) {
        let Some(no) = self.numbers.get(&id).copied() else { return };
        self.with_peer(no, |peer| peer.ledger.indexed(found, peer.version));
        self.look_up(no);
        self.wake(no);
    }

    /// Blocks became available here, added or fetched; with their sizes in bytes. Whoever waits for
    /// one is answered, our own sessions too.
    pub fn on_local_blocks(&mut self, now: Instant, blocks: &[(Cid, u32)]) {
        for (cid, size) in blocks {
            let key = self.key(cid);
            if let Some(sessions) = self.end(&key, None) {
                self.actions.push_back(Action::Found { cid: *key.cid(), sessions });
            }
            let peers = self.waiting.get(&key).cloned().unwrap_or_default();
            for no in peers {
                self.with_peer(no, |peer| peer.ledger.arrived(cid, *size, peer.version));
                self.wake(no);
            }
        }
        self.feed(now);
    }

    /// Takes a peer's wantlist in.
    pub(super) fn serve(&mut self, no: PeerNo, entries: &[Entry], full: bool) {
        let Some(peer) = self.peers.get_mut(&no) else { return };
        if self.settings.serve && (full || !entries.is_empty()) {
            peer.ledger.read(entries, full, &mut self.waiting);
            self.look_up(no);
        }
    }

    /// Asks the index about the wants that are new, if no question is open.
    pub(super) fn look_up(&mut self, no: PeerNo) {
        let Some(peer) = self.peers.get_mut(&no) else { return };
        if let Some(cids) = peer.ledger.lookup() {
            self.actions.push_back(Action::Lookup { peer: peer.id, cids });
        }
    }
}
