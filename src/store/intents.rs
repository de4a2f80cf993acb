//! Intents: which blocks operations in flight rely on, so that nobody deletes them meanwhile.
//!
//! An operation notes a block before it looks whether it is here, under the shared side of the lock
//! whose exclusive side deletes. Whoever deletes asks for the note first and for holders after: by
//! the time an operation lets its intent go, it has written what holds its blocks.
//!
//! An intent dies with its process, and must: what the process did not acknowledge is garbage.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, Weak};

use super::lock;
use crate::ipld::cid::Multihash;

/// Blocks in the first filter of an intent; each further one holds twice as many.
const FIRST_BLOCKS: usize = 1 << 10;
/// Bits of a filter for each block. With [`PROBES`] of them set, one block in 2,000 that no
/// operation noted is taken for noted, and kept until that operation ends.
const BITS_A_BLOCK: usize = 16;
/// Bits set for a block.
const PROBES: u32 = 8;

/// The blocks that one operation relies on. Clones share it; it ends with the last of them.
#[derive(Clone)]
pub struct Intent {
    noted: Arc<Mutex<Noted>>,
    keys: RandomState,
}

impl Intent {
    /// Notes a block. Callers hold the shared side of the rows' lock until they have looked.
    pub(super) fn note(&self, hash: &Multihash) {
        lock(&self.noted).insert(mark(&self.keys, hash));
    }
}

/// Every intent there is.
#[derive(Default)]
pub(super) struct Intents {
    all: Mutex<Vec<Weak<Mutex<Noted>>>>,
    keys: RandomState,
}

impl Intents {
    /// Begins one.
    pub fn begin(&self) -> Intent {
        let noted = Arc::new(Mutex::new(Noted::default()));
        let mut all = lock(&self.all);
        all.retain(|intent| intent.strong_count() > 0);
        all.push(Arc::downgrade(&noted));
        Intent { noted, keys: self.keys.clone() }
    }

    /// Whether an operation in flight relies on the block.
    pub fn noted(&self, hash: &Multihash) -> bool {
        let all = lock(&self.all);
        if all.is_empty() {
            return false;
        }
        let mark = mark(&self.keys, hash);
        all.iter().filter_map(Weak::upgrade).any(|noted| lock(&noted).contains(mark))
    }

    /// Number of operations in flight.
    pub fn count(&self) -> usize {
        lock(&self.all).iter().filter(|intent| intent.strong_count() > 0).count()
    }
}

/// A number under a key of this process: nobody can make blocks that look like others.
fn mark(keys: &RandomState, hash: &Multihash) -> u64 {
    keys.hash_one((hash.code(), hash.digest()))
}

/// A set that never forgets and now and then claims too much: a chain of Bloom filters, 2 bytes a
/// block.
#[derive(Default)]
struct Noted {
    filters: Vec<Filter>,
}

struct Filter {
    bits: Vec<u64>,
    room: usize,
}

impl Noted {
    fn insert(&mut self, mark: u64) {
        if self.contains(mark) {
            return;
        }
        if self.filters.last().is_none_or(|filter| filter.room == 0) {
            let blocks = FIRST_BLOCKS << self.filters.len();
            let bits = vec![0; blocks * BITS_A_BLOCK / 64];
            self.filters.push(Filter { bits, room: blocks });
        }
        if let Some(filter) = self.filters.last_mut() {
            filter.room -= 1;
            for (word, bit) in probes(mark, filter.bits.len()) {
                filter.bits[word] |= bit;
            }
        }
    }

    fn contains(&self, mark: u64) -> bool {
        let in_filter = |filter: &Filter| {
            probes(mark, filter.bits.len()).all(|(word, bit)| filter.bits[word] & bit != 0)
        };
        self.filters.iter().rev().any(in_filter)
    }
}

/// Word and bit of each probe in a filter of so many words, a power of two.
fn probes(mark: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let (first, step) = (mark & 0xffff_ffff, (mark >> 32) | 1);
    (0..u64::from(PROBES)).map(move |n| {
        let at = first.wrapping_add(step.wrapping_mul(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let at = usize::try_from(at).unwrap_or(0) % (words * 64);
        (at / 64, 1 << (at % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid::{digest, hash};

    fn block(n: u64) -> Multihash {
        digest(hash::SHA2_256, &n.to_be_bytes()).unwrap()
    }

    #[test]
    fn what_was_noted_is_found_and_little_else() {
        let intents = Intents::default();
        let (one, other) = (intents.begin(), intents.begin());
        (0..50_000).for_each(|n| one.note(&block(n)));
        other.note(&block(1 << 40));
        assert!((0..50_000).all(|n| intents.noted(&block(n))) && intents.noted(&block(1 << 40)));
        let wrong = (100_000..200_000).filter(|n| intents.noted(&block(*n))).count();
        assert!(wrong < 500, "{wrong} of 100,000");
        drop(one);
        assert!(!intents.noted(&block(7)) && intents.noted(&block(1 << 40)));
        assert_eq!(intents.count(), 1);
        let shared = other.clone();
        drop(other);
        assert!(intents.noted(&block(1 << 40)));
        drop(shared);
        assert_eq!(intents.count(), 0);
    }
}
