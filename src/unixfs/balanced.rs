//! The balanced layout: every leaf at the same depth, nodes filled from the left.
//!
//! Gives children before their parents, and holds one unfinished node a level: memory is
//! width x depth links, whatever the file's size.

use bytes::Bytes;

use super::{Child, UnixfsError, node};
use crate::ipld::block::{Block, Prefix};
use crate::ipld::codec::dag_pb::{Link, Node};

/// Collects leaves in order and builds the nodes above them.
#[derive(Debug)]
pub struct Balanced {
    width: usize,
    prefix: Prefix,
    levels: Vec<Vec<Child>>,
}

/// Takes each finished block; its error stops the build.
pub type Emit<'a, E> = &'a mut dyn FnMut(Block) -> Result<(), E>;

impl Balanced {
    /// Nodes of at most `width` links, under `prefix` (its codec is replaced by dag-pb).
    pub fn new(width: usize, prefix: Prefix) -> Self {
        let prefix = prefix.with_codec(crate::ipld::cid::codec::DAG_PB);
        Self { width: width.max(2), prefix, levels: Vec::new() }
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// `emit`'s, or the hash function's.
    pub fn push<E: From<UnixfsError>>(&mut self, leaf: Child, emit: Emit<'_, E>) -> Result<(), E> {
        let mut child = leaf;
        for level in 0.. {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(self.width));
            }
            self.levels[level].push(child);
            if self.levels[level].len() < self.width {
                break;
            }
            child = self.close(level, emit)?;
        }
        Ok(())
    }

    /// Closes what is open and gives the root; `None` when no leaf came.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish<E: From<UnixfsError>>(mut self, emit: Emit<'_, E>) -> Result<Option<Child>, E> {
        let mut level = 0;
        while level < self.levels.len() {
            let top = level + 1 == self.levels.len();
            match self.levels[level].len() {
                0 => {}
                1 if top => return Ok(self.levels[level].pop()),
                _ => {
                    let parent = self.close(level, emit)?;
                    if top {
                        return Ok(Some(parent));
                    }
                    self.levels[level + 1].push(parent);
                }
            }
            level += 1;
        }
        Ok(None)
    }

    /// Turns the open node of a level into a block.
    fn close<E: From<UnixfsError>>(&mut self, level: usize, emit: Emit<'_, E>) -> Result<Child, E> {
        let children = std::mem::take(&mut self.levels[level]);
        let sizes: Vec<u64> = children.iter().map(|c| c.size).collect();
        let links = children
            .iter()
            // The name is present and empty: leaving it out would change every CID.
            .map(|c| Link { cid: c.cid, name: Some(Bytes::new()), tsize: Some(c.tsize) })
            .collect();
        let pb = Node { links, data: Some(node::file_payload(&sizes)) };
        let (block, own) = seal(&pb, self.prefix)?;
        let cid = *block.cid();
        emit(block)?;
        let tsize = children.iter().fold(own, |sum, c| sum.saturating_add(c.tsize));
        let size = sizes.iter().fold(0u64, |sum, s| sum.saturating_add(*s));
        Ok(Child { cid, tsize, size })
    }
}

/// Encodes and names a node; also gives its serialized size in bytes.
pub(super) fn seal(node: &Node, prefix: Prefix) -> Result<(Block, u64), UnixfsError> {
    let bytes = node.encode();
    let own = bytes.len() as u64;
    let block =
        Block::hashed(prefix, bytes.into()).map_err(|e| UnixfsError::Hash(e.to_string()))?;
    Ok((block, own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid::codec;

    fn leaf(n: u64) -> Child {
        let cid = Prefix::v1(codec::RAW).cid(&n.to_be_bytes()).unwrap();
        Child { cid, tsize: 8, size: 8 }
    }

    /// Builds over `n` leaves; gives the root and the number of nodes made.
    fn build(n: u64, width: usize) -> (Option<Child>, usize) {
        let mut tree = Balanced::new(width, Prefix::v1(codec::DAG_PB));
        let mut made = 0;
        let mut emit = |_| -> Result<(), UnixfsError> {
            made += 1;
            Ok(())
        };
        for i in 0..n {
            tree.push(leaf(i), &mut emit).unwrap();
        }
        (tree.finish(&mut emit).unwrap(), made)
    }

    #[test]
    fn node_counts_follow_the_width() {
        assert_eq!(build(0, 3), (None, 0));
        assert_eq!(build(1, 3), (Some(leaf(0)), 0));
        for (leaves, nodes) in [(2, 1), (3, 1), (4, 3), (9, 4), (10, 7)] {
            let (root, made) = build(leaves, 3);
            assert_eq!((root.unwrap().size, made), (leaves * 8, nodes), "{leaves} leaves");
        }
    }
}
