//! Which children of a file node hold a range of its bytes.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::node::FsNode;

/// A child and the part of it that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Which link.
    pub link: usize,
    /// First byte wanted, relative to the child.
    pub start: u64,
    /// One past the last byte wanted, relative to the child.
    pub end: u64,
}

/// The node's own bytes in `start..end`, then the children that overlap it, in order.
pub fn covering(node: &FsNode, start: u64, end: u64) -> (bytes::Bytes, Vec<Wanted>) {
    let own = node.data.len() as u64;
    let from = start.min(own) as usize;
    let to = end.min(own) as usize;
    let held = node.data.slice(from..to.max(from));
    let mut wanted = Vec::new();
    let mut at = own;
    for (link, size) in node.blocksizes.iter().enumerate() {
        let next = at.saturating_add(*size);
        if at.max(start) < next.min(end) {
            wanted.push(Wanted {
                link,
                start: start.saturating_sub(at),
                end: end.min(next).saturating_sub(at),
            });
        }
        at = next;
    }
    (held, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unixfs::node::Kind;

    #[test]
    fn only_what_overlaps_is_wanted() {
        let node = FsNode {
            kind: Kind::File,
            data: bytes::Bytes::from_static(b"abc"),
            blocksizes: vec![10, 0, 5],
            size: 18,
            fanout: 0,
            mode: None,
            mtime: None,
        };
        let (held, wanted) = covering(&node, 1, 14);
        assert_eq!(&held[..], b"bc");
        let first = Wanted { link: 0, start: 0, end: 10 };
        assert_eq!(wanted, [first, Wanted { link: 2, start: 0, end: 1 }]);
        assert_eq!(covering(&node, 18, 99), (bytes::Bytes::new(), vec![]));
        assert_eq!(covering(&node, 5, 5).1, []);
    }
}
