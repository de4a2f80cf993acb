//! `henge pin remote`.

use serde_json::Value;

use super::columns::align;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, safe, text};

/// Kubo's words, and where it says them.
const OFFLINE: &str = "WARNING: the local node is offline and remote pinning may fail if there is no \
                       other provider for this CID";

/// Pins that a remote pinning service keeps.
#[derive(clap::Subcommand)]
pub enum Remote {
    /// Have a service pin what a path leads to.
    Add(Add),
    /// List pins at a service.
    Ls(Ls),
    /// Take pins at a service back.
    Rm(Rm),
    /// Which services there are.
    #[command(subcommand)]
    Service(Service),
}

/// Arguments of `pin remote add`.
#[derive(clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
pub struct Add {
    /// A path: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH")]
    path: String,
    /// Name of the service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Name of the pin.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Do not wait until it is pinned.
    #[arg(long)]
    background: bool,
}

const ADD_EXAMPLES: &str = "\
Examples:
  henge pin remote add --service=mysrv --name=site <cid>     waits until it is pinned there
  henge pin remote add --service=mysrv --background <cid>    `pin remote ls` tells how far it is";

/// Which pins are meant.
#[derive(clap::Args)]
pub struct Which {
    /// Name of the service.
    #[arg(long, value_name = "SERVICE")]
    service: Option<String>,
    /// Pins of exactly this name.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Pins of these CIDs; may be repeated.
    #[arg(long, value_name = "CID,...")]
    cid: Vec<String>,
    /// Pins that are queued, pinning, pinned or failed; pinned ones unless it is said.
    #[arg(long, value_name = "STATUS,...")]
    status: Vec<String>,
}

/// Arguments of `pin remote ls`.
#[derive(clap::Args)]
#[command(after_help = LS_EXAMPLES)]
pub struct Ls {
    #[command(flatten)]
    which: Which,
}

const LS_EXAMPLES: &str = "\
Examples:
  henge pin remote ls --service=mysrv
  henge pin remote ls --service=mysrv --status=queued,pinning,failed
  henge pin remote ls --service=mysrv --cid=<cid>,<cid>";

/// Arguments of `pin remote rm`.
#[derive(clap::Args)]
#[command(after_help = RM_EXAMPLES)]
pub struct Rm {
    #[command(flatten)]
    which: Which,
    /// Take back all that match, if they are more than one.
    #[arg(long)]
    force: bool,
}

const RM_EXAMPLES: &str = "\
Examples:
  henge pin remote rm --service=mysrv --cid=<cid>
  henge pin remote rm --service=mysrv --status=queued,failed --force";

/// What can be done with services.
#[derive(clap::Subcommand)]
pub enum Service {
    /// Write a service and its key into the configuration.
    #[command(after_help = SERVICE_ADD_EXAMPLES)]
    Add {
        /// A name for it.
        #[arg(value_name = "SERVICE")]
        name: String,
        /// Its URL, without /pins.
        #[arg(value_name = "ENDPOINT")]
        endpoint: String,
        /// The access token that it gave out.
        #[arg(value_name = "KEY")]
        key: String,
    },
    /// List services, without their keys.
    #[command(after_help = SERVICE_LS_EXAMPLES)]
    Ls {
        /// Ask each how many pins are queued, pinning, pinned and failed.
        #[arg(long)]
        stat: bool,
    },
    /// Forget a service and its key; the pins there stay.
    Rm {
        /// Its name.
        #[arg(value_name = "SERVICE")]
        name: String,
    },
}

const SERVICE_ADD_EXAMPLES: &str = "\
Examples:
  henge pin remote service add mysrv https://pin-api.example.com secret-key";

const SERVICE_LS_EXAMPLES: &str = "\
Examples:
  henge pin remote service ls --stat      mysrv https://pin-api.example.com 0/0/12/1";

impl Remote {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Add(add) => add.run(link).await,
            Self::Ls(ls) => {
                link.each(ls.which.ask("pin/remote/ls"), |pin| match link.prints_json() {
                    true => output::json(pin),
                    false => {
                        let [cid, status] = ["Cid", "Status"].map(|field| text(pin, field));
                        line(format!("{cid}\t{status}\t{}", safe(text(pin, "Name"))))
                    }
                })
                .await
            }
            Self::Rm(rm) => {
                let ask = rm.which.ask("pin/remote/rm").option("force", rm.force);
                link.call(ask).await.map(drop)
            }
            Self::Service(service) => service.run(link).await,
        }
    }
}

impl Add {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        if link.is_in_process() && !link.prints_json() {
            let here = Ask::new("block/stat").arg(self.path.as_str()).option("offline", true);
            if link.value(here).await.is_some() {
                line(OFFLINE)?;
            }
        }
        let ask = Ask::new("pin/remote/add").arg(self.path).option("background", self.background);
        let ask = given(given(ask, "service", self.service), "name", self.name);
        link.each(ask, |pin| {
            if link.prints_json() {
                return output::json(pin);
            }
            let rows = [("CID", "Cid"), ("Name", "Name"), ("Status", "Status")];
            let rows = rows.map(|(word, field)| format!("{word}:\t{}", safe(text(pin, field))));
            align(&rows, 0, 1).iter().try_for_each(line)
        })
        .await
    }
}

impl Which {
    fn ask(self, command: &'static str) -> Ask {
        let ask = given(Ask::new(command), "service", self.service);
        let ask = given(ask, "name", self.name);
        let ask = self.cid.iter().fold(ask, |ask, cid| ask.option("cid", cid));
        self.status.iter().fold(ask, |ask, status| ask.option("status", status))
    }
}

fn given(ask: Ask, name: &str, value: Option<String>) -> Ask {
    value.into_iter().fold(ask, |ask, value| ask.option(name, value))
}

impl Service {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = match self {
            Self::Add { name, endpoint, key } => {
                Ask::new("pin/remote/service/add").arg(name).arg(endpoint).arg(key)
            }
            Self::Rm { name } => Ask::new("pin/remote/service/rm").arg(name),
            Self::Ls { stat } => {
                let ask = Ask::new("pin/remote/service/ls").option("stat", stat);
                return link
                    .each(ask, |reply| match link.prints_json() {
                        true => output::json(reply),
                        false => {
                            let rows: Vec<String> =
                                list(reply, "RemoteServices").iter().map(row).collect();
                            align(&rows, 1, 1).iter().try_for_each(line)
                        }
                    })
                    .await;
            }
        };
        link.call(ask).await.map(drop)
    }
}

/// A service as a line of cells.
fn row(service: &Value) -> String {
    let [name, endpoint] = ["Service", "ApiEndpoint"].map(|field| safe(text(service, field)));
    let Some(stat) = service.get("Stat") else { return format!("{name}\t{endpoint}") };
    let told = match stat.get("PinCount") {
        Some(counts) => ["Queued", "Pinning", "Pinned", "Failed"]
            .map(|status| number(counts, status).to_string())
            .join("/"),
        None => text(stat, "Status").to_owned(),
    };
    format!("{name}\t{endpoint}\t{told}")
}
