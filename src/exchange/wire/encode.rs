//! Writing messages: pieces for one vectored write, block data as it lies in memory.
//!
//! The wantlist is always written, even empty: older Kubo crashes without it. A peer that speaks 1.0
//! is told only what it can read: blocks without a prefix, CIDs as v0, no presences.
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

use super::{Entry, Kind, Outgoing, Presence, Version};
use crate::ipld::cid::{self, Cid, codec, hash};

/// A message with its length prefix, as pieces to be written one after the other. `blocks` are those
/// of [`Outgoing::blocks`] that could be read; what the peer's version cannot say is left out.
pub fn encode(message: &Outgoing, blocks: &[(Cid, Bytes)], version: Version) -> Vec<Bytes> {
    let mut head = Vec::new();
    let mut list = Vec::new();
    for entry in &message.entries {
        put_entry(&mut list, entry, version);
    }
    if message.full {
        list.extend_from_slice(&[0x10, 1]);
    }
    put_slice(&mut head, 1, &list);
    let mut tail = Vec::new();
    if version.has_presences() {
        for (cid, presence) in &message.presences {
            put_presence(&mut tail, cid, *presence);
        }
        if message.pending_bytes > 0 {
            tail.push(0x28);
            put_varint(&mut tail, u64::from(message.pending_bytes.unsigned_abs()));
        }
    }
    let mut pieces = vec![Bytes::new()];
    let mut headers = head;
    for (cid, data) in blocks {
        if put_block_head(&mut headers, cid, data.len(), version) {
            pieces.push(Bytes::from(std::mem::take(&mut headers)));
            pieces.push(data.clone());
        }
    }
    headers.extend_from_slice(&tail);
    pieces.push(Bytes::from(headers));
    let len = pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, len as u64);
    if let Some(first) = pieces.first_mut() {
        *first = Bytes::from(prefix);
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// The CID as a peer of this version can read it; `None` when it cannot.
pub fn readable(cid: &Cid, version: Version) -> Option<Cid> {
    if version > Version::V1_0 {
        return Some(*cid);
    }
    // Blocks are kept by multihash on both sides, so any sha2-256 will do as a v0.
    Cid::new_v0(*cid.hash()).ok()
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry, version: Version) {
    let Some(cid) = readable(&entry.cid, version) else { return };
    let mut body = Vec::with_capacity(64);
    put_slice(&mut body, 1, &cid.to_bytes());
    if entry.priority != 0 {
        body.push(0x10);
        put_varint(&mut body, i64::from(entry.priority) as u64);
    }
    if entry.cancel {
        body.extend_from_slice(&[0x18, 1]);
    }
    if version.has_presences() {
        if entry.kind == Kind::Have {
            body.extend_from_slice(&[0x20, 1]);
        }
        if entry.send_dont_have {
            body.extend_from_slice(&[0x28, 1]);
        }
    }
    put_slice(out, 1, &body);
}

fn put_presence(out: &mut Vec<u8>, cid: &Cid, presence: Presence) {
    let mut body = Vec::with_capacity(48);
    put_slice(&mut body, 1, &cid.to_bytes());
    if presence == Presence::DontHave {
        body.extend_from_slice(&[0x10, 1]);
    }
    put_slice(out, 4, &body);
}

/// What stands before a block's data; `false` when the peer could not name it.
fn put_block_head(out: &mut Vec<u8>, cid: &Cid, len: usize, version: Version) -> bool {
    if version == Version::V1_0 {
        if readable(cid, version).is_none() {
            return false;
        }
        out.push(0x12);
        put_varint(out, len as u64);
        return true;
    }
    let mut body = Vec::with_capacity(24);
    put_slice(&mut body, 1, &prefix(cid));
    body.push(0x12);
    put_varint(&mut body, len as u64);
    out.push(0x1a);
    put_varint(out, body.len().saturating_add(len) as u64);
    out.extend_from_slice(&body);
    true
}

/// All of a CID but the digest itself.
fn prefix(cid: &Cid) -> Vec<u8> {
    let mut out = Vec::with_capacity(8);
    let (version, codec) = match cid.version() {
        cid::Version::V0 => (0, codec::DAG_PB),
        cid::Version::V1 => (1, cid.codec()),
    };
    let hash = if version == 0 { hash::SHA2_256 } else { cid.hash().code() };
    for part in [version, codec, hash, u64::from(cid.hash().size())] {
        put_varint(&mut out, part);
    }
    out
}

fn put_slice(out: &mut Vec<u8>, number: u8, slice: &[u8]) {
    out.push(number.saturating_mul(8) | 2);
    put_varint(out, slice.len() as u64);
    out.extend_from_slice(slice);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8 & 0x7f) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
