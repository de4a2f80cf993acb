//! `henge config`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::Global;
use super::link::{Ask, Link};
use super::output::{self, CliError, line};
use super::walk::{self, WalkRules};
use crate::config::command::render;
use crate::config::edit::Editing;
use crate::config::repo;
use crate::rpc::Body;
use crate::task;

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
    /// Show what stands for the word `auto`.
    #[arg(long)]
    expand_auto: bool,
    #[command(subcommand)]
    whole: Option<Whole>,
}

/// What concerns the whole configuration.
#[derive(clap::Subcommand)]
enum Whole {
    /// Print everything but the secrets.
    Show(Show),
    /// Open the file in the editor that $EDITOR names.
    #[command(after_help = EDIT_EXAMPLES)]
    Edit,
    /// Put another file in its place; identity and secrets stay.
    Replace(Replace),
    /// Change many settings at once.
    #[command(subcommand)]
    Profile(Profile),
}

/// Arguments of `config show`.
#[derive(clap::Args)]
#[command(after_help = SHOW_EXAMPLES)]
struct Show {
    /// Show what stands for the word `auto`.
    #[arg(long)]
    expand_auto: bool,
}

const SHOW_EXAMPLES: &str = "\
Examples:
  henge config show                    everything but the secrets
  henge config show --expand-auto      with defaults in place of `auto`";

const EDIT_EXAMPLES: &str = "\
Examples:
  EDITOR=nano henge config edit      what is no configuration is not taken";

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
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        if let Some(Whole::Edit) = self.whole {
            let root = repo::locate(global.repo_dir.as_deref());
            return task::blocking(move || edit(&root)).await;
        }
        let link = &Link::open(global).await?;
        if let Some(whole) = self.whole {
            return whole.run(link).await;
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
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = match self {
            // It needs no node, and was done before there was one.
            Self::Edit => return Ok(()),
            Self::Show(show) => {
                let ask = Ask::new("config/show").option("expand-auto", show.expand_auto);
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
                        let rules = WalkRules::default();
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

/// Has the configuration edited. The editor may have arguments: a shell takes it apart, and the
/// file's path is no part of what it reads.
fn edit(root: &Path) -> Result<(), CliError> {
    let failed = |e: repo::RepoError| CliError::new(e.to_string());
    let editor = std::env::var("EDITOR").unwrap_or_default();
    if editor.trim().is_empty() {
        return Err(CliError::new("ENV variable $EDITOR not set"));
    }
    let editing = Editing::begin(root).map_err(failed)?;
    let script = format!("{editor} \"$1\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).arg(editing.path());
    match command.status() {
        Ok(status) if status.success() => editing.finish().map_err(failed),
        ended => {
            editing.give_up();
            let why = ended.map_or_else(|e| e.to_string(), |status| status.to_string());
            Err(CliError::new(format!("the editor failed, nothing is changed: {why}")))
        }
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
