//! `henge bootstrap`.

use serde_json::Value;

use super::cid::or_stdin;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list};

/// Peers to begin with; the list without a verb.
///
/// Whoever stands in the list is trusted to introduce this node to others: change it only for a
/// reason.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Bootstrap {
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What can be done with the list.
#[derive(clap::Subcommand)]
enum Verb {
    /// Print it.
    List {
        /// Print what `auto` stands for in its place.
        #[arg(long)]
        expand_auto: bool,
    },
    /// Add peers.
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// Addresses that end in /p2p/<peer ID>; `auto` or `default` for the usual ones.
        #[arg(value_name = "ADDRESS")]
        peers: Vec<String>,
    },
    /// Remove peers.
    #[command(after_help = RM_EXAMPLES, args_conflicts_with_subcommands = true)]
    Rm {
        /// Addresses that end in /p2p/<peer ID>.
        #[arg(value_name = "ADDRESS")]
        peers: Vec<String>,
        /// Remove everybody.
        #[arg(long)]
        all: bool,
        #[command(subcommand)]
        whom: Option<Whom>,
    },
}

/// Whom to remove, beside single peers.
#[derive(clap::Subcommand)]
enum Whom {
    /// Remove everybody.
    All,
}

const EXAMPLES: &str = "\
Examples:
  henge bootstrap                        the list
  henge bootstrap list --expand-auto     with what `auto` stands for";

const ADD_EXAMPLES: &str = "\
Examples:
  henge bootstrap add /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...
  henge bootstrap add auto";

const RM_EXAMPLES: &str = "\
Examples:
  henge bootstrap rm /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...
  henge bootstrap rm /p2p/12D3Koo...     all its addresses
  henge bootstrap rm all                 a network of one's own";

impl Bootstrap {
    /// Prints the list, or what changed.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let (ask, prefix) = match self.verb {
            None => (Ask::new("bootstrap/list"), ""),
            Some(Verb::List { expand_auto }) => {
                (Ask::new("bootstrap/list").option("expand-auto", expand_auto), "")
            }
            Some(Verb::Add { peers }) => {
                (Ask::new("bootstrap/add").args(&or_stdin(peers)?), "added ")
            }
            Some(Verb::Rm { whom: Some(Whom::All), .. }) => {
                (Ask::new("bootstrap/rm/all"), "removed ")
            }
            Some(Verb::Rm { peers, all, .. }) => {
                (Ask::new("bootstrap/rm").args(&peers).option("all", all), "removed ")
            }
        };
        link.each(ask, |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            let peers = list(reply, "Peers").iter().filter_map(Value::as_str);
            let mut peers: Vec<&str> = peers.collect();
            peers.sort_unstable();
            peers.into_iter().try_for_each(|peer| line(format!("{prefix}{peer}")))
        })
        .await
    }
}
