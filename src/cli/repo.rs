//! `henge repo`.

use std::io::{IsTerminal as _, stderr};

use indicatif::HumanBytes;
use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, text};
use crate::config::program_name;
use crate::node::repo::RepoVerifyOptions;

/// The repository.
#[derive(clap::Subcommand)]
pub enum Repo {
    /// Tell how much there is.
    Stat(Stat),
    /// Delete every block that no pin holds.
    Gc(Gc),
    /// Print every block of the store, as `refs local` does.
    Ls,
    /// Read every block and hash it again.
    Verify(Verify),
    /// Print the repository's version.
    Version(Version),
}

/// Arguments of `repo verify`.
#[derive(clap::Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct Verify {
    #[command(flatten)]
    options: RepoVerifyOptions,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  henge repo verify      a line for each corrupt block; exit code 1 if there is any";

/// Arguments of `repo version`.
#[derive(clap::Args)]
#[command(after_help = VERSION_EXAMPLES)]
pub struct Version {
    /// The version alone.
    #[arg(long, short = 'q')]
    quiet: bool,
}

const VERSION_EXAMPLES: &str = "\
Examples:
  henge repo version        henge repo version fs-repo@18
  henge repo version -q     fs-repo@18";

/// Arguments of `repo stat`.
#[derive(clap::Args)]
pub struct Stat {
    /// Sizes alone.
    #[arg(long, short = 's')]
    size_only: bool,
    /// Sizes in MiB, GiB and so on.
    #[arg(long, short = 'H')]
    human: bool,
}

/// Arguments of `repo gc`.
#[derive(clap::Args)]
#[command(after_help = GC_EXAMPLES)]
pub struct Gc {
    /// Print CIDs alone.
    #[arg(long, short = 'q')]
    quiet: bool,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
    /// Delete nothing: print what would go.
    #[arg(long)]
    dry_run: bool,
}

const GC_EXAMPLES: &str = "\
Examples:
  henge repo gc               deletes what no pin holds; adds and pins go on meanwhile
  henge repo gc --dry-run     prints what that would be";

impl Repo {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Stat(stat) => stat.run("repo/stat", link).await,
            Self::Gc(gc) => {
                // Not an option of Kubo's: sent only where it is meant.
                let ask = Ask::new("repo/gc");
                let ask = if gc.dry_run { ask.option("dry-run", true) } else { ask };
                link.each(ask, |reply| gc.print(link, reply)).await
            }
            Self::Ls => {
                link.each(Ask::new("repo/ls"), |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => line(text(reply, "Ref")),
                })
                .await
            }
            Self::Verify(verify) => verify.run(link).await,
            Self::Version(version) => {
                link.each(Ask::new("repo/version"), |reply| {
                    match (link.prints_json(), version.quiet) {
                        (true, _) => output::json(reply),
                        (false, true) => line(format!("fs-repo@{}", text(reply, "Version"))),
                        (false, false) => line(format!(
                            "{} repo version fs-repo@{}",
                            program_name(),
                            text(reply, "Version")
                        )),
                    }
                })
                .await
            }
        }
    }
}

impl Verify {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let watched = stderr().is_terminal();
        let ask = Ask::new("repo/verify").options(&self.options)?;
        link.each(ask, |reply| match (link.prints_json(), text(reply, "Msg")) {
            (true, _) => output::json(reply),
            (false, "") if watched => {
                eprint!("{} blocks processed.\r", number(reply, "Progress"));
                Ok(())
            }
            (false, "") => Ok(()),
            (false, message) => line(message),
        })
        .await
    }
}

impl Stat {
    /// Asks by either of its names, and prints.
    pub async fn run(self, command: &'static str, link: &Link) -> Result<(), CliError> {
        link.each(Ask::new(command).option("size-only", self.size_only), |reply| {
            match link.prints_json() {
                true => output::json(reply),
                false => self.print(reply),
            }
        })
        .await
    }

    fn print(&self, stat: &Value) -> Result<(), CliError> {
        let size = |field: &str| match self.human {
            true => HumanBytes(number(stat, field)).to_string(),
            false => number(stat, field).to_string(),
        };
        if !self.size_only {
            line(format!("NumObjects: {}", number(stat, "NumObjects")))?;
        }
        line(format!("RepoSize:   {}", size("RepoSize")))?;
        line(format!("StorageMax: {}", size("StorageMax")))?;
        if !self.size_only {
            line(format!("RepoPath:   {}", text(stat, "RepoPath")))?;
            line(format!("Version:    {}", text(stat, "Version")))?;
            line(format!("Logical:    {}", size("LogicalSize")))?;
            line(format!("Garbage:    {}", size("GarbageSize")))?;
        }
        Ok(())
    }
}

impl Gc {
    fn print(&self, link: &Link, event: &Value) -> Result<(), CliError> {
        let cid = event.get("Key").map(|key| text(key, "/")).unwrap_or_default();
        match (link.prints_json(), self.silent, self.quiet) {
            (true, ..) => output::json(event),
            (false, true, _) => Ok(()),
            (false, false, true) => line(cid),
            (false, false, false) if self.dry_run => line(format!("would remove {cid}")),
            (false, false, false) => line(format!("removed {cid}")),
        }
    }
}
