//! `henge repo`.

use indicatif::HumanBytes;
use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, text};

/// The repository.
#[derive(clap::Subcommand)]
pub enum Repo {
    /// Tell how much there is.
    Stat(Stat),
    /// Delete every block that no pin holds.
    Gc(Gc),
}

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
pub struct Gc {
    /// Print CIDs alone.
    #[arg(long, short = 'q')]
    quiet: bool,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
}

impl Repo {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Stat(stat) => {
                let ask = Ask::new("repo/stat").option("size-only", stat.size_only);
                link.each(ask, |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => stat.print(reply),
                })
                .await
            }
            Self::Gc(gc) => link.each(Ask::new("repo/gc"), |reply| gc.print(link, reply)).await,
        }
    }
}

impl Stat {
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
            (false, false, false) => line(format!("removed {cid}")),
        }
    }
}
