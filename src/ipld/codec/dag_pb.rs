//! dag-pb: the protobuf of links and data under UnixFS.
//!
//! Hand-written because the general protobuf decoders accept what dag-pb forbids (unknown fields,
//! fields out of order, wrong wire types) and copy what can stay a slice of the block. Strict in
//! reading, canonical in writing. What the data means is `unixfs`' affair.
//!
//! Source: ipld/ipld specs/codecs/dag-pb/spec.md.
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

use super::value::Value;
use crate::ipld::cid::{self, Cid};

/// `Links` of PBNode: field 2, length-delimited. Written before the data, against field order.
const TAG_LINK: u8 = 0x12;
/// `Data` of PBNode: field 1, length-delimited.
const TAG_DATA: u8 = 0x0a;
/// `Hash` of PBLink: field 1, length-delimited.
const TAG_HASH: u8 = 0x0a;
/// `Name` of PBLink: field 2, length-delimited.
const TAG_NAME: u8 = 0x12;
/// `Tsize` of PBLink: field 3, varint.
const TAG_TSIZE: u8 = 0x18;

/// A decoded dag-pb node; names and data are slices of the block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Links in the order of the block.
    pub links: Vec<Link>,
    /// The payload; absent and empty differ.
    pub data: Option<Bytes>,
}

/// A named, sized link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The child.
    pub cid: Cid,
    /// Bytes rather than text: file names need not be UTF-8. Absent and empty differ.
    pub name: Option<Bytes>,
    /// Cumulative size of the child's DAG in bytes, as its parent claims.
    pub tsize: Option<u64>,
}

/// Why bytes are not a dag-pb node.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PbError {
    /// A length or number runs past the end.
    #[error("cut short at byte {at}")]
    Truncated {
        /// Offset in the block.
        at: usize,
    },
    /// A varint of over 64 bits.
    #[error("number too large at byte {at}")]
    Varint {
        /// Offset in the block.
        at: usize,
    },
    /// A field that dag-pb does not have, a wire type it does not use, or fields in an order or
    /// number that it forbids.
    #[error("unexpected field 0x{tag:02x} at byte {at}")]
    Field {
        /// The tag byte.
        tag: u8,
        /// Offset in the block.
        at: usize,
    },
    /// A link without a hash, or with one that is no CID.
    #[error("bad link at byte {at}: {cause}")]
    Link {
        /// Offset in the block.
        at: usize,
        /// The reason.
        cause: String,
    },
}

impl Node {
    /// Reads a block.
    ///
    /// # Errors
    /// [`PbError`] names the offset. Memory is bounded by a small multiple of the block's size.
    pub fn decode(block: &Bytes) -> Result<Self, PbError> {
        let mut node = Self::default();
        let slice = |part: &[u8]| block.slice_ref(part);
        scan(block, &mut |field| {
            match field {
                Field::Link(link) => node.links.push(Link {
                    cid: link.cid,
                    name: link.name.map(slice),
                    tsize: link.tsize,
                }),
                Field::Data(data) => node.data = Some(slice(data)),
            }
            Ok(())
        })?;
        Ok(node)
    }

    /// Writes the canonical form: links stably sorted by name, then data.
    pub fn encode(&self) -> Vec<u8> {
        let mut order: Vec<&Link> = self.links.iter().collect();
        order.sort_by(|a, b| a.name_bytes().cmp(b.name_bytes()));
        let mut out = Vec::with_capacity(self.encoded_hint());
        let mut scratch = Vec::with_capacity(128);
        for link in order {
            scratch.clear();
            link.encode(&mut scratch);
            put_bytes(&mut out, TAG_LINK, &scratch);
        }
        if let Some(data) = &self.data {
            put_bytes(&mut out, TAG_DATA, data);
        }
        out
    }

    /// Bytes to reserve before encoding: an estimate, never a promise.
    fn encoded_hint(&self) -> usize {
        let names: usize = self.links.iter().fold(0, |n, l| n.saturating_add(l.name_bytes().len()));
        let fixed = self.links.len().saturating_mul(56);
        let data = self.data.as_ref().map_or(0, Bytes::len);
        names.saturating_add(fixed).saturating_add(data).saturating_add(16)
    }

    /// The node in the data model, as `dag get` shows it: `Data` (if any) and `Links`.
    pub fn to_value(&self) -> Value {
        let link = |link: &Link| {
            let mut map = vec![("Hash".to_owned(), Value::Link(Box::new(link.cid)))];
            if let Some(name) = &link.name {
                let name = String::from_utf8_lossy(name).into_owned();
                map.push(("Name".to_owned(), Value::String(name)));
            }
            if let Some(tsize) = link.tsize {
                map.push(("Tsize".to_owned(), Value::Integer(tsize.into())));
            }
            Value::Map(map)
        };
        let data = self.data.iter().map(|d| ("Data".to_owned(), Value::Bytes(d.clone())));
        let links = Value::List(self.links.iter().map(link).collect());
        Value::Map(data.chain([("Links".to_owned(), links)]).collect())
    }

    /// The node that a value describes.
    ///
    /// # Errors
    /// A text that names the first field that does not fit the dag-pb schema.
    pub fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Map(fields) = value else { return Err("dag-pb wants a map".into()) };
        let mut node = Self::default();
        let mut has_links = false;
        for (key, field) in fields {
            match (key.as_str(), field) {
                ("Data", Value::Bytes(data)) => node.data = Some(data.clone()),
                ("Links", Value::List(links)) => {
                    has_links = true;
                    node.links = links.iter().map(Link::from_value).collect::<Result<_, _>>()?;
                }
                (other, _) => return Err(format!("dag-pb has no such field {other:?}")),
            }
        }
        if has_links { Ok(node) } else { Err("dag-pb wants Links".into()) }
    }
}

impl Link {
    /// The name, where absent counts as empty.
    pub fn name_bytes(&self) -> &[u8] {
        self.name.as_deref().unwrap_or_default()
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_bytes(out, TAG_HASH, &self.cid.to_bytes());
        if let Some(name) = &self.name {
            put_bytes(out, TAG_NAME, name);
        }
        if let Some(tsize) = self.tsize {
            out.push(TAG_TSIZE);
            put_varint(out, tsize);
        }
    }

    fn from_value(value: &Value) -> Result<Self, String> {
        let Value::Map(fields) = value else { return Err("a link wants a map".into()) };
        let (mut cid, mut name, mut tsize) = (None, None, None);
        for (key, field) in fields {
            match (key.as_str(), field) {
                ("Hash", Value::Link(hash)) => cid = Some(**hash),
                ("Name", Value::String(text)) => name = Some(Bytes::from(text.clone())),
                ("Tsize", Value::Integer(n)) => {
                    tsize = Some(u64::try_from(*n).map_err(|_| "Tsize out of range".to_owned())?);
                }
                (other, _) => return Err(format!("a link has no such field {other:?}")),
            }
        }
        Ok(Self { cid: cid.ok_or("a link wants a Hash")?, name, tsize })
    }
}

/// Calls `visit` for each link, without keeping any.
///
/// # Errors
/// [`PbError`], also when the bad bytes come after the last link.
pub fn links(block: &[u8], visit: &mut dyn FnMut(Cid)) -> Result<(), PbError> {
    scan(block, &mut |field| {
        if let Field::Link(link) = field {
            visit(link.cid);
        }
        Ok(())
    })
}

/// Whether the block certainly has no links: a cheap test for leaves. A malformed block is not
/// called a leaf, so that whoever walks it finds out.
pub fn is_leaf(block: &[u8]) -> bool {
    let mut leaf = true;
    let outcome = scan(block, &mut |field| match field {
        Field::Link(_) => {
            leaf = false;
            Err(PbError::Truncated { at: 0 }) // One link answers the question.
        }
        Field::Data(_) => Ok(()),
    });
    outcome.is_ok() && leaf
}

/// Appends the framing that precedes `len` bytes of data in a node without links.
pub fn put_data_head(out: &mut Vec<u8>, len: usize) {
    out.push(TAG_DATA);
    put_varint(out, len as u64);
}

/// Appends an unsigned LEB128 number.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// One field of a node, borrowed from the block.
enum Field<'a> {
    Link(RawLink<'a>),
    Data(&'a [u8]),
}

struct RawLink<'a> {
    cid: Cid,
    name: Option<&'a [u8]>,
    tsize: Option<u64>,
}

/// Walks the fields of a node: links and at most one data, in either order but not interleaved.
fn scan<'a>(
    block: &'a [u8],
    visit: &mut dyn FnMut(Field<'a>) -> Result<(), PbError>,
) -> Result<(), PbError> {
    let mut cursor = Cursor { bytes: block, at: 0, base: 0 };
    let (mut data_seen, mut links_done) = (false, false);
    let mut links_seen = false;
    while let Some((tag, at)) = cursor.tag() {
        match tag {
            TAG_LINK if !links_done => {
                let body = cursor.delimited()?;
                let start = cursor.at.saturating_sub(body.len());
                visit(Field::Link(read_link(body, start)?))?;
                links_seen = true;
            }
            TAG_DATA if !data_seen => {
                visit(Field::Data(cursor.delimited()?))?;
                data_seen = true;
                links_done = links_seen;
            }
            _ => return Err(PbError::Field { tag, at }),
        }
    }
    Ok(())
}

/// Reads the body of one link: hash, name, size, each at most once and in that order.
fn read_link(body: &[u8], base: usize) -> Result<RawLink<'_>, PbError> {
    let mut cursor = Cursor { bytes: body, at: 0, base };
    let (mut hash, mut name, mut tsize) = (None, None, None);
    let bad = |cause: String| PbError::Link { at: base, cause };
    while let Some((tag, at)) = cursor.tag() {
        match tag {
            TAG_HASH if hash.is_none() && name.is_none() && tsize.is_none() => {
                let bytes = cursor.delimited()?;
                hash = Some(cid::from_bytes(bytes).map_err(|e| bad(e.to_string()))?);
            }
            TAG_NAME if name.is_none() && tsize.is_none() => name = Some(cursor.delimited()?),
            TAG_TSIZE if tsize.is_none() => tsize = Some(cursor.varint()?),
            _ => return Err(PbError::Field { tag, at }),
        }
    }
    Ok(RawLink { cid: hash.ok_or_else(|| bad("no hash".into()))?, name, tsize })
}

/// A position in bytes from a stranger; every step is checked.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begin in the block: errors tell of offsets in the block.
    base: usize,
}

impl<'a> Cursor<'a> {
    /// The next tag byte and its offset, or `None` at the end.
    fn tag(&mut self) -> Option<(u8, usize)> {
        let at = self.at;
        let tag = *self.bytes.get(at)?;
        self.at = at.saturating_add(1);
        Some((tag, self.base.saturating_add(at)))
    }

    /// Where it stands in the block.
    fn place(&self) -> usize {
        self.base.saturating_add(self.at)
    }

    fn varint(&mut self) -> Result<u64, PbError> {
        let start = self.place();
        let mut value: u64 = 0;
        for shift in (0..64u32).step_by(7) {
            let byte = *self.bytes.get(self.at).ok_or(PbError::Truncated { at: self.place() })?;
            self.at = self.at.saturating_add(1);
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(PbError::Varint { at: start });
            }
            value |= bits.checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(PbError::Varint { at: start })
    }

    fn delimited(&mut self) -> Result<&'a [u8], PbError> {
        let len = self.varint()?;
        let cut = PbError::Truncated { at: self.place() };
        let end = usize::try_from(len).ok().and_then(|n| self.at.checked_add(n));
        let Some(end) = end else { return Err(cut) };
        let body = self.bytes.get(self.at..end).ok_or(cut)?;
        self.at = end;
        Ok(body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt as _, SeedableRng as _};

    fn link(name: &str) -> Link {
        let cid = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        Link { cid, name: Some(Bytes::copy_from_slice(name.as_bytes())), tsize: Some(4) }
    }

    #[test]
    fn vectors_come_out_as_they_went_in() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/codec");
        let mut seen = 0;
        for folder in std::fs::read_dir(root).unwrap() {
            for file in std::fs::read_dir(folder.unwrap().path()).into_iter().flatten() {
                let path = file.unwrap().path();
                if path.extension().is_none_or(|e| e != "dag-pb") {
                    continue;
                }
                let bytes = Bytes::from(std::fs::read(&path).unwrap());
                let node = Node::decode(&bytes).unwrap();
                assert_eq!(node.encode(), bytes, "{path:?}");
                let again = Node::from_value(&node.to_value()).unwrap();
                assert_eq!(again, node, "{path:?}");
                let cid = cid::parse(path.file_stem().unwrap().to_str().unwrap()).unwrap();
                assert_eq!(cid::digest(cid.hash().code(), &bytes).unwrap(), *cid.hash());
                seen += 1;
            }
        }
        assert!(seen >= 15, "only {seen} dag-pb vectors");
    }

    #[test]
    fn links_are_sorted_on_write_and_kept_on_read() {
        let unsorted = Node { links: vec![link("b"), link("a")], data: Some(Bytes::new()) };
        let mut raw = Vec::new();
        for name in ["b", "a"] {
            let mut body = Vec::new();
            link(name).encode(&mut body);
            put_bytes(&mut raw, TAG_LINK, &body);
        }
        put_bytes(&mut raw, TAG_DATA, &[]);
        assert_eq!(Node::decode(&Bytes::from(raw.clone())).unwrap(), unsorted);
        assert_ne!(unsorted.encode(), raw);
    }

    #[test]
    fn what_the_spec_forbids_is_refused() {
        let mut body = Vec::new();
        link("x").encode(&mut body);
        let mut framed = Vec::new();
        put_bytes(&mut framed, TAG_LINK, &body);
        let twice_data = [TAG_DATA, 0, TAG_DATA, 0].to_vec();
        let interleaved = [framed.clone(), vec![TAG_DATA, 0], framed.clone()].concat();
        let unknown = vec![0x22, 0];
        let no_hash = vec![TAG_LINK, 2, TAG_TSIZE, 1];
        let cut = framed[..framed.len() - 1].to_vec();
        for bad in [
            twice_data,
            interleaved,
            unknown,
            no_hash,
            cut,
            vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ] {
            assert!(Node::decode(&Bytes::from(bad.clone())).is_err(), "{bad:02x?}");
            assert!(!is_leaf(&bad));
        }
        assert!(is_leaf(&[TAG_DATA, 0]) && is_leaf(&[]) && !is_leaf(&framed));
    }

    /// A link's own fields were once counted from the link's beginning.
    #[test]
    fn offsets_inside_a_link_count_from_the_block() {
        let mut body = Vec::new();
        link("x").encode(&mut body);
        let head = [TAG_LINK, body.len() as u8];
        let bad = |at: usize, byte: u8| {
            let mut block = [&head[..], &body].concat();
            block[at] = byte;
            Node::decode(&Bytes::from(block)).unwrap_err()
        };
        // Tag and length of the hash stand at 2 and 3, those of the name at 38 and 39, the size at 41.
        assert_eq!(bad(3, 99), PbError::Truncated { at: 4 });
        assert_eq!(bad(39, 99), PbError::Truncated { at: 40 });
        assert_eq!(bad(42, 0x84), PbError::Truncated { at: 43 });
        assert_eq!(bad(38, 0x22), PbError::Field { tag: 0x22, at: 38 });
        assert!(matches!(bad(4, 99), PbError::Link { at: 2, .. }));
    }

    #[test]
    fn cve_2022_2584_mutated_blocks_never_panic() {
        let node =
            Node { links: vec![link("a"), link("bb")], data: Some(Bytes::from_static(b"xyz")) };
        let good = node.encode();
        let mut rng = rand::rngs::StdRng::seed_from_u64(2584);
        for _ in 0..20_000 {
            let mut bad = good.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bad.len());
                bad[at] = rng.random();
            }
            bad.truncate(rng.random_range(0..=bad.len()));
            if let Ok(node) = Node::decode(&Bytes::from(bad)) {
                let _ = node.to_value();
            }
        }
    }
}
