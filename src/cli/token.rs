//! `henge token`.

use serde_json::Value;

use super::columns::align;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, safe, text};

/// What opens the pinning service and the RPC.
#[derive(clap::Subcommand)]
pub enum Token {
    /// Issue a token. Its secret is printed once, and kept nowhere.
    Issue(Issue),
    /// List tokens, without their secrets.
    Ls {
        /// Those of one tenant.
        #[arg(long, value_name = "TENANT")]
        tenant: Option<String>,
    },
    /// Take tokens back, by their ids.
    #[command(after_help = REVOKE_EXAMPLES)]
    Revoke {
        /// An id, as `token ls` shows it.
        #[arg(value_name = "ID", required = true)]
        ids: Vec<String>,
    },
}

/// Arguments of `token issue`.
#[derive(clap::Args)]
#[command(after_help = ISSUE_EXAMPLES)]
pub struct Issue {
    /// Whose requests it opens; without it, it opens the RPC.
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// What it is good for: read, pin (which reads, too), admin (the RPC's everything).
    #[arg(long, value_name = "SCOPE,...", required = true)]
    scope: Vec<String>,
    /// The only CID that it may pin.
    #[arg(long, value_name = "CID")]
    cid: Option<String>,
    /// How names of what it pins must begin.
    #[arg(long, value_name = "PREFIX")]
    name_prefix: Option<String>,
    /// How long it opens anything: 12h, 30d. For good without it.
    #[arg(long, value_name = "DURATION")]
    expires_in: Option<String>,
    /// Calls a second.
    #[arg(long, value_name = "NUMBER")]
    max_rate: Option<u32>,
    /// A note for people.
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
}

const ISSUE_EXAMPLES: &str = "\
Examples:
  henge token issue --tenant=acme --scope=pin
  henge token issue --tenant=acme --scope=pin --name-prefix=ci/ --expires-in=30d --label=build
  henge token issue --scope=read                 for scripts that read over the RPC";

const REVOKE_EXAMPLES: &str = "\
Examples:
  henge token revoke 5f2a90c1d4e7b863";

impl Issue {
    fn ask(self) -> Ask {
        let ask = Ask::new("token/issue");
        let ask = self.scope.into_iter().fold(ask, |ask, scope| ask.option("scope", scope));
        let given = [
            ("tenant", self.tenant),
            ("cid", self.cid),
            ("name-prefix", self.name_prefix),
            ("expires-in", self.expires_in),
            ("max-rate", self.max_rate.map(|rate| rate.to_string())),
            ("label", self.label),
        ];
        given.into_iter().fold(ask, |ask, (name, value)| match value {
            Some(value) => ask.option(name, value),
            None => ask,
        })
    }
}

/// How a reply is printed.
type Print = fn(&Value) -> Result<(), CliError>;

impl Token {
    /// Does it, and prints what came of it.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let (ask, print): (Ask, Print) = match self {
            // The secret alone on standard output, for whoever keeps it in a variable.
            Self::Issue(issue) => (issue.ask(), |reply| {
                eprintln!("token {}, shown once:", safe(text(reply, "Id")));
                line(text(reply, "Secret"))
            }),
            Self::Ls { tenant } => {
                let ask = Ask::new("token/ls");
                let ask = match tenant {
                    Some(tenant) => ask.option("tenant", tenant),
                    None => ask,
                };
                (ask, |reply| table(list(reply, "Tokens")))
            }
            Self::Revoke { ids } => (Ask::new("token/revoke").args(&ids), |reply| {
                let ids = list(reply, "Revoked").iter().filter_map(Value::as_str);
                ids.into_iter().try_for_each(|id| line(format!("revoked {}", safe(id))))
            }),
        };
        let json = link.prints_json();
        link.each(ask, |reply| if json { output::json(reply) } else { print(reply) }).await
    }
}

fn table(tokens: &[Value]) -> Result<(), CliError> {
    let mut lines = vec!["ID\tTENANT\tSCOPES\tSTATE\tEXPIRES\tFOR\tLABEL".to_owned()];
    for token in tokens {
        let or = |name: &str, other: &str| match text(token, name) {
            "" => other.to_owned(),
            given => safe(given).to_string(),
        };
        let scopes: Vec<&str> = list(token, "Scopes").iter().filter_map(Value::as_str).collect();
        let bound = match (text(token, "Cid"), text(token, "NamePrefix")) {
            ("", "") => "anything".to_owned(),
            (cid, "") => safe(cid).to_string(),
            ("", prefix) => format!("{}*", safe(prefix)),
            (cid, prefix) => format!("{} as {}*", safe(cid), safe(prefix)),
        };
        lines.push(format!(
            "{}\t{}\t{}\t{}\t{}\t{bound}\t{}",
            or("Id", ""),
            or("Tenant", "(operator)"),
            scopes.join(","),
            or("State", ""),
            or("Expires", "never"),
            or("Label", "")
        ));
    }
    align(&lines, 0, 2).iter().try_for_each(|row| line(row.trim_end()))
}
