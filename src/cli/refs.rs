//! `henge refs`.

use super::link::{Ask, Link};
use super::output::{self, CliError, line, safe, text};
use crate::node::refs::RefsOptions;

/// Print which blocks a DAG links to.
#[derive(clap::Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Refs {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    options: RefsOptions,
    #[command(subcommand)]
    all: Option<All>,
}

/// What needs no path.
#[derive(clap::Subcommand)]
enum All {
    /// Print every block of the store.
    Local,
}

const EXAMPLES: &str = "\
Examples:
  henge refs <cid>              what the block links to
  henge refs -r -u <cid>        every block below it, each once
  henge refs -e <cid>           edges: <from> -> <to>
  henge refs --missing <cid>    blocks below it that are not here
  henge refs local              every block of the store";

impl Refs {
    /// Prints a line a link.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = match self.all {
            Some(All::Local) => Ask::new("refs/local"),
            None => Ask::new("refs").args(&self.paths).options(&self.options)?,
        };
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => line(safe(text(reply, "Ref"))),
        })
        .await
    }
}
