//! `dag`: blocks as data.

use serde::{Deserialize, Serialize};

use super::{Error, Node};
use crate::dag::DagError;
use crate::dag::resolve::step;
use crate::ipld::cid::codec;
use crate::ipld::codec as codecs;
use crate::ipld::path::Path;

/// Options of `dag get`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct DagGetOptions {
    /// Codec to print in.
    #[arg(long, value_name = "CODEC")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_codec: Option<String>,
}

impl Node {
    /// A block, or a part of its data, in another codec (dag-json unless told otherwise).
    ///
    /// # Errors
    /// The path's; that a codec cannot read or write the data.
    pub async fn dag_get(&self, path: &Path, options: &DagGetOptions) -> Result<Vec<u8>, Error> {
        let name = options.output_codec.as_deref().unwrap_or("dag-json");
        let unknown = || Error::Invalid(format!("unrecognized codec: {name:?}"));
        let output = codec::by_name(name).ok_or_else(unknown)?;
        let resolved = self.dag.resolve(path).await?;
        let block = self.dag.block(&resolved.cid).await?;
        if resolved.inside.is_empty() && output == resolved.cid.codec() {
            return Ok(block.data().to_vec());
        }
        let root = codecs::decode(resolved.cid.codec(), block.data())?;
        let mut at = &root;
        for name in &resolved.inside {
            at = step(at, name).ok_or_else(|| DagError::NoLink {
                name: name.clone(),
                cid: Box::new(resolved.cid),
            })?;
        }
        Ok(codecs::encode(output, at)?)
    }
}
