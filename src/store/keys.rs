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

use bytes::Bytes;

use crate::ipld::cid::{Cid, Multihash, Version, codec};

/// Number of the layout that this code reads and writes.
pub const LAYOUT: u32 = 1;
/// Row of `meta` that holds [`LAYOUT`] in decimal.
pub const META_LAYOUT: &[u8] = b"layout";

/// The block is known to have no links when read as dag-pb: walks need not open it.
pub const FLAG_PB_LEAF: u8 = 1;
/// What the keys of pending payload begin with, in `meta`.
pub const META_PENDING: &[u8] = b"pending/";

/// What the keys of damaged blocks begin with, in `meta`.
pub const META_QUARANTINE: &[u8] = b"quarantine/";
/// Row of `meta` that says: a block was found damaged outside of the blob files.
pub const META_TABLES_DAMAGED: &[u8] = b"tables-damaged";

/// First byte of pin rows kept by CID.
const PIN_BY_CID: u8 = b'c';
/// First byte of pin rows kept by name.
const PIN_BY_NAME: u8 = b'n';
/// First byte of pin rows kept by owner.
const PIN_BY_OWNER: u8 = b'o';
/// First byte of pin rows kept by the time of expiry.
const PIN_BY_EXPIRY: u8 = b'e';

/// One row of `index`: the commit record of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// Size of the block in bytes.
    pub size: u32,
    /// `FLAG_*` bits.
    pub flags: u8,
    /// When it was put or last read, in hours since 1970.
    pub hour: u32,
}

impl IndexRow {
    /// 9 bytes: size, flags, hour; numbers big-endian.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(9);
        out.extend_from_slice(&self.size.to_be_bytes());
        out.push(self.flags);
        out.extend_from_slice(&self.hour.to_be_bytes());
        out.into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (flags, rest) = rest.split_first()?;
        let hour = <[u8; 4]>::try_from(rest).ok()?;
        let (size, hour) = (u32::from_be_bytes(*size), u32::from_be_bytes(hour));
        Some(Self { size, flags: *flags, hour })
    }
}

/// Key of a block in `payload` and `index`, and prefix of its rows in `edges`.
pub fn block(hash: &Multihash) -> Bytes {
    hash.to_bytes().into()
}

/// Key of the row that says: an operation has begun to write this block's payload without the log.
/// Where no operation runs and the index has no row, that payload is garbage.
pub fn pending(hash: &Multihash) -> Bytes {
    [META_PENDING, hash.to_bytes().as_slice()].concat().into()
}

/// Key of the row that says: the bytes of this block were found damaged. Its value is the cause.
pub fn quarantine(hash: &Multihash) -> Bytes {
    [META_QUARANTINE, hash.to_bytes().as_slice()].concat().into()
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

/// Key of the edge that says: `parent`, which is complete, links to `child`.
pub fn edge(child: &Multihash, parent: &Multihash) -> Bytes {
    [child.to_bytes(), parent.to_bytes()].concat().into()
}

/// Key of the marker that says: every edge of this block, and of all below it, is written. The
/// shortest key under the block's prefix, so that it sorts before the edges.
pub fn complete(hash: &Multihash) -> Bytes {
    block(hash)
}

/// Value of a marker: the codecs under which the block was walked, 8 bytes each, big-endian.
pub fn codecs(walked: &[u64]) -> Bytes {
    walked.iter().flat_map(|code| code.to_be_bytes()).collect()
}

/// The codecs in the value of a marker; there is at least one.
pub fn split_codecs(value: &[u8]) -> Option<Vec<u64>> {
    let (codes, rest) = value.as_chunks::<8>();
    let whole = rest.is_empty() && !codes.is_empty();
    whole.then(|| codes.iter().map(|code| u64::from_be_bytes(*code)).collect())
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
        let row = IndexRow { size: 262_158, flags: FLAG_PB_LEAF, hour: 500_000 };
        assert_eq!(IndexRow::decode(&row.encode()), Some(row));
        assert_eq!(IndexRow::decode(&[1, 2, 3]), None);
        assert_eq!(IndexRow::decode(&[0; 10]), None);
        assert_eq!(split_codecs(&codecs(&[0x70, 0x0129])), Some(vec![0x70, 0x0129]));
        assert_eq!((split_codecs(&[]), split_codecs(&[0; 9])), (None, None));
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
    fn a_marker_sorts_before_the_edges_of_its_block() {
        let cid = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        assert!(complete(cid.hash()) < edge(cid.hash(), cid.hash()));
    }
}
