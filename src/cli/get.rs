//! `henge get`.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use indicatif::ProgressBar;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::Global;
use super::extract::{Unpacking, save};
use super::from::From;
use super::link::{Ask, Link};
use super::output::{CliError, line, safe};
use super::progress;
use crate::ipld::multibase::{self, Base};
use crate::ipld::path;
use crate::rpc::Reply;
use crate::task;

/// Write a file or folder to the disk.
///
/// One that was interrupted goes on where it stopped when the same is typed again.
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
  henge get -a <cid> -o all           as an archive: all.tar
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
        let target = self.target(&parsed.file_name());
        let mut ask = Ask::new("get").arg(self.path.as_str());
        ask = ask.option("archive", self.archive).option("compress", self.compress);
        if let Some(level) = self.compression_level {
            ask = ask.option("compression-level", level);
        }
        let mut unpacking = None;
        if !self.archive && !self.compress {
            // What a mutable name led to then is not what it leads to now.
            let what = parsed.cid().map(|_| parsed.to_string());
            let begun = Unpacking::to(&target, what.as_deref());
            if let Some((member, length)) = begun.found() {
                let name = multibase::encode(Base::Base64Url, member);
                ask = ask.option("resume", name).option("skip", length);
            }
            unpacking = Some(begun);
        }
        let Reply::Bytes { stream, .. } = link.call(ask).await? else {
            return Err(CliError::new("the node answered without content"));
        };
        let bar = progress::bytes(None, self.progress);
        let watched = bar.clone();
        let stream = stream.map(move |piece| {
            let piece = piece.map_err(std::io::Error::other)?;
            watched.inc(piece.len() as u64);
            Ok::<_, std::io::Error>(piece)
        });
        let what = if unpacking.is_some() { "file(s)" } else { "archive" };
        bar.suspend(|| line(format!("Saving {what} to {}", target.display())))?;
        if let Some((member, length)) = unpacking.as_ref().and_then(Unpacking::found) {
            let member = safe(&String::from_utf8_lossy(member));
            let said = format!("Going on with {member}, of which {length} bytes are here");
            // For people: a standard error that is gone stops nothing.
            bar.suspend(|| drop(writeln!(std::io::stderr(), "{said}")));
        }
        let reader = SyncIoBridge::new(StreamReader::new(stream));
        let written = task::blocking(move || match unpacking {
            None => save(reader, &target),
            Some(unpacking) => unpacking.run(reader),
        });
        finish(&bar, written.await)
    }

    /// Where the output goes. An archive is named as one, as Kubo does.
    fn target(&self, name: &str) -> PathBuf {
        let mut target = self.output.clone().unwrap_or_else(|| PathBuf::from(name));
        let ends = |target: &PathBuf, ending: &str| {
            target.as_os_str().as_encoded_bytes().ends_with(ending.as_bytes())
        };
        let mut add = |ending: &str, enough: &[&str]| {
            if !enough.iter().any(|enough| ends(&target, enough)) {
                let mut name = OsString::from(target.as_os_str());
                name.push(ending);
                target = PathBuf::from(name);
            }
        };
        if self.archive {
            add(".tar", &[".tar", ".tar.gz"]);
        }
        if self.compress {
            add(".gz", &[".gz"]);
        }
        target
    }
}

fn finish(bar: &ProgressBar, outcome: Result<(), CliError>) -> Result<(), CliError> {
    bar.finish_and_clear();
    outcome
}
