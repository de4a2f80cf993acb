//! `henge ls`.

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, safe, text};
use crate::node::ls::LsOptions;

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
  henge ls -v <cid>/photos    with headings";

/// One entry as it is printed.
struct Row {
    hash: String,
    size: String,
    name: String,
}

impl Ls {
    /// Prints entries: all of them in columns, or each as it comes.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("ls").args(&self.paths).options(&self.options)?;
        let mut last = String::new();
        let mut opened = false;
        link.each(ask, |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            for object in list(reply, "Objects") {
                let fresh = !opened || last != text(object, "Hash");
                last = text(object, "Hash").to_owned();
                self.object(object, fresh, opened)?;
                opened = true;
            }
            Ok(())
        })
        .await
    }

    /// Prints one object: its headings when it is a new one, then its entries.
    fn object(&self, object: &Value, fresh: bool, opened: bool) -> Result<(), CliError> {
        if fresh && self.paths.len() > 1 {
            if opened {
                line("")?;
            }
            line(format!("{}:", text(object, "Hash")))?;
        }
        let mut rows: Vec<Row> = Vec::new();
        if fresh && self.headers {
            let head = |text: &str| text.to_owned();
            rows.push(Row { hash: head("Hash"), size: head("Size"), name: head("Name") });
        }
        rows.extend(list(object, "Links").iter().map(row));
        let widest = |of: fn(&Row) -> &str| rows.iter().map(|r| of(r).len()).max().unwrap_or(0);
        let (hashes, sizes) = (widest(|r| &r.hash), widest(|r| &r.size));
        for Row { hash, size, name } in &rows {
            line(match self.options.size {
                true => format!("{hash:hashes$} {size:sizes$} {name}"),
                false => format!("{hash:hashes$} {name}"),
            })?;
        }
        Ok(())
    }
}

fn row(link: &Value) -> Row {
    let folder = number(link, "Type") == 1;
    let name = safe(text(link, "Name"));
    Row {
        hash: text(link, "Hash").to_owned(),
        size: if folder { "-".to_owned() } else { number(link, "Size").to_string() },
        name: if folder { format!("{name}/") } else { name },
    }
}
