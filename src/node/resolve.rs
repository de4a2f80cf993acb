//! `resolve`: where a path leads, with every step of the way.

use super::{Error, Node};
use crate::dag::DagError;
use crate::dag::tree::{About, Entries, What};
use crate::ipld::cid::Cid;
use crate::ipld::path::{Path, Root};
use crate::unixfs::node::Mtime;

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block that the path ends in.
    pub cid: Cid,
    /// The blocks that the root and each name of the path lead to, the last of them `cid`.
    pub roots: Vec<Cid>,
    /// What is left of the path inside the last block's data. Empty for UnixFS.
    pub inside: Vec<String>,
    /// What is there.
    pub what: What,
    /// When it was changed last, where it tells that.
    pub mtime: Option<Mtime>,
}

impl Node {
    /// Follows a path, and tells what is at its end.
    ///
    /// # Errors
    /// That a name or a block is missing.
    pub async fn place(&self, path: &Path) -> Result<Place, Error> {
        let Some(root) = path.cid() else {
            let nowhere = Path { root: path.root.clone(), segments: Vec::new() };
            let cid = self.dag.resolve_block(&nowhere).await?;
            return Ok(self.at(cid, vec![cid], Vec::new()).await?);
        };
        let (mut cid, mut inside) = (*root, Vec::new());
        let mut roots = vec![cid];
        // One name at a time: each step reads the blocks of its own level, none twice.
        for name in &path.segments {
            inside.push(name.clone());
            let step = Path { root: Root::Ipfs(cid), segments: inside };
            let resolved = self.dag.resolve(&step).await?;
            (cid, inside) = (resolved.cid, resolved.inside);
            roots.push(cid);
        }
        Ok(self.at(cid, roots, inside).await?)
    }

    /// The entry of a folder under a name, if it has one.
    ///
    /// # Errors
    /// That a block is missing or is no folder.
    pub async fn entry(&self, folder: &Cid, name: &str) -> Result<Option<Place>, Error> {
        let path = Path { root: Root::Ipfs(*folder), segments: vec![name.to_owned()] };
        match self.dag.resolve_block(&path).await {
            Ok(cid) => Ok(Some(self.at(cid, vec![cid], Vec::new()).await?)),
            Err(DagError::NoLink { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The entries of a folder, with their sizes as the folder claims them: none is opened.
    ///
    /// # Errors
    /// The folder's; later ones are the stream's last item.
    pub async fn entries(&self, folder: &Cid) -> Result<Entries, Error> {
        Ok(self.dag.entries(folder).await?)
    }

    async fn at(&self, cid: Cid, roots: Vec<Cid>, inside: Vec<String>) -> Result<Place, DagError> {
        let About { what, mtime, .. } = self.dag.about(&cid).await?;
        Ok(Place { cid, roots, inside, what, mtime })
    }
}
