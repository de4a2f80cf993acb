//! `henge config`.

use std::path::PathBuf;

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line};
use super::walk::{self, WalkRules};
use crate::config::command::render;
use crate::rpc::Body;

/// Read or change the configuration.
#[derive(clap::Args)]
#[command(
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
pub struct Config {
    /// The key, as Datastore.StorageMax.
    #[arg(value_name = "KEY", required = true)]
    key: Option<String>,
    /// The value to set; without it the key is printed.
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: Option<String>,
    /// The value is JSON.
    #[arg(long)]
    json: bool,
    /// The value is true or false.
    #[arg(long)]
    bool: bool,
    /// Print what `auto` stands for in its place (Bootstrap).
    #[arg(long, global = true)]
    expand_auto: bool,
    #[command(subcommand)]
    whole: Option<Whole>,
}

/// What concerns the whole configuration.
#[derive(clap::Subcommand)]
enum Whole {
    /// Print everything but the secrets.
    Show,
    /// Put another file in its place; identity and secrets stay.
    Replace(Replace),
    /// Change many settings at once.
    #[command(subcommand)]
    Profile(Profile),
}

/// Arguments of `config replace`.
#[derive(clap::Args)]
#[command(after_help = REPLACE_EXAMPLES)]
struct Replace {
    /// The file, without a private key; `-` for standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

const REPLACE_EXAMPLES: &str = "\
Examples:
  henge config show > mine.json
  henge config replace mine.json";

/// What can be done with profiles.
#[derive(clap::Subcommand)]
enum Profile {
    /// Apply one; a copy of the configuration is kept beside it.
    Apply(Apply),
}

/// Arguments of `config profile apply`.
#[derive(clap::Args)]
#[command(after_help = APPLY_EXAMPLES)]
struct Apply {
    /// Its name.
    #[arg(value_name = "PROFILE")]
    profile: String,
    /// Print what would change, and change nothing.
    #[arg(long)]
    dry_run: bool,
}

const APPLY_EXAMPLES: &str = "\
Examples:
  henge config profile apply server --dry-run
  henge config profile apply lowpower";

const EXAMPLES: &str = "\
Examples:
  henge config Datastore.StorageMax          print a value
  henge config Datastore.StorageMax 200GB    set it
  henge config --json Import.CidVersion 1    set what is no text
  henge config show                          everything but the secrets";

impl Config {
    /// Prints a value; says nothing when one was set.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        if let Some(whole) = self.whole {
            return whole.run(link, self.expand_auto).await;
        }
        let set = self.value.is_some();
        let ask = self.key.into_iter().fold(Ask::new("config"), Ask::arg);
        let ask = ask.option("json", self.json).option("bool", self.bool);
        let ask = ask.option("expand-auto", self.expand_auto);
        let ask = self.value.into_iter().fold(ask, Ask::arg);
        link.each(ask, |reply| match (link.prints_json(), set) {
            (true, _) => output::json(reply),
            (false, true) => Ok(()),
            (false, false) => print(reply.get("Value").unwrap_or(&Value::Null)),
        })
        .await
    }
}

impl Whole {
    async fn run(self, link: &Link, expand_auto: bool) -> Result<(), CliError> {
        let ask = match self {
            Self::Show => {
                let ask = Ask::new("config/show").option("expand-auto", expand_auto);
                return link
                    .each(ask, |reply| match link.prints_json() {
                        true => output::json(reply),
                        false => print(reply),
                    })
                    .await;
            }
            Self::Replace(replace) => {
                let source = match replace.file.as_os_str() == "-" {
                    true => walk::stdin(),
                    false => {
                        let rules = WalkRules { recursive: false, hidden: true };
                        walk::files(&[replace.file], rules)?
                    }
                };
                return link
                    .call(Ask::new("config/replace").body(Body::Files(source)))
                    .await
                    .map(drop);
            }
            Self::Profile(Profile::Apply(apply)) => {
                Ask::new("config/profile/apply").arg(apply.profile).option("dry-run", apply.dry_run)
            }
        };
        link.each(ask, |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            let part = |name: &str| reply.get(name).unwrap_or(&Value::Null);
            let mut lines = Vec::new();
            differences("", part("OldCfg"), part("NewCfg"), &mut lines);
            lines.iter().try_for_each(line)
        })
        .await
    }
}

fn print(value: &Value) -> Result<(), CliError> {
    line(render(value).map_err(|e| CliError::new(e.to_string()))?)
}

/// A line for each value that is gone, and one for each that has come.
fn differences(key: &str, old: &Value, new: &Value, lines: &mut Vec<String>) {
    let (Value::Object(before), Value::Object(after)) = (old, new) else {
        if old != new {
            let told = [("-", old), ("+", new)].into_iter().filter(|(_, value)| !value.is_null());
            lines.extend(told.map(|(sign, value)| format!("{sign} {key}: {value}")));
        }
        return;
    };
    let dot = if key.is_empty() { "" } else { "." };
    let added = after.keys().filter(|name| !before.contains_key(*name));
    for name in before.keys().chain(added) {
        let [old, new] = [before, after].map(|of| of.get(name).unwrap_or(&Value::Null));
        differences(&format!("{key}{dot}{name}"), old, new, lines);
    }
}
