//! `henge swarm`.

use serde_json::Value;

use super::cid::or_stdin;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, safe, text};

/// Connections with other nodes.
#[derive(clap::Subcommand)]
pub enum Swarm {
    /// List connections.
    Peers(Peers),
    /// Connect with peers.
    #[command(after_help = CONNECT_EXAMPLES)]
    Connect(Addresses),
    /// Close connections with peers.
    #[command(after_help = DISCONNECT_EXAMPLES)]
    Disconnect(Addresses),
    /// List addresses.
    Addrs(Addrs),
    /// Stay connected with some peers.
    #[command(subcommand)]
    Peering(Peering),
    /// Refuse blocks of addresses.
    Filters(Filters),
}

/// Arguments of `swarm peers`.
#[derive(clap::Args)]
#[command(after_help = PEERS_EXAMPLES)]
pub struct Peers {
    /// With all there is to tell.
    #[arg(long, short = 'v')]
    verbose: bool,
    /// With the protocols of open streams.
    #[arg(long)]
    streams: bool,
    /// With the time there and back.
    #[arg(long)]
    latency: bool,
    /// With who connected to whom.
    #[arg(long)]
    direction: bool,
    /// With what each peer says of itself, in JSON.
    #[arg(long)]
    identify: bool,
}

const PEERS_EXAMPLES: &str = "\
Examples:
  henge swarm peers                          an address a line
  henge swarm peers --latency --direction    … 12.3ms outbound
  henge swarm peers -v --enc=json            and what each says of itself";

/// Addresses of peers.
#[derive(clap::Args)]
pub struct Addresses {
    /// Addresses that end in /p2p/<peer ID>, or that end alone; lines of standard input without one.
    #[arg(value_name = "ADDRESS")]
    addresses: Vec<String>,
}

const CONNECT_EXAMPLES: &str = "\
Examples:
  henge swarm connect /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...
  henge swarm connect /p2p/12D3Koo...             one whose addresses are known";

const DISCONNECT_EXAMPLES: &str = "\
Examples:
  henge swarm disconnect /p2p/12D3Koo...          every connection with it
  henge swarm peers | henge swarm disconnect      everybody";

/// Arguments of `swarm addrs`.
#[derive(clap::Args)]
#[command(after_help = ADDRS_EXAMPLES)]
pub struct Addrs {
    #[command(subcommand)]
    whose: Option<Whose>,
}

/// Whose addresses.
#[derive(clap::Subcommand)]
enum Whose {
    /// List addresses that peers are told.
    Local {
        /// With this node's ID.
        #[arg(long)]
        id: bool,
    },
    /// List addresses that are listened on.
    Listen,
}

const ADDRS_EXAMPLES: &str = "\
Examples:
  henge swarm addrs                every peer whose addresses are known
  henge swarm addrs local --id     what to give to others, to connect with this node
  henge swarm addrs listen         where this node listens";

/// What can be done with peering.
#[derive(clap::Subcommand)]
pub enum Peering {
    /// Stay connected with peers, until the daemon ends; Peering.Peers is for longer.
    #[command(after_help = PEERING_EXAMPLES)]
    Add {
        /// Addresses that end in /p2p/<peer ID>.
        #[arg(value_name = "ADDRESS", required = true)]
        addresses: Vec<String>,
    },
    /// List those peers.
    Ls,
    /// Stay connected with peers no longer.
    #[command(after_help = UNPEERING_EXAMPLES)]
    Rm {
        /// Peer IDs.
        #[arg(value_name = "PEER", required = true)]
        peers: Vec<String>,
    },
}

const PEERING_EXAMPLES: &str = "\
Examples:
  henge swarm peering add /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...";

const UNPEERING_EXAMPLES: &str = "\
Examples:
  henge swarm peering rm 12D3Koo...";

/// Arguments of `swarm filters`.
#[derive(clap::Args)]
#[command(after_help = FILTERS_EXAMPLES)]
pub struct Filters {
    #[command(subcommand)]
    change: Option<Change>,
}

/// Changes of the filters.
#[derive(clap::Subcommand)]
enum Change {
    /// Refuse blocks of addresses, also after a restart.
    Add {
        /// Blocks, as /ip4/192.168.0.0/ipcidr/16.
        #[arg(value_name = "BLOCK", required = true)]
        blocks: Vec<String>,
    },
    /// Refuse them no longer.
    Rm {
        /// Blocks, or `all`.
        #[arg(value_name = "BLOCK", required = true)]
        blocks: Vec<String>,
    },
}

const FILTERS_EXAMPLES: &str = "\
Examples:
  henge swarm filters                                    what is refused
  henge swarm filters add /ip4/192.168.0.0/ipcidr/16     nothing to do with 192.168.x.x
  henge swarm filters rm all";

impl Swarm {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = match self {
            Self::Peers(peers) => return peers.run(link).await,
            Self::Peering(peering) => return peering.run(link).await,
            Self::Addrs(Addrs { whose: None }) => return known(link).await,
            Self::Connect(to) => Ask::new("swarm/connect").args(&or_stdin(to.addresses)?),
            Self::Disconnect(from) => Ask::new("swarm/disconnect").args(&or_stdin(from.addresses)?),
            Self::Addrs(Addrs { whose: Some(Whose::Local { id }) }) => {
                Ask::new("swarm/addrs/local").option("id", id)
            }
            Self::Addrs(Addrs { whose: Some(Whose::Listen) }) => Ask::new("swarm/addrs/listen"),
            Self::Filters(Filters { change: None }) => Ask::new("swarm/filters"),
            Self::Filters(Filters { change: Some(Change::Add { blocks }) }) => {
                Ask::new("swarm/filters/add").args(&blocks)
            }
            Self::Filters(Filters { change: Some(Change::Rm { blocks }) }) => {
                Ask::new("swarm/filters/rm").args(&blocks)
            }
        };
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => list(reply, "Strings").iter().filter_map(Value::as_str).try_for_each(line),
        })
        .await
    }
}

impl Peers {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("swarm/peers").option("verbose", self.verbose);
        let ask = ask.option("streams", self.streams).option("latency", self.latency);
        let ask = ask.option("direction", self.direction).option("identify", self.identify);
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => list(reply, "Peers").iter().try_for_each(connection),
        })
        .await
    }
}

/// A connection, and below it its streams.
fn connection(peer: &Value) -> Result<(), CliError> {
    let mut told = format!("{}/p2p/{}", text(peer, "Addr"), text(peer, "Peer"));
    let latency = text(peer, "Latency");
    let direction = match number(peer, "Direction") {
        1 => "inbound",
        2 => "outbound",
        _ => "",
    };
    for more in [latency, direction].into_iter().filter(|more| !more.is_empty()) {
        told = format!("{told} {more}");
    }
    line(told)?;
    let protocols = list(peer, "Streams").iter().map(|stream| text(stream, "Protocol"));
    protocols.into_iter().try_for_each(|protocol| match protocol {
        "" => line("  <no protocol name>"),
        _ => line(format!("  {}", safe(protocol))),
    })
}

/// Every peer whose addresses are known.
async fn known(link: &Link) -> Result<(), CliError> {
    link.each(Ask::new("swarm/addrs"), |reply| {
        if link.prints_json() {
            return output::json(reply);
        }
        let known = reply.get("Addrs").and_then(Value::as_object);
        let mut peers: Vec<(&String, &Value)> = known.into_iter().flatten().collect();
        peers.sort_by_key(|(peer, _)| *peer);
        peers.into_iter().try_for_each(|(peer, addresses)| {
            let addresses = addresses.as_array().map(Vec::as_slice).unwrap_or_default();
            line(format!("{peer} ({})", addresses.len()))?;
            indented(addresses)
        })
    })
    .await
}

fn indented(addresses: &[Value]) -> Result<(), CliError> {
    let texts = addresses.iter().filter_map(Value::as_str);
    texts.into_iter().try_for_each(|address| line(format!("\t{address}")))
}

impl Peering {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let (ask, verb) = match self {
            Self::Add { addresses } => (Ask::new("swarm/peering/add").args(&addresses), "add"),
            Self::Rm { peers } => (Ask::new("swarm/peering/rm").args(&peers), "remove"),
            Self::Ls => (Ask::new("swarm/peering/ls"), ""),
        };
        link.each(ask, |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            if !verb.is_empty() {
                return line(format!("{verb} {} {}", text(reply, "ID"), text(reply, "Status")));
            }
            list(reply, "Peers").iter().try_for_each(|peer| {
                line(text(peer, "ID"))?;
                indented(list(peer, "Addrs"))
            })
        })
        .await
    }
}
