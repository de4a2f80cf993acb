//! `henge resolve`.

use super::link::{Ask, Link};
use super::output::{self, CliError, line, safe, text};

/// Print where a path leads: /ipfs/<cid> of the block, and what is left of the path inside it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Resolve {
    /// Path: <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "NAME")]
    name: String,
    /// Follow names until content is reached.
    #[arg(long, short = 'r', num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    recursive: bool,
    /// Taken for Kubo's sake: records to ask the DHT for.
    #[arg(long, alias = "dhtrc", value_name = "N")]
    dht_record_count: Option<u32>,
    /// Taken for Kubo's sake: how long to collect records.
    #[arg(long, alias = "dhtt", value_name = "DURATION")]
    dht_timeout: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  henge resolve <cid>/photos/one.jpg         /ipfs/<cid of the file>
  henge resolve --cid-base=base32 <cid>      the same block as CIDv1";

impl Resolve {
    /// Prints the path.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("resolve").arg(self.name).option("recursive", self.recursive);
        let count = self.dht_record_count.into_iter();
        let ask = count.fold(ask, |ask, count| ask.option("dht-record-count", count));
        let wait = self.dht_timeout.into_iter();
        let ask = wait.fold(ask, |ask, wait| ask.option("dht-timeout", wait));
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => line(safe(text(reply, "Path"))),
        })
        .await
    }
}
