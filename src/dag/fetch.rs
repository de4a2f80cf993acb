//! Fetching a DAG: every block below a root comes into the store, as many at a time as keep the
//! line full.
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

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;

use super::order::{Mark, mark};
use super::{Dag, DagError, links_of};
use crate::ipld::block::Block;
use crate::ipld::cid::Cid;
use crate::ipld::codec as codecs;
use crate::store::{Core, Intent};

/// Blocks asked for at a time. With blocks of 256 KiB, 64 MiB are on their way at most; peers
/// that answer at a distance of 100 ms keep a line of 5 Gbit/s full.
const FLYING: usize = 256;
/// Links that wait, beyond which no further node is opened: a folder's worth. Bounds memory, with
/// the longest node of a DAG.
const WAITING: usize = 64 << 10;

/// How far a fetch is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Blocks met: fetched, or here already.
    pub blocks: u64,
    /// Blocks that were fetched.
    pub fetched: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A DAG being fetched.
struct Fetch<'a> {
    dag: &'a Dag,
    recursive: bool,
    intent: &'a Intent,
    /// Not in the store.
    missing: Vec<Cid>,
    /// In the store, not looked into.
    unopened: Vec<Cid>,
    /// Nodes with links that were opened.
    met: HashSet<Mark>,
    so_far: Fetched,
}

impl Dag {
    /// Brings every block below `root` that is not here into the store; what is known to be
    /// complete is not walked. Tells how far it is after every block that it fetches or opens. Without `recursive` only the
    /// root. Costs 48 bytes of memory for each node that has links.
    ///
    /// # Errors
    /// As [`Dag::block`], and [`DagError::Malformed`] for a node whose links cannot be read.
    pub async fn fetch(
        &self,
        root: Cid,
        recursive: bool,
        intent: &Intent,
        tell: &mut (dyn FnMut(Fetched) + Send),
    ) -> Result<Fetched, DagError> {
        let mut fetch = Fetch {
            dag: self,
            recursive,
            intent,
            missing: Vec::new(),
            unopened: Vec::new(),
            met: HashSet::new(),
            so_far: Fetched::default(),
        };
        fetch.sort(vec![root]).await?;
        let mut flying = FuturesUnordered::new();
        loop {
            while flying.len() < FLYING
                && let Some(cid) = fetch.missing.pop()
            {
                flying.push(async move { self.block(&cid).await });
            }
            // What is here is opened while others are on their way, and only as links are needed.
            let room = flying.len() < FLYING && fetch.missing.len() < WAITING;
            if room && let Some(cid) = fetch.unopened.pop() {
                let block = self.block(&cid).await?;
                fetch.open(&block).await?;
                tell(fetch.so_far);
                continue;
            }
            let Some(block) = flying.next().await.transpose()? else { break };
            fetch.so_far.fetched = fetch.so_far.fetched.saturating_add(1);
            fetch.so_far.bytes = fetch.so_far.bytes.saturating_add(block.data().len() as u64);
            fetch.open(&block).await?;
            tell(fetch.so_far);
        }
        Ok(fetch.so_far)
    }
}

impl Fetch<'_> {
    /// Takes up what a block links to.
    async fn open(&mut self, block: &Block) -> Result<(), DagError> {
        if !self.recursive || !codecs::can_link(block.cid().codec()) {
            return Ok(());
        }
        let links: Vec<Cid> = links_of(block)?.into_iter().map(|(cid, _)| cid).collect();
        // Leaves are not remembered: looking at one again costs less.
        if links.is_empty() || !self.met.insert(mark(&block.cid().to_bytes())) {
            return Ok(());
        }
        self.sort(links).await
    }

    /// Tells what is missing from what is here, with one visit to the store; the first link comes
    /// off its pile first.
    async fn sort(&mut self, links: Vec<Cid>) -> Result<(), DagError> {
        self.so_far.blocks = self.so_far.blocks.saturating_add(links.len() as u64);
        let intent = self.intent.clone();
        let look = move |core: &Core| {
            let (mut missing, mut unopened) = (Vec::new(), Vec::new());
            for cid in links.into_iter().rev() {
                let inline = Block::inline(&cid).is_some();
                if !inline && core.look(&intent, cid.hash())?.is_none() {
                    missing.push(cid);
                } else if codecs::can_link(cid.codec())
                    && !core.is_leaf(&cid)?
                    && !core.is_complete(&cid)?
                {
                    unopened.push(cid);
                }
            }
            Ok::<_, crate::store::StoreError>((missing, unopened))
        };
        let (missing, unopened) = self.dag.store.run(look).await?;
        self.missing.extend(missing);
        self.unopened.extend(unopened);
        Ok(())
    }
}
