//! The log: what is written to standard error, and told to whoever follows it, by subsystem.
//!
//! A subsystem is a room of `src/`, or libp2p. Levels can be changed while the process runs. Who
//! follows the log and is slow loses lines: nobody ever waits for a reader.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::SystemTime;

use serde_json::{Map, Value};
use tokio::sync::broadcast;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt, reload};

use crate::clock::rfc3339_millis;

/// Lines kept for a reader that is behind; it loses older ones.
const LINES_MAX: usize = 1024;
/// Longest text of one value in a line, in bytes.
const VALUE_MAX_BYTES: usize = 8 << 10;
/// The map of the tree: its modules are the subsystems.
const ROOMS: &str = include_str!("lib.rs");
/// Subsystems that are not ours; a name covers every module that begins with it.
const FOREIGN: &[&str] = &["libp2p"];
/// Environment variables that set levels, the first of them that is there.
const VARIABLES: [&str; 2] = ["HENGE_LOG", "GOLOG_LOG_LEVEL"];

/// What cannot be done about the log. Kubo's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// No such subsystem.
    #[error("error: No such logger")]
    Unknown,
    /// No such level.
    #[error("unrecognized level: {0:?}")]
    Level(String),
    /// The process keeps no log: it is a test of something else.
    #[error("there is no log")]
    None,
}

/// How much is told. Kubo's names, and `trace`; above `error` nothing is ever told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    name: &'static str,
    most: LevelFilter,
}

/// Every level, the most talkative first.
const LEVELS: [Level; 8] = [
    Level { name: "trace", most: LevelFilter::TRACE },
    Level { name: "debug", most: LevelFilter::DEBUG },
    Level { name: "info", most: LevelFilter::INFO },
    Level { name: "warn", most: LevelFilter::WARN },
    Level { name: "error", most: LevelFilter::ERROR },
    Level { name: "dpanic", most: LevelFilter::OFF },
    Level { name: "panic", most: LevelFilter::OFF },
    Level { name: "fatal", most: LevelFilter::OFF },
];

impl Level {
    /// Reads a level; case does not matter.
    ///
    /// # Errors
    /// [`LogError::Level`].
    pub fn parse(text: &str) -> Result<Self, LogError> {
        let found = LEVELS.iter().find(|level| level.name.eq_ignore_ascii_case(text));
        found.copied().ok_or_else(|| LogError::Level(text.to_owned()))
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        self.name
    }

    fn of(most: LevelFilter) -> Self {
        LEVELS.into_iter().find(|level| level.most == most).unwrap_or(LEVELS[4])
    }
}

/// What is told of each subsystem.
#[derive(Clone, Debug)]
struct Levels {
    default: Level,
    own: BTreeMap<&'static str, Level>,
}

impl Levels {
    /// Levels as an environment variable writes them: `error,store=debug`. What is not understood
    /// is passed over: a log must not keep a node from starting.
    fn parse(default: Level, text: &str) -> Self {
        let mut levels = Self { default, own: BTreeMap::new() };
        for item in text.split(',').map(str::trim) {
            let (name, level) = item.split_once('=').unwrap_or(("*", item));
            let name = name.strip_prefix("henge::").unwrap_or(name);
            let level = if level == "off" { "fatal" } else { level };
            if let Ok(level) = Level::parse(level) {
                match name {
                    "*" => levels.default = level,
                    // Nobody is there to hear of it.
                    name => drop(levels.set(name, level)),
                }
            }
        }
        levels
    }

    fn of(&self, subsystem: &str) -> Result<Level, LogError> {
        let name = known(subsystem)?;
        Ok(self.own.get(name).copied().unwrap_or(self.default))
    }

    fn set(&mut self, subsystem: &str, level: Level) -> Result<(), LogError> {
        if subsystem == "*" {
            *self = Self { default: level, own: BTreeMap::new() };
            return Ok(());
        }
        self.own.insert(known(subsystem)?, level);
        Ok(())
    }

    fn filter(&self) -> Targets {
        let target = |name: &str| match FOREIGN.contains(&name) {
            true => name.to_owned(),
            false => format!("henge::{name}"),
        };
        let own = self.own.iter().map(|(name, level)| (target(name), level.most));
        Targets::new().with_default(self.default.most).with_targets(own)
    }
}

/// Every subsystem, sorted.
pub fn subsystems() -> Vec<&'static str> {
    let rooms = ROOMS.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut names: Vec<&str> = rooms.chain(FOREIGN.iter().copied()).collect();
    names.sort_unstable();
    names
}

fn known(subsystem: &str) -> Result<&'static str, LogError> {
    subsystems().into_iter().find(|name| *name == subsystem).ok_or(LogError::Unknown)
}

/// The subsystem of a module.
fn subsystem_of(target: &str) -> &str {
    match target.strip_prefix("henge::") {
        Some(path) => path.split("::").next().unwrap_or(path),
        None => target.split("::").next().unwrap_or(target),
    }
}

/// One line, for those who follow the log.
#[derive(Clone, Debug)]
pub struct Line {
    /// How grave it is.
    severity: tracing::Level,
    /// The line, as JSON and with its newline.
    pub text: Arc<str>,
}

impl Line {
    /// Whether it is told at a level.
    pub fn is_told_at(&self, level: Level) -> bool {
        self.severity <= level.most
    }
}

struct Log {
    levels: Mutex<Levels>,
    filter: reload::Handle<Targets, Registry>,
    lines: broadcast::Sender<Line>,
}

static LOG: OnceLock<Log> = OnceLock::new();

/// Begins to log to standard error: warnings, or also what is for developers, unless the
/// environment says otherwise.
pub fn start(debug: bool) {
    let default = Level::of(if debug { LevelFilter::DEBUG } else { LevelFilter::WARN });
    let text = VARIABLES.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let levels = Levels::parse(default, &text);
    let (filter, handle) = reload::Layer::new(levels.filter());
    let (lines, _) = broadcast::channel(LINES_MAX);
    let log = Log { levels: Mutex::new(levels), filter: handle, lines: lines.clone() };
    let told = fmt::layer().with_writer(std::io::stderr);
    let subscriber = tracing_subscriber::registry().with(filter).with(told).with(Tail { lines });
    // Only tests, which run several commands in one process, have a log already.
    if subscriber.try_init().is_ok() {
        let _ = LOG.set(log);
    }
}

fn with<T>(ask: impl FnOnce(&mut Levels) -> Result<T, LogError>) -> Result<T, LogError> {
    let log = LOG.get().ok_or(LogError::None)?;
    let mut levels = log.levels.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = ask(&mut levels)?;
    // It fails only when the subscriber is gone, which lives as long as the process.
    let _ = log.filter.reload(levels.filter());
    Ok(answer)
}

/// The level of subsystems that have none of their own.
///
/// # Errors
/// [`LogError::None`].
pub fn default_level() -> Result<Level, LogError> {
    with(|levels| Ok(levels.default))
}

/// The level of a subsystem.
///
/// # Errors
/// [`LogError::Unknown`], [`LogError::None`].
pub fn level(subsystem: &str) -> Result<Level, LogError> {
    with(|levels| levels.of(subsystem))
}

/// Changes the level of a subsystem, or with `*` of all and the default.
///
/// # Errors
/// [`LogError::Unknown`], [`LogError::None`].
pub fn set(subsystem: &str, level: Level) -> Result<(), LogError> {
    with(|levels| levels.set(subsystem, level))
}

/// Lines from now on. A receiver that is slow is told how many it lost.
///
/// # Errors
/// [`LogError::None`].
pub fn follow() -> Result<broadcast::Receiver<Line>, LogError> {
    Ok(LOG.get().ok_or(LogError::None)?.lines.subscribe())
}

/// A line of this room's own, for one reader.
pub fn line(message: &str) -> String {
    let fields = Map::from_iter([("msg".to_owned(), Value::from(message))]);
    shown("warn", "log", "log.rs", fields)
}

/// Tells events to those who follow.
struct Tail {
    lines: broadcast::Sender<Line>,
}

impl<S: Subscriber> Layer<S> for Tail {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        if self.lines.receiver_count() == 0 {
            return;
        }
        let metadata = event.metadata();
        let mut fields = Fields(Map::new());
        // Kubo's lines have it first of the fields.
        fields.0.insert("msg".into(), "".into());
        event.record(&mut fields);
        let level = Level::of(LevelFilter::from_level(*metadata.level()));
        let logger = subsystem_of(metadata.target());
        let text = shown(level.name, logger, &caller(metadata), fields.0);
        // It fails when the last reader has just gone.
        let _ = self.lines.send(Line { severity: *metadata.level(), text: text.into() });
    }
}

/// A line in the shape of Kubo's logger.
fn shown(level: &str, logger: &str, caller: &str, fields: Map<String, Value>) -> String {
    let time = rfc3339_millis(SystemTime::now());
    let head = [("level", level), ("ts", &time), ("logger", logger), ("caller", caller)];
    let mut line: Map<String, Value> =
        head.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    line.extend(fields);
    format!("{}\n", Value::Object(line))
}

/// Where an event comes from: the file and the folder around it, as Kubo shows it. More would tell
/// how the machine that built this is set up.
fn caller(metadata: &Metadata<'_>) -> String {
    let file = metadata.file().unwrap_or_default();
    let mut names: Vec<&str> = file.rsplit('/').take(2).collect();
    names.reverse();
    format!("{}:{}", names.join("/"), metadata.line().unwrap_or_default())
}

/// The fields of an event.
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, field: &Field, value: Value) {
        let name = if field.name() == "message" { "msg" } else { field.name() };
        self.0.insert(name.to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut text = String::new();
        // A value that cannot be shown is shown as far as it went.
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let end = value.floor_char_boundary(VALUE_MAX_BYTES);
        self.put(field, value.get(..end).unwrap_or_default().into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Levels {
        Levels::parse(Level::parse("warn").unwrap(), text)
    }

    #[test]
    fn rooms_are_subsystems() {
        let names = subsystems();
        assert!(names.is_sorted());
        for name in ["store", "node", "rpc", "gateway", "libp2p"] {
            assert!(names.contains(&name), "{name}");
        }
        assert_eq!(subsystem_of("henge::rpc::http"), "rpc");
        assert_eq!(
            (subsystem_of("libp2p_swarm::x"), subsystem_of("henge")),
            ("libp2p_swarm", "henge")
        );
    }

    #[test]
    fn a_level_is_its_own_or_the_default() {
        let mut levels = levels("info, store=debug,henge::rpc=error,nothing=debug,dag=odd,=");
        let name = |levels: &Levels, subsystem: &str| levels.of(subsystem).map(Level::name);
        assert_eq!(levels.default.name(), "info");
        assert_eq!([name(&levels, "store"), name(&levels, "rpc")], [Ok("debug"), Ok("error")]);
        assert_eq!(name(&levels, "dag"), Ok("info"));
        assert_eq!(name(&levels, "nothing"), Err(LogError::Unknown));
        let fatal = Level::parse("FATAL").unwrap();
        levels.set("dag", fatal).unwrap();
        assert_eq!((name(&levels, "dag"), levels.default.name()), (Ok("fatal"), "info"));
        levels.set("*", fatal).unwrap();
        assert_eq!((name(&levels, "store"), levels.own.len()), (Ok("fatal"), 0));
        assert_eq!(levels.set("nothing", fatal), Err(LogError::Unknown));
        assert_eq!(Level::parse("odd"), Err(LogError::Level("odd".into())));
    }

    #[test]
    fn levels_filter_events() {
        let filter = levels("store=debug,libp2p=error").filter();
        for (target, level, told) in [
            ("henge::store::rocks", tracing::Level::DEBUG, true),
            ("henge::store", tracing::Level::TRACE, false),
            ("henge::rpc", tracing::Level::WARN, true),
            ("henge::rpc", tracing::Level::INFO, false),
            ("libp2p_swarm", tracing::Level::WARN, false),
        ] {
            assert_eq!(filter.would_enable(target, &level), told, "{target} {level}");
        }
    }

    #[test]
    fn lines_are_json_and_a_slow_reader_loses_some() {
        let (lines, mut reader) = broadcast::channel(4);
        let subscriber = tracing_subscriber::registry().with(Tail { lines });
        tracing::subscriber::with_default(subscriber, || {
            for n in 0..10_u64 {
                tracing::warn!(target: "henge::store::rocks", n, path = %"a/b", "slow \u{1b}");
            }
        });
        assert!(matches!(reader.try_recv(), Err(broadcast::error::TryRecvError::Lagged(6))));
        let line = reader.try_recv().unwrap();
        assert!(line.is_told_at(LEVELS[3]) && !line.is_told_at(LEVELS[4]));
        let value: Value = serde_json::from_str(&line.text).unwrap();
        let names: Vec<&String> = value.as_object().unwrap().keys().collect();
        assert_eq!(names, ["level", "ts", "logger", "caller", "msg", "n", "path"]);
        assert_eq!((&value["level"], &value["logger"]), (&"warn".into(), &"store".into()));
        assert_eq!((&value["msg"], &value["n"]), (&"slow \u{1b}".into(), &6.into()));
        assert!(value["caller"].as_str().unwrap().starts_with("src/log.rs:"), "{value}");
    }
}
