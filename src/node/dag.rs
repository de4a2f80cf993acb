//! `dag`: blocks as data.

use std::collections::HashSet;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::block::refuse_big;
use super::{Error, Node, RESULTS, Results};
use crate::dag::DagError;
use crate::dag::order::{Mark, mark};
use crate::dag::resolve::{Resolved, step};
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::{Cid, codec, hash};
use crate::ipld::codec::{self as codecs, CodecError};
use crate::ipld::path::Path;
use crate::task;

/// Blocks between two reports of `dag stat`.
const REPORT_BLOCKS: u64 = 1024;

/// Options of `dag get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct DagGetOptions {
    /// Codec to print in.
    #[arg(long, value_name = "CODEC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_codec: Option<String>,
}

/// Options of `dag put`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct DagPutOptions {
    /// Codec to store in: dag-cbor unless told otherwise.
    #[arg(long, value_name = "CODEC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_codec: Option<String>,
    /// Codec of the input: dag-json unless told otherwise.
    #[arg(long, value_name = "CODEC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_codec: Option<String>,
    /// Pin the block and everything below it.
    #[arg(long)]
    pub pin: bool,
    /// Hash function; the configuration's unless told otherwise.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Take blocks above 2 MiB, which peers will refuse.
    #[arg(long)]
    pub allow_big_block: bool,
}

/// One DAG as `dag stat` counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootStat {
    /// Its root.
    pub cid: Cid,
    /// Sizes of its blocks together, in bytes; each block counts once.
    pub size: u64,
    /// Its blocks.
    pub blocks: u64,
}

/// Several DAGs, and what they share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DagStat {
    /// Each DAG, in the order asked for.
    pub roots: Vec<RootStat>,
    /// Blocks, each counted once over all DAGs.
    pub unique_blocks: u64,
    /// Their sizes together, in bytes.
    pub total_size: u64,
    /// What blocks that stand in several DAGs would add if each DAG had its own, in bytes.
    pub shared_size: u64,
    /// Whether this is the result, or a report on the way to it.
    pub done: bool,
}

impl DagStat {
    /// How much larger the DAGs would be if they shared nothing; 1 for no sharing.
    pub fn ratio(&self) -> f32 {
        (self.total_size + self.shared_size) as f32 / self.total_size as f32
    }
}

impl Node {
    /// A block, or a part of its data, in another codec (dag-json unless told otherwise).
    ///
    /// # Errors
    /// The path's; that a codec cannot read or write the data.
    pub async fn dag_get(&self, path: &Path, options: &DagGetOptions) -> Result<Vec<u8>, Error> {
        let output = codec_by_name(options.output_codec.as_deref().unwrap_or("dag-json"))?;
        let resolved = self.dag.resolve(path).await?;
        let block = self.dag.block(&resolved.cid).await?;
        // Plain JSON shown as dag-json looks the same, also where it looks like a link.
        let reading = match (resolved.cid.codec(), output) {
            (codec::JSON, codec::DAG_JSON) => codec::DAG_JSON,
            (own, _) => own,
        };
        let root =
            codecs::decode(reading, block.data()).map_err(|cause| refused(&resolved.cid, cause))?;
        // As it is: names in dag-pb that are no text would not come through the data model.
        if resolved.inside.is_empty() && output == resolved.cid.codec() {
            return Ok(block.data().to_vec());
        }
        let mut at = &root;
        for name in &resolved.inside {
            at = step(at, name).ok_or_else(|| DagError::NoLink {
                name: name.clone(),
                cid: Box::new(resolved.cid),
            })?;
        }
        Ok(codecs::encode(output, at)?)
    }
    /// Reads data in one codec, stores it in another as one block, and names it; durable when this
    /// returns.
    ///
    /// # Errors
    /// That a codec cannot read or write the data; as [`Node::block_put`].
    pub async fn dag_put(&self, data: Bytes, options: &DagPutOptions) -> Result<Cid, Error> {
        let input = codec_by_name(options.input_codec.as_deref().unwrap_or("dag-json"))?;
        let codec = codec_by_name(options.store_codec.as_deref().unwrap_or("dag-cbor"))?;
        let function = match options.hash.as_deref() {
            None => self.settings.import.hash,
            Some(name) => {
                let unknown = || Error::Invalid(format!("unrecognized hash function: {name:?}"));
                hash::by_name(name).ok_or_else(unknown)?
            }
        };
        let stored = codecs::encode(codec, &codecs::decode(input, &data)?)?;
        refuse_big(stored.len(), options.allow_big_block)?;
        let prefix = Prefix { hash: function, ..Prefix::v1(codec) };
        self.keep(Block::hashed(prefix, stored.into())?, options.pin).await
    }

    /// The last block on a path, and what is left of the path inside it.
    ///
    /// # Errors
    /// The path's.
    pub async fn dag_resolve(&self, path: &Path) -> Result<Resolved, Error> {
        Ok(self.dag.resolve(path).await?)
    }

    /// Counts the blocks of DAGs and their sizes. With `progress`, reports come on the way; the
    /// last item is the result.
    ///
    /// # Errors
    /// A path's, at once; a block that is not here as the stream's last item.
    pub async fn dag_stat(
        &self,
        paths: &[Path],
        progress: bool,
    ) -> Result<Results<DagStat>, Error> {
        let mut roots = Vec::with_capacity(paths.len());
        for path in paths {
            let resolved = self.dag.resolve(path).await?;
            if !resolved.inside.is_empty() {
                let text = "cannot return size for anything other than a DAG with a root CID";
                return Err(Error::Invalid(text.into()));
            }
            self.dag.block(&resolved.cid).await?;
            roots.push(resolved.cid);
        }
        let (out, stats) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            let outcome = node.count(&roots, progress, &out).await;
            // A reader that is gone wants no result either.
            let _ = out.send(outcome).await;
        });
        Ok(stats)
    }

    async fn count(
        &self,
        roots: &[Cid],
        progress: bool,
        out: &mpsc::Sender<Result<DagStat, Error>>,
    ) -> Result<DagStat, Error> {
        let mut stat = DagStat::default();
        // A walk meets each block once: only several roots can share any.
        let mut met: Option<HashSet<Mark>> = (roots.len() > 1).then(HashSet::new);
        for root in roots {
            let (mut own, earlier) = (RootStat { cid: *root, size: 0, blocks: 0 }, stat.clone());
            let mut visit = |cid: &Cid, size: u64| {
                own.size += size;
                own.blocks += 1;
                if met.as_mut().is_none_or(|met| met.insert(mark(&cid.to_bytes()))) {
                    stat.unique_blocks += 1;
                    stat.total_size += size;
                } else {
                    stat.shared_size += size;
                }
                if progress && own.blocks.is_multiple_of(REPORT_BLOCKS) {
                    let mut report = DagStat { total_size: stat.total_size, ..earlier.clone() };
                    report.roots.push(own);
                    // A reader that is slow can do without.
                    let _ = out.try_send(Ok(report));
                }
                !out.is_closed()
            };
            self.dag.measure(*root, &mut visit).await?;
            stat.roots.push(own);
        }
        stat.done = true;
        Ok(stat)
    }
}

/// What a codec says of a block, with the block's name.
fn refused(cid: &Cid, error: CodecError) -> Error {
    match error {
        CodecError::Malformed { .. } => {
            DagError::Malformed { cid: Box::new(*cid), cause: error.to_string() }.into()
        }
        other => other.into(),
    }
}

/// A codec by its name or number.
fn codec_by_name(name: &str) -> Result<u64, Error> {
    let unknown = || Error::Invalid(format!("unrecognized codec: {name:?}"));
    codec::by_name(name).ok_or_else(unknown)
}
