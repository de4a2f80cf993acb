//! `henge cat`.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _, stdout};
use std::os::fd::AsFd as _;

use futures_util::StreamExt as _;

use super::Global;
use super::from::From;
use super::link::{Ask, Link};
use super::output::CliError;
use super::progress;
use crate::node::cat::CatOptions;
use crate::rpc::Reply;

/// Print the content of files.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Cat {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// Show progress: on a terminal unless told otherwise.
    #[arg(long, short = 'p', num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    progress: Option<bool>,
    #[command(flatten)]
    from: From,
    #[command(flatten)]
    options: CatOptions,
}

/// Bytes that a pipe on standard output is asked to hold: with the usual 64 KiB, writer and reader take
/// turns four times a block.
const PIPE_BYTES: usize = 1 << 20;

const EXAMPLES: &str = "\
Examples:
  henge cat <cid>                     a whole file
  henge cat <cid>/notes.txt           a file in a folder
  henge cat <cid> --from /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...     from that node
  henge cat -o 1000 -l 24 <cid>       24 bytes from byte 1000 on";

impl Cat {
    /// Prints bytes as they come.
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let link = self.from.link(global).await?;
        let printed = self.print(&link).await;
        link.close().await;
        printed
    }

    async fn print(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("cat").args(&self.paths).options(&self.options)?;
        let Reply::Bytes { stream, length } = link.call(ask).await? else {
            return Err(CliError::new("the node answered without content"));
        };
        // A bar between lines of text would tear them.
        let shown = self.progress.or_else(|| stdout().is_terminal().then_some(false));
        copy(stream, length, shown).await
    }
}

/// Bytes of a reply to stdout, with a bar.
pub async fn copy(
    mut stream: crate::rpc::Bytes,
    length: Option<u64>,
    shown: Option<bool>,
) -> Result<(), CliError> {
    let bar = progress::bytes(length, shown);
    let mut out = plain_stdout()?;
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        out.write_all(&piece)?;
        bar.inc(piece.len() as u64);
    }
    bar.finish_and_clear();
    Ok(())
}

/// Standard output without a buffer that looks for lines in content.
fn plain_stdout() -> io::Result<File> {
    let out = File::from(stdout().as_fd().try_clone_to_owned()?);
    // What is no pipe, or may not grow, stays as it is.
    let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE_BYTES);
    Ok(out)
}
