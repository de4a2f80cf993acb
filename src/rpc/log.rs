//! `log`.

use futures_util::stream::{self, StreamExt as _};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::{Args, Error, Reply, Router};
use crate::log::{self, Level, Line, LogError};

/// What stands for the level of subsystems that have none of their own.
const DEFAULT: &str = "(default)";

/// Tells the level of a subsystem, of all, or the default one; or changes it.
pub fn level(args: &Args) -> Result<Reply, Error> {
    let (subsystem, level) = match args.all() {
        [] => ("", ""),
        [subsystem] => (subsystem.as_str(), ""),
        [subsystem, level] => (subsystem.as_str(), level.as_str()),
        more => return Err(Error::refused(format!("expected 2 arguments, got {}", more.len()))),
    };
    let subsystem = if subsystem == "all" { "*" } else { subsystem };
    if level.is_empty() {
        let levels: Map<String, Value> =
            told(subsystem)?.into_iter().map(|(name, level)| (name, level.name().into())).collect();
        return Ok(Reply::Value(json!({ "Levels": levels })));
    }
    let level = if level == "default" { log::default_level()? } else { Level::parse(level)? };
    log::set(subsystem, level)?;
    let message = format!("Changed log level of '{subsystem}' to '{}'\n", level.name());
    tracing::info!("{}", message.trim_end());
    Ok(Reply::Value(json!({ "Message": message })))
}

fn told(subsystem: &str) -> Result<Vec<(String, Level)>, LogError> {
    match subsystem {
        // The default one goes by no name here: so Kubo's logger calls it.
        "" => Ok(vec![(String::new(), log::default_level()?)]),
        "*" => {
            let own =
                log::subsystems().into_iter().map(|name| Ok((name.into(), log::level(name)?)));
            own.chain([log::default_level().map(|level| (DEFAULT.to_owned(), level))]).collect()
        }
        name => Ok(vec![(name.to_owned(), log::level(name)?)]),
    }
}

/// The subsystems.
pub fn ls() -> Reply {
    Reply::Value(json!({ "Strings": log::subsystems() }))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct TailOptions {
    log_level: String,
}

/// Lines of the log from now on, until the node stops.
pub fn tail(router: &Router, args: &Args) -> Result<Reply, Error> {
    let TailOptions { log_level } = args.options()?;
    let wrong = |e| Error::invalid(format!("setting log level {log_level}: {e}"));
    let level = match log_level.is_empty() {
        true => Level::parse("trace")?,
        false => Level::parse(&log_level).map_err(wrong)?,
    };
    let lines = follow(log::follow()?, level, router.stop.clone());
    // Nothing, at once: so the reply begins, and the reader knows that it is heard.
    let begun = stream::once(std::future::ready(Ok(bytes::Bytes::new())));
    Ok(Reply::Bytes { stream: Box::pin(begun.chain(lines)), length: None })
}

fn follow(
    lines: Receiver<Line>,
    level: Level,
    stop: CancellationToken,
) -> impl stream::Stream<Item = Result<bytes::Bytes, Error>> + Send {
    stream::unfold((lines, stop), move |(mut lines, stop)| async move {
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => return None,
                next = lines.recv() => next,
            };
            let text = match next {
                Ok(line) if line.is_told_at(level) => line.text.to_string(),
                Ok(_) => continue,
                Err(RecvError::Lagged(lost)) => {
                    log::line(&format!("{lost} lines were lost: the reader is slow"))
                }
                Err(RecvError::Closed) => return None,
            };
            return Some((Ok(text.into()), (lines, stop)));
        }
    })
}

impl From<LogError> for Error {
    fn from(error: LogError) -> Self {
        Self::invalid(error.to_string())
    }
}
