//! `henge dag`.

use super::cat;
use super::link::{Ask, Link};
use super::output::CliError;
use crate::node::dag::DagGetOptions;
use crate::rpc::Reply;

/// Blocks as data.
#[derive(clap::Subcommand)]
pub enum Dag {
    /// Print a block, or a part of its data, as dag-json.
    Get(Get),
}

/// Arguments of `dag get`.
#[derive(clap::Args)]
pub struct Get {
    /// Path: <cid>, or <cid>/key/0 into its data.
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    options: DagGetOptions,
}

impl Dag {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let Self::Get(get) = self;
        let ask = Ask::new("dag/get").arg(get.path).options(&get.options)?;
        match link.call(ask).await? {
            Reply::Bytes { stream, length } => cat::copy(stream, length, Some(false)).await,
            _ => Err(CliError::new("the node answered without content")),
        }
    }
}
