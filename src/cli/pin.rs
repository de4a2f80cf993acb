//! `henge pin`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, safe, text};
use super::remote::Remote;
use crate::node::pin::{PinAddOptions, PinLsOptions, PinRmOptions, PinUpdateOptions};
use crate::size;

/// What garbage collection keeps.
#[derive(clap::Subcommand)]
pub enum Pin {
    /// Keep what paths lead to.
    Add(Add),
    /// List what is kept, or tell how the named blocks are kept.
    Ls(Ls),
    /// Have others keep it.
    #[command(subcommand)]
    Remote(Remote),
    /// List what tenants of the pinning service wait for, and what is being fetched for them.
    #[command(after_help = QUEUE_EXAMPLES)]
    Queue,
    /// Stop keeping what paths lead to.
    Rm(Rm),
    /// Move a recursive pin, with its name, labels and expiry, to another DAG.
    Update(Update),
    /// Tell which recursive pins lack blocks.
    Verify(Verify),
}

/// Arguments of `pin add`.
#[derive(clap::Args)]
#[command(after_help = ADD_EXAMPLES)]
pub struct Add {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// Tell on standard error how far it has come.
    #[arg(long)]
    progress: bool,
    #[command(flatten)]
    options: PinAddOptions,
}

const ADD_EXAMPLES: &str = "\
Examples:
  henge pin add --name=site <cid>                       keeps it, and what is below it
  henge pin add --expire-in=12h <cid>                   for so long
  henge pin add --label=app=web --label=env=test <cid>  with labels, for `pin ls --label`";

/// Arguments of `pin ls`.
#[derive(clap::Args)]
#[command(after_help = LS_EXAMPLES)]
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

const LS_EXAMPLES: &str = "\
Examples:
  henge pin ls -t recursive          what was pinned, without what is below it
  henge pin ls <cid>                 how it is kept: recursive, direct, or through which pin
  henge pin ls -l --label=env=test   with names, times and labels";

/// Arguments of `pin rm`.
#[derive(clap::Args)]
pub struct Rm {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    #[command(flatten)]
    options: PinRmOptions,
}

/// Arguments of `pin update`.
#[derive(clap::Args)]
#[command(after_help = UPDATE_EXAMPLES)]
pub struct Update {
    /// What is pinned now.
    #[arg(value_name = "FROM")]
    from: String,
    /// What is to be pinned.
    #[arg(value_name = "TO")]
    to: String,
    #[command(flatten)]
    options: PinUpdateOptions,
}

const UPDATE_EXAMPLES: &str = "\
Examples:
  henge pin update <old> <new>                   the old one is no longer pinned
  henge pin update --unpin=false <old> <new>     both are";

/// Arguments of `pin verify`.
#[derive(clap::Args)]
#[command(after_help = VERIFY_EXAMPLES)]
pub struct Verify {
    /// Tell of whole pins, too.
    #[arg(long)]
    verbose: bool,
    /// Print CIDs of broken pins alone.
    #[arg(long, short = 'q')]
    quiet: bool,
}

const VERIFY_EXAMPLES: &str = "\
Examples:
  henge pin verify               broken pins, and which blocks they lack
  henge pin verify --verbose     every recursive pin: ok, or broken";

const QUEUE_EXAMPLES: &str = "\
Examples:
  henge pin queue               a line a tenant, below it one for each fetch and one for whom that asks
  henge pin queue --enc=json    the same for programs";

impl Pin {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Add(add) => {
                let how = if add.options.recursive { "recursively" } else { "directly" };
                let ask = Ask::new("pin/add").args(&add.paths).options(&add.options)?;
                // Asked for only where it is wanted: the reply has another shape then.
                let ask = if add.progress { ask.option("progress", true) } else { ask };
                changed(link, ask, |cid| format!("pinned {cid} {how}")).await
            }
            Self::Rm(rm) => {
                let ask = Ask::new("pin/rm").args(&rm.paths).options(&rm.options)?;
                changed(link, ask, |cid| format!("unpinned {cid}")).await
            }
            Self::Ls(ls) => ls.run(link).await,
            Self::Remote(remote) => remote.run(link).await,
            Self::Queue => {
                link.each(Ask::new("pin/queue"), |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => list(reply, "Tenants").iter().try_for_each(waiting),
                })
                .await
            }
            Self::Update(update) => {
                let ask = Ask::new("pin/update").arg(update.from).arg(update.to);
                link.each(ask.options(&update.options)?, |reply| {
                    match (link.prints_json(), list(reply, "Pins")) {
                        (false, [Value::String(from), Value::String(to)]) => {
                            line(format!("updated {from} to {to}"))
                        }
                        _ => output::json(reply),
                    }
                })
                .await
            }
            Self::Verify(verify) => verify.run(link).await,
        }
    }
}

impl Verify {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("pin/verify").option("verbose", self.verbose);
        link.each(ask.option("quiet", self.quiet), |reply| {
            let cid = text(reply, "Cid");
            if link.prints_json() {
                return output::json(reply);
            }
            if self.quiet {
                return line(cid);
            }
            if reply.get("Ok") == Some(&Value::Bool(true)) {
                return line(format!("{cid} ok"));
            }
            line(format!("{cid} broken"))?;
            let mut bad = list(reply, "BadNodes").iter();
            bad.try_for_each(|node| line(format!("  {}: {}", text(node, "Cid"), text(node, "Err"))))
        })
        .await
    }
}

/// What waits for one tenant, and what is being fetched for it.
fn waiting(tenant: &Value) -> Result<(), CliError> {
    let [queued, later] = ["Queued", "Later"].map(|field| number(tenant, field));
    let fetches = list(tenant, "Pinning");
    let name = safe(text(tenant, "Tenant"));
    line(format!("{name}: {queued} queued, {later} to be tried again, {} pinning", fetches.len()))?;
    fetches.iter().try_for_each(|fetch| {
        let [blocks, bytes, size, time] =
            ["Blocks", "Bytes", "Size", "Seconds"].map(|field| number(fetch, field));
        let of = match size {
            0 => String::new(),
            size => format!(" of {}", size::decimal(size)),
        };
        let (cid, bytes) = (safe(text(fetch, "Cid")), size::decimal(bytes));
        let told = format!("  {cid}  {bytes}{of} in {blocks} blocks, {time} s");
        line(format!("{told}  {}", safe(text(fetch, "Name"))).trim_end())?;
        match text(fetch, "Asking") {
            "" => Ok(()),
            asking => line(format!("    {}", safe(asking))),
        }
    })
}

async fn changed(link: &Link, ask: Ask, say: impl Fn(&str) -> String) -> Result<(), CliError> {
    link.each(ask, |reply| {
        if link.prints_json() {
            return output::json(reply);
        }
        if reply.get("Pins").is_none() {
            let size = size::decimal(number(reply, "Bytes"));
            eprint!("Fetched/Processed {} nodes ({size})\r", number(reply, "Progress"));
            return Ok(());
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

    /// A row as Kubo prints it, and with `--long` what else is known of the pin.
    fn shown(&self, pin: &Value) -> String {
        let mut line = text(pin, "Cid").to_owned();
        if self.quiet {
            return line;
        }
        for field in ["Type", "Name"].map(|name| safe(text(pin, name))) {
            if !field.is_empty() {
                line.push(' ');
                line.push_str(&field);
            }
        }
        if !self.options.long {
            return line;
        }
        for (word, name) in [("created", "Created"), ("expires", "Expires")] {
            if let Some(time) = pin.get(name).and_then(Value::as_str) {
                line.push_str(&format!(" {word}={}", safe(time)));
            }
        }
        for (key, value) in pin.get("Labels").and_then(Value::as_object).into_iter().flatten() {
            let label = format!("{key}={}", value.as_str().unwrap_or_default());
            line.push_str(&format!(" label:{}", safe(&label)));
        }
        line
    }
}
