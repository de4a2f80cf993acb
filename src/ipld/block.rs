//! A block: bytes together with the CID that names them.
//!
//! Owns the proof: a [`Block`] exists only when its bytes were hashed here, compared with a CID
//! here, or handed back by the store, which guards them with its own checksum.
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

use super::cid::{self, Cid, CidError, Version, codec, hash};

/// Largest block that is read from anyone, in bytes (Bitswap and Kubo's RPC agree on 2 MiB).
pub const BLOCK_MAX_BYTES: usize = 2 << 20;
/// What is said of a larger one, in Kubo's words.
pub const TOO_BIG: &str = "produced block is over 2MiB: big blocks can't be exchanged with other \
    peers. consider using UnixFS for automatic chunking of bigger files, or pass --allow-big-block \
    to override";

/// Immutable bytes and the CID that names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    cid: Cid,
    data: Bytes,
}

/// How CIDs of new blocks are to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// CID version; v0 fits dag-pb under sha2-256 only.
    pub version: Version,
    /// Multicodec of the content.
    pub codec: u64,
    /// Multihash function.
    pub hash: u64,
    /// Bytes up to which content stands in the CID itself, which is v1 then; 128 at the most.
    pub inline: Option<u8>,
}

/// Why bytes do not make a block.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The CID's hash function cannot be computed or is refused.
    #[error(transparent)]
    Cid(#[from] CidError),
    /// The bytes are not what the CID names.
    #[error("block {cid} does not match its hash")]
    Mismatch {
        /// The CID that was claimed.
        cid: Box<Cid>,
    },
}

impl Prefix {
    /// CIDv1 under sha2-256.
    pub const fn v1(codec: u64) -> Self {
        Self { version: Version::V1, codec, hash: hash::SHA2_256, inline: None }
    }

    /// The same, for content of another codec; a v0 prefix stays v0 for dag-pb only.
    pub fn with_codec(self, codec: u64) -> Self {
        let version = if codec == codec::DAG_PB { self.version } else { Version::V1 };
        Self { version, codec, ..self }
    }

    /// The CID of `data` under this prefix. Any hash other than sha2-256 implies v1, as in Kubo.
    ///
    /// # Errors
    /// [`CidError::Hash`] for an unknown hash function.
    pub fn cid(&self, data: &[u8]) -> Result<Cid, CidError> {
        if self.inline.is_some_and(|most| data.len() <= usize::from(most)) {
            return Ok(Cid::new_v1(self.codec, cid::digest(hash::IDENTITY, data)?));
        }
        let digest = cid::digest(self.hash, data)?;
        let legacy = self.version == Version::V0
            && self.codec == codec::DAG_PB
            && self.hash == hash::SHA2_256;
        let v0 = legacy.then(|| Cid::new_v0(digest).ok()).flatten();
        Ok(v0.unwrap_or_else(|| Cid::new_v1(self.codec, digest)))
    }
}

impl Block {
    /// Names `data` by hashing it.
    ///
    /// # Errors
    /// [`CidError::Hash`] for an unknown hash function.
    pub fn hashed(prefix: Prefix, data: Bytes) -> Result<Self, CidError> {
        Ok(Self { cid: prefix.cid(&data)?, data })
    }

    /// Accepts `data` as the content of `cid` after hashing it.
    ///
    /// # Errors
    /// [`BlockError::Mismatch`] when the hash differs.
    pub fn verified(cid: Cid, data: Bytes) -> Result<Self, BlockError> {
        let digest = cid::digest(cid.hash().code(), &data)?;
        let truncated = digest.digest().get(..usize::from(cid.hash().size()));
        if truncated == Some(cid.hash().digest()) {
            return Ok(Self { cid, data });
        }
        Err(BlockError::Mismatch { cid: Box::new(cid) })
    }

    /// Pairs bytes with the CID under which the store kept them. The store hashed them when they
    /// came in and checks its own checksum on every read; nobody else may call this.
    pub(crate) fn from_store(cid: Cid, data: Bytes) -> Self {
        Self { cid, data }
    }

    /// The same bytes under another name of theirs; `None` when the name is of other bytes.
    pub fn named(self, cid: Cid) -> Option<Self> {
        (cid.hash() == self.cid.hash()).then_some(Self { cid, data: self.data })
    }

    /// The block that an identity CID carries in itself, if it is one.
    pub fn inline(cid: &Cid) -> Option<Self> {
        let inline = cid.hash().code() == hash::IDENTITY;
        inline.then(|| Self { cid: *cid, data: Bytes::copy_from_slice(cid.hash().digest()) })
    }

    /// What names the bytes.
    pub fn cid(&self) -> &Cid {
        &self.cid
    }

    /// The bytes.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Takes the block apart.
    pub fn into_parts(self) -> (Cid, Bytes) {
        (self.cid, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lying_cid_is_refused() {
        let block = Block::hashed(Prefix::v1(codec::RAW), Bytes::from_static(b"truth")).unwrap();
        assert!(Block::verified(*block.cid(), Bytes::from_static(b"truth")).is_ok());
        assert!(Block::verified(*block.cid(), Bytes::from_static(b"lie")).is_err());
    }

    #[test]
    fn v0_is_kept_for_dag_pb_under_sha2_256_only() {
        let v0 = Prefix { version: Version::V0, ..Prefix::v1(codec::DAG_PB) };
        assert_eq!(v0.cid(b"").unwrap().version(), Version::V0);
        assert_eq!(v0.with_codec(codec::RAW).cid(b"").unwrap().version(), Version::V1);
        let blake3 = Prefix { hash: hash::BLAKE3, ..v0 };
        assert_eq!(blake3.cid(b"").unwrap().version(), Version::V1);
    }
}
