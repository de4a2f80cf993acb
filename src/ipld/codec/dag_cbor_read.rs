//! The reading half of dag-cbor: a walk over the items of a block with an explicit stack, which
//! either builds the tree or only shows the links.
//!
//! Owns what is tolerated; the written form, and the list of both, is `dag_cbor.rs`'s.
//!
//! Where go-ipld-prime 0.24, the reader of Kubo 0.44, decides otherwise:
//! - It refuses integers and lengths that are wider than needed; before 0.24 it took them, so
//!   blocks like that are in people's stores, and they stay readable here.
//! - It reads undefined as null, and drops a tag before anything but bytes. Both would make the
//!   written block differ in meaning from the one read, and are refused.
//! - It keeps strings that are not UTF-8; they are refused, as the data model's strings are text.
//! - It refuses integers below -2^63, which the specification allows.
//!
//! Memory: a length is believed only as far as the bytes left could hold it, summed over all open
//! containers, so the capacity of all lists and maps together never exceeds the block's length.
//! The worst case is a list of 1-byte items: `size_of::<Value>()` (48) bytes for each.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::ops::Range;

use bytes::Bytes;

use super::super::value::{Assembler, DecodeError, MAX_DEPTH, Value};
use super::{LINK_PREFIX, LINK_TAG, major};
use crate::ipld::cid::{self, Cid};

/// Reads a block. Bytes values are slices of `block`.
///
/// # Errors
/// [`DecodeError`], naming the offset.
pub fn decode(block: &Bytes) -> Result<Value, DecodeError> {
    read(block, true)
}

/// The same without links: plain CBOR has none, and no tag for them.
///
/// # Errors
/// [`DecodeError`], naming the offset.
pub fn decode_plain(block: &Bytes) -> Result<Value, DecodeError> {
    read(block, false)
}

fn read(block: &Bytes, links: bool) -> Result<Value, DecodeError> {
    let mut reader = Reader::new(block);
    let mut tree = Assembler::default();
    loop {
        let at = reader.at;
        match reader.next()? {
            Event::Null => tree.put(Value::Null),
            Event::Bool(value) => tree.put(Value::Bool(value)),
            Event::Integer(value) => tree.put(Value::Integer(value)),
            Event::Float(value) => tree.put(Value::Float(value)),
            Event::String(text) => tree.put(Value::String(text.to_owned())),
            Event::Bytes(range) => tree.put(Value::Bytes(block.slice(range))),
            Event::Link(_) if !links => {
                return Err(DecodeError::UnsupportedTag { at, tag: LINK_TAG });
            }
            Event::Link(cid) => tree.put(Value::Link(Box::new(cid))),
            Event::Key(text) => tree.key(text.to_owned()),
            Event::List(length) => tree.open_list(at, length)?,
            Event::Map(length) => tree.open_map(at, length)?,
            Event::Close => tree.close()?,
            Event::End => break,
        }
    }
    tree.into_root().ok_or(DecodeError::Truncated { at: 0 })
}

/// Calls `visit` for every link of a block, in order, without building the tree: the only
/// allocation is the stack of open containers, at most [`MAX_DEPTH`] times 16 bytes.
///
/// Refuses what [`decode`] refuses, except repeated keys: finding those would need a set of keys,
/// and all links of such a map are visited.
///
/// # Errors
/// [`DecodeError`]; links before the offending byte have been visited by then.
pub fn links(block: &[u8], visit: &mut dyn FnMut(Cid)) -> Result<(), DecodeError> {
    let mut reader = Reader::new(block);
    loop {
        match reader.next()? {
            Event::Link(cid) => visit(cid),
            Event::End => return Ok(()),
            _ => {}
        }
    }
}

/// Where the value at the end of a way of keys and decimal indices begins, in bytes from the start of
/// a block that [`decode`] took; 0 when it is not there. Costs another walk over the block.
pub(in super::super) fn offset(block: &[u8], way: &[String]) -> usize {
    let mut reader = Reader::new(block);
    // For each open container what its current value is called, and how many values it had before.
    let mut open: Vec<(String, usize)> = Vec::new();
    loop {
        let at = reader.at;
        let in_list = reader.open.last().is_some_and(|open| !open.is_map);
        let Ok(event) = reader.next() else { return 0 };
        match event {
            Event::End => return 0,
            Event::Close => drop(open.pop()),
            Event::Key(text) => {
                if let Some((name, _)) = open.last_mut() {
                    text.clone_into(name);
                }
            }
            value => {
                if let Some((name, count)) = open.last_mut().filter(|_| in_list) {
                    *name = count.to_string();
                    *count = count.saturating_add(1);
                }
                if open.len() == way.len() && open.iter().zip(way).all(|((name, _), w)| name == w) {
                    return at;
                }
                if matches!(value, Event::List(_) | Event::Map(_)) {
                    open.push((String::new(), 0));
                }
            }
        }
    }
}

/// One step through a block.
enum Event<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    String(&'a str),
    /// Where in the block the bytes are.
    Bytes(Range<usize>),
    Link(Cid),
    Key(&'a str),
    /// A list of so many items begins. The block is long enough for them.
    List(usize),
    /// A map of so many entries begins. The block is long enough for them.
    Map(usize),
    /// The innermost list or map is complete.
    Close,
    /// The block is complete.
    End,
}

/// A list or map that lacks items.
struct Open {
    is_map: bool,
    /// Items to come; of a map, keys and values both count, so a key is due when this is even.
    left: usize,
}

/// Walks a block, item by item.
struct Reader<'a> {
    block: &'a [u8],
    at: usize,
    open: Vec<Open>,
    /// Sum of `left` over `open`: each needs at least one byte of what is left of the block.
    owed: usize,
    /// The root item has begun.
    begun: bool,
}

impl<'a> Reader<'a> {
    fn new(block: &'a [u8]) -> Self {
        Reader { block, at: 0, open: Vec::new(), owed: 0, begun: false }
    }

    fn next(&mut self) -> Result<Event<'a>, DecodeError> {
        let Some(top) = self.open.last_mut() else {
            return match (self.begun, self.at < self.block.len()) {
                (false, _) => {
                    self.begun = true;
                    self.item()
                }
                (true, false) => Ok(Event::End),
                (true, true) => Err(DecodeError::Trailing { at: self.at }),
            };
        };
        if top.left == 0 {
            self.open.pop();
            return Ok(Event::Close);
        }
        let key_due = top.is_map && top.left.is_multiple_of(2);
        top.left = top.left.saturating_sub(1);
        self.owed = self.owed.saturating_sub(1);
        if key_due { self.key() } else { self.item() }
    }

    fn key(&mut self) -> Result<Event<'a>, DecodeError> {
        let at = self.at;
        let byte = self.byte(at)?;
        if byte >> 5 != major::STRING {
            return Err(DecodeError::KeyNotString { at });
        }
        let length = self.argument(at, byte)?;
        Ok(Event::Key(self.text(at, length)?))
    }

    fn item(&mut self) -> Result<Event<'a>, DecodeError> {
        let at = self.at;
        let byte = self.byte(at)?;
        let major = byte >> 5;
        if major > major::TAG {
            return self.simple(at, byte);
        }
        let argument = self.argument(at, byte)?;
        match major {
            major::UNSIGNED => Ok(Event::Integer(i128::from(argument))),
            // CBOR stores -1 - n, which is what inverting all bits of n gives.
            major::NEGATIVE => Ok(Event::Integer(!i128::from(argument))),
            major::BYTES => self.range(at, argument).map(Event::Bytes),
            major::STRING => self.text(at, argument).map(Event::String),
            major::LIST => self.begin(at, false, argument).map(Event::List),
            major::MAP => self.begin(at, true, argument).map(Event::Map),
            _ => self.link(at, argument),
        }
    }

    /// Major type 7: constants and floats.
    fn simple(&mut self, at: usize, byte: u8) -> Result<Event<'a>, DecodeError> {
        let float = match byte {
            0xf4 => return Ok(Event::Bool(false)),
            0xf5 => return Ok(Event::Bool(true)),
            0xf6 => return Ok(Event::Null),
            0xf9 => half(u16::from_be_bytes(self.array(at)?)),
            0xfa => f64::from(f32::from_be_bytes(self.array(at)?)),
            0xfb => f64::from_be_bytes(self.array(at)?),
            0xff => return Err(DecodeError::IndefiniteLength { at }),
            _ => return Err(DecodeError::UnsupportedItem { at, byte }),
        };
        if !float.is_finite() {
            return Err(DecodeError::NonFinite { at });
        }
        Ok(Event::Float(float))
    }

    /// A tag: only 42 before bytes, which then hold a prefix byte and a CID.
    fn link(&mut self, at: usize, tag: u64) -> Result<Event<'a>, DecodeError> {
        let inner = self.byte(at)?;
        if tag != LINK_TAG || inner >> 5 != major::BYTES {
            return Err(DecodeError::UnsupportedTag { at, tag });
        }
        let length = self.argument(at, inner)?;
        match self.take(at, length)? {
            [LINK_PREFIX, cid @ ..] => cid::from_bytes(cid)
                .map(Event::Link)
                .map_err(|e| DecodeError::BadCid { at, cause: e.to_string() }),
            _ => Err(DecodeError::BadCid { at, cause: "no 0x00 before the CID".to_owned() }),
        }
    }

    /// Enters a list or map of `length` entries and gives the length back as a safe capacity.
    fn begin(&mut self, at: usize, is_map: bool, length: u64) -> Result<usize, DecodeError> {
        let truncated = DecodeError::Truncated { at };
        let length = usize::try_from(length).map_err(|_| truncated.clone())?;
        let items = if is_map { length.checked_mul(2) } else { Some(length) };
        let owed = items.and_then(|items| self.owed.checked_add(items));
        let left_in_block = self.block.len().saturating_sub(self.at);
        let (Some(left), Some(owed)) = (items, owed.filter(|owed| *owed <= left_in_block)) else {
            return Err(truncated);
        };
        if self.open.len() >= MAX_DEPTH {
            return Err(DecodeError::Depth { at });
        }
        self.owed = owed;
        self.open.push(Open { is_map, left });
        Ok(length)
    }

    /// The argument of an item's first byte, in whatever width it was written.
    fn argument(&mut self, at: usize, byte: u8) -> Result<u64, DecodeError> {
        match byte & 0x1f {
            small @ 0..24 => Ok(u64::from(small)),
            24 => Ok(u64::from(self.byte(at)?)),
            25 => Ok(u64::from(u16::from_be_bytes(self.array(at)?))),
            26 => Ok(u64::from(u32::from_be_bytes(self.array(at)?))),
            27 => Ok(u64::from_be_bytes(self.array(at)?)),
            31 => Err(DecodeError::IndefiniteLength { at }),
            _ => Err(DecodeError::UnsupportedItem { at, byte }),
        }
    }

    fn text(&mut self, at: usize, length: u64) -> Result<&'a str, DecodeError> {
        let start = self.range(at, length)?.start;
        let bytes = self.block.get(start..self.at).unwrap_or_default();
        std::str::from_utf8(bytes)
            .map_err(|e| DecodeError::BadUtf8 { at: start.saturating_add(e.valid_up_to()) })
    }

    fn byte(&mut self, at: usize) -> Result<u8, DecodeError> {
        self.array(at).map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self, at: usize) -> Result<[u8; N], DecodeError> {
        let rest = self.block.get(self.at..).unwrap_or_default();
        let array = *rest.first_chunk().ok_or(DecodeError::Truncated { at })?;
        self.at = self.at.saturating_add(N);
        Ok(array)
    }

    fn take(&mut self, at: usize, length: u64) -> Result<&'a [u8], DecodeError> {
        let range = self.range(at, length)?;
        Ok(self.block.get(range).unwrap_or_default())
    }

    /// Passes over `length` bytes, all of them inside the block.
    fn range(&mut self, at: usize, length: u64) -> Result<Range<usize>, DecodeError> {
        let start = self.at;
        let end = usize::try_from(length).ok().and_then(|length| start.checked_add(length));
        let end = end.filter(|end| *end <= self.block.len());
        self.at = end.ok_or(DecodeError::Truncated { at })?;
        Ok(start..self.at)
    }
}

/// Widens a half float; every one of them is exact in 64 bits.
fn half(bits: u16) -> f64 {
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f64::from(bits & 0x3ff);
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1024.0) * 2f64.powi(exponent.saturating_sub(25)),
    };
    if bits >> 15 == 1 { -size } else { size }
}
