//! `resolve`: where a path leads.

use super::{Error, Node};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;

impl Node {
    /// The last block on a path, and what is left of the path inside its data.
    ///
    /// # Errors
    /// The path's.
    pub async fn resolve(&self, path: &Path) -> Result<(Cid, Vec<String>), Error> {
        let resolved = self.dag.resolve(path).await?;
        Ok((resolved.cid, resolved.inside))
    }
}
