//! `ls`: the entries of folders.

use bytes::Bytes;
use clap::ArgAction;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::dag::DagError;
use crate::dag::tree::{Entry, What};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::task;

/// Options of `ls`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct LsOptions {
    /// Find out what each entry is.
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub resolve_type: bool,
    /// Find out the size of each file.
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub size: bool,
    /// Print entries as they are found.
    #[arg(long, short = 's')]
    #[serde(alias = "s")]
    pub stream: bool,
}

impl Default for LsOptions {
    fn default() -> Self {
        Self { resolve_type: true, size: true, stream: false }
    }
}

/// One line of `ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LsEntry {
    /// Name; bytes, since names need not be UTF-8.
    pub name: Bytes,
    /// Where it leads.
    pub cid: Cid,
    /// What it is; `None` when nobody asked.
    pub what: Option<What>,
}

impl Node {
    /// Streams the entries of a folder. A file of several blocks shows its blocks, without names,
    /// as in Kubo.
    ///
    /// # Errors
    /// The path's and the root's, at once; the rest as the stream's last item.
    pub async fn ls(&self, path: &Path, options: &LsOptions) -> Result<Results<LsEntry>, Error> {
        let cid = self.dag.resolve_block(path).await?;
        let open = options.resolve_type || options.size;
        let (out, entries) = mpsc::channel(RESULTS);
        let folder = match self.dag.what(&cid).await? {
            What::Directory => Some(self.dag.entries(&cid).await?),
            _ => None,
        };
        let links = match folder {
            None => self.dag.links(&cid).await?,
            Some(_) => Vec::new(),
        };
        let node = self.clone();
        task::detach(async move {
            for (cid, name) in links {
                let entry = Entry { name, cid, tsize: 0 };
                if out.send(node.describe(entry, open).await).await.is_err() {
                    return; // The reader is gone.
                }
            }
            let Some(mut folder) = folder else { return };
            while let Some(found) = folder.recv().await {
                let entry = match found {
                    Ok(entry) => node.describe(entry, open).await,
                    Err(error) => Err(error.into()),
                };
                if out.send(entry).await.is_err() {
                    return;
                }
            }
        });
        Ok(entries)
    }

    async fn describe(&self, entry: Entry, open: bool) -> Result<LsEntry, Error> {
        let what = match open {
            false => None,
            true => match self.dag.what(&entry.cid).await {
                Ok(what) => Some(what),
                // An entry that is not here is still an entry.
                Err(DagError::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            },
        };
        Ok(LsEntry { name: entry.name, cid: entry.cid, what })
    }
}
