//! `henge refs`.

use super::link::{Ask, Link};
use super::output::{self, CliError, line, safe, text};
use crate::node::refs::RefsOptions;

/// Print which blocks a DAG links to; `refs local` prints every block of the store.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Refs {
    /// Paths, or `local`.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    options: RefsOptions,
}

const EXAMPLES: &str = "\
Examples:
  henge refs <cid>              what the block links to
  henge refs -r -u <cid>        every block below it, each once
  henge refs -e <cid>           edges: <from> -> <to>
  henge refs local              every block of the store";

impl Refs {
    /// Prints a line a link.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = match self.paths.as_slice() {
            [word] if word == "local" => Ask::new("refs/local"),
            paths => Ask::new("refs").args(paths).options(&self.options)?,
        };
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => line(safe(text(reply, "Ref"))),
        })
        .await
    }
}
