//! `henge ping`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, safe, text};

/// Tell how long a few bytes take to a peer and back.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Ping {
    /// The peer's ID, or an address that ends in it.
    #[arg(value_name = "PEER")]
    peer: String,
    /// How many times, a second apart.
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        default_value_t = 10,
        allow_negative_numbers = true
    )]
    count: i64,
}

const EXAMPLES: &str = "\
Examples:
  henge ping 12D3Koo...
  henge ping -n 1 /ip4/192.0.2.1/tcp/4001/p2p/12D3Koo...";

impl Ping {
    /// Prints a line for each time, and the average.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("ping").arg(self.peer).option("count", self.count);
        link.each(ask, |reply| {
            let (said, good) =
                (text(reply, "Text"), reply.get("Success") == Some(&Value::Bool(true)));
            match (link.prints_json(), said.is_empty()) {
                (true, _) => output::json(reply),
                (false, false) => line(safe(said)),
                (false, true) if good => {
                    let ms = number(reply, "Time") as f64 / 1e6;
                    line(format!("Pong received: time={ms:.2} ms"))
                }
                (false, true) => line("Pong failed"),
            }
        })
        .await
    }
}
