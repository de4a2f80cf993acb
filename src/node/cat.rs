//! `cat`: the content of files.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, Results};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::task;

/// Pieces of content waiting for the mouth.
const PIECES: usize = 1;

/// Options of `cat`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct CatOptions {
    /// Byte to begin with.
    #[arg(long, short = 'o', value_name = "BYTES", allow_hyphen_values = true)]
    #[serde(alias = "o", skip_serializing_if = "Option::is_none")]
    pub offset: Option<i64>,
    /// Most bytes to print.
    #[arg(long, short = 'l', value_name = "BYTES", allow_hyphen_values = true)]
    #[serde(alias = "l", skip_serializing_if = "Option::is_none")]
    pub length: Option<i64>,
}

/// A part of one file.
struct Span {
    cid: Cid,
    start: u64,
    end: u64,
}

impl Node {
    /// The content of files, one after another; offset and length count over all of them. Also
    /// gives the number of bytes that will come.
    ///
    /// # Errors
    /// Whatever can be told from the roots, at once; the rest as the stream's last item.
    pub async fn cat(
        &self,
        paths: &[Path],
        options: &CatOptions,
    ) -> Result<(u64, Results<Bytes>), Error> {
        let mut skip = not_negative("offset", options.offset)?.unwrap_or(0);
        let mut left = not_negative("length", options.length)?.unwrap_or(u64::MAX);
        let mut spans = Vec::with_capacity(paths.len());
        let mut total = 0;
        for path in paths {
            let cid = self.dag.resolve_block(path).await?;
            let size = self.dag.file_size(&cid).await?;
            let start = skip.min(size);
            let end = size.min(start.saturating_add(left));
            skip -= start;
            left -= end - start;
            total += end - start;
            spans.push(Span { cid, start, end });
        }
        let (out, content) = mpsc::channel(PIECES);
        let dag = self.dag.clone();
        task::detach(async move {
            for Span { cid, start, end } in spans {
                let mut reading = match dag.read(&cid, start, end).await {
                    Ok(reading) => reading,
                    Err(error) => return drop(out.send(Err(error.into())).await),
                };
                while let Some(piece) = reading.recv().await {
                    if out.send(piece.map_err(Error::from)).await.is_err() {
                        return; // The reader is gone.
                    }
                }
            }
        });
        Ok((total, content))
    }
}

fn not_negative(what: &str, value: Option<i64>) -> Result<Option<u64>, Error> {
    let refuse = |_| Error::Invalid(format!("cannot specify negative {what}"));
    value.map(|value| u64::try_from(value).map_err(refuse)).transpose()
}
