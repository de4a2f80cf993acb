//! `henge id` and `henge version`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, text};
use super::{Encoding, Global};
use crate::config::program_name;
use crate::rpc;

/// Print who this node is.
#[derive(clap::Args)]
pub struct Id {
    /// A peer; this node without one.
    #[arg(value_name = "PEER")]
    peer: Option<String>,
    /// Shape of the output: tokens <id>, <aver>, <pubkey>, <addrs>, <protocols>.
    #[arg(long, short = 'f', value_name = "FORMAT")]
    format: Option<String>,
}

impl Id {
    /// Prints JSON, or what the format asks for.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = self.peer.iter().fold(Ask::new("id"), |ask, peer| ask.arg(peer.as_str()));
        link.each(ask, |reply| match (&self.format, link.prints_json()) {
            (None, true) => output::json(reply),
            (None, false) => line(format!("{reply:#}")),
            (Some(format), _) => line(shown(reply, format)),
        })
        .await
    }
}

/// The format with its tokens replaced.
fn shown(id: &Value, format: &str) -> String {
    let lines = |field: &str| {
        let all: Vec<&str> = output::list(id, field).iter().filter_map(Value::as_str).collect();
        all.join("\n")
    };
    format
        .replace("<id>", text(id, "ID"))
        .replace("<aver>", text(id, "AgentVersion"))
        .replace("<pubkey>", text(id, "PublicKey"))
        .replace("<addrs>", &lines("Addresses"))
        .replace("<protocols>", &lines("Protocols"))
        .replace("\\n", "\n")
        .replace("\\t", "\t")
}

/// Print which version this is.
#[derive(clap::Args)]
pub struct Version {
    /// The number alone: the Kubo release that this node answers for.
    #[arg(long, short = 'n')]
    number: bool,
    /// With the commit: henge's own version.
    #[arg(long)]
    commit: bool,
    /// The repository's version alone.
    #[arg(long)]
    repo: bool,
    /// Everything.
    #[arg(long)]
    all: bool,
}

impl Version {
    /// Needs no repository.
    pub fn run(self, global: &Global) -> Result<(), CliError> {
        let facts = rpc::version();
        let [number, commit, repo, system] =
            ["Version", "Commit", "Repo", "System"].map(|field| text(&facts, field));
        if global.enc == Some(Encoding::Json) {
            return output::json(&facts);
        }
        line(match self {
            Self { all: true, .. } => format!(
                "Kubo version: {number}-{commit}\nRepo version: {repo}\nSystem version: {system}\n\
                 Golang version: {}",
                text(&facts, "Golang")
            ),
            Self { repo: true, .. } => repo.to_owned(),
            Self { number: true, commit: true, .. } => format!("{number}-{commit}"),
            Self { number: true, .. } => number.to_owned(),
            Self { commit: true, .. } => format!("{} version {number}-{commit}", program_name()),
            _ => format!("{} version {number}", program_name()),
        })
    }
}
