//! `henge log`.

use serde_json::Value;

use super::cat;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, text};
use crate::rpc::Reply;

/// What the daemon logs.
#[derive(clap::Subcommand)]
pub enum Log {
    /// Tell or change how much a subsystem logs.
    Level(Level),
    /// List the subsystems.
    #[command(after_help = LS_EXAMPLES)]
    Ls,
    /// Print lines as they are logged.
    Tail(Tail),
}

/// Arguments of `log level`.
#[derive(clap::Args)]
#[command(after_help = LEVEL_EXAMPLES)]
pub struct Level {
    /// The subsystem, or `all`; without it the level of those that have none of their own.
    #[arg(value_name = "SUBSYSTEM")]
    subsystem: Option<String>,
    /// The level to set: debug, info, warn, error, dpanic, panic, fatal, or `default`.
    #[arg(value_name = "LEVEL")]
    level: Option<String>,
}

/// Arguments of `log tail`.
#[derive(clap::Args)]
#[command(after_help = TAIL_EXAMPLES)]
pub struct Tail {
    /// Lines of this level and graver ones alone.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

const LEVEL_EXAMPLES: &str = "\
Examples:
  henge log level                  the default
  henge log level all              each subsystem's
  henge log level store debug      until the daemon ends";

const LS_EXAMPLES: &str = "\
Examples:
  henge log ls      dag, gateway, node, rpc, store, ...";

const TAIL_EXAMPLES: &str = "\
Examples:
  henge log tail                       JSON, a line each
  henge log tail --log-level error     errors alone";

impl Log {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Level(level) => level.run(link).await,
            Self::Ls => {
                link.each(Ask::new("log/ls"), |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => {
                        let mut names = list(reply, "Strings").iter().filter_map(Value::as_str);
                        names.try_for_each(line)
                    }
                })
                .await
            }
            Self::Tail(tail) => {
                link.needs_daemon("log tail")?;
                let ask =
                    Ask::new("log/tail").option("log-level", tail.log_level.unwrap_or_default());
                match link.call(ask).await? {
                    Reply::Bytes { stream, .. } => cat::copy(stream, None, Some(false)).await,
                    _ => Err(CliError::new("the node answered without a log")),
                }
            }
        }
    }
}

impl Level {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        link.needs_daemon("log level")?;
        let arguments = [self.subsystem, self.level].into_iter().flatten();
        link.each(arguments.fold(Ask::new("log/level"), Ask::arg), |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            let said = text(reply, "Message");
            if !said.is_empty() {
                return line(said.trim_end());
            }
            let levels = reply.get("Levels").and_then(Value::as_object);
            let levels: Vec<(&String, &str)> = levels
                .into_iter()
                .flatten()
                .map(|(name, level)| (name, level.as_str().unwrap_or_default()))
                .collect();
            let mut lines: Vec<String> = match levels.as_slice() {
                [(_, level)] => vec![(*level).to_owned()],
                many => many.iter().map(|(name, level)| format!("{name}: {level}")).collect(),
            };
            lines.sort();
            lines.iter().try_for_each(line)
        })
        .await
    }
}
