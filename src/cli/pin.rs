//! `henge pin`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, safe, text};
use crate::node::pin::{PinAddOptions, PinLsOptions, PinRmOptions};

/// What garbage collection keeps.
#[derive(clap::Subcommand)]
pub enum Pin {
    /// Keep what paths lead to.
    Add(Add),
    /// List what is kept, or tell how the named blocks are kept.
    Ls(Ls),
    /// Stop keeping what paths lead to.
    Rm(Rm),
}

/// Arguments of `pin add`.
#[derive(clap::Args)]
pub struct Add {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    options: PinAddOptions,
}

/// Arguments of `pin ls`.
#[derive(clap::Args)]
pub struct Ls {
    /// Blocks to tell about; all pins without one.
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// Print CIDs alone.
    #[arg(long, short = 'q')]
    quiet: bool,
    #[command(flatten)]
    options: PinLsOptions,
}

/// Arguments of `pin rm`.
#[derive(clap::Args)]
pub struct Rm {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    options: PinRmOptions,
}

impl Pin {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Add(add) => {
                let how = if add.options.recursive { "recursively" } else { "directly" };
                let ask = Ask::new("pin/add").args(&add.paths).options(&add.options)?;
                changed(link, ask, |cid| format!("pinned {cid} {how}")).await
            }
            Self::Rm(rm) => {
                let ask = Ask::new("pin/rm").args(&rm.paths).options(&rm.options)?;
                changed(link, ask, |cid| format!("unpinned {cid}")).await
            }
            Self::Ls(ls) => ls.run(link).await,
        }
    }
}

async fn changed(link: &Link, ask: Ask, say: impl Fn(&str) -> String) -> Result<(), CliError> {
    link.each(ask, |reply| {
        if link.prints_json() {
            return output::json(reply);
        }
        let pins = list(reply, "Pins").iter().filter_map(Value::as_str);
        pins.map(&say).try_for_each(line)
    })
    .await
}

impl Ls {
    async fn run(mut self, link: &Link) -> Result<(), CliError> {
        // Lines take no memory of ours, and come out the same.
        self.options.stream |= !link.prints_json();
        let ask = Ask::new("pin/ls").args(&self.paths).options(&self.options)?;
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => line(self.shown(reply)),
        })
        .await
    }

    fn shown(&self, pin: &Value) -> String {
        let (cid, kept, name) = (text(pin, "Cid"), text(pin, "Type"), safe(text(pin, "Name")));
        match (self.quiet, name.is_empty()) {
            (true, _) => cid.to_owned(),
            (false, true) => format!("{cid} {kept}"),
            (false, false) => format!("{cid} {kept} {name}"),
        }
    }
}
