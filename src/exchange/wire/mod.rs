//! Bitswap messages: what they say, how much of it is believed, and the bounds of their bytes.
//!
//! Owns the vocabulary that the engine and the glue share. Bytes are taken apart in `decode` and put
//! together in `encode`; both work on slices of one buffer, so block data is never copied.
//!
//! Source: ipfs/specs bitswap-protocol.md, "Wire Format" of 1.0.0, 1.1.0 and 1.2.0.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use crate::ipld::block::Block;
use crate::ipld::cid::Cid;

pub use decode::{RawMessage, decode_frame, frame_head};
pub use encode::{encode, readable};

/// Largest message that is read, in bytes without its length prefix (spec: "Protocol Format").
pub const MESSAGE_MAX_BYTES: usize = 4 << 20;
/// Blocks are gathered into one message up to this many bytes; a larger block goes alone. With all
/// the entries and presences there can be, that stays below what every implementation reads.
pub const TARGET_BYTES: usize = 512 << 10;
/// Entries of one message that are looked at: a wantlist holds 1024, the rest is cancels.
pub const ENTRIES_MAX: usize = 8 << 10;
/// Presences of one message that are looked at.
pub const PRESENCES_MAX: usize = 8 << 10;
/// Blocks of one message; one that brings more is refused.
pub const BLOCKS_MAX: usize = 16 << 10;

/// Protocol names, the best first: what is offered and negotiated.
pub const PROTOCOLS: &[(&str, Version)] = &[
    ("/ipfs/bitswap/1.2.0", Version::V1_2),
    ("/ipfs/bitswap/1.1.0", Version::V1_1),
    ("/ipfs/bitswap/1.0.0", Version::V1_0),
    ("/ipfs/bitswap", Version::V1_0),
];

/// What a peer can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// `/ipfs/bitswap` and 1.0.0: blocks without a prefix, so CIDv0 only.
    V1_0,
    /// 1.1.0: blocks with the prefix of their CID.
    V1_1,
    /// 1.2.0: HAVE and DONT_HAVE, asked for and answered.
    V1_2,
}

impl Version {
    /// The version behind a negotiated protocol name.
    pub fn of_protocol(name: &str) -> Option<Self> {
        PROTOCOLS.iter().find(|(known, _)| *known == name).map(|(_, version)| *version)
    }

    /// Whether HAVE and DONT_HAVE are understood.
    pub fn has_presences(self) -> bool {
        self >= Self::V1_2
    }
}

/// What a want asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// To say whether the block is there.
    Have,
    /// The block itself.
    Block,
}

/// A want, or the end of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What is wanted.
    pub cid: Cid,
    /// Higher ones are answered first.
    pub priority: i32,
    /// Takes the want back; the other fields mean nothing then.
    pub cancel: bool,
    /// The block, or word of it.
    pub kind: Kind,
    /// Whether absence is to be answered.
    pub send_dont_have: bool,
}

/// Whether a peer holds a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It does.
    Have,
    /// It does not, or will not say.
    DontHave,
}

/// A message whose blocks are hashed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// At most [`ENTRIES_MAX`].
    pub wantlist: Vec<Entry>,
    /// Whether the wantlist replaces what was told before.
    pub full: bool,
    /// At most [`BLOCKS_MAX`], each under the CID that its bytes and its prefix make.
    pub blocks: Vec<Block>,
    /// At most [`PRESENCES_MAX`].
    pub presences: Vec<(Cid, Presence)>,
    /// Bytes of blocks that wait for us at the peer.
    pub pending_bytes: i32,
    /// What was left out: CIDs that cannot be read or are too long, blocks that cannot be hashed or
    /// are too big, entries over the bounds.
    pub refused: u32,
}

/// What is to be sent: blocks are named, and read from the store by the sender.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Wants and cancels.
    pub entries: Vec<Entry>,
    /// Whether the entries replace what was told before.
    pub full: bool,
    /// Answers without blocks.
    pub presences: Vec<(Cid, Presence)>,
    /// Answers with blocks, in this order.
    pub blocks: Vec<Cid>,
    /// Bytes of blocks that wait for a later message.
    pub pending_bytes: i32,
}

impl Outgoing {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.presences.is_empty() && self.blocks.is_empty() && !self.full
    }
}

/// Why bytes are no message. The stream they came by is to be reset: what follows cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Longer than [`MESSAGE_MAX_BYTES`].
    #[error("a Bitswap message of {0} bytes is too big")]
    TooBig(u64),
    /// The protobuf ends in the middle of a field.
    #[error("a Bitswap message is cut off")]
    CutOff,
    /// A varint of more than ten bytes, a field number of zero, a group.
    #[error("a Bitswap message is not protobuf")]
    Malformed,
    /// More than [`BLOCKS_MAX`] blocks.
    #[error("a Bitswap message brings too many blocks")]
    TooManyBlocks,
}
