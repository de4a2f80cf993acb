//! `henge diag`.

use super::link::{Ask, Link};
use super::output::{self, CliError, line};

/// What ails a node.
#[derive(clap::Subcommand)]
pub enum Diag {
    /// Exit with 0 if the node works, with 1 if it is stopping or cannot read its store.
    #[command(after_help = HEALTHY_EXAMPLES)]
    Healthy,
}

const HEALTHY_EXAMPLES: &str = "\
Examples:
  henge diag healthy                                       ok
  HEALTHCHECK CMD henge diag healthy                       in a Dockerfile";

impl Diag {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let Self::Healthy = self;
        link.each(Ask::new("diag/healthy"), |reply| match (link.prints_json(), reply.as_str()) {
            (false, Some(text)) => line(text),
            _ => output::json(reply),
        })
        .await
    }
}
