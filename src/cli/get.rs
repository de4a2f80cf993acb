//! `henge get`.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use futures_util::StreamExt as _;
use indicatif::ProgressBar;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::Global;
use super::extract;
use super::from::From;
use super::link::{Ask, Link};
use super::output::{CliError, line};
use super::progress;
use crate::ipld::path;
use crate::rpc::Reply;
use crate::task;

/// Write a file or folder to the disk.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Get {
    /// Path: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH")]
    path: String,
    /// Where to write; the last name of the path by default.
    #[arg(long, short = 'o', value_name = "PATH")]
    output: Option<PathBuf>,
    /// Write a TAR archive.
    #[arg(long, short = 'a')]
    archive: bool,
    /// Compress with gzip.
    #[arg(long, short = 'C')]
    compress: bool,
    #[command(flatten)]
    from: From,
    /// Level of compression, 1 to 9.
    #[arg(long, short = 'l', value_name = "LEVEL")]
    compression_level: Option<u32>,
    /// Show progress: on a terminal unless told otherwise.
    #[arg(long, short = 'p', num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    progress: Option<bool>,
}

const EXAMPLES: &str = "\
Examples:
  henge get <cid>                     into a file or folder named like the CID
  henge get <cid>/photos -o album     under another name
  henge get <cid> --from /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...     from that node
  henge get -a -C <cid> -o all.tar.gz";

impl Get {
    /// Unpacks the reply, or saves it as it is.
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let link = self.from.link(global).await?;
        let got = self.get(&link).await;
        link.close().await;
        got
    }

    async fn get(self, link: &Link) -> Result<(), CliError> {
        let parsed = path::Path::parse(&self.path).map_err(|e| CliError::new(e.to_string()))?;
        let mut ask = Ask::new("get").arg(self.path.as_str());
        ask = ask.option("archive", self.archive).option("compress", self.compress);
        if let Some(level) = self.compression_level {
            ask = ask.option("compression-level", level);
        }
        let Reply::Bytes { stream, .. } = link.call(ask).await? else {
            return Err(CliError::new("the node answered without content"));
        };
        let target = self.target(&parsed.file_name());
        let bar = progress::bytes(None, self.progress);
        let watched = bar.clone();
        let stream = stream.map(move |piece| {
            let piece = piece.map_err(std::io::Error::other)?;
            watched.inc(piece.len() as u64);
            Ok::<_, std::io::Error>(piece)
        });
        let archived = self.archive || self.compress;
        let what = if self.archive { "archive" } else { "file(s)" };
        bar.suspend(|| line(format!("Saving {what} to {}", target.display())))?;
        let reader = SyncIoBridge::new(StreamReader::new(stream));
        let written = task::blocking(move || match archived {
            true => save(reader, &target),
            false => extract::unpack(reader, &target),
        });
        finish(&bar, written.await)
    }

    /// Where the output goes.
    fn target(&self, name: &str) -> PathBuf {
        let default = || {
            let suffix = match (self.archive, self.compress) {
                (true, true) => ".tar.gz",
                (true, false) => ".tar",
                (false, true) => ".gz",
                (false, false) => "",
            };
            PathBuf::from(format!("{name}{suffix}"))
        };
        self.output.clone().unwrap_or_else(default)
    }
}

fn finish(bar: &ProgressBar, outcome: Result<(), CliError>) -> Result<(), CliError> {
    bar.finish_and_clear();
    outcome
}

fn save(mut reader: impl Read, target: &Path) -> Result<(), CliError> {
    let failed = |e: std::io::Error| CliError::new(format!("{}: {e}", target.display()));
    let mut file = File::create(target).map_err(failed)?;
    std::io::copy(&mut reader, &mut file).map_err(failed)?;
    file.flush().map_err(failed)
}
