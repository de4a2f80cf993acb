//! The balanced layout: every leaf at the same depth, nodes filled from the left.
//!
//! Gives children before their parents, and holds one unfinished node a level: memory is
//! width x depth links, whatever the file's size.

use super::layout::{Emit, close_node};
use super::node::Meta;
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
        self.place(0, leaf, emit)
    }

    /// Puts a node on its level. A full one is closed only when the next comes: it may be the root,
    /// which is made differently.
    fn place<E: From<UnixfsError>>(
        &mut self,
        from: usize,
        mut child: Child,
        emit: Emit<'_, E>,
    ) -> Result<(), E> {
        for level in from.. {
            if self.levels.len() == level {
                self.levels.push(Vec::with_capacity(self.width));
            }
            if self.levels[level].len() < self.width {
                self.levels[level].push(child);
                break;
            }
            let parent = self.close(level, &Meta::NONE, emit)?;
            self.levels[level].push(child);
            child = parent;
        }
        Ok(())
    }

    /// Closes what is open and gives the root, which carries `meta` unless it is a leaf; `None` when
    /// no leaf came.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish<E: From<UnixfsError>>(
        mut self,
        meta: &Meta,
        emit: Emit<'_, E>,
    ) -> Result<Option<Child>, E> {
        let mut level = 0;
        while level + 1 < self.levels.len() {
            let parent = self.close(level, &Meta::NONE, emit)?;
            self.place(level + 1, parent, emit)?;
            level += 1;
        }
        match self.levels.last_mut() {
            None => Ok(None),
            // A level above the leaves begins when the second node comes.
            Some(top) if top.len() == 1 => Ok(top.pop()),
            Some(_) => self.close(level, meta, emit).map(Some),
        }
    }

    /// Turns the open node of a level into a block.
    fn close<E: From<UnixfsError>>(
        &mut self,
        level: usize,
        meta: &Meta,
        emit: Emit<'_, E>,
    ) -> Result<Child, E> {
        let children = std::mem::take(&mut self.levels[level]);
        close_node(&children, self.prefix, meta, emit)
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
        (tree.finish(&Meta::NONE, &mut emit).unwrap(), made)
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
