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

use crate::ipld::cid::{Cid, Multihash, Version};

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

/// Key of a pin: by multihash first, so that the rows sort beside those of `index`.
pub fn pin(cid: &Cid) -> Bytes {
    let mut key = pin_prefix(cid.hash()).to_vec();
    key.push(match cid.version() {
        Version::V0 => 0,
        Version::V1 => 1,
    });
    key.extend_from_slice(&cid.codec().to_be_bytes());
    key.into()
}

/// What the keys of every pin begin with.
pub fn pin_table() -> &'static [u8] {
    &[PIN_BY_CID]
}

/// What the keys of all pins of one multihash begin with.
pub fn pin_prefix(hash: &Multihash) -> Bytes {
    [&[PIN_BY_CID], hash.to_bytes().as_slice()].concat().into()
}

/// The CID in the key of a pin.
pub fn pin_cid(key: &[u8]) -> Option<Cid> {
    let (hash, rest) = split_hash(key.strip_prefix(&[PIN_BY_CID])?)?;
    let (version, codec) = rest.split_first()?;
    let codec = u64::from_be_bytes(<[u8; 8]>::try_from(codec).ok()?);
    match version {
        0 => Cid::new_v0(hash).ok(),
        _ => Some(Cid::new_v1(codec, hash)),
    }
}

/// Key of the row that finds a pin by its name. Names hold no zero byte.
pub fn pin_name(name: &str, cid: &Cid) -> Bytes {
    [&[PIN_BY_NAME], name.as_bytes(), &[0], pin(cid).as_ref()].concat().into()
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
            assert_eq!(pin_cid(&pin(&cid)), Some(cid));
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
