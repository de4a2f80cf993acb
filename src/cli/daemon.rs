//! `henge daemon` and `henge shutdown`.

use clap::ArgAction;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::Global;
use super::init::Init;
use super::link::{Ask, Link};
use super::output::{CliError, line};
use crate::config::repo;
use crate::daemon::{self, Options};
use crate::task;

/// Run a node that serves the RPC and the gateway, until a signal or `henge shutdown`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Daemon {
    /// Make the repository if it is not there.
    #[arg(long)]
    init: bool,
    /// Profiles for --init, separated by commas.
    #[arg(long, value_name = "PROFILES", value_delimiter = ',')]
    init_profile: Vec<String>,
    /// Taken for Kubo's sake: nothing needs migrating yet.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    migrate: Option<bool>,
    /// Collect garbage every Datastore.GCPeriod (1h) while the repository is above
    /// Datastore.StorageGCWatermark (90 % of Datastore.StorageMax). The limit itself always holds:
    /// what is not pinned makes room for what is.
    #[arg(long)]
    enable_gc: bool,
    /// Taken for Kubo's sake.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, hide = true)]
    enable_pubsub_experiment: Option<bool>,
    /// Taken for Kubo's sake.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, hide = true)]
    enable_namesys_pubsub: Option<bool>,
}

const EXAMPLES: &str = "\
Examples:
  henge daemon                      the RPC on Addresses.API (127.0.0.1:5001),
                                    the gateway on Addresses.Gateway (127.0.0.1:8080)
  henge daemon --init               makes the repository first, if need be
  henge shutdown                    ends it, as SIGTERM does";

impl Daemon {
    /// Serves until it is told to stop. A second signal ends the process at once; nothing that was
    /// acknowledged is lost by that.
    pub async fn run(self, global: &Global) -> Result<(), CliError> {
        line("Initializing daemon...")?;
        crate::machine::raise_open_files();
        let root = repo::locate(global.repo_dir.as_deref());
        if self.init && !root.join("config").exists() {
            Init::with_profiles(self.init_profile).run(global)?;
        }
        let failed = |e: daemon::BootError| CliError::new(e.to_string());
        let mut say = |text: &str| {
            // A daemon whose terminal is gone goes on.
            let _ = line(text);
        };
        let (offline, collect) = (global.offline, self.enable_gc);
        let options = Options { offline, collect, ..Options::default() };
        let running = daemon::Daemon::start(&root, options, &mut say).await.map_err(failed)?;
        end_on_signals(running.stopping())?;
        running.run().await;
        Ok(())
    }
}

/// Stops on the first signal, and ends the process on the second.
///
/// # Errors
/// When the system takes no handler.
pub fn end_on_signals(stop: CancellationToken) -> Result<(), CliError> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    task::detach(async move {
        for seen in 0.. {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            match seen {
                0 => stop.cancel(),
                _ => leave(),
            }
        }
    });
    Ok(())
}

/// Ends the process as it stands: what was acknowledged is on the disk.
#[allow(clippy::disallowed_methods)]
fn leave() {
    std::process::exit(1);
}

/// End the running daemon.
#[derive(clap::Args)]
pub struct Shutdown {}

impl Shutdown {
    /// Asks it; says nothing when it agrees.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        if link.is_in_process() {
            return Err(CliError::new("daemon not running"));
        }
        link.call(Ask::new("shutdown")).await.map(drop)
    }
}
