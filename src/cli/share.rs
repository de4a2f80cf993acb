//! `henge share`: from a file or folder to a link for browsers and a command for another machine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::Global;
use super::daemon::end_on_signals;
use super::init::Init;
use super::link::{Ask, Link};
use super::output::{CliError, line, list, number, safe, text};
use super::walk::{self, WalkRules};
use crate::config::{program_name, repo};
use crate::daemon::{self, Daemon, Options};
use crate::gateway::visit::{Visit, Watch};
use crate::ipld::cid::{self, Base};
use crate::node::add::AddOptions;
use crate::rpc::Body;
use crate::{size, task};

/// Visits waiting to be printed; more are not told.
const VISITS: usize = 256;
/// Time between two looks at who fetches.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Add a file or folder, run the node, and print a link for browsers here and a command for other
/// machines; Ctrl-C ends it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Share {
    /// What to share; folders with everything in them.
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Take hidden files of folders, too.
    #[arg(long, short = 'H')]
    hidden: bool,
}

const EXAMPLES: &str = "\
Examples:
  henge share photos          makes a repository if there is none, adds, serves
  henge share notes.txt       the link is for browsers on this machine,
                              the last line for a shell on another one";

impl Share {
    /// Goes through the daemon that runs already, or is one itself until it is told to stop.
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        let root = repo::locate(global.repo_dir.as_deref());
        if !root.join("config").exists() {
            Init::with_profiles(Vec::new()).run(global)?;
        }
        let rules = WalkRules { recursive: true, hidden: self.hidden, ..Default::default() };
        // What cannot be added is refused before anything starts.
        drop(walk::files(std::slice::from_ref(&self.path), rules.clone())?);
        if let Some(link) = Link::to_daemon(global).await? {
            self.add_and_tell(&link, &root, rules).await?;
            return line("the running daemon serves it");
        }
        let (told, mut visits) = mpsc::channel(VISITS);
        let (offline, watch) = (global.offline, Watch::new(told));
        let options = Options { any_port: true, offline, collect: false, watch };
        let failed = |e: daemon::BootError| CliError::new(e.to_string());
        let mut say = |text: &str| tracing::debug!("{text}");
        let running = Daemon::start(&root, options, &mut say).await.map_err(failed)?;
        end_on_signals(running.stopping())?;
        let Some(link) = Link::to_daemon(global).await? else {
            return Err(CliError::new("the node does not answer"));
        };
        self.add_and_tell(&link, &root, rules).await?;
        drop(link);
        line("Ctrl-C ends it")?;
        task::detach(fetchers(global.clone(), running.stopping()));
        task::detach(async move {
            while let Some(visit) = visits.recv().await {
                // Nobody may be watching any more; the node goes on.
                let _ = line(shown(&visit));
            }
        });
        running.run().await;
        Ok(())
    }

    /// Adds and prints the CID and the link.
    async fn add_and_tell(
        &self,
        link: &Link,
        root: &Path,
        rules: WalkRules,
    ) -> Result<(), CliError> {
        let options = AddOptions::default();
        let source = walk::files(std::slice::from_ref(&self.path), rules)?;
        let ask = Ask::new("add").options(&options)?.body(Body::Files(source));
        let mut last = String::new();
        link.each(ask, |event| {
            match text(event, "Hash") {
                "" => {}
                hash => hash.clone_into(&mut last),
            }
            Ok(())
        })
        .await?;
        let cid = cid::parse(&last).map_err(|e| CliError::new(e.to_string()))?;
        line(format!("{last} {}", safe(&self.path.to_string_lossy())))?;
        let Ok(gateway) = std::fs::read_to_string(root.join(daemon::GATEWAY_FILE)) else {
            return Err(CliError::new("no gateway: set Addresses.Gateway"));
        };
        line(format!("{gateway}/ipfs/{}", cid::print(&cid, Base::Base32Lower, true)))?;
        match reachable(link).await? {
            Some(address) => line(format!("{} get {last} --from {address}", program_name())),
            None => Ok(()),
        }
    }
}

/// The address by which another machine best reaches this node, with its ID; `None` while it is
/// offline.
async fn reachable(link: &Link) -> Result<Option<String>, CliError> {
    let mut best = None;
    link.each(Ask::new("id"), |reply| {
        let addresses = list(reply, "Addresses").iter().filter_map(Value::as_str);
        best = addresses.min_by_key(|address| rank(address)).map(str::to_owned);
        Ok(())
    })
    .await?;
    Ok(best)
}

/// What of an address makes it worse: that only this machine reaches it, that it may be one of a
/// network within the machine, that fewer speak its transport.
fn rank(address: &str) -> (bool, bool, bool, bool) {
    let loopback = address.starts_with("/ip4/127.") || address.starts_with("/ip6/::1/");
    let inner = address.starts_with("/ip4/172.") || address.starts_with("/ip6/fe80");
    let plain = address.contains("/tcp/") && !address.contains("/ws");
    (loopback, inner, address.starts_with("/ip6/"), !plain)
}

/// Tells of peers that fetch blocks, and how much: looks every few seconds, until the node stops.
async fn fetchers(global: Global, stop: CancellationToken) {
    let mut told: HashMap<String, u64> = HashMap::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        // A look that fails is made again; the node itself goes on.
        let Ok(Some(link)) = Link::to_daemon(&global).await else { continue };
        let Some(reply) = link.value(Ask::new("diag/ledgers")).await else { continue };
        let ledgers = list(&reply, "Ledgers").iter();
        let sent: HashMap<String, u64> =
            ledgers.map(|one| (text(one, "Peer").to_owned(), number(one, "Sent"))).collect();
        for (peer, bytes) in sent
            .iter()
            .filter(|(peer, bytes)| **bytes > 0 && told.get(peer.as_str()) != Some(bytes))
        {
            // Nobody may be watching any more.
            let _ = line(format!("{peer} has fetched {}", size::decimal(*bytes)));
        }
        told = sent;
    }
}

fn shown(visit: &Visit) -> String {
    let from = visit.from.map_or_else(|| "a local socket".to_owned(), |from| from.ip().to_string());
    format!("{from} reads {}", safe(&visit.path))
}
