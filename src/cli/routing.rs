//! `henge routing`.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::SystemTime;

use data_encoding::BASE64;
use serde_json::Value;

use super::cid::or_stdin;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, part, safe, text};
use super::walk::{self, WalkRules};
use crate::clock;
use crate::rpc::Body;

/// Ask the network where things are, and tell it.
#[derive(clap::Subcommand)]
pub enum Routing {
    /// Print who has a block.
    #[command(after_help = FINDPROVS_EXAMPLES)]
    Findprovs {
        /// The block.
        #[arg(value_name = "CID")]
        key: String,
        /// With everything that happens.
        #[arg(long, short = 'v')]
        verbose: bool,
        /// How many are enough.
        #[arg(
            long,
            short = 'n',
            value_name = "N",
            default_value_t = 20,
            allow_negative_numbers = true
        )]
        num_providers: i64,
    },
    /// Print where a peer is.
    #[command(after_help = FINDPEER_EXAMPLES)]
    Findpeer {
        /// Its ID.
        #[arg(value_name = "PEER")]
        peer: String,
        /// With everything that happens.
        #[arg(long, short = 'v')]
        verbose: bool,
    },
    /// Print the best value under a key, as it is.
    #[command(after_help = GET_EXAMPLES)]
    Get {
        /// /ipns/<peer ID>.
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// Put a valid value under a key.
    #[command(after_help = PUT_EXAMPLES)]
    Put {
        /// /ipns/<peer ID>.
        #[arg(value_name = "KEY")]
        key: String,
        /// A file with the value; `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Keep it here where there is no network.
        #[arg(long)]
        allow_offline: bool,
    },
    /// Tell the network that blocks are here, and wait until it is told.
    #[command(after_help = PROVIDE_EXAMPLES)]
    Provide {
        /// The blocks; lines of standard input without one.
        #[arg(value_name = "CID")]
        keys: Vec<String>,
        /// With everything that happens.
        #[arg(long, short = 'v')]
        verbose: bool,
        /// And all blocks below them.
        #[arg(long, short = 'r')]
        recursive: bool,
    },
}

const FINDPROVS_EXAMPLES: &str = "\
Examples:
  henge routing findprovs <cid>           peer IDs
  henge routing findprovs -v -n 1 <cid>   one, with its addresses, and who was asked";

const FINDPEER_EXAMPLES: &str = "\
Examples:
  henge routing findpeer 12D3Koo...";

const GET_EXAMPLES: &str = "\
Examples:
  henge routing get /ipns/12D3Koo... > record";

const PUT_EXAMPLES: &str = "\
Examples:
  henge routing put /ipns/12D3Koo... record";

const PROVIDE_EXAMPLES: &str = "\
Examples:
  henge routing provide <cid>       one block; `henge provide once` does not wait
  henge routing provide -r <cid>    a whole DAG";

impl Routing {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Findprovs { key, verbose, num_providers } => {
                let ask = Ask::new("routing/findprovs").arg(key).option("verbose", verbose);
                events(link, ask.option("num-providers", num_providers), verbose, provider).await
            }
            Self::Findpeer { peer, verbose } => {
                let ask = Ask::new("routing/findpeer").arg(peer).option("verbose", verbose);
                events(link, ask, verbose, place).await
            }
            Self::Get { key } => {
                link.each(Ask::new("routing/get").arg(key), |reply| {
                    if link.prints_json() {
                        return output::json(reply);
                    }
                    let value = BASE64.decode(text(reply, "Extra").as_bytes());
                    let value = value.map_err(|e| CliError::new(e.to_string()))?;
                    let mut out = std::io::stdout().lock();
                    out.write_all(&value)?;
                    Ok(out.flush()?)
                })
                .await
            }
            Self::Put { key, file, allow_offline } => {
                let source = match file.to_str() {
                    Some("-") => walk::stdin(),
                    _ => walk::files(&[file], WalkRules::default())?,
                };
                let ask = Ask::new("routing/put").arg(key).option("allow-offline", allow_offline);
                link.each(ask.body(Body::Files(source)), |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => line(text(reply, "ID")),
                })
                .await
            }
            Self::Provide { keys, verbose, recursive } => {
                let ask = Ask::new("routing/provide").args(&or_stdin(keys)?);
                let ask = ask.option("verbose", verbose).option("recursive", recursive);
                events(link, ask, verbose, told).await
            }
        }
    }
}

type Own = fn(&Value, bool) -> Option<String>;

/// Prints the events of a lookup: those that `own` knows in its words.
async fn events(link: &Link, ask: Ask, verbose: bool, own: Own) -> Result<(), CliError> {
    link.each(ask, |event| {
        if link.prints_json() {
            return output::json(event);
        }
        let said = own(event, verbose).or_else(|| verbose.then(|| common(event)));
        let Some(said) = said else { return Ok(()) };
        if verbose {
            let now = clock::rfc3339_millis(SystemTime::now());
            part(format!("{}: ", now.get(11..23).unwrap_or_default()))?;
        }
        part(said)
    })
    .await
}

fn common(event: &Value) -> String {
    let (peer, extra) = (text(event, "ID"), safe(text(event, "Extra")));
    match number(event, "Type") {
        0 => format!("* querying {peer}\n"),
        1 => {
            let named = list(event, "Responses").iter().map(|named| text(named, "ID"));
            let named: Vec<String> = named.map(|id| format!("{id} ")).collect();
            format!("* {peer} says use {}\n", named.concat())
        }
        3 => format!("error: {extra}\n"),
        5 => format!("got value: '{extra}'\n"),
        6 => format!("adding peer to query: {peer}\n"),
        7 => format!("dialing peer: {peer}\n"),
        // Whoever a lookup ended with is only told by some.
        _ => String::new(),
    }
}

/// Who has a block.
fn provider(event: &Value, verbose: bool) -> Option<String> {
    if number(event, "Type") != 4 {
        return None;
    }
    let contact = list(event, "Responses").first()?;
    let id = text(contact, "ID");
    Some(match verbose {
        false => format!("{id}\n"),
        true => {
            let addresses = list(contact, "Addrs").iter().filter_map(Value::as_str);
            let addresses: Vec<String> = addresses.map(|addr| format!("\t{addr}\n")).collect();
            format!("provider: {id}\n{}", addresses.concat())
        }
    })
}

/// Where a peer is.
fn place(event: &Value, _: bool) -> Option<String> {
    if number(event, "Type") != 2 {
        return None;
    }
    let contact = list(event, "Responses").first()?;
    let addresses = list(contact, "Addrs").iter().filter_map(Value::as_str);
    Some(addresses.map(|addr| format!("{addr}\n")).collect())
}

/// Who is told.
fn told(event: &Value, verbose: bool) -> Option<String> {
    let peer = text(event, "ID");
    let is_told = verbose && number(event, "Type") == 2;
    is_told.then(|| format!("sending provider record to peer {peer}\n"))
}
