//! What one peer wants of us, what it was answered, and the account with it.
//!
//! A want is in one [`State`] at a time, and each state that waits for something has its own ordered
//! set. Everything here is bounded by [`WANTS_MAX`] and freed with the peer.
//!
//! Source: boxo `bitswap/server` for the limits; CVE-2023-25568 for why there are any.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(test)]
mod tests;

use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::wantlist::Key;
use super::wire::{Entry, Kind, Outgoing, Presence, TARGET_BYTES, Version};
use crate::ipld::block::BLOCK_MAX_BYTES;
use crate::ipld::cid::{self, Cid, hash};

/// Wants kept for one peer, as in Kubo; the rest is dropped.
pub const WANTS_MAX: usize = 1024;
/// CIDs of one question to the index.
pub const LOOKUP_MAX: usize = 256;
/// Bytes of blocks handed to a peer's sender and not sent yet.
pub const OUTSTANDING_MAX_BYTES: u64 = 1 << 20;
/// A block up to this size is sent where only word of it was asked for: it saves a round trip.
pub const INLINE_MAX_BYTES: u32 = 1024;

/// Number of a connected peer, never used twice: a peer that comes back is another one.
pub type PeerNo = u64;

/// Which peers wait for a block.
pub type Waiting = HashMap<Key, BTreeSet<PeerNo>>;

/// A CID that a peer asked for, ordered by multihash first: it is answered by exactly this CID.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Arc<Cid>);

impl Name {
    fn of(cid: &Cid) -> Self {
        Self(Arc::new(*cid))
    }

    fn order(&self) -> (u64, &[u8], u64, u64) {
        let hash = self.0.hash();
        (hash.code(), hash.digest(), u64::from(self.0.version()), self.0.codec())
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order().cmp(&other.order())
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How far a want is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits to be looked up.
    New,
    /// The index was asked.
    Looking,
    /// It is not here, and waits until it is.
    Absent,
    /// An answer without the block waits to be sent.
    Answer(Presence),
    /// The block waits to be sent; its size in bytes.
    Block(u32),
}

#[derive(Clone, Debug)]
struct Theirs {
    kind: Kind,
    priority: i32,
    send_dont_have: bool,
    /// Order of arrival.
    seq: u64,
    state: State,
}

impl Theirs {
    /// Place among those that make room, the first to go first: what is not here, the least urgent,
    /// the latest.
    fn rank(&self, name: &Name) -> (bool, i32, Reverse<u64>, Name) {
        (self.state != State::Absent, self.priority, Reverse(self.seq), name.clone())
    }

    /// Place among blocks that wait: the most urgent, the earliest.
    fn turn(&self, name: &Name) -> (Reverse<i32>, u64, Name) {
        (Reverse(self.priority), self.seq, name.clone())
    }
}

/// The account with a peer since it connected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Bytes of blocks sent.
    pub sent_bytes: u64,
    /// Bytes of blocks received.
    pub received_bytes: u64,
    /// Blocks sent and received.
    pub exchanged: u64,
}

/// One peer's wants and account.
#[derive(Debug)]
pub struct Ledger {
    no: PeerNo,
    wants: BTreeMap<Name, Theirs>,
    ranks: BTreeSet<(bool, i32, Reverse<u64>, Name)>,
    new: BTreeMap<u64, Name>,
    answers: BTreeMap<u64, Name>,
    turns: BTreeSet<(Reverse<i32>, u64, Name)>,
    /// Blocks with the sender, and their sizes.
    flying: HashMap<Name, (Theirs, u32)>,
    flying_bytes: u64,
    waiting_bytes: u64,
    /// Whether a question to the index is open: there is one at a time.
    asking: bool,
    next_seq: u64,
    /// What was exchanged.
    pub account: Account,
}

impl Ledger {
    /// An empty one.
    pub fn new(no: PeerNo) -> Self {
        Self {
            no,
            wants: BTreeMap::new(),
            ranks: BTreeSet::new(),
            new: BTreeMap::new(),
            answers: BTreeMap::new(),
            turns: BTreeSet::new(),
            flying: HashMap::new(),
            flying_bytes: 0,
            waiting_bytes: 0,
            asking: false,
            next_seq: 0,
            account: Account::default(),
        }
    }

    /// What the peer wants, most of it not here.
    pub fn wantlist(&self) -> impl Iterator<Item = &Cid> {
        self.wants.keys().map(|name| &*name.0)
    }

    /// How many wants there are.
    pub fn count(&self) -> usize {
        self.wants.len()
    }

    /// Whether a message can be taken now.
    pub fn has_news(&self) -> bool {
        !self.answers.is_empty() || self.next_block().is_some()
    }

    /// Takes a peer's wantlist in.
    pub fn read(&mut self, entries: &[Entry], full: bool, waiting: &mut Waiting) {
        if full {
            let named: BTreeSet<Name> =
                entries.iter().filter(|e| !e.cancel).map(|e| Name::of(&e.cid)).collect();
            let gone: Vec<Name> =
                self.wants.keys().filter(|name| !named.contains(*name)).cloned().collect();
            gone.iter().for_each(|name| self.remove(name, waiting));
        }
        for entry in entries {
            match entry.cancel {
                true => self.remove(&Name::of(&entry.cid), waiting),
                false => self.want(entry, waiting),
            }
        }
    }

    fn want(&mut self, entry: &Entry, waiting: &mut Waiting) {
        let name = Name::of(&entry.cid);
        // What is on its way already answers this.
        let is_inline = entry.cid.hash().code() == hash::IDENTITY;
        if is_inline || cid::check(&entry.cid).is_err() || self.flying.contains_key(&name) {
            return;
        }
        if let Some(mut theirs) = self.pull(&name) {
            // A want for the block is not weakened by one for word of it.
            theirs.kind = theirs.kind.max(entry.kind);
            theirs.priority = entry.priority;
            theirs.send_dont_have |= entry.send_dont_have;
            // An answer that was given, or that would be too little now, is looked up again.
            if matches!(theirs.state, State::Absent | State::Answer(_)) {
                theirs.state = State::New;
            }
            return self.put(name, theirs);
        }
        if self.wants.len() >= WANTS_MAX && !self.make_room(entry.priority, waiting) {
            return;
        }
        let seq = self.next_seq;
        self.next_seq = seq.saturating_add(1);
        waiting.entry(Key::of(&entry.cid)).or_default().insert(self.no);
        let theirs = Theirs {
            kind: entry.kind,
            priority: entry.priority,
            send_dont_have: entry.send_dont_have,
            seq,
            state: State::New,
        };
        self.put(name, theirs);
    }

    /// Drops the want that is worth least, if it is worth less than one of this priority that is
    /// not looked up yet.
    fn make_room(&mut self, priority: i32, waiting: &mut Waiting) -> bool {
        let Some((is_here, least, _, name)) = self.ranks.first().cloned() else { return false };
        if is_here && least >= priority {
            return false;
        }
        self.remove(&name, waiting);
        true
    }

    /// Takes a want out of the maps and sets.
    fn pull(&mut self, name: &Name) -> Option<Theirs> {
        let theirs = self.wants.remove(name)?;
        self.ranks.remove(&theirs.rank(name));
        match theirs.state {
            State::New => drop(self.new.remove(&theirs.seq)),
            State::Answer(_) => drop(self.answers.remove(&theirs.seq)),
            State::Block(size) => {
                self.turns.remove(&theirs.turn(name));
                self.waiting_bytes = self.waiting_bytes.saturating_sub(u64::from(size));
            }
            State::Looking | State::Absent => {}
        }
        Some(theirs)
    }

    /// Puts a want into the maps and sets.
    fn put(&mut self, name: Name, theirs: Theirs) {
        self.ranks.insert(theirs.rank(&name));
        match theirs.state {
            State::New => drop(self.new.insert(theirs.seq, name.clone())),
            State::Answer(_) => drop(self.answers.insert(theirs.seq, name.clone())),
            State::Block(size) => {
                self.turns.insert(theirs.turn(&name));
                self.waiting_bytes = self.waiting_bytes.saturating_add(u64::from(size));
            }
            State::Looking | State::Absent => {}
        }
        self.wants.insert(name, theirs);
    }

    fn remove(&mut self, name: &Name, waiting: &mut Waiting) {
        if self.pull(name).is_some() {
            self.unwait(name, waiting);
        }
    }

    /// The peer waits no more for a block, unless it does under another CID.
    fn unwait(&self, name: &Name, waiting: &mut Waiting) {
        let key = Key::of(&name.0);
        if self.same_block(&name.0).next().is_some() {
            return;
        }
        if let Some(peers) = waiting.get_mut(&key) {
            peers.remove(&self.no);
            if peers.is_empty() {
                waiting.remove(&key);
            }
        }
    }

    /// The names under which the peer wants a block.
    fn same_block(&self, cid: &Cid) -> impl Iterator<Item = &Name> {
        let hash = *cid.hash();
        let least = Name::of(&Cid::new_v1(0, hash));
        // A v0 stands before every v1 of the same hash.
        let first = Cid::new_v0(hash).map_or(least, |v0| Name::of(&v0));
        self.wants.range(first..).map(|(name, _)| name).take_while(move |n| *n.0.hash() == hash)
    }

    /// The next question to the index; `None` while one is open.
    pub fn lookup(&mut self) -> Option<Vec<Cid>> {
        if self.asking || self.new.is_empty() {
            return None;
        }
        let mut cids = Vec::new();
        while cids.len() < LOOKUP_MAX {
            let Some((_, name)) = self.new.pop_first() else { break };
            if let Some(theirs) = self.wants.get_mut(&name) {
                theirs.state = State::Looking;
                cids.push(*name.0);
            }
        }
        self.asking = true;
        Some(cids)
    }

    /// The index's answer: sizes in bytes of those that are here.
    pub fn indexed(&mut self, found: &[(Cid, Option<u32>)], version: Version) {
        self.asking = false;
        for (cid, size) in found {
            let name = Name::of(cid);
            let Some(theirs) = self.wants.get(&name) else { continue };
            // It came meanwhile, or was asked for anew.
            if theirs.state == State::Looking {
                self.settle(&name, *size, version);
            }
        }
    }

    /// A block has come, of so many bytes.
    pub fn arrived(&mut self, cid: &Cid, size: u32, version: Version) {
        let names: Vec<Name> = self.same_block(cid).cloned().collect();
        for name in names {
            let waits = |theirs: &Theirs| !matches!(theirs.state, State::Block(_));
            if self.wants.get(&name).is_some_and(waits) {
                self.settle(&name, Some(size), version);
            }
        }
    }

    /// Decides how a want is answered.
    fn settle(&mut self, name: &Name, size: Option<u32>, version: Version) {
        let Some(mut theirs) = self.pull(name) else { return };
        let size = size.filter(|size| *size as usize <= BLOCK_MAX_BYTES);
        theirs.state = match size {
            Some(size) if theirs.kind == Kind::Block || size <= INLINE_MAX_BYTES => {
                State::Block(size)
            }
            Some(_) if version.has_presences() => State::Answer(Presence::Have),
            Some(size) => State::Block(size),
            None if theirs.send_dont_have && version.has_presences() => {
                State::Answer(Presence::DontHave)
            }
            None => State::Absent,
        };
        self.put(name.clone(), theirs);
    }

    /// The next block, if it may be handed out now. One is always allowed, however big.
    fn next_block(&self) -> Option<(Name, u32)> {
        let (_, _, name) = self.turns.first()?;
        let State::Block(size) = self.wants.get(name)?.state else { return None };
        let after = self.flying_bytes.saturating_add(u64::from(size));
        (self.flying_bytes == 0 || after <= OUTSTANDING_MAX_BYTES).then(|| (name.clone(), size))
    }

    /// Moves answers into a message: all presences, and blocks up to `budget` bytes.
    pub fn take(&mut self, budget: usize, out: &mut Outgoing, waiting: &mut Waiting) {
        while let Some((_, name)) = self.answers.first_key_value() {
            let name = name.clone();
            let Some(mut theirs) = self.pull(&name) else { break };
            let State::Answer(presence) = theirs.state else { break };
            out.presences.push((*name.0, presence));
            match presence {
                // Answered: a want for the block would come as a new one.
                Presence::Have => self.unwait(&name, waiting),
                Presence::DontHave => {
                    theirs.state = State::Absent;
                    self.put(name, theirs);
                }
            }
        }
        let budget = budget.min(TARGET_BYTES) as u64;
        let mut bytes = 0u64;
        while let Some((name, size)) = self.next_block() {
            let after = bytes.saturating_add(u64::from(size));
            if bytes > 0 && after > budget {
                break;
            }
            let Some(theirs) = self.pull(&name) else { break };
            self.unwait(&name, waiting);
            out.blocks.push(*name.0);
            self.flying_bytes = self.flying_bytes.saturating_add(u64::from(size));
            self.flying.insert(name, (theirs, size));
            bytes = after;
        }
        out.pending_bytes = i32::try_from(self.waiting_bytes).unwrap_or(i32::MAX);
    }

    /// A block is with the peer; its size in bytes if it was handed out.
    pub fn sent(&mut self, cid: &Cid) -> Option<u64> {
        let (_, size) = self.land(&Name::of(cid))?;
        self.account.sent_bytes = self.account.sent_bytes.saturating_add(u64::from(size));
        self.account.exchanged = self.account.exchanged.saturating_add(1);
        Some(u64::from(size))
    }

    fn land(&mut self, name: &Name) -> Option<(Theirs, u32)> {
        let landed = self.flying.remove(name)?;
        self.flying_bytes = self.flying_bytes.saturating_sub(u64::from(landed.1));
        Some(landed)
    }

    /// A block was handed out and could not be read: it is not here after all.
    pub fn missing(&mut self, cid: &Cid, version: Version, waiting: &mut Waiting) {
        self.give_back(&Name::of(cid), waiting);
        self.settle(&Name::of(cid), None, version);
    }

    /// A message was not sent: its answers are to be given again.
    pub fn unsent(&mut self, out: &Outgoing, version: Version, waiting: &mut Waiting) {
        for cid in &out.blocks {
            self.give_back(&Name::of(cid), waiting);
        }
        for (cid, presence) in &out.presences {
            let (name, have) = (Name::of(cid), *presence == Presence::Have);
            let entry = Entry {
                cid: *cid,
                priority: 0,
                cancel: false,
                kind: Kind::Have,
                send_dont_have: true,
            };
            match self.wants.contains_key(&name) {
                true if !have => self.settle(&name, None, version),
                true => {}
                // A HAVE ended the want: it begins anew, and is looked up again.
                false => self.want(&entry, waiting),
            }
        }
    }

    /// What the sender did not send waits again.
    fn give_back(&mut self, name: &Name, waiting: &mut Waiting) {
        let Some((theirs, _)) = self.land(name) else { return };
        let full = self.wants.len() >= WANTS_MAX && !self.make_room(theirs.priority, waiting);
        if !full {
            waiting.entry(Key::of(&name.0)).or_default().insert(self.no);
            self.put(name.clone(), theirs);
        }
    }

    /// The peer is gone: nobody waits for anything on its behalf.
    pub fn close(&mut self, waiting: &mut Waiting) {
        while let Some((name, _)) = self.wants.first_key_value() {
            let name = name.clone();
            self.remove(&name, waiting);
        }
    }
}
