//! `henge block`.

use std::path::PathBuf;

use super::cat;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, text};
use super::walk::{self, WalkRules};
use crate::node::block::BlockPutOptions;
use crate::rpc::{Body, Reply};

/// Single blocks, as they are.
#[derive(clap::Subcommand)]
pub enum Block {
    /// Print the bytes of a block.
    Get {
        /// The block.
        #[arg(value_name = "CID")]
        cid: String,
    },
    /// Print the CID and size of a block.
    Stat {
        /// The block.
        #[arg(value_name = "CID")]
        cid: String,
    },
    /// Store files as one block each, and print their CIDs.
    Put(Put),
    /// Delete blocks that no pin holds.
    Rm(Rm),
}

/// Arguments of `block put`.
#[derive(clap::Args)]
pub struct Put {
    /// Files; `-` or none for standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: BlockPutOptions,
}

/// Arguments of `block rm`.
#[derive(clap::Args)]
pub struct Rm {
    /// The blocks.
    #[arg(value_name = "CID", required = true)]
    cids: Vec<String>,
    /// Say nothing of blocks that are not here.
    #[arg(long, short = 'f')]
    force: bool,
    /// Print nothing but errors.
    #[arg(long, short = 'q')]
    quiet: bool,
}

impl Block {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Get { cid } => match link.call(Ask::new("block/get").arg(cid)).await? {
                Reply::Bytes { stream, length } => cat::copy(stream, length, Some(false)).await,
                _ => Err(CliError::new("the node answered without content")),
            },
            Self::Stat { cid } => {
                let ask = Ask::new("block/stat").arg(cid);
                link.each(ask, |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => line(format!(
                        "Key: {}\nSize: {}",
                        text(reply, "Key"),
                        number(reply, "Size")
                    )),
                })
                .await
            }
            Self::Put(put) => put.run(link).await,
            Self::Rm(rm) => rm.run(link).await,
        }
    }
}

impl Put {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let rules = WalkRules::default();
        let source = match self.files.is_empty() || self.files == [PathBuf::from("-")] {
            true => walk::stdin(),
            false => walk::files(&self.files, rules)?,
        };
        let ask = Ask::new("block/put").options(&self.options)?.body(Body::Files(source));
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => line(text(reply, "Key")),
        })
        .await
    }
}

impl Rm {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("block/rm").args(&self.cids).option("force", self.force);
        let mut failed = false;
        link.each(ask.option("quiet", self.quiet), |reply| {
            let (hash, error) = (text(reply, "Hash"), text(reply, "Error"));
            failed |= !error.is_empty();
            match (link.prints_json(), error) {
                (true, _) => output::json(reply),
                (false, "") => line(format!("removed {hash}")),
                (false, error) => {
                    eprintln!("cannot remove {hash}: {error}");
                    Ok(())
                }
            }
        })
        .await?;
        if failed { Err(CliError::new("some blocks not removed")) } else { Ok(()) }
    }
}
