//! `henge stats`.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::columns::align;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, part, safe, text};
use super::{bitswap, provide, repo};
use crate::{clock, size};

/// Figures of the node.
#[derive(clap::Subcommand)]
pub enum Stats {
    /// Tell how much goes over the network.
    #[command(after_help = BW_EXAMPLES)]
    Bw(Bw),
    /// Tell how much there is, as `repo stat` does.
    Repo(repo::Stat),
    /// Tell of the exchange of blocks, as `bitswap stat` does.
    Bitswap(bitswap::Stat),
    /// List the peers in the tables of the DHTs.
    Dht {
        /// `wan` or `lan`; both without one.
        #[arg(value_name = "DHT")]
        dhts: Vec<String>,
    },
    /// Tell what is announced, as `provide stat` does.
    Provide(provide::Stat),
}

/// Arguments of `stats bw`.
#[derive(clap::Args)]
pub struct Bw {
    /// From and to this connected peer alone.
    #[arg(long, short = 'p', value_name = "PEER")]
    peer: Option<String>,
    /// Of this protocol alone: refused, bytes are not counted so.
    #[arg(long, short = 't', value_name = "PROTOCOL")]
    proto: Option<String>,
    /// Again and again.
    #[arg(long)]
    poll: bool,
    /// Time between two looks, with --poll.
    #[arg(long, short = 'i', value_name = "DURATION", default_value = "1s")]
    interval: String,
}

const BW_EXAMPLES: &str = "\
Examples:
  henge stats bw
  henge stats bw --poll -i 5s
  henge stats bw -p 12D3Koo...";

impl Stats {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Bw(bw) => bw.run(link).await,
            Self::Repo(stat) => stat.run("stats/repo", link).await,
            Self::Bitswap(stat) => stat.run("stats/bitswap", link).await,
            Self::Dht { dhts } => {
                link.each(Ask::new("stats/dht").args(&dhts), |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => tables(reply),
                })
                .await
            }
            Self::Provide(stat) => stat.run("stats/provide", link).await,
        }
    }
}

impl Bw {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("stats/bw").option("poll", self.poll).option("interval", self.interval);
        let ask = self.peer.into_iter().fold(ask, |ask, peer| ask.option("peer", peer));
        let ask = self.proto.into_iter().fold(ask, |ask, proto| ask.option("proto", proto));
        let mut first = true;
        link.each(ask, |reply| {
            let size = |field| {
                // Rates have fractions, which nobody reads.
                size::decimal(reply.get(field).and_then(Value::as_f64).unwrap_or_default() as u64)
            };
            let (total_in, total_out) = (size("TotalIn"), size("TotalOut"));
            let (rate_in, rate_out) = (size("RateIn"), size("RateOut"));
            if link.prints_json() {
                return output::json(reply);
            }
            if !self.poll {
                return line(format!(
                    "Bandwidth\nTotalIn: {total_in}\nTotalOut: {total_out}\n\
                     RateIn: {rate_in}/s\nRateOut: {rate_out}/s"
                ));
            }
            if std::mem::take(&mut first) {
                line("Total Up    Total Down  Rate Up     Rate Down")?;
            }
            part(format!("\r{total_out:>8}    {total_in:>8}    {rate_out:>8}/s  {rate_in:>8}/s"))
        })
        .await
    }
}

/// The table of one DHT.
fn tables(reply: &Value) -> Result<(), CliError> {
    let buckets = list(reply, "Buckets");
    let count: usize = buckets.iter().map(|bucket| list(bucket, "Peers").len()).sum();
    let mut lines = vec![format!("DHT {} ({count} peers):\t\t\t", text(reply, "Name"))];
    for (at, bucket) in buckets.iter().enumerate() {
        let (peers, refreshed) = (list(bucket, "Peers"), ago(text(bucket, "LastRefresh")));
        let of = format!("Bucket {at:2} ({} peers) - refreshed {refreshed}", peers.len());
        lines.push(format!("  {of}:\t\t\t"));
        lines.push("    Peer\tlast useful\tlast queried\tAgent Version".into());
        for peer in peers {
            let connected = peer.get("Connected") == Some(&Value::Bool(true));
            lines.push(format!(
                "  {} {}\t{}\t{}\t{}",
                if connected { "@" } else { " " },
                text(peer, "ID"),
                ago(text(peer, "LastUsefulAt")),
                ago(text(peer, "LastQueriedAt")),
                safe(text(peer, "AgentVersion")),
            ));
        }
        lines.push("\t\t\t".into());
    }
    align(&lines, 4, 2).into_iter().try_for_each(line)
}

/// How long ago a time is, to the second.
fn ago(time: &str) -> String {
    let Some(at) = clock::parse(time) else { return "never".into() };
    let passed = SystemTime::now().duration_since(at).unwrap_or_default();
    format!("{} ago", provide::go(Duration::from_secs(passed.as_secs())))
}
