//! HAMT folders: entries spread over a trie by the hash of their names.
//!
//! Owns the hash, the slots and the writing of a whole trie. Lookup and listing walk blocks, so
//! they live in `dag/`, but the step from a node to the link that holds a name is here.
//!
//! Source: ipfs/specs src/unixfs.md, corrected by the network: hash bits are taken from the first
//! byte on, most significant first; the bitfield is a big-endian number without leading zeros.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::Bytes;

use super::entries::Entries;
use super::layout::{Emit, seal};
use super::node::{self, Meta};
use super::{Child, UnixfsError};
use crate::ipld::block::Prefix;
use crate::ipld::codec::dag_pb::{Link, Node};

/// Slots of a new shard.
pub const FANOUT_DEFAULT: u64 = 256;
/// Bits of a name's hash.
const HASH_BITS: u32 = 64;

/// A position in the trie: the hash of a name and how much of it is used up.
#[derive(Clone, Copy, Debug)]
pub struct Descent {
    hash: u64,
    used: u32,
}

/// What a shard holds for a name.
#[derive(Debug, PartialEq, Eq)]
pub enum Slot<'a> {
    /// The entry itself.
    Entry(&'a Link),
    /// A shard further down.
    Shard(&'a Link),
    /// No such name.
    Empty,
}

impl Descent {
    /// Begins at the root with a name.
    pub fn new(name: &[u8]) -> Self {
        Self { hash: hash(name), used: 0 }
    }

    /// The slot at this level of a trie of `fanout` slots a shard; moves one level down.
    fn slot(&mut self, fanout: u64) -> Result<u64, UnixfsError> {
        let bits = fanout.trailing_zeros();
        let used = self.used.saturating_add(bits);
        if used > HASH_BITS {
            return Err(UnixfsError::TooDeep);
        }
        let slot = (self.hash << self.used) >> HASH_BITS.saturating_sub(bits);
        self.used = used;
        Ok(slot)
    }

    /// Looks for `name` in one shard whose fanout was checked when it was read.
    ///
    /// # Errors
    /// [`UnixfsError::TooDeep`] when the hash is used up: a trie made to go on for ever.
    pub fn step<'a>(
        &mut self,
        shard: &'a Node,
        fanout: u64,
        name: &[u8],
    ) -> Result<Slot<'a>, UnixfsError> {
        let prefix = slot_prefix(self.slot(fanout)?, fanout);
        let width = prefix.len();
        for link in &shard.links {
            let label = link.name_bytes();
            match label.strip_prefix(prefix.as_bytes()) {
                Some(b"") => return Ok(Slot::Shard(link)),
                Some(rest) if rest == name => return Ok(Slot::Entry(link)),
                Some(_) if label.len() > width => return Ok(Slot::Empty),
                _ => {}
            }
        }
        Ok(Slot::Empty)
    }
}

/// The entry's name behind the slot prefix, or `None` when the link leads to another shard.
///
/// # Errors
/// [`UnixfsError::Malformed`] for a label shorter than its prefix.
pub fn entry_name(label: &Bytes, fanout: u64) -> Result<Option<Bytes>, UnixfsError> {
    let width = prefix_width(fanout);
    match label.len() {
        n if n < width => Err(UnixfsError::Malformed("a HAMT label is shorter than its prefix")),
        n if n == width => Ok(None),
        _ => Ok(Some(label.slice(width..))),
    }
}

/// Writes the trie of `entries` and gives its root, which carries `meta`; children first.
///
/// # Errors
/// [`UnixfsError::TooDeep`] for names that collide on every bit, `emit`'s otherwise.
pub fn build<E: From<UnixfsError>>(
    entries: &Entries,
    fanout: u64,
    prefix: Prefix,
    meta: &Meta,
    emit: Emit<'_, E>,
) -> Result<Child, E> {
    let place = |index| Placed { index, at: Descent::new(entries.name(index)) };
    let hashed = (0..entries.len()).map(place).collect();
    Trie { entries, fanout, prefix }.shard(hashed, meta, emit)
}

/// A trie being written.
struct Trie<'a> {
    entries: &'a Entries,
    fanout: u64,
    prefix: Prefix,
}

/// An entry on its way down.
struct Placed {
    index: usize,
    at: Descent,
}

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "written, not read: every slot is below the fanout"
)]
impl Trie<'_> {
    /// One shard and all below it. Recursion is bounded by the hash: at most 64 / 3 levels.
    fn shard<E: From<UnixfsError>>(
        &self,
        placed: Vec<Placed>,
        meta: &Meta,
        emit: Emit<'_, E>,
    ) -> Result<Child, E> {
        let mut slots: Vec<Vec<Placed>> = Vec::new();
        slots.resize_with(self.fanout as usize, Vec::new);
        for mut one in placed {
            let slot = one.at.slot(self.fanout)?;
            slots[slot as usize].push(one);
        }
        let mut links = Vec::new();
        let mut bitfield = vec![0u8; self.fanout as usize / 8];
        let mut below = 0u64;
        for (slot, held) in slots.into_iter().enumerate().filter(|(_, held)| !held.is_empty()) {
            let link = self.link(&slot_prefix(slot as u64, self.fanout), held, emit)?;
            let byte = bitfield.len() - 1 - slot / 8;
            bitfield[byte] |= 1 << (slot % 8);
            below = below.saturating_add(link.tsize.unwrap_or(0));
            links.push(link);
        }
        let payload = node::with_meta(node::shard_payload(&bitfield, self.fanout), meta);
        let (block, own) = seal(&Node { links, data: Some(payload) }, self.prefix)?;
        let cid = *block.cid();
        emit(block)?;
        Ok(Child { cid, tsize: own.saturating_add(below), size: 0 })
    }

    /// The link of one slot: to its only entry, or to a shard of all of them.
    fn link<E: From<UnixfsError>>(
        &self,
        label: &str,
        held: Vec<Placed>,
        emit: Emit<'_, E>,
    ) -> Result<Link, E> {
        if let [one] = held.as_slice() {
            let entry = self.entries.entry(one.index)?;
            let name = [label.as_bytes(), self.entries.name(one.index)].concat();
            return Ok(Link { cid: entry.cid, name: Some(name.into()), tsize: Some(entry.tsize) });
        }
        let child = self.shard(held, &Meta::NONE, emit)?;
        let name = Some(label.as_bytes().to_vec().into());
        Ok(Link { cid: child.cid, name, tsize: Some(child.tsize) })
    }
}

/// Upper-case hex digits in front of every label.
fn prefix_width(fanout: u64) -> usize {
    format!("{:X}", fanout.saturating_sub(1)).len()
}

fn slot_prefix(slot: u64, fanout: u64) -> String {
    format!("{slot:0width$X}", width = prefix_width(fanout))
}

/// The first half of murmur3-x64-128 of a name, seed 0: the HAMT's hash (multihash 0x22).
pub fn hash(name: &[u8]) -> u64 {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let (mut h1, mut h2) = (0u64, 0u64);
    let mix1 = |k: u64| k.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let mix2 = |k: u64| k.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let mut blocks = name.chunks_exact(16);
    for block in &mut blocks {
        let (low, high) = block.split_at(8);
        let (k1, k2) = (le_word(low), le_word(high));
        h1 = (h1 ^ mix1(k1)).rotate_left(27).wrapping_add(h2);
        h1 = h1.wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 = (h2 ^ mix2(k2)).rotate_left(31).wrapping_add(h1);
        h2 = h2.wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let tail = blocks.remainder();
    h2 ^= mix2(le_word(tail.get(8..).unwrap_or_default()));
    h1 ^= mix1(le_word(tail.get(..8).unwrap_or(tail)));
    h1 ^= name.len() as u64;
    h2 ^= name.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    avalanche(h1).wrapping_add(avalanche(h2))
}

/// Up to 8 bytes as a little-endian number.
fn le_word(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, b| word << 8 | u64::from(*b))
}

fn avalanche(mut k: u64) -> u64 {
    k = (k ^ (k >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    k = (k ^ (k >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    k ^ (k >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur3_of_known_texts() {
        // First words of murmur3-x64-128 with seed 0, from the reference implementation.
        assert_eq!(hash(b""), 0);
        assert_eq!(hash(b"hello"), 0xcbd8_a7b3_41bd_9b02);
        assert_eq!(hash(b"The quick brown fox jumps over the lazy dog"), 0xe34b_bc7b_bc07_1b6c);
    }

    #[test]
    fn a_hash_is_used_from_its_most_significant_bits() {
        let mut at = Descent { hash: 0xab_cd_00_00_00_00_00_01, used: 0 };
        assert_eq!((at.slot(256).unwrap(), at.slot(256).unwrap()), (0xab, 0xcd));
        for _ in 0..5 {
            at.slot(256).unwrap();
        }
        assert_eq!(at.slot(256).unwrap(), 1);
        assert_eq!(at.slot(256), Err(UnixfsError::TooDeep));
    }
}
