//! The balanced layout: every leaf at the same depth, nodes filled from the left.
//!
//! Gives children before their parents, and holds one unfinished node a level: memory is
//! width x depth links, whatever the file's size.

use super::layout::{Emit, close_node};
use super::{Child, UnixfsError};
use crate::ipld::block::Prefix;

/// Collects leaves in order and builds the nodes above them.
#[derive(Debug)]
pub struct Balanced {
    width: usize,
    prefix: Prefix,
    levels: Vec<Vec<Child>>,
}

impl Balanced {
    /// Nodes of at most `width` links, under `prefix`.
    pub fn new(width: usize, prefix: Prefix) -> Self {
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
        close_node(&children, self.prefix, emit)
    }
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
