//! Layouts: how the leaves of a file hang together. What both of them share, and the choice.

use bytes::Bytes;

use super::balanced::Balanced;
use super::node::{self, Meta};
use super::trickle::Trickle;
use super::{Child, UnixfsError};
use crate::ipld::block::{Block, Prefix};
use crate::ipld::codec::dag_pb::{Link, Node};

/// Takes each finished block; its error stops the build.
pub type Emit<'a, E> = &'a mut dyn FnMut(Block) -> Result<(), E>;

/// A layout by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Every leaf at the same depth.
    Balanced,
    /// Leaves near the root first.
    Trickle,
}

/// A tree in the making under one of the layouts.
#[derive(Debug)]
pub enum Builder {
    /// See [`Balanced`].
    Balanced(Balanced),
    /// See [`Trickle`].
    Trickle(Trickle),
}

impl Builder {
    /// Nodes of at most `width` links (`width` leaves, for trickle), under `prefix`, which is
    /// dag-pb's.
    pub fn new(layout: Layout, width: usize, prefix: Prefix) -> Self {
        match layout {
            Layout::Balanced => Self::Balanced(Balanced::new(width, prefix)),
            Layout::Trickle => Self::Trickle(Trickle::new(width, prefix)),
        }
    }

    /// Takes the next leaf.
    ///
    /// # Errors
    /// `emit`'s, or the hash function's.
    pub fn push<E: From<UnixfsError>>(&mut self, leaf: Child, emit: Emit<'_, E>) -> Result<(), E> {
        match self {
            Self::Balanced(tree) => tree.push(leaf, emit),
            // An empty file has no leaf under this layout: its root says it all.
            Self::Trickle(_) if leaf.size == 0 => Ok(()),
            Self::Trickle(tree) => tree.push(leaf, emit),
        }
    }

    /// Closes what is open and gives the root, which carries `meta` if it stands above leaves: a
    /// single leaf was made by whoever pushed it.
    ///
    /// # Errors
    /// As [`Self::push`]; a balanced tree of no leaves.
    pub fn finish<E: From<UnixfsError>>(self, meta: &Meta, emit: Emit<'_, E>) -> Result<Child, E> {
        match self {
            Self::Balanced(tree) => {
                let root = tree.finish(meta, emit)?;
                root.ok_or_else(|| UnixfsError::Malformed("a file without chunks").into())
            }
            Self::Trickle(tree) => tree.finish(meta, emit),
        }
    }
}

/// Turns children into the node above them.
pub(super) fn close_node<E: From<UnixfsError>>(
    children: &[Child],
    prefix: Prefix,
    meta: &Meta,
    emit: Emit<'_, E>,
) -> Result<Child, E> {
    let sizes: Vec<u64> = children.iter().map(|c| c.size).collect();
    let links = children
        .iter()
        // The name is present and empty: leaving it out would change every CID.
        .map(|c| Link { cid: c.cid, name: Some(Bytes::new()), tsize: Some(c.tsize) })
        .collect();
    let pb = Node { links, data: Some(node::with_meta(node::file_payload(&sizes), meta)) };
    let (block, own) = seal(&pb, prefix)?;
    let cid = *block.cid();
    emit(block)?;
    let tsize = children.iter().fold(own, |sum, c| sum.saturating_add(c.tsize));
    let size = sizes.iter().fold(0u64, |sum, s| sum.saturating_add(*s));
    Ok(Child { cid, tsize, size })
}

/// Encodes and names a node; also gives its serialized size in bytes.
pub(super) fn seal(node: &Node, prefix: Prefix) -> Result<(Block, u64), UnixfsError> {
    let bytes = node.encode();
    let own = bytes.len() as u64;
    let block =
        Block::hashed(prefix, bytes.into()).map_err(|e| UnixfsError::Hash(e.to_string()))?;
    Ok((block, own))
}
