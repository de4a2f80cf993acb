//! The trickle layout: leaves near the root first, deeper subtrees as the file grows, so that a
//! reader can begin before the tree is known.
//!
//! A node holds `width` leaves, then four subtrees of each depth below its own. Gives children
//! before their parents and holds one path of unfinished nodes: memory is width x depth links.
//!
//! Source: boxo `ipld/unixfs/importer/trickle`.

use super::layout::{Emit, close_node};
use super::node::Meta;
use super::{Child, UnixfsError};
use crate::ipld::block::Prefix;

/// Subtrees of one depth below a node.
const REPEAT: usize = 4;

/// Collects leaves in order and builds the nodes above them.
#[derive(Debug)]
pub struct Trickle {
    width: usize,
    prefix: Prefix,
    /// The root first, each an open child of the one before.
    open: Vec<Open>,
}

/// A node that still takes children.
#[derive(Debug, Default)]
struct Open {
    children: Vec<Child>,
    /// Subtrees below it are less deep than this; none for the root, which grows for ever.
    deepest: Option<usize>,
    subtrees: usize,
}

impl Open {
    /// Depth of the next subtree, if it takes one more.
    fn next_depth(&self) -> Option<usize> {
        let depth = 1 + self.subtrees / REPEAT;
        self.deepest.is_none_or(|deepest| depth < deepest).then_some(depth)
    }
}

impl Trickle {
    /// Nodes of at most `width` leaves, under `prefix`.
    pub fn new(width: usize, prefix: Prefix) -> Self {
        Self { width: width.max(2), prefix, open: vec![Open::default()] }
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// `emit`'s, or the hash function's.
    pub fn push<E: From<UnixfsError>>(&mut self, leaf: Child, emit: Emit<'_, E>) -> Result<(), E> {
        while let Some(top) = self.open.last_mut() {
            if top.children.len() < self.width {
                top.children.push(leaf);
                return Ok(());
            }
            match top.next_depth() {
                Some(depth) => self.open.push(Open { deepest: Some(depth), ..Open::default() }),
                None => self.close(emit)?,
            }
        }
        Ok(())
    }

    /// Closes what is open and gives the root, which carries `meta`. Also a file of one leaf has a root above it; one
    /// without leaves is a root alone.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish<E: From<UnixfsError>>(
        mut self,
        meta: &Meta,
        emit: Emit<'_, E>,
    ) -> Result<Child, E> {
        while self.open.len() > 1 {
            self.close(emit)?;
        }
        let root = self.open.pop().unwrap_or_default();
        close_node(&root.children, self.prefix, meta, emit)
    }

    /// Closes the deepest open node, which is not the root, and hands it to the one above.
    fn close<E: From<UnixfsError>>(&mut self, emit: Emit<'_, E>) -> Result<(), E> {
        let Some(done) = self.open.pop() else { return Ok(()) };
        let child = close_node(&done.children, self.prefix, &Meta::NONE, emit)?;
        if let Some(above) = self.open.last_mut() {
            above.children.push(child);
            above.subtrees += 1;
        }
        Ok(())
    }
}
