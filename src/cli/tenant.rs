//! `henge tenant`.

use serde_json::Value;

use super::columns::align;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, safe, text};

/// For whom this node pins.
#[derive(clap::Subcommand)]
pub enum Tenant {
    /// Make a tenant.
    #[command(after_help = ADD_EXAMPLES)]
    Add {
        /// What to call it: a-z, 0-9, '.', '_' and '-', at most 64.
        #[arg(value_name = "TENANT")]
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// List tenants and what they may use.
    Ls,
    /// Show or change what a tenant may use.
    #[command(after_help = LIMITS_EXAMPLES)]
    Limits {
        /// Its name.
        #[arg(value_name = "TENANT")]
        name: String,
        #[command(flatten)]
        limits: Limits,
    },
    /// Show what a tenant has here: requests, and bytes that it holds alone and with others.
    Usage {
        /// Its name.
        #[arg(value_name = "TENANT")]
        name: String,
    },
    /// Remove a tenant and revoke its tokens.
    #[command(after_help = RM_EXAMPLES)]
    Rm {
        /// Its name.
        #[arg(value_name = "TENANT")]
        name: String,
        /// Its requests, too, and what they alone held.
        #[arg(long)]
        force: bool,
    },
}

/// What a tenant may use.
#[derive(clap::Args)]
pub struct Limits {
    /// Bytes of all that it pins: 10GB; `none` for no bound.
    #[arg(long, value_name = "SIZE")]
    max_bytes: Option<String>,
    /// Requests that are queued, being pinned, or pinned.
    #[arg(long, value_name = "NUMBER")]
    max_pins: Option<String>,
    /// Requests that are being pinned at the same time; more wait.
    #[arg(long, value_name = "NUMBER")]
    max_in_flight: Option<String>,
    /// Bytes of one pin.
    #[arg(long, value_name = "SIZE")]
    max_pin_bytes: Option<String>,
    /// Calls a second.
    #[arg(long, value_name = "NUMBER")]
    max_rate: Option<String>,
}

const ADD_EXAMPLES: &str = "\
Examples:
  henge tenant add acme
  henge tenant add acme --max-bytes=100GB --max-pins=10000 --max-rate=50";

const LIMITS_EXAMPLES: &str = "\
Examples:
  henge tenant limits acme
  henge tenant limits acme --max-bytes=200GB --max-rate=none";

const RM_EXAMPLES: &str = "\
Examples:
  henge tenant rm acme
  henge tenant rm acme --force     its requests, too";

impl Limits {
    fn over(&self, ask: Ask) -> Ask {
        let given = [
            ("max-bytes", &self.max_bytes),
            ("max-pins", &self.max_pins),
            ("max-in-flight", &self.max_in_flight),
            ("max-pin-bytes", &self.max_pin_bytes),
            ("max-rate", &self.max_rate),
        ];
        given.into_iter().fold(ask, |ask, (name, value)| match value {
            Some(value) => ask.option(name, value),
            None => ask,
        })
    }
}

impl Tenant {
    /// Does it, and prints what came of it.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = match &self {
            Self::Add { name, limits } => limits.over(Ask::new("tenant/add").arg(name)),
            Self::Ls => Ask::new("tenant/ls"),
            Self::Limits { name, limits } => limits.over(Ask::new("tenant/limits").arg(name)),
            Self::Usage { name } => Ask::new("tenant/usage").arg(name),
            Self::Rm { name, force } => Ask::new("tenant/rm").arg(name).option("force", force),
        };
        link.each(ask, |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            match &self {
                Self::Add { .. } => line(format!("added tenant {}", safe(text(reply, "Name")))),
                Self::Rm { .. } => line(format!("removed tenant {}", safe(text(reply, "Name")))),
                Self::Ls => table(list(reply, "Tenants")),
                Self::Limits { .. } => limits(reply),
                Self::Usage { .. } => usage(reply),
            }
        })
        .await
    }
}

const LIMITS: [(&str, &str); 5] = [
    ("Bytes", "max bytes"),
    ("Pins", "max pins"),
    ("InFlight", "max in flight"),
    ("PinBytes", "max bytes of a pin"),
    ("Rate", "max calls a second"),
];

fn limit(tenant: &Value, name: &str) -> String {
    let value = tenant.get("Limits").and_then(|limits| limits.get(name));
    value.filter(|value| !value.is_null()).map_or("none".to_owned(), ToString::to_string)
}

fn table(tenants: &[Value]) -> Result<(), CliError> {
    let mut lines = vec!["TENANT\tBYTES\tPINS\tIN FLIGHT\tPIN BYTES\tRATE\tSINCE".to_owned()];
    for tenant in tenants {
        let limits = LIMITS.map(|(name, _)| limit(tenant, name)).join("\t");
        lines.push(format!(
            "{}\t{limits}\t{}",
            safe(text(tenant, "Name")),
            text(tenant, "Created")
        ));
    }
    align(&lines, 0, 2).iter().try_for_each(line)
}

fn limits(tenant: &Value) -> Result<(), CliError> {
    let row = |(name, words): (&str, &str)| format!("{words}:\t{}", limit(tenant, name));
    align(&LIMITS.map(row), 0, 2).iter().try_for_each(line)
}

fn usage(tenant: &Value) -> Result<(), CliError> {
    let rows = [
        ("Queued", "queued"),
        ("Pinning", "being pinned"),
        ("Pinned", "pinned"),
        ("Failed", "failed"),
        ("LogicalBytes", "bytes"),
        ("UniqueBytes", "bytes of its own"),
        ("SharedBytes", "bytes that others pin, too"),
    ];
    let row = |(name, words)| format!("{words}:\t{}", output::number(tenant, name));
    align(&rows.map(row), 0, 2).iter().try_for_each(line)
}
