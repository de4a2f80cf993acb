//! `henge id` and `henge version`.

use serde::Serialize as _;
use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, text};
use super::{Encoding, Global};
use crate::config::program_name;
use crate::rpc;

/// Print who this node is, or another.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Id {
    /// A peer; this node without one.
    #[arg(value_name = "PEER")]
    peer: Option<String>,
    /// Shape of the output: tokens <id>, <aver>, <pubkey>, <addrs>, <protocols>.
    #[arg(long, short = 'f', value_name = "FORMAT")]
    format: Option<String>,
    /// Spelling of the ID: b58mh, or the multibase of a CID.
    #[arg(long, value_name = "BASE", default_value = "b58mh")]
    peerid_base: String,
}

const EXAMPLES: &str = "\
Examples:
  henge id                                   this node
  henge id -f '<addrs>\\n'                   where it can be reached
  henge id 12D3Koo... -f '<aver>\\n'         what another one runs
  henge --offline id --peerid-base=k <id>    another spelling, without asking anybody";

impl Id {
    /// Prints JSON, or what the format asks for.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = self.peer.iter().fold(Ask::new("id"), |ask, peer| ask.arg(peer.as_str()));
        let ask = ask.option("peerid-base", &self.peerid_base);
        link.each(ask, |reply| match (&self.format, link.prints_json()) {
            (None, true) => output::json(reply),
            (None, false) => output::part(format!("{}\n\n", tabbed(reply)?)),
            // As in Kubo, a format brings its own newlines.
            (Some(format), _) => output::part(shown(reply, format)),
        })
        .await
    }
}

/// JSON as Go indents it.
fn tabbed(value: &Value) -> Result<String, CliError> {
    let mut text = Vec::new();
    let shape = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut to = serde_json::Serializer::with_formatter(&mut text, shape);
    value.serialize(&mut to).map_err(|e| CliError::new(e.to_string()))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
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
