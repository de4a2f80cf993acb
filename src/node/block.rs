//! `block`: single blocks, as they are.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Error, Node};
use crate::ipld::block::{BLOCK_MAX_BYTES, Block, Prefix, TOO_BIG};
use crate::ipld::cid::{Cid, Version, codec, hash};
use crate::ipld::path::Path;
use crate::store::pins::{Mode, Pin};

/// Options of `block put`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct BlockPutOptions {
    /// Codec of the CID: raw, dag-pb, dag-cbor, ...
    #[arg(long, value_name = "CODEC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid_codec: Option<String>,
    /// Hash function.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mhtype: Option<String>,
    /// Length of the digest; -1 for all of it.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mhlen: Option<i64>,
    /// Pin the block, recursively.
    #[arg(long)]
    pub pin: bool,
    /// Older name of --cid-codec; `v0` asks for CIDv0.
    #[arg(long, short = 'f', value_name = "FORMAT", hide = true)]
    #[serde(alias = "f", skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Take blocks above 2 MiB, which peers will refuse.
    #[arg(long)]
    pub allow_big_block: bool,
}

impl BlockPutOptions {
    fn prefix(&self) -> Result<Prefix, Error> {
        if self.mhlen.is_some_and(|n| n >= 0) {
            return Err(Error::Unsupported("shortened digests are not supported yet".into()));
        }
        let hash = match self.mhtype.as_deref() {
            None => hash::SHA2_256,
            Some(name) => {
                let unknown = || Error::Invalid(format!("unrecognized hash function: {name:?}"));
                hash::by_name(name).ok_or_else(unknown)?
            }
        };
        let name = match (self.format.as_deref(), self.cid_codec.as_deref()) {
            (Some("v0"), None) => {
                return Ok(Prefix {
                    version: Version::V0,
                    codec: codec::DAG_PB,
                    hash,
                    inline: None,
                });
            }
            (Some("protobuf"), None) => "dag-pb",
            (Some("cbor"), None) => "dag-cbor",
            (Some(other), None) => other,
            (None, name) => name.unwrap_or("raw"),
            (Some(_), Some(_)) => {
                return Err(Error::Invalid("unable to use both format and cid-codec".into()));
            }
        };
        let unknown = || Error::Invalid(format!("unrecognized codec: {name:?}"));
        let codec = codec::by_name(name).ok_or_else(unknown)?;
        Ok(Prefix { version: Version::V1, codec, hash, inline: None })
    }
}

impl Node {
    /// Stores one block and names it; durable when this returns.
    ///
    /// # Errors
    /// [`Error::Invalid`] above the size limit or for unknown codecs; the store's.
    pub async fn block_put(&self, data: Bytes, options: &BlockPutOptions) -> Result<Cid, Error> {
        refuse_big(data.len(), options.allow_big_block)?;
        let block = Block::hashed(options.prefix()?, data)?;
        self.keep(block, options.pin).await
    }

    /// Stores one block, and pins it recursively if asked to; durable when this returns.
    ///
    /// # Errors
    /// The store's; that something below the block is not here to be pinned.
    pub(super) async fn keep(&self, block: Block, pin: bool) -> Result<Cid, Error> {
        let cid = *block.cid();
        let pin = pin.then(|| Pin::new(cid, Mode::Recursive, "")).transpose()?;
        let commit = move |core: &crate::store::Core| {
            let mut writer = core.writer();
            writer.put(&block)?;
            writer.commit(pin.as_slice())
        };
        self.store.run(commit).await?;
        Ok(cid)
    }

    /// One whole block.
    ///
    /// # Errors
    /// The path's, or that it is not here.
    pub async fn block_get(&self, path: &Path) -> Result<Block, Error> {
        let cid = self.dag.resolve_block(path).await?;
        Ok(self.dag.block(&cid).await?)
    }

    /// A block's CID and size in bytes.
    ///
    /// # Errors
    /// As [`Self::block_get`].
    pub async fn block_stat(&self, path: &Path) -> Result<(Cid, u64), Error> {
        let cid = self.dag.resolve_block(path).await?;
        let row = self.store.run(move |core| core.stat(&cid)).await?;
        match row {
            Some(row) => Ok((cid, row.size.into())),
            // Not here, or damaged: reading it tells which, and gets it if somebody has it.
            None => Ok((cid, self.dag.block(&cid).await?.data().len() as u64)),
        }
    }

    /// Deletes a block that nothing holds; tells whether it was here.
    ///
    /// # Errors
    /// That something holds it, and what.
    pub async fn block_rm(&self, cid: Cid) -> Result<bool, Error> {
        Ok(self.store.run(move |core| core.remove(&cid)).await?)
    }
}

/// Refuses blocks that peers would refuse, unless they are wanted.
pub(super) fn refuse_big(size: usize, allowed: bool) -> Result<(), Error> {
    match size > BLOCK_MAX_BYTES && !allowed {
        true => Err(Error::Invalid(TOO_BIG.into())),
        false => Ok(()),
    }
}
