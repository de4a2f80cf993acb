//! `henge bitswap`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, text};
use crate::size;

/// The exchange of blocks with other nodes.
#[derive(clap::Subcommand)]
pub enum Bitswap {
    /// Tell how many blocks came and went, what is wanted, and who is asked.
    #[command(after_help = STAT_EXAMPLES)]
    Stat(Stat),
    /// List blocks that are wanted.
    #[command(after_help = WANTLIST_EXAMPLES)]
    Wantlist {
        /// Of this connected peer, rather than of this node.
        #[arg(long, short = 'p', value_name = "PEER")]
        peer: Option<String>,
    },
    /// Tell how much was exchanged with a connected peer.
    #[command(after_help = LEDGER_EXAMPLES)]
    Ledger {
        /// The peer's ID.
        #[arg(value_name = "PEER")]
        peer: String,
    },
}

/// Arguments of `bitswap stat`.
#[derive(clap::Args)]
pub struct Stat {
    /// With the peers' IDs.
    #[arg(long, short = 'v')]
    verbose: bool,
    /// Sizes in kB, MB and so on.
    #[arg(long)]
    human: bool,
}

const STAT_EXAMPLES: &str = "\
Examples:
  henge bitswap stat
  henge bitswap stat -v --human";

const WANTLIST_EXAMPLES: &str = "\
Examples:
  henge bitswap wantlist                  what this node waits for
  henge bitswap wantlist -p 12D3Koo...    what a peer wants of it";

const LEDGER_EXAMPLES: &str = "\
Examples:
  henge bitswap ledger 12D3Koo...";

impl Bitswap {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Stat(stat) => stat.run("bitswap/stat", link).await,
            Self::Wantlist { peer } => {
                let ask = Ask::new("bitswap/wantlist");
                let ask = peer.into_iter().fold(ask, |ask, peer| ask.option("peer", peer));
                link.each(ask, |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => list(reply, "Keys").iter().try_for_each(|key| line(text(key, "/"))),
                })
                .await
            }
            Self::Ledger { peer } => {
                link.each(Ask::new("bitswap/ledger").arg(peer), |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => line(format!(
                        "Ledger for {}\nDebt ratio:\t{:.6}\nExchanges:\t{}\nBytes sent:\t{}\n\
                         Bytes received:\t{}\n",
                        text(reply, "Peer"),
                        reply.get("Value").and_then(Value::as_f64).unwrap_or_default(),
                        number(reply, "Exchanged"),
                        number(reply, "Sent"),
                        number(reply, "Recv"),
                    )),
                })
                .await
            }
        }
    }
}

impl Stat {
    /// Asks by either of its names, and prints.
    pub async fn run(self, command: &'static str, link: &Link) -> Result<(), CliError> {
        link.each(Ask::new(command), |reply| match link.prints_json() {
            true => output::json(reply),
            false => self.print(reply),
        })
        .await
    }

    fn print(&self, reply: &Value) -> Result<(), CliError> {
        let size = |field| match self.human {
            true => size::decimal(number(reply, field)),
            false => number(reply, field).to_string(),
        };
        line("bitswap status")?;
        line(format!("\tblocks received: {}", number(reply, "BlocksReceived")))?;
        line(format!("\tblocks sent: {}", number(reply, "BlocksSent")))?;
        line(format!("\tdata received: {}", size("DataReceived")))?;
        line(format!("\tdata sent: {}", size("DataSent")))?;
        line(format!("\tdup blocks received: {}", number(reply, "DupBlksReceived")))?;
        line(format!("\tdup data received: {}", size("DupDataReceived")))?;
        let (wanted, peers) = (list(reply, "Wantlist"), list(reply, "Peers"));
        line(format!("\twantlist [{} keys]", wanted.len()))?;
        wanted.iter().try_for_each(|key| line(format!("\t\t{}", text(key, "/"))))?;
        line(format!("\tpartners [{}]", peers.len()))?;
        let shown = peers.iter().filter(|_| self.verbose).filter_map(Value::as_str);
        shown.into_iter().try_for_each(|peer| line(format!("\t\t{peer}")))
    }
}
