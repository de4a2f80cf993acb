//! Reading messages: a walk over protobuf fields that hands out slices of the frame.
//!
//! In two steps, so that hashing can be done elsewhere: [`decode_frame`] is cheap and
//! [`RawMessage::verify`] hashes every block. Unknown fields are skipped, absent ones mean their
//! defaults; a CID that cannot be read costs its entry and not the message.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::{Buf, Bytes};

use super::{
    BLOCKS_MAX, ENTRIES_MAX, Entry, Kind, MESSAGE_MAX_BYTES, Message, PRESENCES_MAX, Presence,
    WireError,
};
use crate::ipld::block::{BLOCK_MAX_BYTES, Block, Prefix};
use crate::ipld::cid::{self, Cid, DIGEST_MIN_BYTES, Version, codec, hash};

/// Longest prefix of a CID: four varints of ten bytes.
const PREFIX_MAX_BYTES: usize = 40;
/// Longest varint.
const VARINT_MAX_BYTES: usize = 10;

/// A message whose blocks are not hashed yet.
#[derive(Debug, Default)]
pub struct RawMessage {
    message: Message,
    blocks: Vec<RawBlock>,
}

#[derive(Debug)]
struct RawBlock {
    /// Empty for a block of 1.0.
    prefix: Bytes,
    data: Bytes,
}

/// One field of a protobuf message.
enum Field {
    Number(u64),
    Slice(Bytes),
    /// Fixed width: nothing in Bitswap.
    Other,
}

/// Length of a frame's prefix and of the message behind it, both in bytes; `None` when `bytes` does
/// not hold all of the prefix yet (it is at most ten bytes long).
///
/// # Errors
/// [`WireError::TooBig`] and [`WireError::Malformed`], before anything is allocated.
pub fn frame_head(bytes: &[u8]) -> Result<Option<(usize, usize)>, WireError> {
    let mut rest = bytes;
    match varint(&mut rest) {
        Ok(len) if len > MESSAGE_MAX_BYTES as u64 => Err(WireError::TooBig(len)),
        Ok(len) => Ok(Some((bytes.len().saturating_sub(rest.len()), len as usize))),
        Err(WireError::CutOff) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads a message without its length prefix.
///
/// # Errors
/// [`WireError`]; the sender is broken or hostile then.
pub fn decode_frame(mut frame: Bytes) -> Result<RawMessage, WireError> {
    if frame.len() > MESSAGE_MAX_BYTES {
        return Err(WireError::TooBig(frame.len() as u64));
    }
    let mut raw = RawMessage::default();
    while let Some((number, field)) = field(&mut frame)? {
        match (number, field) {
            (1, Field::Slice(list)) => raw.wantlist(list)?,
            (2, Field::Slice(data)) => raw.block(RawBlock { prefix: Bytes::new(), data })?,
            (3, Field::Slice(payload)) => raw.payload(payload)?,
            (4, Field::Slice(presence)) => raw.presence(presence)?,
            (5, Field::Number(bytes)) => raw.message.pending_bytes = bytes as i32,
            _ => {}
        }
    }
    Ok(raw)
}

impl RawMessage {
    /// Hashes the blocks. Takes about a millisecond per mebibyte: not for the engine's own task.
    pub fn verify(self) -> Message {
        let Self { mut message, blocks } = self;
        message.blocks.reserve(blocks.len());
        for raw in blocks {
            match raw.verify() {
                Some(block) => message.blocks.push(block),
                None => message.refused = message.refused.saturating_add(1),
            }
        }
        message
    }

    /// Bytes that [`Self::verify`] would hash.
    pub fn data_bytes(&self) -> usize {
        self.blocks.iter().fold(0, |sum, raw| sum.saturating_add(raw.data.len()))
    }

    fn refuse(&mut self) {
        self.message.refused = self.message.refused.saturating_add(1);
    }

    fn wantlist(&mut self, mut list: Bytes) -> Result<(), WireError> {
        while let Some((number, field)) = field(&mut list)? {
            match (number, field) {
                (1, Field::Slice(entry)) => match self.message.wantlist.len() < ENTRIES_MAX {
                    true => self.entry(entry)?,
                    false => self.refuse(),
                },
                (2, Field::Number(full)) => self.message.full = full != 0,
                _ => {}
            }
        }
        Ok(())
    }

    fn entry(&mut self, mut bytes: Bytes) -> Result<(), WireError> {
        let (mut key, mut priority, mut cancel, mut kind, mut send_dont_have) =
            (Bytes::new(), 0, false, Kind::Block, false);
        while let Some((number, field)) = field(&mut bytes)? {
            match (number, field) {
                (1, Field::Slice(cid)) => key = cid,
                (2, Field::Number(n)) => priority = n as i32,
                (3, Field::Number(n)) => cancel = n != 0,
                (4, Field::Number(n)) => kind = if n == 1 { Kind::Have } else { Kind::Block },
                (5, Field::Number(n)) => send_dont_have = n != 0,
                _ => {}
            }
        }
        match acceptable(&key) {
            Some(cid) => {
                let entry = Entry { cid, priority, cancel, kind, send_dont_have };
                self.message.wantlist.push(entry);
            }
            None => self.refuse(),
        }
        Ok(())
    }

    fn payload(&mut self, mut bytes: Bytes) -> Result<(), WireError> {
        let (mut prefix, mut data) = (Bytes::new(), Bytes::new());
        while let Some((number, field)) = field(&mut bytes)? {
            match (number, field) {
                (1, Field::Slice(slice)) => prefix = slice,
                (2, Field::Slice(slice)) => data = slice,
                _ => {}
            }
        }
        if prefix.is_empty() || prefix.len() > PREFIX_MAX_BYTES {
            self.refuse();
            return Ok(());
        }
        self.block(RawBlock { prefix, data })
    }

    fn block(&mut self, block: RawBlock) -> Result<(), WireError> {
        if self.blocks.len() >= BLOCKS_MAX {
            return Err(WireError::TooManyBlocks);
        }
        match block.data.len() <= BLOCK_MAX_BYTES {
            true => self.blocks.push(block),
            false => self.refuse(),
        }
        Ok(())
    }

    fn presence(&mut self, mut bytes: Bytes) -> Result<(), WireError> {
        let (mut key, mut presence) = (Bytes::new(), Presence::Have);
        while let Some((number, field)) = field(&mut bytes)? {
            match (number, field) {
                (1, Field::Slice(cid)) => key = cid,
                (2, Field::Number(0)) => presence = Presence::Have,
                (2, Field::Number(_)) => presence = Presence::DontHave,
                _ => {}
            }
        }
        match acceptable(&key) {
            Some(cid) if self.message.presences.len() < PRESENCES_MAX => {
                self.message.presences.push((cid, presence));
            }
            _ => self.refuse(),
        }
        Ok(())
    }
}

impl RawBlock {
    /// The block under the CID that prefix and bytes make; `None` when no CID can be made of them.
    fn verify(self) -> Option<Block> {
        let Self { prefix, data } = self;
        let (prefix, digest_bytes) = match prefix.is_empty() {
            true => {
                let (codec, hash) = (codec::DAG_PB, hash::SHA2_256);
                (Prefix { version: Version::V0, codec, hash, inline: None }, None)
            }
            false => read_prefix(&prefix)?,
        };
        // An identity CID holds its bytes itself: no peer has anything to send for one.
        if prefix.hash == hash::IDENTITY {
            return None;
        }
        let Some(len) = digest_bytes else { return Block::hashed(prefix, data).ok() };
        let digest = cid::digest(prefix.hash, &data).ok()?;
        if len >= digest.digest().len() {
            return Block::hashed(prefix, data).ok();
        }
        // A digest cut short is rare enough to be hashed twice.
        let cut = digest.digest().get(..len).filter(|cut| cut.len() >= DIGEST_MIN_BYTES)?;
        let cid = Cid::new_v1(prefix.codec, cid::Multihash::wrap(prefix.hash, cut).ok()?);
        Block::verified(cid, data).ok()
    }
}

/// Version, codec, hash function, and the digest's length when it is not the function's own.
fn read_prefix(mut bytes: &[u8]) -> Option<(Prefix, Option<usize>)> {
    let version = match varint(&mut bytes).ok()? {
        0 => Version::V0,
        1 => Version::V1,
        _ => return None,
    };
    let (codec, hash) = (varint(&mut bytes).ok()?, varint(&mut bytes).ok()?);
    let len = usize::try_from(varint(&mut bytes).ok()?).ok()?;
    let prefix = Prefix { version, codec, hash, inline: None };
    // The common length is not checked against the function's: hashing once is what it is for.
    Some((prefix, Some(len).filter(|len| *len != 32 || !is_32(hash))))
}

/// Hash functions whose digest is 32 bytes and which nearly every block is under.
fn is_32(hash: u64) -> bool {
    matches!(hash, hash::SHA2_256 | hash::BLAKE3 | 0xb220)
}

/// A CID that may be wanted or answered: as long as allowed, under a hash that is not its own data.
fn acceptable(bytes: &[u8]) -> Option<Cid> {
    let cid = cid::from_bytes(bytes).ok()?;
    let sound = cid::check(&cid).is_ok() && cid.hash().code() != hash::IDENTITY;
    sound.then_some(cid)
}

/// The next field and its number; `None` at the end.
fn field(bytes: &mut Bytes) -> Result<Option<(u64, Field)>, WireError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let tag = varint(bytes)?;
    let number = tag >> 3;
    if number == 0 {
        return Err(WireError::Malformed);
    }
    let field = match tag & 7 {
        0 => Field::Number(varint(bytes)?),
        1 => skip(bytes, 8)?,
        2 => {
            let len = usize::try_from(varint(bytes)?).map_err(|_| WireError::CutOff)?;
            if len > bytes.len() {
                return Err(WireError::CutOff);
            }
            Field::Slice(bytes.split_to(len))
        }
        5 => skip(bytes, 4)?,
        _ => return Err(WireError::Malformed),
    };
    Ok(Some((number, field)))
}

fn skip(bytes: &mut Bytes, len: usize) -> Result<Field, WireError> {
    if len > bytes.len() {
        return Err(WireError::CutOff);
    }
    bytes.advance(len);
    Ok(Field::Other)
}

/// A varint of at most ten bytes, as protobuf has them; bits beyond 64 are lost, as everywhere.
fn varint(bytes: &mut impl Buf) -> Result<u64, WireError> {
    let mut value = 0u64;
    for at in 0..VARINT_MAX_BYTES as u32 {
        let byte = bytes.try_get_u8().map_err(|_| WireError::CutOff)?;
        value |= u64::from(byte & 0x7f).checked_shl(at.saturating_mul(7)).unwrap_or(0);
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err(WireError::Malformed)
}
