//! `henge ls`.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, safe, text};
use crate::clock;
use crate::node::ls::LsOptions;

/// Entries that are held to be sorted and lined up; a folder of more is printed as it comes. Bounds
/// memory at a few megabytes.
const HELD_MAX: usize = 10_000;
/// What stands for permissions and times that nobody told.
const UNTOLD: &str = "-";
/// How far back the time of day says more than the year: half a year.
const RECENT: Duration = Duration::from_secs(183 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// List the entries of folders.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Ls {
    /// Paths: <cid>, <cid>/name, /ipfs/<cid>/name.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// Print a line of headings.
    #[arg(long, short = 'v')]
    headers: bool,
    #[command(flatten)]
    options: LsOptions,
}

const EXAMPLES: &str = "\
Examples:
  henge ls <cid>              CID, size and name of each entry; folders end in /
  henge ls -v <cid>/photos    with headings
  henge ls -l <cid>           with permissions and times, where `add` has kept them";

/// One entry as it is printed; what was not asked for is empty.
struct Row {
    /// Its name as it is, by which entries are sorted.
    key: String,
    mode: String,
    hash: String,
    size: String,
    time: String,
    name: String,
}

/// The entries of one path on their way to the terminal.
struct Printing<'a> {
    ls: &'a Ls,
    now: SystemTime,
    /// Rows that are not printed yet.
    held: Vec<Row>,
    /// Whether its rows are printed as they come.
    flowing: bool,
}

impl Ls {
    /// Prints entries: all of them in columns, sorted, or each as it comes.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        if link.prints_json() {
            let ask = Ask::new("ls").args(&self.paths).options(&self.options)?;
            return link.each(ask, output::json).await;
        }
        // The node need not hold a folder for that it can be sorted here.
        let streamed = LsOptions { stream: true, ..self.options.clone() };
        for (number, path) in self.paths.iter().enumerate() {
            let ask = Ask::new("ls").arg(path.as_str()).options(&streamed)?;
            let mut printing = self.open(path, number > 0)?;
            link.each(ask, |reply| {
                let links = list(reply, "Objects").iter().flat_map(|object| list(object, "Links"));
                links.into_iter().try_for_each(|link| printing.take(link))
            })
            .await?;
            printing.close()?;
        }
        Ok(())
    }

    /// Begins with a path.
    fn open(&self, path: &str, further: bool) -> Result<Printing<'_>, CliError> {
        if further {
            line("")?;
        }
        if self.paths.len() > 1 {
            line(format!("{}:", safe(path)))?;
        }
        let mut held = Vec::new();
        if self.headers {
            let [mode, hash, size, time, name] =
                ["Mode", "Hash", "Size", "ModTime", "Name"].map(str::to_owned);
            held.push(Row { mode, hash, size, time, name, key: String::new() });
        }
        let mut printing = Printing { ls: self, now: SystemTime::now(), held, flowing: false };
        if self.options.stream {
            printing.flow()?;
        }
        Ok(printing)
    }
}

impl Printing<'_> {
    /// Takes an entry.
    fn take(&mut self, link: &Value) -> Result<(), CliError> {
        let row = self.row(link);
        if self.flowing {
            return self.print(&[row]);
        }
        self.held.push(row);
        if self.held.len() > HELD_MAX { self.flow() } else { Ok(()) }
    }

    /// Prints what is held, and from now on what comes.
    fn flow(&mut self) -> Result<(), CliError> {
        self.flowing = true;
        let rows = std::mem::take(&mut self.held);
        self.print(&rows)
    }

    /// Prints what is still held, sorted.
    fn close(mut self) -> Result<(), CliError> {
        // The headings, whose key is empty, stay first: no entry of a folder has an empty name.
        self.held.sort_by(|a, b| a.key.cmp(&b.key));
        self.print(&self.held)
    }

    /// Prints rows whose columns line up with each other.
    fn print(&self, rows: &[Row]) -> Result<(), CliError> {
        type Column = fn(&Row) -> &str;
        let options = &self.ls.options;
        let widest = |of: Column| rows.iter().map(|r| of(r).len()).max().unwrap_or(0);
        let columns: [(bool, Column); 4] = [
            (options.long, |row| &row.mode),
            (true, |row| &row.hash),
            (options.size, |row| &row.size),
            (options.long, |row| &row.time),
        ];
        let shown = columns.into_iter().filter(|(shown, _)| *shown);
        let shown: Vec<_> = shown.map(|(_, of)| (of, widest(of))).collect();
        for row in rows {
            let cells = shown.iter().map(|(of, width)| format!("{:width$} ", of(row)));
            line(format!("{}{}", cells.collect::<String>(), row.name))?;
        }
        Ok(())
    }

    fn row(&self, link: &Value) -> Row {
        let folder = number(link, "Type") == 1;
        let name = safe(text(link, "Name"));
        let told = |shown: String| if shown.is_empty() { UNTOLD.to_owned() } else { shown };
        let long = self.ls.options.long;
        Row {
            mode: if long { told(mode(number(link, "Mode"))) } else { String::new() },
            hash: text(link, "Hash").to_owned(),
            size: if folder { "-".to_owned() } else { number(link, "Size").to_string() },
            time: if long { told(time(text(link, "ModTime"), self.now)) } else { String::new() },
            name: if folder { format!("{name}/") } else { name },
            key: text(link, "Name").to_owned(),
        }
    }
}

/// Go's mode as `ls -l` writes it; empty for none.
fn mode(mode: u64) -> String {
    if mode == 0 {
        return String::new();
    }
    let has = |bit: u64| mode & bit != 0;
    let mut out = String::with_capacity(10);
    out.push(match (has(1 << 31), has(1 << 27)) {
        (true, _) => 'd',
        (_, true) => 'l',
        _ => '-',
    });
    // Setuid, setgid and sticky take the place of what they stand on.
    for (shift, special, letter) in [(6, 1 << 23, 's'), (3, 1 << 22, 's'), (0, 1 << 20, 't')] {
        out.push(if has(4 << shift) { 'r' } else { '-' });
        out.push(if has(2 << shift) { 'w' } else { '-' });
        out.push(match (has(special), has(1 << shift)) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    out
}

/// A time as `ls -l` writes it: the hour of what is recent, the year of anything else; empty for
/// none.
fn time(text: &str, now: SystemTime) -> String {
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = part(5, 7).parse::<usize>().ok().and_then(|n| MONTHS.get(n.checked_sub(1)?));
    let (Some(month), true) = (month, part(0, 4) != "0001") else { return String::new() };
    let (day, hour, year) = (part(8, 10), part(11, 16), part(0, 4));
    let recent = clock::parse(text).is_some_and(|time| time > now - RECENT && time < now + DAY);
    if recent { format!("{month} {day} {hour}") } else { format!("{month} {day}  {year}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_those_of_ls() {
        for (go, text) in [
            (0, ""),
            (0o644, "-rw-r--r--"),
            (1 << 31 | 0o755, "drwxr-xr-x"),
            (1 << 27 | 0o777, "lrwxrwxrwx"),
            (1 << 23 | 0o755, "-rwsr-xr-x"),
            (1 << 22 | 0o644, "-rw-r-Sr--"),
            (1 << 31 | 1 << 20 | 0o777, "drwxrwxrwt"),
            (1 << 20, "---------T"),
        ] {
            assert_eq!(mode(go), text);
        }
    }

    #[test]
    fn recent_times_show_the_hour() {
        let now = clock::parse("2026-11-22T12:00:00Z").unwrap();
        for (text, shown) in [
            ("2026-11-20T10:30:59.5Z", "Nov 20 10:30"),
            ("2026-01-15T10:30:00Z", "Jan 15  2026"),
            ("2023-12-01T00:00:00Z", "Dec 01  2023"),
            ("2027-01-01T00:00:00Z", "Jan 01  2027"),
            ("1969-12-31T23:59:59Z", "Dec 31  1969"),
            ("0001-01-01T00:00:00Z", ""),
            ("", ""),
        ] {
            assert_eq!(time(text, now), shown, "{text}");
        }
    }
}
