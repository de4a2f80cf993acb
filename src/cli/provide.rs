//! `henge provide`: what is announced.

use std::io::{IsTerminal as _, stderr};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::cid::or_stdin;
use super::columns::align;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, text};
use crate::clock;

/// What the network is told that is here.
#[derive(clap::Subcommand)]
pub enum Provide {
    /// Tell what was announced, and what waits.
    #[command(after_help = STAT_EXAMPLES)]
    Stat(Stat),
    /// Announce blocks, once and soon.
    #[command(after_help = ONCE_EXAMPLES)]
    Once {
        /// The blocks; lines of standard input without one.
        #[arg(value_name = "CID")]
        cids: Vec<String>,
        /// And all blocks below them.
        #[arg(long, short = 'r')]
        recursive: bool,
    },
    /// Forget what waits to be announced.
    Clear {
        /// Print nothing.
        #[arg(long, short = 'q')]
        quiet: bool,
    },
}

/// Arguments of `provide stat`.
#[derive(clap::Args)]
pub struct Stat {
    /// Of the DHT of the local network: announcing is not told apart, so the same.
    #[arg(long)]
    lan: bool,
    /// Everything.
    #[arg(long, short = 'a')]
    all: bool,
    /// In two columns, with --all.
    #[arg(long)]
    compact: bool,
    /// Whether there is somebody to tell.
    #[arg(long)]
    connectivity: bool,
    /// Peers, and how many are told of a block.
    #[arg(long)]
    network: bool,
    /// What waits to be told again.
    #[arg(long)]
    schedule: bool,
    /// When the round began, and how long it is.
    #[arg(long)]
    timings: bool,
    /// Workers.
    #[arg(long)]
    workers: bool,
    /// What is being done, and was.
    #[arg(long)]
    operations: bool,
    /// What waits.
    #[arg(long)]
    queues: bool,
}

const STAT_EXAMPLES: &str = "\
Examples:
  henge provide stat                    a summary
  henge provide stat --all --compact    everything, for a terminal
  henge provide stat --queues";

const ONCE_EXAMPLES: &str = "\
Examples:
  henge provide once <cid>
  henge provide once -r <cid>                              a whole DAG
  henge pin ls -q --type=recursive | henge provide once";

impl Provide {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Stat(stat) => stat.run("provide/stat", link).await,
            Self::Once { cids, recursive } => once(link, cids, recursive).await,
            Self::Clear { quiet } => {
                let ask = Ask::new("provide/clear").option("quiet", quiet);
                link.each(ask, |reply| match link.prints_json() {
                    true => output::json(reply),
                    false => line(format!("removed {reply} items from provide queue")),
                })
                .await
            }
        }
    }
}

async fn once(link: &Link, cids: Vec<String>, recursive: bool) -> Result<(), CliError> {
    let ask = Ask::new("provide/once").args(&or_stdin(cids)?).option("recursive", recursive);
    let (watched, mut count) = (stderr().is_terminal(), 0u64);
    link.each(ask, |reply| {
        if link.prints_json() {
            return output::json(reply);
        }
        count += 1;
        if watched {
            eprint!("\rqueued {count} CID(s) for immediate provide");
        }
        Ok(())
    })
    .await?;
    match (link.prints_json(), watched && count > 0) {
        (true, _) => Ok(()),
        (false, true) => {
            eprintln!();
            Ok(())
        }
        (false, false) => line(format!("queued {count} CID(s) for immediate provide")),
    }
}

impl Stat {
    /// Asks by either of its names, and prints.
    pub async fn run(self, command: &'static str, link: &Link) -> Result<(), CliError> {
        if self.compact && !self.all {
            return Err(CliError::new("--compact requires --all flag"));
        }
        let ask = Ask::new(command).option("lan", self.lan);
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => self.print(reply.get("Sweep").unwrap_or(&Value::Null)),
        })
        .await
    }

    fn print(&self, sweep: &Value) -> Result<(), CliError> {
        let asked = [
            self.connectivity,
            self.queues,
            self.schedule,
            self.timings,
            self.network,
            self.operations,
            self.workers,
        ];
        let count = asked.iter().filter(|asked| **asked).count() + usize::from(self.all);
        let brief = count == 0;
        let mut sections = Vec::new();
        for ((title, left, section), asked) in SECTIONS.iter().zip(asked) {
            let lines = section(sweep, brief);
            if (self.all || asked || brief) && !lines.is_empty() {
                sections.push((*title, *left, lines));
            }
        }
        let headings = count > 1 || self.all;
        if self.compact {
            return two_columns(&sections);
        }
        let mut lines = Vec::new();
        for (title, _, section) in sections {
            if !brief && !lines.is_empty() {
                lines.push(String::new());
            }
            if headings {
                lines.push(format!("{title}:"));
            }
            let indent = if headings { "  " } else { "" };
            lines.extend(section.iter().map(|line| tabbed(&format!("{indent}{line}"))));
        }
        align(&lines, 1, 1).into_iter().try_for_each(line)
    }
}

/// The first colon and the first comma end a cell.
fn tabbed(line: &str) -> String {
    line.replacen(": ", ":\t", 1).replacen(", ", ",\t", 1)
}

/// Sections of the left and of the right column side by side.
fn two_columns(sections: &[(&str, bool, Vec<String>)]) -> Result<(), CliError> {
    let column = |left: bool| {
        let mut lines = Vec::new();
        for (title, _, section) in sections.iter().filter(|(_, at, _)| *at == left) {
            if !lines.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("{title}:"));
            lines.extend(section.iter().map(|line| format!("  {line}")));
        }
        lines
    };
    let (left, right) = (column(true), column(false));
    let width = left.iter().map(|line| line.chars().count()).max().unwrap_or(0) + 2;
    (0..left.len().max(right.len())).try_for_each(|at| {
        let cell = |lines: &[String]| lines.get(at).cloned().unwrap_or_default();
        line(format!("{:width$} {}", cell(&left), cell(&right)).trim_end())
    })
}

type Section = fn(&Value, bool) -> Vec<String>;

/// Title, whether it stands in the left column, and the lines; a summary leaves some out.
const SECTIONS: [(&str, bool, Section); 7] = [
    ("Connectivity", false, connectivity),
    ("Queues", false, queues),
    ("Schedule", true, schedule),
    ("Timings", false, timings),
    ("Network", true, network),
    ("Operations", false, operations),
    ("Workers", true, workers),
];

fn connectivity(sweep: &Value, brief: bool) -> Vec<String> {
    let status = text(at(sweep, "connectivity"), "status");
    match brief && status == "online" {
        true => Vec::new(),
        false => vec![format!("Status: {status}")],
    }
}

fn queues(sweep: &Value, _: bool) -> Vec<String> {
    let queues = at(sweep, "queues");
    let count = |field| short(number(queues, field));
    vec![
        format!(
            "Provide queue: {} CIDs, {} regions",
            count("pending_key_provides"),
            count("pending_region_provides")
        ),
        format!("Reprovide queue: {} regions", count("pending_region_reprovides")),
    ]
}

fn schedule(sweep: &Value, brief: bool) -> Vec<String> {
    let schedule = at(sweep, "schedule");
    let mut lines = vec![
        format!("CIDs scheduled: {}", short(number(schedule, "keys"))),
        format!("Regions scheduled: {}", some(number(schedule, "regions"))),
    ];
    if !brief {
        let next = clock_of(text(schedule, "next_reprovide_at"));
        lines.push(format!("Avg prefix length: {}", some(number(schedule, "avg_prefix_length"))));
        lines.push("Next region prefix: N/A".into());
        let time = next.get(11..).unwrap_or("N/A");
        lines.push(format!("Next region reprovide: {time}"));
    }
    lines
}

fn timings(sweep: &Value, brief: bool) -> Vec<String> {
    if brief {
        return Vec::new();
    }
    let timing = at(sweep, "timing");
    let time = |field| Duration::from_nanos(number(timing, field));
    let uptime = time("uptime");
    let since = SystemTime::now().checked_sub(uptime).map(clock::rfc3339).unwrap_or_default();
    vec![
        format!("Uptime: {} ({})", go(uptime), clock_of(&since)),
        format!("Current time offset: {}", go(time("current_time_offset"))),
        format!("Cycle started: {}", clock_of(text(timing, "cycle_start"))),
        format!("Reprovide interval: {}", go(time("reprovides_interval"))),
    ]
}

fn network(sweep: &Value, brief: bool) -> Vec<String> {
    let network = at(sweep, "network");
    let mut lines = vec![format!("Avg record holders: {}", decimal(network, "avg_holders"))];
    if !brief {
        let (peers, reachable) = (number(network, "peers"), number(network, "reachable"));
        lines.push(format!("Peers swept: {peers}"));
        lines.push("Full keyspace coverage: false".into());
        lines.push(match (100 * reachable).checked_div(peers) {
            Some(share) => format!("Reachable peers: {reachable} ({share}%)"),
            None => format!("Reachable peers: {reachable}"),
        });
        lines.push(format!("Avg region size: {}", decimal(network, "avg_region_size")));
        lines.push(format!("Replication factor: {}", number(network, "replication_factor")));
    }
    lines
}

fn operations(sweep: &Value, brief: bool) -> Vec<String> {
    let operations = at(sweep, "operations");
    let (now, past) = (at(operations, "ongoing"), at(operations, "past"));
    let count = |field| short(number(now, field));
    let mut lines = vec![
        format!(
            "Ongoing provides: {} CIDs, {} regions",
            count("key_provides"),
            count("region_provides")
        ),
        format!(
            "Ongoing reprovides: {} CIDs, {} regions",
            count("key_reprovides"),
            count("region_reprovides")
        ),
        format!("Total CIDs provided: {}", short(number(past, "key_provided"))),
    ];
    if !brief {
        let total = |field| short(number(past, field));
        lines.push(format!("Total records provided: {}", total("records_provided")));
        lines.push(format!("Total provide errors: {}", total("keys_failed")));
        for (name, field) in [
            ("CIDs provided/min/worker", "keys_provided_per_minute"),
            ("CIDs reprovided/min/worker", "keys_reprovided_per_minute"),
            ("Region reprovide duration", "reprovide_duration"),
            ("Avg CIDs/reprovide", "avg_keys_per_reprovide"),
        ] {
            lines.push(format!("{name}: {}", decimal(past, field)));
        }
        let regions = total("regions_reprovided_last_cycle");
        lines.push(format!("Regions reprovided (last cycle): {regions}"));
    }
    lines
}

fn workers(sweep: &Value, brief: bool) -> Vec<String> {
    let workers = at(sweep, "workers");
    let count = |field| number(workers, field);
    let (most, burst, periodic) = (count("max"), count("active_burst"), count("active_periodic"));
    let free = most.saturating_sub(burst).saturating_sub(periodic);
    // A summary only warns.
    if brief && free > 2 {
        return Vec::new();
    }
    let mut lines = vec![format!("Active workers: {} / {most} (max)", count("active"))];
    if brief {
        lines.push(format!("Periodic workers: {periodic} active, {free} available, 0 queued"));
        lines.push(format!("Burst workers: {burst} active, {free} available, 0 queued"));
        return lines;
    }
    lines.push(format!("Free workers: {free}"));
    for (name, left, right) in [
        ("Workers stats:", "Periodic".to_owned(), "Burst".to_owned()),
        ("Active:", periodic.to_string(), burst.to_string()),
        ("Dedicated:", "0".into(), "0".into()),
        ("Available:", free.to_string(), free.to_string()),
        ("Queued:", "0".into(), "0".into()),
    ] {
        lines.push(format!("  {name:<14} {left:<9} {right}"));
    }
    lines.push(format!("Max connections/worker: {}", count("max_provide_conns_per_worker")));
    lines
}

fn at<'a>(value: &'a Value, field: &str) -> &'a Value {
    value.get(field).unwrap_or(&Value::Null)
}

/// A count in k, M and so on, with the whole of it behind where that says more.
fn short(count: u64) -> String {
    let (mut value, mut units) = (count as f64, ["", "k", "M", "G", "T"].iter());
    let mut unit = units.next().unwrap_or(&"");
    while value >= 1000.0 {
        let Some(larger) = units.next() else { break };
        (value, unit) = (value / 1000.0, larger);
    }
    match count < 1000 {
        true => count.to_string(),
        false => format!("{value:.0}{unit} ({count})"),
    }
}

fn some(count: u64) -> String {
    if count == 0 { "N/A".into() } else { short(count) }
}

fn decimal(value: &Value, field: &str) -> String {
    match value.get(field).and_then(Value::as_f64) {
        Some(number) if number > 0.0 => {
            let text = format!("{number:.1}");
            text.strip_suffix(".0").unwrap_or(&text).to_owned()
        }
        _ => "N/A".into(),
    }
}

/// A time as `2006-01-02 15:04:05`.
fn clock_of(time: &str) -> String {
    match time.get(..19).filter(|time| !time.starts_with("0001")) {
        Some(time) => time.replacen('T', " ", 1),
        None => "N/A".into(),
    }
}

/// A time span as Go prints it, to a tenth of a second.
pub fn go(time: Duration) -> String {
    let tenths = time.as_millis() / 100;
    let (seconds, rest) = (tenths / 10, tenths % 10);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let tail = if rest == 0 { format!("{seconds}s") } else { format!("{seconds}.{rest}s") };
    match (hours, minutes) {
        (0, 0) => tail,
        (0, _) => format!("{minutes}m{tail}"),
        _ => format!("{hours}h{minutes}m{tail}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_times_are_printed_as_kubo_prints_them() {
        assert_eq!([short(7), short(1000), short(2_400_000)], ["7", "1k (1000)", "2M (2400000)"]);
        assert_eq!(go(Duration::from_secs(22 * 3600)), "22h0m0s");
        assert_eq!(go(Duration::from_millis(61_250)), "1m1.2s");
        assert_eq!(clock_of("2026-01-02T03:04:05Z"), "2026-01-02 03:04:05");
        assert_eq!(clock_of("0001-01-01T00:00:00Z"), "N/A");
    }
}
