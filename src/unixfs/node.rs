//! One UnixFS node: reading it out of a dag-pb node with every cross-check the format allows, and
//! writing the few shapes that the importer makes.
//!
//! The writers are by hand: the bytes decide CIDs, and a leaf is framed around data that is
//! already in place, so that no byte of a file is copied to be wrapped.
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
use prost::Message as _;

use super::UnixfsError;
use crate::ipld::codec::dag_pb::{self, put_varint};
use crate::proto::unixfs as pb;

/// Multihash number of the HAMT's hash function (murmur3-x64-64).
pub const HAMT_MURMUR3: u64 = 0x22;
/// Largest HAMT fanout that is read (CVE-2023-23625).
pub const FANOUT_MAX: u64 = 1024;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A leaf of a file under the trickle layout, or of old importers.
    Raw,
    /// A folder whose links are its entries.
    Directory,
    /// A file or a part of one.
    File,
    /// Obsolete wrapper, read as a file.
    Metadata,
    /// A symbolic link; the data is its target.
    Symlink,
    /// A part of a folder spread over a hash trie.
    Shard,
}

/// A node's modification time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtime {
    /// Seconds since 1970, negative before.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// Permissions and a time that a node may carry (UnixFS 1.5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits (07777).
    pub mode: Option<u32>,
    /// Modification time.
    pub mtime: Option<Mtime>,
}

impl Meta {
    /// Neither.
    pub const NONE: Self = Self { mode: None, mtime: None };

    /// Whether there is nothing to carry.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// The UnixFS half of a dag-pb node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FsNode {
    /// What it is.
    pub kind: Kind,
    /// Content held in the node itself; a HAMT's bitfield; a symlink's target.
    pub data: Bytes,
    /// Bytes of file content below each link, one a link.
    pub blocksizes: Vec<u64>,
    /// Size of the whole content in bytes, checked against the parts.
    pub size: u64,
    /// HAMT slots, a power of two from 8 to 1024; 0 for other kinds.
    pub fanout: u64,
    /// Permission bits (07777), when the node carries them.
    pub mode: Option<u32>,
    /// Modification time, when the node carries one.
    pub mtime: Option<Mtime>,
}

impl FsNode {
    /// Reads the payload of a dag-pb node that has `links` links.
    ///
    /// # Errors
    /// [`UnixfsError::NotUnixfs`] for a payload of another format, [`UnixfsError::Malformed`] for
    /// one that contradicts itself.
    pub fn of(node: &dag_pb::Node) -> Result<Self, UnixfsError> {
        let payload = node.data.clone().ok_or(UnixfsError::NotUnixfs("no data".into()))?;
        let raw = pb::Data::decode(payload).map_err(|e| UnixfsError::NotUnixfs(e.to_string()))?;
        let kind = kind_of(raw.r#type)?;
        let mtime = raw.mtime.as_ref().map(mtime_of).transpose()?;
        let parsed = Self {
            kind,
            size: 0,
            fanout: raw.fanout.unwrap_or(0),
            mode: raw.mode.map(|m| m & 0o7777),
            mtime,
            data: raw.data.clone().unwrap_or_default(),
            blocksizes: raw.blocksizes.clone(),
        };
        match kind {
            Kind::File | Kind::Raw | Kind::Metadata => parsed.checked_file(node, raw.filesize),
            Kind::Shard => parsed.checked_shard(raw.hash_type),
            Kind::Symlink if !node.links.is_empty() => {
                Err(UnixfsError::Malformed("a symlink has links"))
            }
            Kind::Symlink | Kind::Directory => Ok(Self { fanout: 0, ..parsed }),
        }
    }

    fn checked_file(
        mut self,
        node: &dag_pb::Node,
        claimed: Option<u64>,
    ) -> Result<Self, UnixfsError> {
        if self.blocksizes.len() != node.links.len() {
            return Err(UnixfsError::Malformed("blocksizes and links differ in number"));
        }
        if node.links.iter().any(|l| !l.name_bytes().is_empty()) {
            return Err(UnixfsError::Malformed("a part of a file has a name"));
        }
        let own = self.data.len() as u64;
        let total = self.blocksizes.iter().try_fold(own, |sum, part| sum.checked_add(*part));
        self.size = total.ok_or(UnixfsError::Malformed("file size overflows"))?;
        if claimed.is_some_and(|c| c != self.size) {
            return Err(UnixfsError::Malformed("file size differs from its parts"));
        }
        self.fanout = 0;
        Ok(self)
    }

    fn checked_shard(self, hash_type: Option<u64>) -> Result<Self, UnixfsError> {
        if hash_type != Some(HAMT_MURMUR3) {
            return Err(UnixfsError::Malformed("HAMT under an unknown hash function"));
        }
        if !(8..=FANOUT_MAX).contains(&self.fanout) || !self.fanout.is_power_of_two() {
            return Err(UnixfsError::Malformed("HAMT fanout is no power of two from 8 to 1024"));
        }
        Ok(self)
    }
}

fn kind_of(number: Option<i32>) -> Result<Kind, UnixfsError> {
    let number = number.ok_or_else(|| UnixfsError::NotUnixfs("no type".into()))?;
    Ok(match number {
        0 => Kind::Raw,
        1 => Kind::Directory,
        2 => Kind::File,
        3 => Kind::Metadata,
        4 => Kind::Symlink,
        5 => Kind::Shard,
        other => return Err(UnixfsError::NotUnixfs(format!("type {other}"))),
    })
}

fn mtime_of(raw: &pb::UnixTime) -> Result<Mtime, UnixfsError> {
    match raw.fractional_nanoseconds {
        None => Ok(Mtime { seconds: raw.seconds, nanos: 0 }),
        Some(nanos @ 1..=999_999_999) => Ok(Mtime { seconds: raw.seconds, nanos }),
        Some(_) => Err(UnixfsError::Malformed("mtime nanoseconds out of range")),
    }
}

/// The type field of the payload: tag 1, varint.
fn put_type(out: &mut Vec<u8>, kind: u8) {
    out.extend_from_slice(&[0x08, kind]);
}

/// The node of a folder whose entries are its links.
pub fn directory_payload() -> Bytes {
    Bytes::from_static(&[0x08, 0x01])
}

/// The payload of a symlink to `target`.
pub fn symlink_payload(target: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(target.len().saturating_add(12));
    put_type(&mut out, 4);
    out.push(0x12);
    put_varint(&mut out, target.len() as u64);
    out.extend_from_slice(target);
    out.into()
}

/// The payload of an inner node of a file.
pub fn file_payload(blocksizes: &[u64]) -> Bytes {
    let mut out = Vec::with_capacity(blocksizes.len().saturating_mul(6).saturating_add(16));
    put_type(&mut out, 2);
    out.push(0x18);
    put_varint(&mut out, blocksizes.iter().fold(0, |sum, b| sum.saturating_add(*b)));
    for size in blocksizes {
        out.push(0x20);
        put_varint(&mut out, *size);
    }
    out.into()
}

/// The payload of one shard of a folder. The bitfield is a big-endian number without leading
/// zero bytes: the network's form, not the specification's (`fanout / 8` bytes).
pub fn shard_payload(bitfield: &[u8], fanout: u64) -> Bytes {
    let significant = bitfield.iter().position(|b| *b != 0).unwrap_or(bitfield.len());
    let bits = bitfield.get(significant..).unwrap_or_default();
    let mut out = Vec::with_capacity(bits.len().saturating_add(16));
    put_type(&mut out, 5);
    out.push(0x12);
    put_varint(&mut out, bits.len() as u64);
    out.extend_from_slice(bits);
    out.push(0x28);
    put_varint(&mut out, HAMT_MURMUR3);
    out.push(0x30);
    put_varint(&mut out, fanout);
    out.into()
}

/// A payload that carries `meta`, too. Both fields stand last in the format, so that any payload
/// goes on with them.
pub fn with_meta(payload: Bytes, meta: &Meta) -> Bytes {
    if meta.is_none() {
        return payload;
    }
    let mut out = Vec::with_capacity(payload.len().saturating_add(24));
    out.extend_from_slice(&payload);
    if let Some(mode) = meta.mode {
        out.push(0x38);
        put_varint(&mut out, u64::from(mode));
    }
    if let Some(Mtime { seconds, nanos }) = meta.mtime {
        let mut time = vec![0x08];
        // Two's complement: a time before 1970 takes ten bytes.
        put_varint(&mut time, seconds as u64);
        if nanos > 0 {
            time.push(0x15);
            time.extend_from_slice(&nanos.to_le_bytes());
        }
        out.push(0x42);
        put_varint(&mut out, time.len() as u64);
        out.extend_from_slice(&time);
    }
    out.into()
}

/// A leaf that is a whole file, given as its block, with `meta`: only a dag-pb leaf can carry it,
/// so a block of anything else stays as it is.
pub fn leaf_with_meta(block: Bytes, meta: &Meta) -> Bytes {
    let parsed = dag_pb::Node::decode(&block).ok();
    let payload = parsed.and_then(|node| node.data).filter(|_| !meta.is_none());
    let Some(payload) = payload else { return block };
    dag_pb::Node { links: Vec::new(), data: Some(with_meta(payload, meta)) }.encode().into()
}

/// What the leaves of a file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaf {
    /// Raw blocks: content and nothing else.
    Block,
    /// dag-pb nodes that say "file": the balanced layout's.
    File,
    /// dag-pb nodes that say "raw": the trickle layout's.
    Raw,
}

/// What goes before and after `len` bytes of content to make them a whole leaf: `head ++ content
/// ++ tail` is the block.
pub fn leaf_frame(leaf: Leaf, len: usize) -> (Vec<u8>, Vec<u8>) {
    let mut inner_head = Vec::with_capacity(12);
    match leaf {
        Leaf::Block => return Default::default(),
        Leaf::File => put_type(&mut inner_head, 2),
        Leaf::Raw => put_type(&mut inner_head, 0),
    }
    if len > 0 {
        inner_head.push(0x12);
        put_varint(&mut inner_head, len as u64);
    }
    let mut tail = Vec::with_capacity(11);
    tail.push(0x18);
    put_varint(&mut tail, len as u64);
    let payload = inner_head.len().saturating_add(len).saturating_add(tail.len());
    let mut head = Vec::with_capacity(24);
    dag_pb::put_data_head(&mut head, payload);
    head.extend_from_slice(&inner_head);
    (head, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(data: Vec<u8>) -> dag_pb::Node {
        dag_pb::Node { links: Vec::new(), data: Some(data.into()) }
    }

    #[test]
    fn a_framed_leaf_reads_back() {
        for len in [0usize, 1, 127, 128, 262_144] {
            let (head, tail) = leaf_frame(Leaf::File, len);
            let block = [head, vec![7; len], tail].concat();
            let node = dag_pb::Node::decode(&block.into()).unwrap();
            let leaf = FsNode::of(&node).unwrap();
            assert_eq!((leaf.kind, leaf.size, leaf.data.len()), (Kind::File, len as u64, len));
        }
    }

    #[test]
    fn what_a_node_carries_reads_back() {
        let times = [(0, 0), (1_604_320_482, 0), (-1, 999_999_999), (i64::MIN, 1)];
        for (seconds, nanos) in times {
            let mtime = Some(Mtime { seconds, nanos });
            for mode in [None, Some(0), Some(0o644), Some(0o7777)] {
                let meta = Meta { mode, mtime };
                let (head, tail) = leaf_frame(Leaf::File, 3);
                let leaf = leaf_with_meta([head, b"abc".to_vec(), tail].concat().into(), &meta);
                let read = FsNode::of(&dag_pb::Node::decode(&leaf).unwrap()).unwrap();
                assert_eq!((read.mode, read.mtime, &read.data[..]), (mode, mtime, &b"abc"[..]));
                for payload in [directory_payload(), symlink_payload(b"x"), file_payload(&[])] {
                    let read = FsNode::of(&node(with_meta(payload, &meta).to_vec())).unwrap();
                    assert_eq!((read.mode, read.mtime), (mode, mtime));
                }
            }
        }
        let raw = Bytes::from_static(b"raw");
        let meta = Meta { mode: Some(0o600), mtime: None };
        assert_eq!(leaf_with_meta(raw.clone(), &meta), raw);
    }

    #[test]
    fn contradictions_are_refused() {
        let sized = |blocks: &[u64]| node(file_payload(blocks).to_vec());
        assert!(FsNode::of(&sized(&[1])).is_err(), "blocksizes without links");
        assert!(FsNode::of(&node(vec![0x08, 0x02, 0x18, 0x05])).is_err(), "size without content");
        assert!(FsNode::of(&node(vec![0x08, 0x09])).is_err(), "unknown type");
        assert!(FsNode::of(&node(vec![])).is_err(), "no type");
        assert!(FsNode::of(&dag_pb::Node::default()).is_err(), "no data");
    }

    #[test]
    fn cve_2023_23625_fanouts_out_of_bounds_are_refused() {
        for fanout in [0, 1, 4, 7, 9, 2048, u64::MAX] {
            assert!(FsNode::of(&node(shard_payload(&[1], fanout).to_vec())).is_err(), "{fanout}");
        }
        assert!(FsNode::of(&node(shard_payload(&[1], 256).to_vec())).is_ok());
    }
}
