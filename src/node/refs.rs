//! `refs`: which blocks link to which.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::dag::walk::{Steps, WalkOptions};
use crate::ipld::cid::{self, Cid};
use crate::ipld::path::Path;
use crate::task;

/// Options of `refs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct RefsOptions {
    /// Shape of a line: tokens <src>, <dst>, <linkname>.
    #[arg(long, value_name = "FORMAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    /// Print edges: `<from> -> <to>`.
    #[arg(long, short = 'e')]
    #[serde(alias = "e")]
    pub edges: bool,
    /// Print each block once.
    #[arg(long, short = 'u')]
    #[serde(alias = "u")]
    pub unique: bool,
    /// Print what is linked to from below, too.
    #[arg(long, short = 'r')]
    #[serde(alias = "r")]
    pub recursive: bool,
    /// Levels to print with --recursive; -1 for all.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_depth: Option<i64>,
    /// Print only what is not here, each block once, however deep; nobody is asked for it.
    #[arg(long)]
    pub missing: bool,
}

impl RefsOptions {
    /// The walk that these options ask for.
    fn walk(&self) -> WalkOptions {
        let depth = match (self.recursive || self.missing, self.max_depth) {
            (false, _) => Some(1),
            (true, Some(depth)) => u64::try_from(depth).ok(),
            (true, None) => None,
        };
        WalkOptions { depth, unique: self.unique || self.missing, missing: self.missing }
    }
}

impl Node {
    /// Streams the links below a path.
    ///
    /// # Errors
    /// The path's, at once; the rest as the stream's last item.
    pub async fn refs(&self, path: &Path, options: &RefsOptions) -> Result<Steps, Error> {
        if options.edges && options.format.is_some() {
            return Err(Error::Invalid("using format argument with edges is not allowed".into()));
        }
        let dag = if options.missing { self.local() } else { self.dag.clone() };
        let root = dag.resolve_block(path).await?;
        Ok(dag.walk(root, options.walk()))
    }

    /// Streams every block of the store, as CIDv1 of raw bytes: the store knows hashes, not codecs.
    pub fn refs_local(&self) -> Results<Cid> {
        let (out, found) = mpsc::channel(RESULTS);
        let core = self.store.core();
        task::detach_blocking(move || {
            let walked =
                core.each_block(&mut |hash, _| out.blocking_send(Ok(cid::of_hash(hash))).is_ok());
            if let Err(error) = walked {
                // A reader that is gone wants no error either.
                let _ = out.blocking_send(Err(error.into()));
            }
        });
        found
    }
}
