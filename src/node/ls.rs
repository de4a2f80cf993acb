//! `ls`: the entries of folders.

use bytes::Bytes;
use clap::ArgAction;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::dag::DagError;
use crate::dag::tree::{About, Entries, Entry, What};
use crate::ipld::cid::Cid;
use crate::ipld::cid::codec;
use crate::ipld::path::Path;
use crate::task;

/// Entries of a folder that are opened at a time, ahead of the reader. Bounds memory at as many
/// roots, whatever the folder's size.
const AHEAD: usize = 16;

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
    /// Show permissions and the time of the last change, where an entry tells them.
    #[arg(long, short = 'l')]
    #[serde(alias = "l")]
    pub long: bool,
}

impl Default for LsOptions {
    fn default() -> Self {
        Self { resolve_type: true, size: true, stream: false, long: false }
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
    pub about: Option<About>,
}

impl Node {
    /// Streams the entries of a folder, in the order of its blocks. A file of several blocks shows
    /// its blocks, without names, as in Kubo. No entry is opened unless its type, size or metadata is
    /// asked for; a raw block, which the folder tells all about, never is.
    ///
    /// # Errors
    /// The path's and the root's, at once; the rest as the stream's last item.
    pub async fn ls(&self, path: &Path, options: &LsOptions) -> Result<Results<LsEntry>, Error> {
        let cid = self.dag.resolve_block(path).await?;
        let open = options.resolve_type || options.size || options.long;
        let (out, entries) = mpsc::channel(RESULTS);
        let found: stream::BoxStream<'_, _> = match self.dag.what(&cid).await? {
            What::Directory => received(self.dag.entries(&cid).await?).boxed(),
            _ => {
                let links = self.dag.links(&cid).await?.into_iter();
                stream::iter(links.map(|(cid, name)| Ok(Entry { name, cid, tsize: 0 }))).boxed()
            }
        };
        let node = self.clone();
        task::detach(async move {
            let described = found.map(|entry| async { node.describe(entry?, open).await });
            let mut described = std::pin::pin!(described.buffered(AHEAD));
            while let Some(entry) = described.next().await {
                let failed = entry.is_err();
                if out.send(entry).await.is_err() || failed {
                    return; // The reader is gone, or nothing more can come.
                }
            }
        });
        Ok(entries)
    }

    async fn describe(&self, entry: Entry, open: bool) -> Result<LsEntry, Error> {
        let about = match open {
            true => match self.dag.about_entry(&entry).await {
                Ok(about) => Some(about),
                // An entry that is not here is still an entry.
                Err(DagError::NotFound(_)) => None,
                Err(error) => return Err(error.into()),
            },
            false if entry.cid.codec() == codec::RAW => Some(What::File(entry.tsize).into()),
            false => None,
        };
        Ok(LsEntry { name: entry.name, cid: entry.cid, about })
    }
}

/// The entries of a folder as a stream.
fn received(
    mut entries: Entries,
) -> impl stream::Stream<Item = Result<Entry, DagError>> + Send + 'static {
    stream::poll_fn(move |context| entries.poll_recv(context))
}
