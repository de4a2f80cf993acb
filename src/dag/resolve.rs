//! From a path to the block it names.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::{Dag, DagError, Unixfs, malformed};
use crate::ipld::cid::{Cid, codec};
use crate::ipld::codec::{self as codecs, Value, dag_pb};
use crate::ipld::path::{Path, Root};
use crate::unixfs::hamt::{Descent, Slot};
use crate::unixfs::node::{FsNode, Kind};

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The block.
    pub cid: Cid,
    /// What is left of the path inside the block: keys and indexes of its data. Empty for UnixFS.
    pub inside: Vec<String>,
}

impl Dag {
    /// Follows a path through folders, link names, and data of dag-cbor and dag-json blocks.
    ///
    /// # Errors
    /// [`DagError::NoLink`] names the segment and the block that lacks it.
    pub async fn resolve(&self, path: &Path) -> Result<Resolved, DagError> {
        self.go_along(path, &mut Vec::new()).await
    }

    /// As [`Self::resolve`]; also gives the blocks that had to be read on the way, shards of
    /// folders included, in the order they were read. The last block is not among them. There are
    /// at most as many as names in the path, times the depth of a HAMT.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub async fn trace(&self, path: &Path) -> Result<(Vec<Cid>, Resolved), DagError> {
        let mut way = Vec::new();
        let resolved = self.go_along(path, &mut way).await?;
        // A path that ends inside a block has read that block, too.
        if !resolved.inside.is_empty() {
            way.pop();
        }
        Ok((way, resolved))
    }

    async fn go_along(&self, path: &Path, way: &mut Vec<Cid>) -> Result<Resolved, DagError> {
        let mut at = match &path.root {
            Root::Ipfs(cid) => *cid,
            Root::Ipns(name) => return Err(DagError::Name(name.clone())),
        };
        let mut rest = path.segments.as_slice();
        while let [name, below @ ..] = rest {
            way.push(at);
            match at.codec() {
                codec::DAG_PB => {
                    at = self.entry(&at, name, way).await?;
                    rest = below;
                }
                codec::DAG_CBOR | codec::DAG_JSON | codec::DAG_JOSE | codec::CBOR | codec::JSON => {
                    match self.inside(&at, rest).await? {
                        Some((link, used)) => {
                            at = link;
                            rest = rest.get(used..).unwrap_or_default();
                        }
                        None => return Ok(Resolved { cid: at, inside: rest.to_vec() }),
                    }
                }
                _ => return Err(no_link(name, &at)),
            }
        }
        Ok(Resolved { cid: at, inside: Vec::new() })
    }

    /// As [`Self::resolve`], for callers that want a whole block.
    ///
    /// # Errors
    /// Also [`DagError::NoLink`] when the path ends inside a block's data.
    pub async fn resolve_block(&self, path: &Path) -> Result<Cid, DagError> {
        let resolved = self.resolve(path).await?;
        match resolved.inside.first() {
            None => Ok(resolved.cid),
            Some(name) => Err(no_link(name, &resolved.cid)),
        }
    }

    /// The entry of a dag-pb node by its name: through the HAMT if it is one. The first of
    /// several entries of the same name wins.
    async fn entry(&self, cid: &Cid, name: &str, way: &mut Vec<Cid>) -> Result<Cid, DagError> {
        let block = self.block(cid).await?;
        let node = dag_pb::Node::decode(block.data()).map_err(|e| malformed(cid, &e))?;
        if let Ok(fs) = FsNode::of(&node)
            && fs.kind == Kind::Shard
        {
            return self.sharded_entry(cid, (node, fs), name, way).await;
        }
        let found = node.links.iter().find(|link| link.name_bytes() == name.as_bytes());
        found.map(|link| link.cid).ok_or_else(|| no_link(name, cid))
    }

    /// Goes down one path of a HAMT: as many blocks as the trie is deep there.
    async fn sharded_entry(
        &self,
        root: &Cid,
        (mut node, mut fs): (dag_pb::Node, FsNode),
        name: &str,
        way: &mut Vec<Cid>,
    ) -> Result<Cid, DagError> {
        let mut descent = Descent::new(name.as_bytes());
        loop {
            let step = descent.step(&node, fs.fanout, name.as_bytes());
            let below = match step.map_err(|e| malformed(root, &e))? {
                Slot::Entry(link) => return Ok(link.cid),
                Slot::Empty => return Err(no_link(name, root)),
                Slot::Shard(link) => link.cid,
            };
            way.push(below);
            match self.unixfs(&below).await? {
                Unixfs::Node(next, shard) if shard.kind == Kind::Shard => {
                    (node, fs) = (next, shard);
                }
                _ => return Err(malformed(&below, &"a HAMT leads to what is no shard")),
            }
        }
    }

    /// Follows keys and indexes inside a block up to its first link; `None` when they end in data.
    async fn inside(&self, cid: &Cid, names: &[String]) -> Result<Option<(Cid, usize)>, DagError> {
        let block = self.block(cid).await?;
        let root = codecs::decode(cid.codec(), block.data()).map_err(|e| malformed(cid, &e))?;
        let mut at = &root;
        for (name, used) in names.iter().zip(1..) {
            at = step(at, name).ok_or_else(|| no_link(name, cid))?;
            if let Value::Link(link) = at {
                return Ok(Some((**link, used)));
            }
        }
        Ok(None)
    }
}

/// The value under a key of a map or at an index of a list.
pub fn step<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::List(_) => value.index(name.parse().ok()?),
        _ => value.get(name),
    }
}

fn no_link(name: &str, cid: &Cid) -> DagError {
    DagError::NoLink { name: name.to_owned(), cid: Box::new(*cid) }
}
