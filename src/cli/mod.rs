//! The command line: Kubo's names, flags, output and exit codes. Parses, asks the RPC, renders.
//!
//! Every command is a client of the RPC; only `init` works on a repository that is not there yet.

mod add;
mod bitswap;
mod block;
mod bootstrap;
mod car;
mod cat;
mod cid;
mod columns;
mod commands;
mod config;
mod daemon;
mod dag;
mod diag;
pub mod extract;
mod from;
mod get;
mod id;
mod ignore;
mod init;
mod link;
mod log;
mod ls;
mod multibase;
mod output;
mod pin;
mod ping;
mod progress;
mod provide;
mod refs;
mod remote;
mod repo;
mod resolve;
mod resume;
mod routing;
mod share;
mod socket;
mod stats;
mod swarm;
mod switches;
mod tenant;
mod token;
mod upload;
mod waiting;
mod walk;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

use crate::config::units::parse_duration;
use crate::rpc;
pub use output::CliError;

/// Store, name and share content, the IPFS way.
#[derive(Parser)]
#[command(name = "henge", version, arg_required_else_help = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  henge init                      make a repository in ~/.henge (or $IPFS_PATH)
  henge share photos              add a folder and print a link that opens in a browser
  henge add -r photos             add a folder; prints a CID for each entry, the folder's last
  henge ls <cid>                  list a folder
  henge cat <cid>/notes.txt       print a file
  henge get <cid> -o copy         write a file or folder to the disk
  henge pin ls --type=recursive   what garbage collection keeps";

/// Options of every command.
#[derive(Clone, clap::Args)]
pub struct Global {
    /// Path of the repository.
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        alias = "config",
        short = 'c',
        help_heading = "Global options"
    )]
    repo_dir: Option<PathBuf>,
    /// Say more.
    #[arg(long, short = 'D', global = true, help_heading = "Global options")]
    debug: bool,
    /// Do not go to the network.
    #[arg(long, global = true, help_heading = "Global options")]
    offline: bool,
    /// Address of the daemon to ask: /ip4/127.0.0.1/tcp/5001 or /unix/path.
    #[arg(long, global = true, value_name = "MULTIADDR", help_heading = "Global options")]
    api: Option<String>,
    /// Secret for that daemon, as API.Authorizations writes it.
    #[arg(long, global = true, value_name = "SECRET", help_heading = "Global options")]
    api_auth: Option<String>,
    /// Multibase of printed CIDs: base32, base58btc, base36, ...
    #[arg(long, global = true, value_name = "BASE", help_heading = "Global options")]
    cid_base: Option<String>,
    /// Print CIDv0 as CIDv1.
    #[arg(long, global = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL", help_heading = "Global options")]
    upgrade_cidv0_in_output: Option<bool>,
    /// Print replies as they are, or as text.
    #[arg(
        long,
        visible_alias = "encoding",
        global = true,
        value_name = "ENCODING",
        help_heading = "Global options"
    )]
    enc: Option<Encoding>,
    /// Give up after this time: 30s, 5m, 1h.
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout, help_heading = "Global options")]
    timeout: Option<Duration>,
}

/// The node is told of the time limit, too, and knows better what it was waiting for.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);

/// Shape of what is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Encoding {
    Json,
    Text,
}

fn timeout(text: &str) -> Result<Duration, String> {
    parse_duration(text).map_err(|e| e.to_string())
}

#[derive(Subcommand)]
enum Command {
    Init(init::Init),
    Daemon(daemon::Daemon),
    Share(share::Share),
    Shutdown(daemon::Shutdown),
    Add(add::Add),
    Cat(cat::Cat),
    Get(get::Get),
    Ls(ls::Ls),
    Refs(refs::Refs),
    Resolve(resolve::Resolve),
    #[command(subcommand)]
    Block(block::Block),
    #[command(subcommand)]
    Dag(dag::Dag),
    #[command(subcommand)]
    Pin(pin::Pin),
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    #[command(subcommand)]
    Token(token::Token),
    #[command(subcommand)]
    Repo(repo::Repo),
    #[command(subcommand)]
    Stats(stats::Stats),
    #[command(subcommand)]
    Bitswap(bitswap::Bitswap),
    #[command(subcommand)]
    Routing(routing::Routing),
    #[command(subcommand)]
    Provide(provide::Provide),
    #[command(subcommand)]
    Swarm(swarm::Swarm),
    Bootstrap(bootstrap::Bootstrap),
    Ping(ping::Ping),
    Config(config::Config),
    #[command(subcommand)]
    Cid(cid::Cid),
    #[command(subcommand)]
    Multibase(multibase::Multibase),
    Commands(commands::Commands),
    #[command(subcommand)]
    Diag(diag::Diag),
    #[command(subcommand)]
    Log(log::Log),
    Id(id::Id),
    Version(id::Version),
}

impl Command {
    async fn run(self, global: &Global) -> Result<(), CliError> {
        let link = || link::Link::open(global);
        match self {
            Self::Init(command) => command.run(global),
            Self::Daemon(command) => command.run(global).await,
            Self::Share(command) => command.run(global).await,
            Self::Shutdown(command) => command.run(&link().await?).await,
            Self::Version(command) => command.run(global),
            Self::Add(command) => command.run(link).await,
            Self::Cat(command) => command.run(global).await,
            Self::Get(command) => command.run(global).await,
            Self::Ls(command) => command.run(&link().await?).await,
            Self::Refs(command) => command.run(&link().await?).await,
            Self::Resolve(command) => command.run(&link().await?).await,
            Self::Block(command) => command.run(&link().await?).await,
            Self::Dag(command) => command.run(&link().await?).await,
            Self::Pin(command) => command.run(&link().await?).await,
            Self::Tenant(command) => command.run(&link().await?).await,
            Self::Token(command) => command.run(&link().await?).await,
            Self::Repo(command) => command.run(&link().await?).await,
            Self::Stats(command) => command.run(&link().await?).await,
            Self::Bitswap(command) => command.run(&link().await?).await,
            Self::Routing(command) => command.run(&link().await?).await,
            Self::Provide(command) => command.run(&link().await?).await,
            Self::Swarm(command) => command.run(&link().await?).await,
            Self::Bootstrap(command) => command.run(&link().await?).await,
            Self::Ping(command) => command.run(&link().await?).await,
            Self::Config(command) => command.run(global).await,
            Self::Cid(command) => command.run(&link::Link::pure(global)).await,
            Self::Multibase(command) => command.run(&link::Link::pure(global)).await,
            Self::Diag(command) => command.run(&link().await?).await,
            Self::Log(command) => command.run(&link().await?).await,
            Self::Commands(command) => command.run(&link::Link::pure(global)).await,
            Self::Id(command) => command.run(&link().await?).await,
        }
    }
}

/// Runs a command line; its exit codes are Kubo's, 0 and 1.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let cli: Cli = match switches::parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and the version are answers, not errors. The terminal may be gone already.
            let _ = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    crate::machine::started();
    crate::log::start(cli.global.debug);
    rpc::commands::told_by(commands::tree);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return output::fail(&CliError::new(format!("cannot start: {error}"))),
    };
    let outcome = runtime.block_on(async {
        let run = cli.command.run(&cli.global);
        match cli.global.timeout {
            None => run.await,
            Some(most) => tokio::time::timeout(most + TIMEOUT_GRACE, run)
                .await
                .unwrap_or_else(|_| Err(CliError::new("context deadline exceeded"))),
        }
    });
    // Blocking work that nobody waits for any more must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(10));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => output::fail(&error),
    }
}
