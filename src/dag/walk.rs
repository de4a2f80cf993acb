//! Walking every block below a root.
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

use bytes::Bytes;
use tokio::sync::mpsc;

use super::order::{Mark, mark};
use super::{Dag, DagError};
use crate::ipld::cid::Cid;
use crate::store::StoreError;
use crate::task;

/// Steps waiting for the reader.
const STEPS: usize = 64;

/// A link that the walk followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The block that links.
    pub from: Cid,
    /// The block that is linked to.
    pub to: Cid,
    /// The link's name; empty where the codec has none.
    pub name: Bytes,
}

/// How a walk goes.
#[derive(Clone, Copy, Debug)]
pub struct WalkOptions {
    /// Levels below the root that are shown; `None` for all.
    pub depth: Option<u64>,
    /// Whether each block is shown once. Costs about 50 bytes of memory for each block met.
    pub unique: bool,
    /// Whether only blocks that are not here are shown, the root among them. What lies below them
    /// is not known.
    pub missing: bool,
}

/// Links as the walk meets them, parents before children, in the order of the blocks.
pub type Steps = mpsc::Receiver<Result<Step, DagError>>;

/// A block whose links are being followed.
struct Level {
    from: Cid,
    links: std::vec::IntoIter<(Cid, Bytes)>,
}

impl Dag {
    /// Streams the links below `root`, depth first.
    pub fn walk(&self, root: Cid, options: WalkOptions) -> Steps {
        let (out, steps) = mpsc::channel(STEPS);
        let dag = self.clone();
        task::detach(async move {
            if let Err(error) = dag.follow(root, options, &out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        steps
    }

    async fn follow(
        &self,
        root: Cid,
        options: WalkOptions,
        out: &mpsc::Sender<Result<Step, DagError>>,
    ) -> Result<(), DagError> {
        let mut seen: HashSet<Mark> = HashSet::new();
        let mut stack: Vec<Level> = Vec::new();
        let bound = options.depth.unwrap_or(u64::MAX);
        if bound > 0 {
            match self.below(root, options).await? {
                Some(level) => stack.push(level),
                None => {
                    let _ = out.send(Ok(Step { from: root, to: root, name: Bytes::new() })).await;
                }
            }
        }
        while let Some(level) = stack.last_mut() {
            let Some((to, name)) = level.links.next() else {
                stack.pop();
                continue;
            };
            if options.unique && !seen.insert(mark(&to.hash().to_bytes())) {
                continue;
            }
            let step = Step { from: level.from, to, name };
            if !options.missing && out.send(Ok(step.clone())).await.is_err() {
                return Ok(());
            }
            // What is missing is found by looking, at the last level, too.
            let deeper = (stack.len() as u64) < bound;
            if !deeper && !options.missing {
                continue;
            }
            match self.below(to, options).await? {
                Some(level) if deeper => stack.push(level),
                Some(_) => {}
                None if out.send(Ok(step)).await.is_err() => return Ok(()),
                None => {}
            }
        }
        Ok(())
    }

    /// What a block links to; `None` when what is missing is looked for and this is.
    async fn below(&self, cid: Cid, options: WalkOptions) -> Result<Option<Level>, DagError> {
        if options.missing && self.store.run(move |core| core.stat(&cid)).await?.is_none() {
            return Ok(None);
        }
        match self.links(&cid).await {
            Ok(links) => Ok(Some(Level { from: cid, links: links.into_iter() })),
            Err(DagError::NotFound(_) | DagError::Store(StoreError::Corrupt { .. }))
                if options.missing =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::block::{Block, Prefix};
    use crate::ipld::cid::codec;
    use crate::ipld::codec::{Value, encode};
    use crate::store::Store;

    fn over(cids: &[Cid]) -> Block {
        let links = cids.iter().map(|cid| Value::Link(Box::new(*cid))).collect();
        let data = encode(codec::DAG_CBOR, &Value::List(links)).unwrap();
        Block::hashed(Prefix::v1(codec::DAG_CBOR), data.into()).unwrap()
    }

    async fn missing(store: &Store, root: Cid, depth: Option<u64>) -> Vec<Cid> {
        let options = WalkOptions { depth, unique: true, missing: true };
        let mut steps = Dag::new(store.clone()).walk(root, options);
        let mut found = Vec::new();
        while let Some(step) = steps.recv().await {
            found.push(step.unwrap().to);
        }
        found
    }

    #[tokio::test]
    async fn what_is_missing_is_named_once_and_nothing_else() {
        let leaf = |text: &'static str| {
            Block::hashed(Prefix::v1(codec::RAW), Bytes::from_static(text.as_bytes())).unwrap()
        };
        let (here, gone, away) = (leaf("here"), leaf("gone"), leaf("away"));
        let deep = over(&[*gone.cid(), *here.cid(), *away.cid()]);
        let lost = over(&[*here.cid()]);
        let root = over(&[*gone.cid(), *deep.cid(), *lost.cid(), *deep.cid()]);
        let store = Store::in_memory().unwrap();
        for block in [&here, &deep, &root] {
            let core = store.core();
            let mut writer = core.writer();
            writer.put(block).unwrap();
            writer.commit(&[]).unwrap();
        }
        let all = [*gone.cid(), *away.cid(), *lost.cid()];
        assert_eq!(missing(&store, *root.cid(), None).await, all);
        assert_eq!(missing(&store, *root.cid(), Some(1)).await, [all[0], all[2]]);
        assert_eq!(missing(&store, *lost.cid(), None).await, [*lost.cid()]);
        assert_eq!(missing(&store, *here.cid(), None).await, []);
    }
}
