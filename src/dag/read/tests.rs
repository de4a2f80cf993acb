//! Reading over every layout: the right bytes, and no node that does not hold any of them.

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};

use super::*;
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::codec;
use crate::ipld::codec::dag_pb::{Link, Node};
use crate::store::Store;
use crate::unixfs::layout::{Builder, Layout};
use crate::unixfs::node::{Leaf, Meta, leaf_frame};
use crate::unixfs::{Child, UnixfsError};

/// Random files, and ranges read of each.
const FILES: u64 = 60;
const RANGES: usize = 12;

/// A node of a file, where it begins, and what is below it.
struct Tree {
    block: Block,
    content: Vec<u8>,
    below: Vec<Tree>,
    /// Bytes of the content that the node holds itself.
    own: usize,
}

type Random = rand_chacha::ChaCha8Rng;

fn below(random: &mut Random, end: usize) -> usize {
    random.next_u32() as usize % end
}

fn leaf(random: &mut Random) -> Tree {
    let len = [0, 1, 5, 32, 70][below(random, 5)];
    let mut content = vec![0; len];
    random.fill_bytes(&mut content);
    let kind = [Leaf::Block, Leaf::File, Leaf::Raw][below(random, 3)];
    let (head, tail) = leaf_frame(kind, len);
    let codec = if kind == Leaf::Block { codec::RAW } else { codec::DAG_PB };
    let block =
        Block::hashed(Prefix::v1(codec), [head, content.clone(), tail].concat().into()).unwrap();
    Tree { block, own: len, content, below: Vec::new() }
}

/// An inner node by hand, for the importer makes none that holds bytes of its own: `own` of them,
/// then the children's.
fn inner(own: &[u8], below: Vec<Tree>) -> Tree {
    let varint = |out: &mut Vec<u8>, tag: u8, mut number: u64| {
        out.push(tag);
        while number > 0x7f {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    };
    let mut payload = vec![0x08, 0x02];
    if !own.is_empty() {
        varint(&mut payload, 0x12, own.len() as u64);
        payload.extend_from_slice(own);
    }
    let content: Vec<u8> =
        own.iter().copied().chain(below.iter().flat_map(|t| t.content.iter().copied())).collect();
    varint(&mut payload, 0x18, content.len() as u64);
    below.iter().for_each(|child| varint(&mut payload, 0x20, child.content.len() as u64));
    let link = |child: &Tree| Link {
        cid: *child.block.cid(),
        name: Some(Bytes::new()),
        tsize: Some(child.content.len() as u64),
    };
    let node = Node { links: below.iter().map(link).collect(), data: Some(payload.into()) };
    let block = Block::hashed(Prefix::v1(codec::DAG_PB), node.encode().into()).unwrap();
    Tree { block, own: own.len(), content, below }
}

/// Any shape at all, as other importers may make them.
fn wild(random: &mut Random, depth: usize) -> Tree {
    if depth == 0 || below(random, 5) == 0 {
        return leaf(random);
    }
    let children = (0..1 + below(random, 4)).map(|_| wild(random, depth - 1)).collect();
    let mut own = vec![0; [0, 0, 3, 20][below(random, 4)]];
    random.fill_bytes(&mut own);
    inner(&own, children)
}

/// A file as the importer lays it out.
fn laid_out(random: &mut Random, layout: Layout) -> Tree {
    let leaves: Vec<Tree> = (0..1 + below(random, 40)).map(|_| leaf(random)).collect();
    let width = 2 + below(random, 4);
    let mut made: Vec<Tree> = Vec::new();
    let mut builder = Builder::new(layout, width, Prefix::v1(codec::DAG_PB));
    let mut root = Vec::new();
    let mut emit = |block: Block| -> Result<(), UnixfsError> {
        root.push(block);
        Ok(())
    };
    for leaf in &leaves {
        let (cid, size) = (*leaf.block.cid(), leaf.content.len() as u64);
        builder.push(Child { cid, tsize: size, size }, &mut emit).unwrap();
    }
    let top = builder.finish(&Meta::NONE, &mut emit).unwrap();
    made.extend(leaves);
    // Children come before their parents: each node finds its own among those made before.
    for block in root {
        let node = Node::decode(block.data()).unwrap();
        let children = node.links.iter().map(|link| {
            let known = made.iter().find(|tree| *tree.block.cid() == link.cid).unwrap();
            known.again()
        });
        let below: Vec<Tree> = children.collect();
        let content = below.iter().flat_map(|tree| tree.content.iter().copied()).collect();
        made.push(Tree { block, content, below, own: 0 });
    }
    made.into_iter().find(|tree| *tree.block.cid() == top.cid).unwrap()
}

impl Tree {
    fn again(&self) -> Self {
        let below = self.below.iter().map(Self::again).collect();
        Self { block: self.block.clone(), content: self.content.clone(), below, own: self.own }
    }

    /// The blocks that hold `start..end`, and those on the way to them.
    fn covering<'a>(&'a self, start: usize, end: usize, found: &mut Vec<&'a Block>) {
        found.push(&self.block);
        let mut at = self.own;
        for child in &self.below {
            let len = child.content.len();
            let (from, to) = (start.max(at), end.min(at + len));
            if from < to {
                child.covering(from - at, to - at, found);
            }
            at += len;
        }
    }
}

async fn read(dag: &Dag, cid: &Cid, start: u64, end: u64) -> Result<Vec<u8>, DagError> {
    let mut content = dag.read(cid, start, end).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = content.recv().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// Reads a range out of a store that has nothing but the blocks that cover it.
async fn reads(tree: &Tree, start: usize, end: usize, seed: u64) {
    let store = Store::in_memory().unwrap();
    let core = store.core();
    let mut needed = Vec::new();
    tree.covering(start.min(tree.content.len()), end.min(tree.content.len()), &mut needed);
    let mut writer = core.writer();
    for block in needed {
        writer.put(block).unwrap();
    }
    writer.commit(&[]).unwrap();
    let dag = Dag::new(store);
    let size = dag.file_size(tree.block.cid()).await.unwrap();
    assert_eq!(size, tree.content.len() as u64);
    let found = read(&dag, tree.block.cid(), start as u64, end as u64).await;
    let found = found.unwrap_or_else(|e| panic!("seed {seed}, {start}..{end} of {size}: {e}"));
    let meant = tree.content.get(start.min(tree.content.len())..end.min(tree.content.len()));
    assert!(found == meant.unwrap_or_default(), "seed {seed}, {start}..{end} of {size}");
}

#[tokio::test]
async fn any_range_of_any_layout_reads_right_and_touches_only_what_covers_it() {
    for seed in 0..FILES {
        let mut random = Random::seed_from_u64(seed);
        let tree = match seed % 3 {
            0 => laid_out(&mut random, Layout::Balanced),
            1 => laid_out(&mut random, Layout::Trickle),
            _ => wild(&mut random, 1 + seed as usize % 5),
        };
        reads(&tree, 0, tree.content.len(), seed).await;
        reads(&tree, 0, 0, seed).await;
        for _ in 0..RANGES {
            let start = below(&mut random, tree.content.len() + 3);
            let end = start + below(&mut random, tree.content.len() + 3);
            reads(&tree, start, end, seed).await;
        }
    }
}

#[tokio::test]
async fn a_size_that_the_parent_tells_otherwise_ends_the_reading() {
    let mut random = Random::seed_from_u64(7);
    let mut child = leaf(&mut random);
    while child.content.is_empty() {
        child = leaf(&mut random);
    }
    let block = child.block.clone();
    child.content.push(0);
    let root = inner(b"", vec![child]);
    let store = Store::in_memory().unwrap();
    let core = store.core();
    let mut writer = core.writer();
    writer.put(&block).unwrap();
    writer.put(&root.block).unwrap();
    writer.commit(&[]).unwrap();
    let error = read(&Dag::new(store), root.block.cid(), 0, 9).await.unwrap_err();
    assert!(error.to_string().contains("not what its parent says"), "{error}");
}
