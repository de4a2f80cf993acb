//! Weighing a DAG that is here: its bytes and blocks, without reading a leaf.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashSet;

use super::order::mark;
use super::{DagError, links_of};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, codec};
use crate::ipld::codec as codecs;
use crate::ipld::codec::dag_pb;
use crate::store::Core;

/// Blocks of a DAG. One that links to others counts once; one that does not, as often as such a
/// block links to it: so the sum is about what a file or folder says of itself, and no DAG is heavier
/// than it takes to walk it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Their bytes.
    pub bytes: u64,
    /// Their number.
    pub blocks: u64,
}

impl Weight {
    fn add(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.blocks = self.blocks.saturating_add(1);
    }
}

/// Weighs the DAG below `root`, all of which is here; stops as soon as it is heavier than `most`
/// bytes. Costs 48 bytes of memory for each node that has links, and the links of one path.
///
/// # Errors
/// [`DagError::NotFound`] for a block that is not here, [`DagError::Malformed`] for one whose links
/// cannot be read; the store's.
pub fn weigh(core: &Core, root: &Cid, most: u64) -> Result<Weight, DagError> {
    let (mut weight, mut met) = (Weight::default(), HashSet::new());
    let mut path = vec![vec![*root].into_iter()];
    while let Some(below) = path.last_mut() {
        let Some(cid) = below.next() else {
            path.pop();
            continue;
        };
        let missing = || DagError::NotFound(Box::new(cid));
        if !codecs::can_link(cid.codec()) || core.is_leaf(&cid)? {
            weight.add(core.stat(&cid)?.ok_or_else(missing)?.size.into());
        } else {
            let node = mark(&cid.to_bytes());
            if met.contains(&node) {
                continue;
            }
            let block = core.get(&cid)?.ok_or_else(missing)?;
            weight.add(block.data().len() as u64);
            let links: Vec<Cid> = links_of(&block)?.into_iter().map(|(cid, _)| cid).collect();
            // Leaves are not remembered: one costs no more when it is met again.
            if !links.is_empty() {
                met.insert(node);
                path.push(links.into_iter());
            }
        }
        if weight.bytes > most {
            break;
        }
    }
    Ok(weight)
}

/// What a root says that its DAG weighs, in bytes: a claim, and no more. At least its own bytes.
pub fn claimed(root: &Block) -> u64 {
    let own = root.data().len() as u64;
    if root.cid().codec() != codec::DAG_PB {
        return own;
    }
    let Ok(node) = dag_pb::Node::decode(root.data()) else { return own };
    let sizes = node.links.iter().map(|link| link.tsize.unwrap_or(0));
    sizes.fold(own, u64::saturating_add)
}
