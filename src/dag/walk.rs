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

use super::{Dag, DagError};
use crate::ipld::cid::{Cid, Multihash};
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
    /// Whether each block is shown once. Costs memory for each block met.
    pub unique: bool,
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
        let mut seen: HashSet<Multihash> = HashSet::new();
        let mut stack: Vec<Level> = Vec::new();
        let bound = options.depth.unwrap_or(u64::MAX);
        if bound > 0 {
            stack.push(Level { from: root, links: self.links(&root).await?.into_iter() });
        }
        while let Some(level) = stack.last_mut() {
            let Some((to, name)) = level.links.next() else {
                stack.pop();
                continue;
            };
            if options.unique && !seen.insert(*to.hash()) {
                continue;
            }
            if out.send(Ok(Step { from: level.from, to, name })).await.is_err() {
                return Ok(());
            }
            if (stack.len() as u64) < bound {
                stack.push(Level { from: to, links: self.links(&to).await?.into_iter() });
            }
        }
        Ok(())
    }
}
