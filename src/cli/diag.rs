//! `henge diag`.

use std::fmt::Write as _;
use std::time::SystemTime;

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, safe, text};
use crate::clock;

/// What ails a node.
#[derive(clap::Subcommand)]
pub enum Diag {
    /// List the commands that run, and those that ran.
    Cmds(Cmds),
    /// Exit with 0 if the node works, with 1 if it is stopping or cannot read its store.
    #[command(after_help = HEALTHY_EXAMPLES)]
    Healthy,
    /// Tell of the machine and the process.
    #[command(after_help = SYS_EXAMPLES)]
    Sys,
}

/// Arguments of `diag cmds`.
#[derive(clap::Args)]
#[command(after_help = CMDS_EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Cmds {
    /// Show IDs, arguments and options, too.
    #[arg(long, short = 'v')]
    verbose: bool,
    #[command(subcommand)]
    change: Option<Change>,
}

/// What can be done to the list.
#[derive(clap::Subcommand)]
enum Change {
    /// Forget the commands that have ended.
    Clear,
    /// Say how long commands are listed that have ended.
    SetTime(SetTime),
}

/// Arguments of `diag cmds set-time`.
#[derive(clap::Args)]
struct SetTime {
    /// How long: 30s, 5m, 1h.
    #[arg(value_name = "TIME")]
    time: String,
}

const HEALTHY_EXAMPLES: &str = "\
Examples:
  henge diag healthy                                       ok
  HEALTHCHECK CMD henge diag healthy                       in a Dockerfile";

const SYS_EXAMPLES: &str = "\
Examples:
  henge diag sys      one line of JSON: disk, memory, addresses, versions";

const CMDS_EXAMPLES: &str = "\
Examples:
  henge diag cmds                  what runs, and what ran in the last hour
  henge diag cmds set-time 5m      remember for five minutes
  henge diag cmds clear            forget what has ended";

impl Diag {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Cmds(cmds) => cmds.run(link).await,
            Self::Sys => link.each(Ask::new("diag/sys"), output::json).await,
            Self::Healthy => {
                link.each(Ask::new("diag/healthy"), |reply| {
                    match (link.prints_json(), reply.as_str()) {
                        (false, Some(text)) => line(text),
                        _ => output::json(reply),
                    }
                })
                .await
            }
        }
    }
}

impl Cmds {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        link.needs_daemon("diag cmds")?;
        let ask = match self.change {
            None => {
                return link
                    .each(Ask::new("diag/cmds"), |reply| match link.prints_json() {
                        true => output::json(reply),
                        false => table(reply, self.verbose).iter().try_for_each(line),
                    })
                    .await;
            }
            Some(Change::Clear) => Ask::new("diag/cmds/clear"),
            Some(Change::SetTime(to)) => Ask::new("diag/cmds/set-time").arg(to.time),
        };
        link.call(ask).await.map(drop)
    }
}

/// The list in columns.
fn table(reply: &Value, verbose: bool) -> Vec<String> {
    let now = clock::rfc3339(SystemTime::now());
    let mut rows = vec![match verbose {
        false => ["Command", "Active", "StartTime", "RunTime"].map(str::to_owned).to_vec(),
        true => ["ID", "Command", "Arguments", "Options", "Active", "StartTime", "RunTime"]
            .map(str::to_owned)
            .to_vec(),
    }];
    for entry in reply.as_array().map(Vec::as_slice).unwrap_or_default() {
        let active = entry.get("Active") == Some(&Value::Bool(true));
        let (start, end) = (text(entry, "StartTime"), text(entry, "EndTime"));
        let end = if active { now.as_str() } else { end };
        let mut row = vec![safe(text(entry, "Command"))];
        if verbose {
            row.insert(0, number(entry, "ID").to_string());
            let words = list(entry, "Args").iter().filter_map(Value::as_str).map(safe);
            row.push(format!("[{}]", words.collect::<Vec<_>>().join(" ")));
            row.push(format!("[{}]", options(entry)));
        }
        row.extend([active.to_string(), stamp(start), elapsed(start, end)]);
        rows.push(row);
    }
    aligned(&rows)
}

/// Options in Kubo's spelling, sorted.
fn options(entry: &Value) -> String {
    let options = entry.get("Options").and_then(Value::as_object);
    let mut pairs: Vec<String> = options
        .into_iter()
        .flatten()
        .map(|(name, value)| {
            format!("{}={},", safe(name), safe(value.as_str().unwrap_or_default()))
        })
        .collect();
    pairs.sort();
    pairs.concat()
}

/// A time as Go's `Stamp` has it, in UTC: `Jan  2 15:04:05`.
fn stamp(time: &str) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |from: usize, to: usize| time.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|n| MONTHS.get(n.checked_sub(1)?));
    let day = part(8, 10).trim_start_matches('0');
    format!("{} {day:>2} {}", month.unwrap_or(&"???"), part(11, 19))
}

/// The time between two times, as Go prints it.
fn elapsed(start: &str, end: &str) -> String {
    let (Some(start), Some(end)) = (clock::parse(start), clock::parse(end)) else {
        return "?".into();
    };
    let ns = end.duration_since(start).unwrap_or_default().as_nanos();
    let shown = |value: f64, unit: &str| {
        let text = format!("{value:.6}");
        format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match ns {
        0 => "0s".into(),
        1..1_000 => format!("{ns}ns"),
        1_000..1_000_000 => shown(ns as f64 / 1e3, "\u{b5}s"),
        1_000_000..1_000_000_000 => shown(ns as f64 / 1e6, "ms"),
        _ => {
            let (minutes, seconds) = (ns / 60_000_000_000, ns % 60_000_000_000);
            let mut text = String::new();
            if minutes >= 60 {
                // Writing to a string does not fail.
                let _ = write!(text, "{}h", minutes / 60);
            }
            if minutes > 0 {
                let _ = write!(text, "{}m", minutes % 60);
            }
            text + &shown(seconds as f64 / 1e9, "s")
        }
    }
}

/// Columns of a table as Go's tabwriter aligns them: as wide as their longest cell and two more,
/// the last as it is.
fn aligned(rows: &[Vec<String>]) -> Vec<String> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count() + 2).max().unwrap_or(0).max(4)
    };
    let shown = |row: &Vec<String>| {
        let last = row.len().saturating_sub(1);
        let cells = row.iter().enumerate().map(|(column, cell)| match column == last {
            true => cell.clone(),
            false => format!("{cell:width$}", width = width(column)),
        });
        cells.collect::<String>()
    };
    rows.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_go_s() {
        assert_eq!(stamp("2026-01-02T15:04:05.6Z"), "Jan  2 15:04:05");
        let since = |start: &str, end: &str| {
            elapsed(&format!("2026-01-02T{start}Z"), &format!("2026-01-02T{end}Z"))
        };
        assert_eq!(since("15:04:05", "15:04:05"), "0s");
        assert_eq!(since("15:04:05.1", "15:04:05.100000999"), "999ns");
        assert_eq!(since("15:04:05", "15:04:05.0000125"), "12.5\u{b5}s");
        assert_eq!(since("15:04:05", "15:04:05.25"), "250ms");
        assert_eq!(since("15:04:05", "15:05:06.5"), "1m1.5s");
        assert_eq!(since("13:04:05", "15:04:05"), "2h0m0s");
        assert_eq!(elapsed("nonsense", ""), "?");
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["ID".into(), "Name".into()], vec!["1000".into(), "x".into()]];
        assert_eq!(aligned(&rows), ["ID    Name", "1000  x"]);
    }
}
