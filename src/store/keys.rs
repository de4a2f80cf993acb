//! The byte layout of every row: keys, values, and nothing else. Described for people in
//! `docs/storage.md`; the two change together.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod record;
pub mod tenants;

use bytes::{Buf as _, Bytes};

use crate::ipld::cid::{Cid, Multihash, Version, codec};

/// Number of the layout that this code reads and writes.
pub const LAYOUT: u32 = 2;
/// Row of `meta` that holds [`LAYOUT`] in decimal.
pub const META_LAYOUT: &[u8] = b"layout";

/// The block is known to have no links when read as dag-pb: walks need not open it.
pub const FLAG_PB_LEAF: u8 = 1;
/// What the keys of pins are marked with, in `meta`, below which blocks were lost with their rows.
pub const META_INCOMPLETE: &[u8] = b"incomplete/";
/// Row of `meta` that says: rows were made again, and not all pins could be read.
pub const META_PINS_LOST: &[u8] = b"pins-lost";
/// Row of `meta` that says how far scrubbing has come.
pub const META_SCRUB: &[u8] = b"scrub";
/// What the keys of damaged blocks begin with, in `meta`.
pub const META_QUARANTINE: &[u8] = b"quarantine/";
/// First byte of pin rows kept by CID.
const PIN_BY_CID: u8 = b'c';
/// First byte of pin rows kept by name.
const PIN_BY_NAME: u8 = b'n';
/// First byte of pin rows kept by owner.
const PIN_BY_OWNER: u8 = b'o';
/// First byte of pin rows kept by the time of expiry.
const PIN_BY_EXPIRY: u8 = b'e';

/// Where a block's record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The segment's number.
    pub segment: u32,
    /// The record's offset in it, in bytes.
    pub offset: u32,
}

/// One row of `index`: the commit record of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// Size of the block in bytes.
    pub size: u32,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// Where its bytes lie.
    pub place: Place,
}

impl IndexRow {
    /// 13 bytes: size, flags, segment, offset; numbers big-endian.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(13);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.push(self.flags);
        out.extend_from_slice(&self.place.segment.to_be_bytes());
        out.extend_from_slice(&self.place.offset.to_be_bytes());
        out.into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (size, flags) = (bytes.try_get_u32().ok()?, bytes.try_get_u8().ok()?);
        let (segment, offset) = (bytes.try_get_u32().ok()?, bytes.try_get_u32().ok()?);
        bytes.is_empty().then_some(Self { size, flags, place: Place { segment, offset } })
    }
}

/// What index rows say of one segment together. A row of `segments` is added to, not replaced:
/// batches that are written at the same time need not know of each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// Bytes of the records that rows point to.
    pub bytes: i64,
    /// Their number.
    pub blocks: i64,
    /// Where the last of them that there ever was ends, in bytes.
    pub end: u64,
    /// How much of the segment is known to be on the disk, in bytes.
    pub synced: u64,
}

impl Figure {
    /// 32 bytes, big-endian.
    pub fn encode(&self) -> Bytes {
        let (bytes, blocks) = (self.bytes.to_be_bytes(), self.blocks.to_be_bytes());
        [bytes, blocks, self.end.to_be_bytes(), self.synced.to_be_bytes()].concat().into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut value: &[u8]) -> Option<Self> {
        let figure = Self {
            bytes: value.try_get_i64().ok()?,
            blocks: value.try_get_i64().ok()?,
            end: value.try_get_u64().ok()?,
            synced: value.try_get_u64().ok()?,
        };
        value.is_empty().then_some(figure)
    }

    /// Both together: what is counted is added, what is a mark is the further one.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            blocks: self.blocks.saturating_add(other.blocks),
            end: self.end.max(other.end),
            synced: self.synced.max(other.synced),
        }
    }
}

/// A row of `segments` and what is to be added to it. What does not parse counts as nothing: the
/// figures are made again by whoever reads all of the index.
pub fn add_figures<'a>(row: Option<&[u8]>, added: impl Iterator<Item = &'a [u8]>) -> Bytes {
    let first = row.and_then(Figure::decode).unwrap_or_default();
    added.filter_map(Figure::decode).fold(first, Figure::and).encode()
}

/// Key of a segment's figure.
pub fn segment(id: u32) -> Bytes {
    id.to_be_bytes().to_vec().into()
}

/// The segment in the key of its figure.
pub fn split_segment(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(<[u8; 4]>::try_from(key).ok()?))
}

/// Value of a row of `loose`: the hour of the block's last use.
pub fn hour(hour: u32) -> Bytes {
    hour.to_be_bytes().to_vec().into()
}

/// The hour in a row of `loose`; whatever does not parse was used long ago.
pub fn split_hour(value: &[u8]) -> u32 {
    <[u8; 4]>::try_from(value).map_or(0, u32::from_be_bytes)
}

/// Key of a block in `index` and `loose`, and prefix of its rows in `edges`.
pub fn block(hash: &Multihash) -> Bytes {
    hash.to_bytes().into()
}

/// Key of the row that says: the bytes of this block were found damaged. Its value is the cause.
pub fn quarantine(hash: &Multihash) -> Bytes {
    [META_QUARANTINE, hash.to_bytes().as_slice()].concat().into()
}

/// Key of the row that says: blocks below the pin with this key were lost with their rows.
pub fn incomplete(pin: &[u8]) -> Bytes {
    [META_INCOMPLETE, pin].concat().into()
}

/// The multihash in a key of the quarantine.
pub fn quarantined(key: &[u8]) -> Option<Multihash> {
    let (hash, rest) = split_hash(key.strip_prefix(META_QUARANTINE)?)?;
    rest.is_empty().then_some(hash)
}

/// The multihash at the head of a key, and what follows it.
pub fn split_hash(key: &[u8]) -> Option<(Multihash, &[u8])> {
    let mut rest = key;
    let hash = Multihash::read(&mut rest).ok()?;
    Some((hash, rest))
}

/// The part of a key that is the multihash at its head.
pub fn block_part(key: &[u8]) -> Option<&[u8]> {
    let (_, rest) = split_hash(key)?;
    key.get(..key.len().checked_sub(rest.len())?)
}

/// The part of a pin's key that is the same for all pins of one multihash.
pub fn pin_part(key: &[u8]) -> Option<&[u8]> {
    let hash = block_part(key.strip_prefix(&[PIN_BY_CID])?)?;
    key.get(..hash.len().checked_add(1)?)
}

/// Key of the edge that says: `parent`, which is complete, links to `child`.
pub fn edge(child: &Multihash, parent: &Multihash) -> Bytes {
    [child.to_bytes(), parent.to_bytes()].concat().into()
}

/// Key of the marker that says: every edge of this block, and of all below it, is written. The
/// shortest key under the block's prefix, so that it sorts before the edges.
pub fn complete(hash: &Multihash) -> Bytes {
    block(hash)
}

/// What the row of a complete block says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    /// The codecs under which the block was walked.
    pub codecs: Vec<u64>,
    /// Its edges are being taken away: it is not complete any more, and may have some left.
    pub parting: bool,
}

impl Marker {
    /// 8 bytes a codec, big-endian; a byte more in front of them while it parts.
    pub fn encode(&self) -> Bytes {
        let codecs = self.codecs.iter().flat_map(|code| code.to_be_bytes());
        self.parting.then_some(1).into_iter().chain(codecs).collect()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(value: &[u8]) -> Option<Self> {
        let parting = value.len() % 8 == 1;
        let (codes, rest) = value.get(usize::from(parting)..)?.as_chunks::<8>();
        let whole = rest.is_empty() && !codes.is_empty();
        let codecs = codes.iter().map(|code| u64::from_be_bytes(*code)).collect();
        whole.then_some(Self { codecs, parting })
    }
}

/// Key of the node's own pin: by multihash first, so that the rows sort beside those of `index`.
pub fn pin(cid: &Cid) -> Bytes {
    pin_of(cid, "")
}

/// Key of somebody's pin: the owner last, so that one CID may be pinned by several.
pub fn pin_of(cid: &Cid, owner: &str) -> Bytes {
    let mut key = pin_prefix(cid.hash()).to_vec();
    key.push(match cid.version() {
        Version::V0 => 0,
        Version::V1 => 1,
    });
    key.extend_from_slice(&cid.codec().to_be_bytes());
    key.extend_from_slice(owner.as_bytes());
    key.into()
}

/// What the keys of every pin begin with.
pub fn pin_table() -> &'static [u8] {
    &[PIN_BY_CID]
}

/// What the keys of all pins of one multihash begin with, whoever owns them.
pub fn pin_prefix(hash: &Multihash) -> Bytes {
    [&[PIN_BY_CID], hash.to_bytes().as_slice()].concat().into()
}

/// The CID in the key of a pin, and the owner.
pub fn split_pin(key: &[u8]) -> Option<(Cid, &[u8])> {
    let (hash, rest) = split_hash(key.strip_prefix(&[PIN_BY_CID])?)?;
    let (version, rest) = rest.split_first()?;
    let (codec, owner) = rest.split_first_chunk::<8>()?;
    let cid = match (version, u64::from_be_bytes(*codec)) {
        (0, codec::DAG_PB) => Cid::new_v0(hash).ok()?,
        (1, codec) => Cid::new_v1(codec, hash),
        _ => return None,
    };
    Some((cid, owner))
}

/// Key of the row that finds a pin by its name; `pin` is the key of the pin. Names hold no zero
/// byte.
pub fn pin_name(name: &str, pin: &[u8]) -> Bytes {
    [&[PIN_BY_NAME], name.as_bytes(), &[0], pin].concat().into()
}

/// What the keys of all pins that have a name begin with.
pub fn pin_name_table() -> &'static [u8] {
    &[PIN_BY_NAME]
}

/// The name in such a key, and the key of the pin.
pub fn split_pin_name(key: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = key.strip_prefix(&[PIN_BY_NAME])?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    let (name, pin) = rest.split_at_checked(end)?;
    Some((name, pin.get(1..)?))
}

/// Key of the row that finds a pin by its owner, in the order in which that one's pins were made.
/// Owners hold no zero byte.
pub fn pin_owner(owner: &str, created: u64, pin: &[u8]) -> Bytes {
    [pin_owner_prefix(owner).as_ref(), &created.to_be_bytes(), pin].concat().into()
}

/// What the keys of all pins of one owner begin with.
pub fn pin_owner_prefix(owner: &str) -> Bytes {
    [&[PIN_BY_OWNER], owner.as_bytes(), &[0]].concat().into()
}

/// The key of the pin in the key of a row of this owner.
pub fn split_pin_owner<'a>(key: &'a [u8], owner: &str) -> Option<&'a [u8]> {
    let rest = key.strip_prefix(pin_owner_prefix(owner).as_ref())?;
    rest.split_first_chunk::<8>().map(|(_, pin)| pin)
}

/// Key of the row that finds a pin by the time at which it expires, the first to do so first.
pub fn pin_expiry(expires: u64, pin: &[u8]) -> Bytes {
    [&[PIN_BY_EXPIRY], expires.to_be_bytes().as_slice(), pin].concat().into()
}

/// What the keys of all pins that expire begin with.
pub fn pin_expiry_table() -> &'static [u8] {
    &[PIN_BY_EXPIRY]
}

/// The time in such a key, and the key of the pin.
pub fn split_pin_expiry(key: &[u8]) -> Option<(u64, &[u8])> {
    let (expires, pin) = key.strip_prefix(&[PIN_BY_EXPIRY])?.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*expires), pin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn rows_read_back() {
        let place = Place { segment: 7, offset: 900_000_000 };
        let row = IndexRow { size: 262_158, flags: FLAG_PB_LEAF, place };
        assert_eq!(IndexRow::decode(&row.encode()), Some(row));
        assert_eq!(IndexRow::decode(&[1, 2, 3]), None);
        assert_eq!(IndexRow::decode(&[0; 14]), None);
        for parting in [false, true] {
            let marker = Marker { codecs: vec![0x70, 0x0129], parting };
            assert_eq!(Marker::decode(&marker.encode()), Some(marker));
        }
        assert_eq!((Marker::decode(&[]), Marker::decode(&[0; 10])), (None, None));
        assert_eq!(split_segment(&segment(258)), Some(258));
        assert_eq!((split_hour(&hour(500_000)), split_hour(&[1])), (500_000, 0));
        for text in [
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        ] {
            let cid = cid::parse(text).unwrap();
            assert_eq!(split_pin(&pin(&cid)), Some((cid, &b""[..])));
            let row = pin_of(&cid, "tenant");
            assert_eq!(split_pin(&row), Some((cid, &b"tenant"[..])));
            assert!(row.starts_with(&pin_prefix(cid.hash())) && row > pin(&cid));
            assert_eq!(split_pin_name(&pin_name("n", &row)), Some((&b"n"[..], &row[..])));
            let owned = pin_owner("tenant", 7, &row);
            assert_eq!(split_pin_owner(&owned, "tenant"), Some(&row[..]));
            assert_eq!(split_pin_owner(&owned, "ten"), None);
            assert_eq!(split_pin_expiry(&pin_expiry(9, &row)), Some((9, &row[..])));
            assert!(pin_expiry(255, &row) < pin_expiry(256, &pin(&cid)));
            let edge = edge(cid.hash(), cid.hash());
            let (child, rest) = split_hash(&edge).unwrap();
            let (parent, end) = split_hash(rest).unwrap();
            assert_eq!((child, parent, end), (*cid.hash(), *cid.hash(), &[][..]));
        }
    }

    #[test]
    fn figures_add_up_in_any_grouping() {
        let figure = |bytes, blocks, end, synced| Figure { bytes, blocks, end, synced };
        let parts = [figure(100, 1, 100, 0), figure(-40, -1, 0, 90), figure(7, 1, 300, 50)];
        let all: Vec<Bytes> = parts.iter().map(Figure::encode).collect();
        let at_once = add_figures(None, all.iter().map(Bytes::as_ref));
        let some = add_figures(Some(&all[0]), [&all[1][..]].into_iter());
        let in_turn = add_figures(Some(&some), [&all[2][..]].into_iter());
        assert_eq!(Figure::decode(&at_once), Some(figure(67, 1, 300, 90)));
        assert_eq!(at_once, in_turn);
        assert_eq!(add_figures(Some(b"nonsense"), std::iter::empty()), Figure::default().encode());
    }

    #[test]
    fn a_marker_sorts_before_the_edges_of_its_block() {
        let cid = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        assert!(complete(cid.hash()) < edge(cid.hash(), cid.hash()));
    }
}
