//! The dag-cbor codec: one CBOR item per block, with links under tag 42.
//!
//! Reads what deployed nodes wrote (`dag_cbor_read.rs`): map keys in any order, integers and
//! lengths wider than they need to be, half and single floats. Refuses what the data model lacks:
//! indefinite lengths, NaN and infinities, undefined and other simple values, tags other than 42,
//! repeated keys, keys that are not UTF-8 strings, and bytes after the item. Writes only the one
//! canonical form.
//!
//! Does not check what a link points to, nor whether its hash function is on the allow-list:
//! that happens when the block is fetched, as in Kubo.
//!
//! Source: ipld/ipld `specs/codecs/dag-cbor`, RFC 8949; GHSA-378j-3jfj-8r9f (lengths),
//! GHSA-w239-58x2-q8p5 (nesting).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use super::value::{self, EncodeError, MAX_DEPTH, Value};

#[path = "dag_cbor_read.rs"]
mod read;

pub(super) use read::offset;
pub use read::{decode, decode_plain, links};

/// The tag of a link.
const LINK_TAG: u64 = 42;
/// The byte before a link's CID: multibase "identity", a leftover that every block carries.
const LINK_PREFIX: u8 = 0;

/// CBOR's major types.
mod major {
    pub const UNSIGNED: u8 = 0;
    pub const NEGATIVE: u8 = 1;
    pub const BYTES: u8 = 2;
    pub const STRING: u8 = 3;
    pub const LIST: u8 = 4;
    pub const MAP: u8 = 5;
    pub const TAG: u8 = 6;
}

/// Writes a value in the canonical form.
///
/// # Errors
/// [`EncodeError`]: a float that is not finite, an integer outside CBOR's range, a repeated key, or
/// nesting deeper than [`MAX_DEPTH`].
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    written(value, Form::Canonical)
}

/// Writes a value as plain CBOR: the same without links, and entries as they come.
///
/// # Errors
/// As [`encode`], but for repeated keys; and [`EncodeError::Lacking`] for a link.
pub fn encode_plain(value: &Value) -> Result<Vec<u8>, EncodeError> {
    written(value, Form::Plain)
}

/// How a value is written.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Entries sorted, links as links.
    Canonical,
    /// Entries as they come, no links.
    Plain,
}

fn written(value: &Value, form: Form) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    let mut open = Vec::new();
    let mut next = Some(value);
    while let Some(value) = next {
        if let Some(children) = write(&mut out, value, form)? {
            if open.len() >= MAX_DEPTH {
                return Err(EncodeError::Depth);
            }
            open.push(children);
        }
        next = advance(&mut out, &mut open);
    }
    Ok(out)
}

/// What of a list or map is still to be written.
enum Children<'a> {
    List(std::slice::Iter<'a, Value>),
    Map(std::vec::IntoIter<&'a (String, Value)>),
}

/// The next value to write, its key written before it; leaves containers that are complete.
fn advance<'a>(out: &mut Vec<u8>, open: &mut Vec<Children<'a>>) -> Option<&'a Value> {
    while let Some(children) = open.last_mut() {
        let next = match children {
            Children::List(items) => items.next(),
            Children::Map(entries) => entries.next().map(|(key, value)| {
                head(out, major::STRING, length(key.len()));
                out.extend_from_slice(key.as_bytes());
                value
            }),
        };
        if next.is_some() {
            return next;
        }
        open.pop();
    }
    None
}

/// Writes a scalar, or the head of a container and gives its children back.
fn write<'a>(
    out: &mut Vec<u8>,
    value: &'a Value,
    form: Form,
) -> Result<Option<Children<'a>>, EncodeError> {
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(value) => out.push(if *value { 0xf5 } else { 0xf4 }),
        Value::Integer(value) => integer(out, *value)?,
        Value::Float(value) if value.is_finite() => {
            out.push(0xfb);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Float(value) => return Err(EncodeError::NonFinite(value.to_string())),
        Value::String(text) => {
            head(out, major::STRING, length(text.len()));
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => {
            head(out, major::BYTES, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        Value::Link(_) if form == Form::Plain => return Err(EncodeError::Lacking("links")),
        Value::Link(cid) => {
            let cid = cid.to_bytes();
            head(out, major::TAG, LINK_TAG);
            head(out, major::BYTES, length(cid.len()).saturating_add(1));
            out.push(LINK_PREFIX);
            out.extend_from_slice(&cid);
        }
        Value::List(items) => {
            head(out, major::LIST, length(items.len()));
            return Ok(Some(Children::List(items.iter())));
        }
        Value::Map(entries) => {
            head(out, major::MAP, length(entries.len()));
            let entries = match form {
                Form::Canonical => value::sorted(entries, value::length_first)?,
                Form::Plain => entries.iter().collect(),
            };
            return Ok(Some(Children::Map(entries.into_iter())));
        }
    }
    Ok(None)
}

fn integer(out: &mut Vec<u8>, value: i128) -> Result<(), EncodeError> {
    let (major, argument) =
        if value < 0 { (major::NEGATIVE, !value) } else { (major::UNSIGNED, value) };
    let argument = u64::try_from(argument).map_err(|_| EncodeError::IntegerRange(value))?;
    head(out, major, argument);
    Ok(())
}

/// An item's first byte and its argument, in the shortest form.
fn head(out: &mut Vec<u8>, major: u8, argument: u64) {
    let major = major << 5;
    let wide = argument.to_be_bytes();
    let [.., e, f, g, h] = wide;
    match argument {
        0..24 => out.push(major | h),
        24..0x100 => out.extend_from_slice(&[major | 24, h]),
        0x100..0x1_0000 => out.extend_from_slice(&[major | 25, g, h]),
        0x1_0000..0x1_0000_0000 => out.extend_from_slice(&[major | 26, e, f, g, h]),
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&wide);
        }
    }
}

/// No platform has lengths beyond 64 bits.
fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use bytes::Bytes;
    use rand::{SeedableRng, rngs::StdRng};

    use super::super::value::{DecodeError, samples};
    use super::*;
    use crate::ipld::cid::Cid;

    fn read(block: &[u8]) -> Result<Value, DecodeError> {
        decode(&Bytes::copy_from_slice(block))
    }

    fn scan(block: &[u8]) -> Result<Vec<Cid>, DecodeError> {
        let mut seen = Vec::new();
        links(block, &mut |cid| seen.push(cid)).map(|()| seen)
    }

    #[test]
    fn random_values_round_trip() {
        for seed in 0..2000 {
            let value = samples::random(&mut StdRng::seed_from_u64(seed), 200);
            let block = Bytes::from(encode(&value).unwrap());
            let again = decode(&block).unwrap();
            assert_eq!(encode(&again).unwrap(), block, "seed {seed}");
            assert_eq!(scan(&block).unwrap(), again.links(), "seed {seed}");
        }
    }

    #[test]
    fn damaged_blocks_do_not_panic_and_both_readers_agree() {
        samples::mutated("dag-cbor", |block| match (decode(block), scan(block)) {
            (Ok(value), scanned) => {
                assert_eq!(scanned, Ok(value.links()));
                assert!(encode(&value).is_ok());
            }
            (Err(DecodeError::DuplicateKey { .. }), _) => {}
            (Err(error), scanned) => assert_eq!(scanned, Err(error)),
        });
    }

    #[test]
    fn what_older_nodes_wrote_is_read_and_written_strictly() {
        for (loose, strict) in [
            (&b"\x18\x01"[..], &b"\x01"[..]),
            (b"\x3b\0\0\0\0\0\0\0\x17", b"\x37"),
            (b"\x78\x01a", b"\x61a"),
            (b"\x9a\0\0\0\x01\xf6", b"\x81\xf6"),
            (b"\xa2\x62aa\x01\x61b\x02", b"\xa2\x61b\x02\x62aa\x01"),
            (b"\xf9\x3c\0", b"\xfb\x3f\xf0\0\0\0\0\0\0"),
            (b"\xf9\x80\x01", b"\xfb\xbe\x70\0\0\0\0\0\0"),
            (b"\xfa\x3f\x80\0\0", b"\xfb\x3f\xf0\0\0\0\0\0\0"),
            (b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff", b"\x3b\xff\xff\xff\xff\xff\xff\xff\xff"),
            (b"\xd9\0\x2a\x58\x05\0\x01\x55\0\0", b"\xd8\x2a\x45\0\x01\x55\0\0"),
        ] {
            assert_eq!(encode(&read(loose).unwrap()).unwrap(), strict, "{loose:x?}");
        }
    }

    #[test]
    fn malformed_blocks_are_refused_with_the_offset() {
        use DecodeError::*;
        let huge = [0x9b, 0x10, 0, 0, 0, 0, 0, 0, 0];
        let huge_map = [0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x61];
        for (block, error) in [
            (&b""[..], Truncated { at: 0 }),
            (&huge, Truncated { at: 0 }),
            (&huge_map, Truncated { at: 0 }),
            (b"\x82\x82\x01\x01", Truncated { at: 1 }), // 2 + 1 items in 2 bytes
            (b"\x5a\xff\xff\xff\xff", Truncated { at: 0 }),
            (b"\xf6\xf6", Trailing { at: 1 }),
            (b"\xa1\x01\x01", KeyNotString { at: 1 }),
            (b"\xa2\x61a\x01\x61a\x01", DuplicateKey { at: 0, key: "a".into() }),
            (b"\x62a\xff", BadUtf8 { at: 2 }),
            (b"\x9f\xff", IndefiniteLength { at: 0 }),
            (b"\x81\x7f", IndefiniteLength { at: 1 }),
            (b"\xff", IndefiniteLength { at: 0 }),
            (b"\x1c", UnsupportedItem { at: 0, byte: 0x1c }),
            (b"\xf7", UnsupportedItem { at: 0, byte: 0xf7 }),
            (b"\xf8\x20", UnsupportedItem { at: 0, byte: 0xf8 }),
            (b"\xf9\x7e\0", NonFinite { at: 0 }),
            (b"\xfa\xff\x80\0\0", NonFinite { at: 0 }),
            (b"\xfb\x7f\xf0\0\0\0\0\0\0", NonFinite { at: 0 }),
            (b"\xc1\x01", UnsupportedTag { at: 0, tag: 1 }),
            (b"\xd8\x2a\x61a", UnsupportedTag { at: 0, tag: 42 }),
        ] {
            assert_eq!(read(block), Err(error), "{block:x?}");
        }
        for link in [&b"\xd8\x2a\x40"[..], b"\xd8\x2a\x44\x01\x55\0\0", b"\xd8\x2a\x42\0\x01"] {
            assert!(matches!(read(link), Err(BadCid { at: 0, .. })), "{link:x?}");
        }
    }

    #[test]
    fn nesting_is_bounded_both_ways() {
        let nested = |n: usize| [vec![0x81; n], vec![0xf6]].concat();
        let deepest = read(&nested(MAX_DEPTH)).unwrap();
        assert_eq!(encode(&deepest).unwrap(), nested(MAX_DEPTH));
        assert_eq!(encode(&Value::List(vec![deepest])), Err(EncodeError::Depth));
        for levels in [MAX_DEPTH + 1, 1_000_000] {
            assert_eq!(read(&nested(levels)), Err(DecodeError::Depth { at: MAX_DEPTH }));
            assert_eq!(scan(&nested(levels)), Err(DecodeError::Depth { at: MAX_DEPTH }));
        }
    }

    #[test]
    fn values_without_a_form_are_refused() {
        let twice = Value::Map(vec![("a".into(), Value::Null), ("a".into(), Value::Null)]);
        assert!(matches!(encode(&twice), Err(EncodeError::DuplicateKey { .. })));
        assert!(matches!(encode(&Value::Float(f64::NAN)), Err(EncodeError::NonFinite(_))));
        for beyond in [1 << 64, -(1 << 64) - 1] {
            assert_eq!(encode(&Value::Integer(beyond)), Err(EncodeError::IntegerRange(beyond)));
        }
    }
}
