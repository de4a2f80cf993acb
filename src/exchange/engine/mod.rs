//! The engine: Bitswap's client and server for all peers, without sockets, disks, tasks or clocks.
//!
//! Inputs are methods that take the time; what is to be done comes out of [`Engine::poll_action`] and
//! [`Engine::take_message`]. How it is driven is told in `exchange/mod.rs`. Nothing here asks who a
//! peer is, only what it speaks and how it answers.
//!
//! One want is asked of one peer at a time. It moves on when that peer says DONT_HAVE, goes away or
//! falls silent; when no peer of its sessions is left, everybody is asked whether they have it, and
//! providers are searched.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod client;
mod clock;
mod feed;
mod peer;
mod report;
mod server;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::time::Instant;

use libp2p::PeerId;

use super::ledger::{Account, PeerNo, Waiting};
use super::session::{Session, SessionId};
use super::wantlist::Key;
use super::wire::{Message, Outgoing, Version};
use crate::ipld::block::Block;
use crate::ipld::cid::Cid;
use peer::Peer;
pub use report::{Ledger, Stat};

/// Blocks that came lately, remembered to tell a duplicate from one that nobody asked for.
const RECENT_MAX: usize = 4096;
/// Accounts of peers that are gone.
const GONE_MAX: usize = 1024;

/// What can be chosen about an engine.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether peers are served. Without, their wants are neither kept nor answered.
    pub serve: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { serve: true }
    }
}

/// What the caller is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the store's index for these CIDs and answer with [`Engine::on_index`]. One question a
    /// peer is open at a time, of at most [`super::LOOKUP_MAX`] CIDs.
    Lookup {
        /// For whom.
        peer: PeerId,
        /// What it wants.
        cids: Vec<Cid>,
    },
    /// [`Engine::take_message`] has something for this peer. Said once until it has nothing more.
    Ready(PeerId),
    /// A wanted block. Its CID has the multihash that was wanted, but maybe another version or codec.
    Deliver {
        /// The block.
        block: Block,
        /// Who wanted it; they want it no more.
        sessions: Vec<SessionId>,
        /// Who sent it.
        from: PeerId,
    },
    /// A wanted block has become available in the store by other means.
    Found {
        /// What was wanted.
        cid: Cid,
        /// Who wanted it; they want it no more.
        sessions: Vec<SessionId>,
    },
    /// Search providers of this CID, dial them, and tell of them by [`Engine::on_providers`].
    FindProviders {
        /// For whom.
        session: SessionId,
        /// What it wants.
        cid: Cid,
    },
    /// How useful a peer is, 0 to 100: for whoever decides which connections to keep.
    Tag {
        /// The peer.
        peer: PeerId,
        /// Its usefulness.
        value: u32,
    },
}

/// One of our wants.
#[derive(Debug)]
struct Want {
    sessions: Vec<SessionId>,
    /// Earlier wants go first.
    priority: i32,
    /// The peer from which the block is expected.
    asked: Option<PeerNo>,
    /// Peers that claim to have it.
    haves: BTreeSet<PeerNo>,
    /// Peers that have it not, or were silent, since it was last asked for all round.
    tried: BTreeSet<PeerNo>,
    /// Peers that were silent: told to forget it once another is asked.
    slow: BTreeSet<PeerNo>,
    /// Peers that know of it.
    told: BTreeSet<PeerNo>,
    /// The session whose room it takes while nobody has answered.
    counted: Option<SessionId>,
    /// Searches for its providers.
    searches: u32,
}

/// Bitswap for all peers. Not `Sync` by itself: one task owns it.
#[derive(Debug)]
pub struct Engine {
    settings: Settings,
    peers: BTreeMap<PeerNo, Peer>,
    numbers: HashMap<PeerId, PeerNo>,
    sessions: BTreeMap<SessionId, Session>,
    wants: BTreeMap<Key, Want>,
    /// Wants that everybody is asked for, newcomers too.
    broadcast: BTreeSet<Key>,
    /// Sessions with wants that wait for room, and whose turn it is.
    hungry: BTreeSet<SessionId>,
    turn: SessionId,
    waiting: Waiting,
    /// Accounts of peers that were connected.
    gone: HashMap<PeerId, Account>,
    recent: (VecDeque<Key>, HashSet<Key>),
    actions: VecDeque<Action>,
    stat: Stat,
    next_no: u64,
    next_priority: i32,
    /// State of the generator behind [`Engine::jitter`].
    random: u64,
    ticked_at: Instant,
    round_at: Instant,
    tags_at: Instant,
}

impl Engine {
    /// An engine without peers. `seed` decides what is left to chance; two engines with one seed and
    /// the same inputs do the same.
    pub fn new(settings: Settings, seed: u64, now: Instant) -> Self {
        Self {
            settings,
            peers: BTreeMap::new(),
            numbers: HashMap::new(),
            sessions: BTreeMap::new(),
            wants: BTreeMap::new(),
            broadcast: BTreeSet::new(),
            hungry: BTreeSet::new(),
            turn: SessionId(0),
            waiting: Waiting::new(),
            gone: HashMap::new(),
            recent: (VecDeque::new(), HashSet::new()),
            actions: VecDeque::new(),
            stat: Stat::default(),
            next_no: 0,
            next_priority: i32::MAX,
            random: seed,
            ticked_at: now,
            round_at: now,
            tags_at: now,
        }
    }

    /// The next thing to do. To be asked for after every input until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// A peer that speaks Bitswap is connected. It is told at once what everybody is asked for; a
    /// peer that was here before starts afresh.
    pub fn on_connected(&mut self, now: Instant, id: PeerId, version: Version) {
        if let Some(no) = self.numbers.get(&id) {
            let no = *no;
            return self.with_peer(no, |peer| peer.version = version);
        }
        let no = self.next_no;
        self.next_no = no.saturating_add(1);
        self.numbers.insert(id, no);
        let mut peer = Peer::new(no, id, version, now);
        peer.ledger.account = self.gone.remove(&id).unwrap_or_default();
        self.peers.insert(no, peer);
        self.greet(now, no, id);
        self.wake(no);
        self.feed(now);
    }

    /// The peer turned out to speak another version, on the stream that is used now.
    pub fn set_version(&mut self, id: PeerId, version: Version) {
        if let Some(no) = self.numbers.get(&id) {
            self.with_peer(*no, |peer| peer.version = version);
        }
    }

    /// The last connection to the peer is gone: its ledger is freed, our wants go to others.
    pub fn on_disconnected(&mut self, now: Instant, id: PeerId) {
        let Some(no) = self.numbers.remove(&id) else { return };
        let Some(mut peer) = self.peers.remove(&no) else { return };
        peer.ledger.close(&mut self.waiting);
        self.keep(id, peer.ledger.account);
        self.part(no, &peer);
        self.feed(now);
    }

    /// A message came, its blocks hashed already.
    pub fn on_message(&mut self, now: Instant, id: PeerId, message: Message) {
        let Some(no) = self.numbers.get(&id).copied() else { return };
        self.stat.messages_received = self.stat.messages_received.saturating_add(1);
        let brought = !message.blocks.is_empty();
        for block in message.blocks {
            self.block(now, no, block);
        }
        self.presences(now, no, &message.presences);
        self.serve(no, &message.wantlist, message.full);
        self.wake(no);
        self.feed(now);
        if brought {
            self.relieve(now, no);
        }
    }

    /// Part of a message came: the peer is slow, not silent. Puts the time-out off, but for
    /// [`clock`]'s last one.
    pub fn on_progress(&mut self, now: Instant, id: PeerId) {
        if let Some(no) = self.numbers.get(&id) {
            self.with_peer(*no, |peer| peer.pace.progress = now);
        }
    }

    /// The next message for a peer: for its sender to ask whenever it is idle after
    /// [`Action::Ready`], until there is none. `budget_bytes` bounds its blocks together; a single
    /// block may be larger.
    pub fn take_message(
        &mut self,
        now: Instant,
        id: PeerId,
        budget_bytes: usize,
    ) -> Option<Outgoing> {
        let no = self.numbers.get(&id)?;
        let peer = self.peers.get_mut(no)?;
        let mut out = Outgoing::default();
        peer.told.take(now, &mut out);
        peer.ledger.take(budget_bytes, &mut out, &mut self.waiting);
        if out.is_empty() {
            peer.ready = false;
            return None;
        }
        Some(out)
    }

    /// A message was written whole. Blocks that could not be read were reported by
    /// [`Self::on_missing`] before.
    pub fn on_sent(&mut self, id: PeerId, sent: &Outgoing) {
        let Some(no) = self.numbers.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(&no) else { return };
        for cid in &sent.blocks {
            if let Some(bytes) = peer.ledger.sent(cid) {
                self.stat.blocks_sent = self.stat.blocks_sent.saturating_add(1);
                self.stat.data_sent = self.stat.data_sent.saturating_add(bytes);
            }
        }
        self.wake(no);
    }

    /// A message was not written, or nobody knows: its answers are given again, and the peer is told
    /// our whole wantlist.
    pub fn on_send_failed(&mut self, id: PeerId, lost: &Outgoing) {
        let Some(no) = self.numbers.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(&no) else { return };
        peer.told.lost();
        peer.ledger.unsent(lost, peer.version, &mut self.waiting);
        // The sender that failed is not coming round by itself.
        peer.ready = false;
        self.look_up(no);
        self.wake(no);
    }

    /// A block of a taken message could not be read: the peer is told that it is not here.
    pub fn on_missing(&mut self, id: PeerId, cid: &Cid) {
        let Some(no) = self.numbers.get(&id).copied() else { return };
        let Some(peer) = self.peers.get_mut(&no) else { return };
        peer.ledger.missing(cid, peer.version, &mut self.waiting);
        self.wake(no);
    }

    /// Remembers the account of a peer that is gone; when there are too many, one of them is
    /// forgotten.
    fn keep(&mut self, id: PeerId, account: Account) {
        if account == Account::default() {
            return;
        }
        if self.gone.len() >= GONE_MAX
            && let Some(any) = self.gone.keys().next().copied()
        {
            self.gone.remove(&any);
        }
        self.gone.insert(id, account);
    }

    fn with_peer(&mut self, no: PeerNo, change: impl FnOnce(&mut Peer)) {
        if let Some(peer) = self.peers.get_mut(&no) {
            change(peer);
        }
    }

    /// Calls a peer's sender if there is something for it and it is not at work.
    fn wake(&mut self, no: PeerNo) {
        let Some(peer) = self.peers.get_mut(&no) else { return };
        if !peer.ready && peer.has_news() {
            peer.ready = true;
            self.actions.push_back(Action::Ready(peer.id));
        }
    }
}
