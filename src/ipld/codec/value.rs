//! The IPLD data model as a tree of values, and what the codecs of this folder share: the
//! nesting bound, the assembler that builds a tree without recursion, and their errors.
//!
//! Owns no byte format (`dag_cbor.rs`, `dag_json.rs`, `dag_pb.rs`) and no path resolution.
//!
//! Source: ipld/ipld `docs/data-model`; the nesting bound is go-ipld-prime 0.24's (and the
//! answer to GHSA-w239-58x2-q8p5).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::cmp::Ordering;

use bytes::Bytes;

use crate::ipld::cid::Cid;

#[cfg(test)]
#[path = "samples.rs"]
pub(super) mod samples;

/// Deepest nesting of lists and maps that any codec reads or writes.
pub const MAX_DEPTH: usize = 1024;
/// Integers that the codecs carry: those of CBOR, a sign and 64 bits.
pub const INTEGER_RANGE: std::ops::RangeInclusive<i128> = -(1 << 64)..=(1 << 64) - 1;
/// Characters of a key that an error message quotes.
const QUOTED_KEY_MAX_CHARS: usize = 64;

/// A node of the IPLD data model.
///
/// Dropping, cloning and comparing recurse, as derived code does. That is safe because every
/// tree that comes from outside passed a decoder, and no decoder nests deeper than [`MAX_DEPTH`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number; the codecs carry -2^64 to 2^64-1 ([`INTEGER_RANGE`]).
    Integer(i128),
    /// A 64-bit float; the codecs refuse NaN and the infinities.
    Float(f64),
    /// UTF-8 text.
    String(String),
    /// Bytes. From dag-cbor this is a slice of the block, which it keeps alive.
    Bytes(Bytes),
    /// Values in order.
    List(Vec<Value>),
    /// Entries in the order in which they were read; encoders sort. Decoders refuse a repeated key.
    Map(Vec<(String, Value)>),
    /// A link. Boxed because a CID takes 150 bytes and would triple the size of every value.
    Link(Box<Cid>),
}

// The decoders' memory bound rests on this: one byte of input can become one value.
const _: () = assert!(size_of::<Value>() <= 48);

impl Value {
    /// The value under `key` if this is a map that has it (the first one, should a hand-built
    /// map repeat the key).
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The `i`-th value if this is a list that long.
    pub fn index(&self, i: usize) -> Option<&Value> {
        match self {
            Value::List(items) => items.get(i),
            _ => None,
        }
    }

    /// Every link of the tree, depth first, in the order of the lists and maps; repeats stay.
    pub fn links(&self) -> Vec<Cid> {
        let mut links = Vec::new();
        let mut waiting = vec![self];
        while let Some(value) = waiting.pop() {
            match value {
                Value::Link(cid) => links.push(**cid),
                Value::List(items) => waiting.extend(items.iter().rev()),
                Value::Map(entries) => waiting.extend(entries.iter().rev().map(|(_, v)| v)),
                _ => {}
            }
        }
        links
    }
}

/// Why bytes are not a block of the codec. `at` is always a byte offset into the block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are `at` and what the message quotes")]
pub enum DecodeError {
    /// The block ends inside a value, or a declared length cannot fit in what is left of it.
    #[error("the block ends too early for the value at byte {at}")]
    Truncated { at: usize },
    /// Something follows the one value that a block holds.
    #[error("unexpected content after the value, at byte {at}")]
    Trailing { at: usize },
    /// Lists and maps nest deeper than [`MAX_DEPTH`].
    #[error("nesting deeper than {MAX_DEPTH} at byte {at}")]
    Depth { at: usize },
    /// A map holds a key twice; `at` is where the map starts.
    #[error("duplicate key {key:?} in the map at byte {at}")]
    DuplicateKey { at: usize, key: String },
    /// A map key is not a string.
    #[error("map key is not a string at byte {at}")]
    KeyNotString { at: usize },
    /// A string is not UTF-8; `at` is the first bad byte.
    #[error("string is not UTF-8 at byte {at}")]
    BadUtf8 { at: usize },
    /// A link does not hold a CID.
    #[error("bad link at byte {at}: {cause}")]
    BadCid { at: usize, cause: String },
    /// Base64 of a bytes value does not decode.
    #[error("bad base64 at byte {at}")]
    BadBase64 { at: usize },
    /// A CBOR tag other than 42 (links), or 42 on something else than bytes.
    #[error("unsupported tag {tag} at byte {at}")]
    UnsupportedTag { at: usize, tag: u64 },
    /// A CBOR item that the data model lacks: undefined, a simple value, a reserved length.
    #[error("unsupported item 0x{byte:02x} at byte {at}")]
    UnsupportedItem { at: usize, byte: u8 },
    /// A CBOR item of indefinite length.
    #[error("indefinite length at byte {at}")]
    IndefiniteLength { at: usize },
    /// NaN, an infinity, or a number too large for a 64-bit float.
    #[error("number is not finite at byte {at}")]
    NonFinite { at: usize },
    /// An integer outside [`INTEGER_RANGE`].
    #[error("integer out of range at byte {at}")]
    IntegerRange { at: usize },
    /// JSON grammar: something else was due here.
    #[error("expected {expected} at byte {at}")]
    Syntax { at: usize, expected: &'static str },
}

/// Why a value cannot be written in a codec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are what the message quotes")]
pub enum EncodeError {
    /// NaN and the infinities have no place in the data model.
    #[error("cannot encode {0}: not a finite number")]
    NonFinite(String),
    /// An integer outside [`INTEGER_RANGE`].
    #[error("cannot encode {0}: integer out of range")]
    IntegerRange(i128),
    /// Lists and maps nest deeper than [`MAX_DEPTH`], so no decoder would read it back.
    #[error("cannot encode: nesting deeper than {MAX_DEPTH}")]
    Depth,
    /// A map holds a key twice.
    #[error("cannot encode: duplicate key {key:?}")]
    DuplicateKey { key: String },
    /// A map whose dag-json form would mean a link or bytes (its first key is `/`).
    #[error("cannot encode: map with the key \"/\" is reserved in dag-json")]
    Reserved,
    /// Something that the data model has and the codec has not.
    #[error("cannot encode: the codec has no {0}")]
    Lacking(&'static str),
    /// Text that would grow far beyond what it tells.
    #[error("cannot encode: more than {most} bytes of text")]
    TooLarge { most: usize },
}

/// dag-cbor's order of map keys: shorter first, then bytewise (RFC 7049 section 3.9).
pub(super) fn length_first(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// The entries of a map in `order`, for an encoder.
///
/// # Errors
/// [`EncodeError::DuplicateKey`].
pub(super) fn sorted(
    entries: &[(String, Value)],
    order: fn(&str, &str) -> Ordering,
) -> Result<Vec<&(String, Value)>, EncodeError> {
    let mut entries: Vec<_> = entries.iter().collect();
    entries.sort_by(|(a, _), (b, _)| order(a, b));
    match repeated(entries.iter().map(|(key, _)| key.as_str())) {
        Some(key) => Err(EncodeError::DuplicateKey { key: quoted(key) }),
        None => Ok(entries),
    }
}

/// The first of two equal neighbours.
fn repeated<'a>(keys: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    keys.clone().zip(keys.skip(1)).find(|(a, b)| a == b).map(|(a, _)| a)
}

/// As much of a key as an error message should carry.
fn quoted(key: &str) -> String {
    key.chars().take(QUOTED_KEY_MAX_CHARS).collect()
}

/// Which kind of container an [`Assembler`] is inside of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inside {
    /// No container: the root.
    Root,
    /// A list.
    List,
    /// A map.
    Map,
}

/// Builds a tree from a decoder's events with an explicit stack, so that hostile nesting costs
/// heap in proportion to the input and never call stack.
#[derive(Default)]
pub(super) struct Assembler {
    open: Vec<Open>,
    root: Option<Value>,
}

/// A container that is not complete.
struct Open {
    /// Where it starts in the block.
    at: usize,
    contents: Contents,
}

enum Contents {
    List(Vec<Value>),
    Map {
        /// The value of the last entry is a placeholder until it arrives.
        entries: Vec<(String, Value)>,
        /// Every key so far came after the one before it, in either codec's canonical order: then
        /// no key repeats and nothing needs sorting. True of all canonical blocks.
        by_length: bool,
        by_bytes: bool,
    },
}

impl Assembler {
    /// What the next value goes into.
    pub(super) fn inside(&self) -> Inside {
        match self.open.last().map(|open| &open.contents) {
            None => Inside::Root,
            Some(Contents::List(_)) => Inside::List,
            Some(Contents::Map { .. }) => Inside::Map,
        }
    }

    /// Whether one more container may be opened at `at`.
    pub(super) fn check_depth(&self, at: usize) -> Result<(), DecodeError> {
        if self.open.len() >= MAX_DEPTH {
            return Err(DecodeError::Depth { at });
        }
        Ok(())
    }

    /// Opens a list; the caller vouches that the block can hold `capacity` more values.
    pub(super) fn open_list(&mut self, at: usize, capacity: usize) -> Result<(), DecodeError> {
        self.check_depth(at)?;
        let contents = Contents::List(Vec::with_capacity(capacity));
        self.open.push(Open { at, contents });
        Ok(())
    }

    /// Opens a map; the caller vouches that the block can hold `capacity` more entries.
    pub(super) fn open_map(&mut self, at: usize, capacity: usize) -> Result<(), DecodeError> {
        self.check_depth(at)?;
        let entries = Vec::with_capacity(capacity);
        let contents = Contents::Map { entries, by_length: true, by_bytes: true };
        self.open.push(Open { at, contents });
        Ok(())
    }

    /// Starts an entry of the innermost map.
    pub(super) fn key(&mut self, key: String) {
        let Some(Open { contents: Contents::Map { entries, by_length, by_bytes }, .. }) =
            self.open.last_mut()
        else {
            return;
        };
        if let Some((before, _)) = entries.last() {
            *by_length &= length_first(before, &key).is_lt();
            *by_bytes &= *before < key;
        }
        entries.push((key, Value::Null));
    }

    /// Puts a complete value into the innermost container, or makes it the root.
    pub(super) fn put(&mut self, value: Value) {
        match self.open.last_mut().map(|open| &mut open.contents) {
            None => self.root = Some(value),
            Some(Contents::List(items)) => items.push(value),
            Some(Contents::Map { entries, .. }) => {
                if let Some((_, waiting)) = entries.last_mut() {
                    *waiting = value;
                }
            }
        }
    }

    /// Completes the innermost container.
    pub(super) fn close(&mut self) -> Result<(), DecodeError> {
        let Some(Open { at, contents }) = self.open.pop() else {
            return Ok(());
        };
        let value = match contents {
            Contents::List(mut items) => {
                items.shrink_to_fit(); // Growth by doubling would otherwise stay for good.
                Value::List(items)
            }
            Contents::Map { mut entries, by_length, by_bytes } => {
                if !by_length && !by_bytes {
                    refuse_repeats(at, &entries)?;
                }
                entries.shrink_to_fit();
                Value::Map(entries)
            }
        };
        self.put(value);
        Ok(())
    }

    /// The finished tree, if there is one.
    pub(super) fn into_root(self) -> Option<Value> {
        self.root
    }
}

/// Sorting keeps this at n log n where comparing all pairs would be an attack.
fn refuse_repeats(at: usize, entries: &[(String, Value)]) -> Result<(), DecodeError> {
    let mut keys: Vec<&str> = entries.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match repeated(keys.iter().copied()) {
        Some(key) => Err(DecodeError::DuplicateKey { at, key: quoted(key) }),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn lookups_and_links_keep_order() {
        let [a, b] = [b"a", b"b"].map(|data| {
            Box::new(Cid::new_v1(cid::codec::RAW, cid::digest(cid::hash::IDENTITY, data).unwrap()))
        });
        let inner = Value::List(vec![Value::Link(a.clone()), Value::Null]);
        let tree = Value::Map(vec![
            ("x".into(), inner),
            ("y".into(), Value::Link(b.clone())),
            ("z".into(), Value::Link(a.clone())),
        ]);
        assert_eq!(tree.links(), [*a, *b, *a]);
        assert_eq!(tree.get("x").unwrap().index(1), Some(&Value::Null));
        assert_eq!(tree.get("w"), None);
        assert_eq!(tree.index(0), None);
    }

    #[test]
    fn repeated_keys_are_found_in_any_order() {
        for keys in [["a", "b", "a"], ["a", "a", "b"], ["b", "aa", "b"]] {
            let mut tree = Assembler::default();
            tree.open_map(7, 0).unwrap();
            for key in keys {
                tree.key(key.to_owned());
                tree.put(Value::Null);
            }
            let error = tree.close().unwrap_err();
            assert!(matches!(error, DecodeError::DuplicateKey { at: 7, .. }), "{keys:?}: {error}");
        }
    }
}
