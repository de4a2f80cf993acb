//! `--from`: content from a node whose address is given, whether or not a daemon runs here.

use super::Global;
use super::link::{Ask, Link};
use super::output::CliError;

/// Whom to ask before anybody else.
#[derive(Default, clap::Args)]
pub struct From {
    /// Connect with this node first, and ask it: an address that ends in /p2p/<peer ID>. May be
    /// given again. Works without a daemon, too.
    #[arg(long, value_name = "MULTIADDR")]
    from: Vec<String>,
}

impl From {
    /// An open way to a node that is connected with at least one of those named, if any is. It is
    /// to be closed.
    ///
    /// # Errors
    /// Why none of them can be reached.
    pub async fn link(&self, global: &Global) -> Result<Link, CliError> {
        if self.from.is_empty() {
            return Link::open(global).await;
        }
        if global.offline {
            return Err(CliError::new("--from asks another node: leave --offline out"));
        }
        let link = Link::visiting(global).await?;
        let (mut reached, mut failure) = (false, None);
        for address in &self.from {
            match link.call(Ask::new("swarm/connect").arg(address)).await {
                Ok(_) => reached = true,
                Err(error) => failure = Some(error),
            }
        }
        match failure {
            Some(error) if !reached => {
                link.close().await;
                Err(error)
            }
            _ => Ok(link),
        }
    }
}
