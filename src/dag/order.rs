//! The order in which every block of a DAG is visited once: depth first, parents before children,
//! as they are met first.
//!
//! Owns no block: its user opens what comes next and hands the links back.

use std::collections::{HashMap, HashSet};

use sha2::{Digest as _, Sha256};

use crate::ipld::cid::Cid;

/// A fingerprint in place of a CID, which would take five times the memory. Memory of a walk is
/// about 50 bytes for each block of the DAG.
pub type Mark = [u8; 32];

/// A walk in progress.
#[derive(Default)]
pub struct Order {
    stack: Vec<std::vec::IntoIter<Cid>>,
    /// Bytes met, and the codec under which they were met first.
    met: HashMap<Mark, u64>,
    /// The same bytes under another codec may link to other blocks. Rare, so kept apart.
    again: HashSet<(Mark, u64)>,
}

/// A block to visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Visit {
    /// Which.
    pub cid: Cid,
    /// Whether its bytes were visited before, under another codec.
    pub known: bool,
}

impl Order {
    /// A walk from `root`.
    pub fn new(root: Cid) -> Self {
        Self { stack: vec![vec![root].into_iter()], ..Self::default() }
    }

    /// Puts the links of the block that came last before whatever is waiting.
    pub fn below(&mut self, links: Vec<Cid>) {
        if !links.is_empty() {
            self.stack.push(links.into_iter());
        }
    }

    fn meet(&mut self, cid: &Cid) -> Option<Visit> {
        let mark = mark(&cid.hash().to_bytes());
        let known = match self.met.get(&mark) {
            None => {
                self.met.insert(mark, cid.codec());
                false
            }
            Some(codec) if *codec == cid.codec() => return None,
            Some(_) if !self.again.insert((mark, cid.codec())) => return None,
            Some(_) => true,
        };
        Some(Visit { cid: *cid, known })
    }
}

impl Iterator for Order {
    type Item = Visit;

    fn next(&mut self) -> Option<Visit> {
        loop {
            match self.stack.last_mut()?.next() {
                Some(cid) => {
                    if let Some(visit) = self.meet(&cid) {
                        return Some(visit);
                    }
                }
                None => drop(self.stack.pop()),
            }
        }
    }
}

/// The fingerprint of a CID or multihash in binary form.
pub fn mark(name: &[u8]) -> Mark {
    Sha256::digest(name).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid::{codec, digest, hash};

    fn cid(codec: u64, text: &str) -> Cid {
        Cid::new_v1(codec, digest(hash::SHA2_256, text.as_bytes()).unwrap())
    }

    #[test]
    fn each_block_comes_once_parents_first() {
        let [root, a, b, c] = ["root", "a", "b", "c"].map(|text| cid(codec::DAG_CBOR, text));
        let links = |of: Cid| match of {
            of if of == root => vec![a, b, a],
            of if of == a => vec![c],
            of if of == b => vec![c, a],
            _ => vec![],
        };
        let (mut order, mut met) = (Order::new(root), Vec::new());
        while let Some(Visit { cid, known }) = order.next() {
            assert!(!known);
            met.push(cid);
            order.below(links(cid));
        }
        assert_eq!(met, [root, a, c, b]);
    }

    #[test]
    fn bytes_under_another_codec_are_opened_again_but_known() {
        let (raw, pb) = (cid(codec::RAW, "x"), cid(codec::DAG_PB, "x"));
        let mut order = Order::new(raw);
        order.below(vec![pb, raw, pb]);
        let met: Vec<(Cid, bool)> = order.map(|visit| (visit.cid, visit.known)).collect();
        assert_eq!(met, [(pb, false), (raw, true)]);
    }
}
