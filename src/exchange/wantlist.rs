//! Our own wants: how they are named, and what each peer has been told of them.
//!
//! [`Told`] is the difference between what a peer's ledger holds of ours and what it should hold. A
//! change is a wish; wishes that cancel each other out before the peer's sender comes round are never
//! sent. So a wantlist message is always an increment, and a new one is the whole list only for a
//! peer that has just come or whose stream broke.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::wire::{Entry, Kind, Outgoing, Presence};
use crate::ipld::cid::Cid;

/// Wants of ours that one peer is told of at a time. Others keep 1024 and drop what is over that
/// without a word, so this stays below.
pub const TOLD_MAX: usize = 1000;

/// A wanted block: equal when the multihash is, spelled as it was first asked for. The bytes of a
/// block are the same under any codec, and a peer of 1.0 answers with CIDv0.
#[derive(Clone, Debug)]
pub struct Key(Arc<Cid>);

impl Key {
    /// The key of a CID.
    pub fn of(cid: &Cid) -> Self {
        Self(Arc::new(*cid))
    }

    /// The CID it was first asked by.
    pub fn cid(&self) -> &Cid {
        &self.0
    }

    fn hash_parts(&self) -> (u64, &[u8]) {
        let hash = self.cid().hash();
        (hash.code(), hash.digest())
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hash_parts() == other.hash_parts()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hash_parts().hash(state);
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.hash_parts().cmp(&other.hash_parts())
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What a peer made of a want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It said that it has, or has not, the block.
    Said(Presence),
    /// It said nothing for too long; the want stays with it.
    Silent,
}

#[derive(Debug)]
struct Line {
    /// What the peer should know; `None` takes the want back.
    wish: Option<Kind>,
    /// What it may know already.
    held: Option<Kind>,
    /// It is told once more, though it may know: it answered, or may have dropped the want.
    again: bool,
    answer: Option<Answer>,
    priority: i32,
    asked_at: Instant,
    sent_at: Option<Instant>,
    /// Place in the queue of what is to be sent.
    place: Option<u64>,
}

impl Line {
    /// Whether a block is expected from the peer.
    fn is_open(&self) -> bool {
        self.wish == Some(Kind::Block) && self.answer.is_none()
    }

    /// Whether the peer has to be told something. A peer that holds a WANT-BLOCK need not be told
    /// that a HAVE would do.
    fn differs(&self) -> bool {
        let suffices = (self.wish, self.held) == (Some(Kind::Have), Some(Kind::Block));
        (self.again && self.wish.is_some()) || (self.wish != self.held && !suffices)
    }
}

/// What one peer has been told of our wants. Bounded by [`TOLD_MAX`] lines.
#[derive(Debug, Default)]
pub struct Told {
    lines: BTreeMap<Key, Line>,
    queue: BTreeMap<u64, Key>,
    next_place: u64,
    open: usize,
    /// The next message replaces what the peer knows.
    full: bool,
    /// It does even when there is nothing to want.
    broken: bool,
}

impl Told {
    /// A peer that knows nothing: its first message is the whole list.
    pub fn new() -> Self {
        Self { full: true, ..Self::default() }
    }

    /// Blocks expected from the peer.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether there is something to send.
    pub fn has_news(&self) -> bool {
        self.broken || !self.queue.is_empty()
    }

    /// Wants the block, or word of it, from this peer; `false` when it is told too much already.
    pub fn ask(&mut self, now: Instant, key: &Key, kind: Kind, priority: i32) -> bool {
        if !self.lines.contains_key(key) {
            if self.lines.len() >= TOLD_MAX {
                return false;
            }
            let line = Line {
                wish: None,
                held: None,
                again: false,
                answer: None,
                priority,
                asked_at: now,
                sent_at: None,
                place: None,
            };
            self.lines.insert(key.clone(), line);
        }
        self.change(key, |line| {
            line.again |= line.answer.is_some();
            line.wish = Some(kind);
            line.answer = None;
            line.asked_at = now;
        });
        true
    }

    /// Takes the want back.
    pub fn withdraw(&mut self, key: &Key) {
        self.change(key, |line| line.wish = None);
    }

    /// The peer sent the block: it holds the want no more.
    pub fn forget(&mut self, key: &Key) {
        self.change(key, |line| (line.wish, line.held) = (None, None));
    }

    /// Notes what the peer made of the want.
    pub fn answered(&mut self, key: &Key, answer: Answer) {
        self.change(key, |line| line.answer = Some(answer));
    }

    /// The silence is over: a block is expected again.
    pub fn reopen(&mut self, key: &Key) {
        self.change(key, |line| line.answer = None);
    }

    /// What the peer said of a want.
    pub fn said(&self, key: &Key) -> Option<Presence> {
        match self.lines.get(key)?.answer? {
            Answer::Said(presence) => Some(presence),
            Answer::Silent => None,
        }
    }

    /// What the peer should know of a want.
    pub fn wish(&self, key: &Key) -> Option<Kind> {
        self.lines.get(key)?.wish
    }

    /// When a want that is still there was asked for.
    pub fn asked_at(&self, key: &Key) -> Option<Instant> {
        self.lines.get(key).filter(|line| line.wish.is_some()).map(|line| line.asked_at)
    }

    /// The wants from which a block is expected, and since when.
    pub fn open_wants(&self) -> impl Iterator<Item = (&Key, Instant)> {
        self.lines.iter().filter(|(_, line)| line.is_open()).map(|(key, line)| (key, line.asked_at))
    }

    /// The wants that the peer has been silent about.
    pub fn silent_wants(&self) -> impl Iterator<Item = &Key> {
        let silent = |line: &Line| line.answer == Some(Answer::Silent) && line.wish.is_some();
        self.lines.iter().filter(move |(_, line)| silent(line)).map(|(key, _)| key)
    }

    /// Every want that the peer is to know.
    pub fn wants(&self) -> impl Iterator<Item = &Key> {
        self.lines.iter().filter(|(_, line)| line.wish.is_some()).map(|(key, _)| key)
    }

    /// Says again what was said longer than `age` ago and not answered: the peer may have dropped it.
    pub fn remind(&mut self, now: Instant, age: Duration) {
        let old = |line: &Line| {
            let sent = line.sent_at.is_some_and(|at| now.saturating_duration_since(at) >= age);
            sent && line.wish.is_some() && !matches!(line.answer, Some(Answer::Said(_)))
        };
        let keys: Vec<Key> =
            self.lines.iter().filter(|(_, line)| old(line)).map(|(key, _)| key.clone()).collect();
        for key in keys {
            self.change(&key, |line| line.again = true);
        }
    }

    /// A message was lost: what the peer knows is unknown, so it is told everything again.
    pub fn lost(&mut self) {
        (self.full, self.broken) = (true, true);
        let keys: Vec<Key> = self.lines.keys().cloned().collect();
        for key in keys {
            self.change(&key, |line| line.held = None);
        }
    }

    /// Moves everything that is to be told into a message.
    pub fn take(&mut self, now: Instant, out: &mut Outgoing) {
        if !self.has_news() {
            return;
        }
        (out.full, self.full, self.broken) = (self.full, false, false);
        for (_, key) in std::mem::take(&mut self.queue) {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            (line.place, line.again) = (None, false);
            line.sent_at = Some(now);
            line.held = line.wish;
            out.entries.push(Entry {
                cid: *key.cid(),
                priority: if line.wish.is_some() { line.priority } else { 0 },
                cancel: line.wish.is_none(),
                kind: line.wish.unwrap_or(Kind::Block),
                send_dont_have: line.wish.is_some(),
            });
            if line.wish.is_none() {
                self.lines.remove(&key);
            }
        }
    }

    /// Changes a line, and keeps the count of open wants and the queue in step with it.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Line)) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let was_open = line.is_open();
        change(line);
        match (was_open, line.is_open()) {
            (false, true) => self.open = self.open.saturating_add(1),
            (true, false) => self.open = self.open.saturating_sub(1),
            _ => {}
        }
        match (line.differs(), line.place) {
            (true, None) => {
                line.place = Some(self.next_place);
                self.queue.insert(self.next_place, key.clone());
                self.next_place = self.next_place.saturating_add(1);
            }
            (false, Some(place)) => {
                line.place = None;
                self.queue.remove(&place);
            }
            _ => {}
        }
        if line.wish.is_none() && line.held.is_none() {
            self.lines.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid::{codec, digest, hash};

    fn key(n: u32) -> Key {
        Key::of(&Cid::new_v1(codec::RAW, digest(hash::SHA2_256, &n.to_le_bytes()).unwrap()))
    }

    fn sent(told: &mut Told) -> (bool, Vec<(Cid, bool, Kind)>) {
        let mut out = Outgoing::default();
        told.take(Instant::now(), &mut out);
        (out.full, out.entries.iter().map(|e| (e.cid, e.cancel, e.kind)).collect())
    }

    #[test]
    fn keys_are_equal_by_hash() {
        let raw = key(1);
        let v0 = Key::of(&Cid::new_v0(*raw.cid().hash()).unwrap());
        assert_eq!(raw, v0);
        assert_ne!(raw, key(2));
    }

    #[test]
    fn only_differences_are_told() {
        let (now, mut told) = (Instant::now(), Told::new());
        assert!(told.ask(now, &key(1), Kind::Have, 1) && told.ask(now, &key(2), Kind::Block, 1));
        told.withdraw(&key(2));
        assert_eq!(sent(&mut told), (true, vec![(*key(1).cid(), false, Kind::Have)]));
        assert!(told.ask(now, &key(1), Kind::Block, 1));
        assert_eq!(told.open(), 1);
        assert_eq!(sent(&mut told), (false, vec![(*key(1).cid(), false, Kind::Block)]));
        told.withdraw(&key(1));
        assert_eq!(sent(&mut told), (false, vec![(*key(1).cid(), true, Kind::Block)]));
        assert!(!told.has_news() && told.lines.is_empty() && told.open() == 0);
    }

    #[test]
    fn a_block_that_came_needs_no_cancel() {
        let (now, mut told) = (Instant::now(), Told::new());
        told.ask(now, &key(1), Kind::Block, 1);
        sent(&mut told);
        told.forget(&key(1));
        assert!(!told.has_news() && told.lines.is_empty());
    }

    #[test]
    fn trap_05_a_lost_message_is_followed_by_the_full_list() {
        let (now, mut told) = (Instant::now(), Told::new());
        told.ask(now, &key(1), Kind::Block, 1);
        told.ask(now, &key(2), Kind::Block, 1);
        sent(&mut told);
        told.withdraw(&key(2));
        told.lost();
        assert_eq!(sent(&mut told), (true, vec![(*key(1).cid(), false, Kind::Block)]));
        told.withdraw(&key(1));
        told.lost();
        assert_eq!(sent(&mut told), (true, vec![]));
    }

    #[test]
    fn trap_05_what_is_told_is_bounded() {
        let (now, mut told) = (Instant::now(), Told::new());
        let asked = (0..2000).filter(|n| told.ask(now, &key(*n), Kind::Block, 1)).count();
        assert_eq!((asked, told.open()), (TOLD_MAX, TOLD_MAX));
        for n in 0..2000 {
            told.withdraw(&key(n));
        }
        assert!(told.lines.is_empty() && told.queue.is_empty());
    }

    #[test]
    fn trap_05_what_is_asked_again_and_withdrawn_at_once_is_cancelled() {
        let (now, mut told) = (Instant::now(), Told::new());
        told.ask(now, &key(1), Kind::Block, 1);
        sent(&mut told);
        told.answered(&key(1), Answer::Said(Presence::DontHave));
        told.ask(now, &key(1), Kind::Block, 1);
        told.withdraw(&key(1));
        assert_eq!(sent(&mut told), (false, vec![(*key(1).cid(), true, Kind::Block)]));
    }

    #[test]
    fn silence_keeps_the_want_and_reminds() {
        let (now, mut told) = (Instant::now(), Told::new());
        told.ask(now, &key(1), Kind::Block, 1);
        sent(&mut told);
        told.answered(&key(1), Answer::Silent);
        assert_eq!((told.open(), told.has_news()), (0, false));
        told.remind(Instant::now(), Duration::ZERO);
        assert!(told.has_news());
        told.reopen(&key(1));
        assert_eq!(told.open(), 1);
    }
}
