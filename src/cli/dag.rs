//! `henge dag`.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::car::{Export, Import};
use super::cat;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, number, text};
use super::{progress, walk};
use crate::ipld::cid::{Base, Version};
use crate::ipld::path::Path;
use crate::node::dag::{DagGetOptions, DagPutOptions};
use crate::rpc::{Body, Reply};
use crate::size;

/// Blocks as data, and whole DAGs.
#[derive(clap::Subcommand)]
pub enum Dag {
    /// Print a block, or a part of its data, as dag-json.
    Get(Get),
    /// Store files as one block of data each, and print their CIDs.
    Put(Put),
    /// Print the CID of the last block on a path, and what is left of the path inside it.
    Resolve {
        /// Path: <cid>/key/0.
        #[arg(value_name = "PATH")]
        path: String,
    },
    /// Take every block of CAR files, and pin the roots they name.
    Import(Import),
    /// Print a DAG as a CAR file.
    Export(Export),
    /// Count the blocks of DAGs, their sizes, and what they share.
    Stat(Stat),
}

/// Arguments of `dag get`.
#[derive(clap::Args)]
pub struct Get {
    /// Path: <cid>, or <cid>/key/0 into its data.
    #[arg(value_name = "PATH")]
    path: String,
    #[command(flatten)]
    options: DagGetOptions,
}

/// Arguments of `dag put`.
#[derive(clap::Args)]
pub struct Put {
    /// Files; `-` or none for standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    options: DagPutOptions,
}

/// Arguments of `dag stat`.
#[derive(clap::Args)]
pub struct Stat {
    /// Paths of the roots.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,
    /// Show progress: on a terminal unless told otherwise.
    #[arg(long, short = 'p', num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    progress: Option<bool>,
}

impl Dag {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Get(get) => get.run(link).await,
            Self::Put(put) => put.run(link).await,
            Self::Resolve { path } => resolve(link, &path).await,
            Self::Import(import) => import.run(link).await,
            Self::Export(export) => export.run(link).await,
            Self::Stat(stat) => stat.run(link).await,
        }
    }
}

impl Get {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("dag/get").arg(self.path).options(&self.options)?;
        match link.call(ask).await? {
            Reply::Bytes { stream, length } => cat::copy(stream, length, Some(false)).await,
            _ => Err(CliError::new("the node answered without content")),
        }
    }
}

impl Put {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let source = walk::streams(&self.files)?;
        let ask = Ask::new("dag/put").options(&self.options)?.body(Body::Files(source));
        link.each(ask, |reply| match link.prints_json() {
            true => output::json(reply),
            false => line(reply.get("Cid").map(|cid| text(cid, "/")).unwrap_or_default()),
        })
        .await
    }
}

/// Prints without a newline, as Kubo does, and in the base of the path unless told otherwise.
async fn resolve(link: &Link, path: &str) -> Result<(), CliError> {
    let mut ask = Ask::new("dag/resolve");
    if let Some(base) = base_of(path) {
        ask = ask.option("cid-base", base.code());
    }
    link.each(ask.arg(path), |reply| {
        if link.prints_json() {
            return output::json(reply);
        }
        let cid = reply.get("Cid").map(|cid| text(cid, "/")).unwrap_or_default();
        let mut out = std::io::stdout().lock();
        match text(reply, "RemPath") {
            "" => write!(out, "{cid}")?,
            rest => write!(out, "{cid}/{}", output::safe(rest))?,
        }
        Ok(out.flush()?)
    })
    .await
}

/// The base of a CIDv1 at the head of a path.
fn base_of(path: &str) -> Option<Base> {
    let parsed = Path::parse(path).ok()?;
    let spelled = path.trim_start_matches("/ipfs/").trim_start_matches("ipfs://");
    let v1 = parsed.cid().is_some_and(|cid| cid.version() == Version::V1);
    Base::from_code(spelled.chars().next().filter(|_| v1)?).ok()
}

impl Stat {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let bar = progress::bytes(None, self.progress);
        let ask = Ask::new("dag/stat").args(&self.paths);
        let mut last = Value::Null;
        link.each(ask.option("progress", !bar.is_hidden()), |stat| {
            bar.set_position(number(stat, "TotalSize"));
            last = stat.clone();
            Ok(())
        })
        .await?;
        bar.finish_and_clear();
        if link.prints_json() { output::json(&last) } else { show(&last) }
    }
}

/// Kubo's table.
fn show(stat: &Value) -> Result<(), CliError> {
    let rows = list(stat, "DagStats");
    let width = rows.first().map_or(0, |row| text(row, "Cid").len());
    line(format!("\n{:width$}\t{:15}\tSize", "CID", "Blocks"))?;
    for row in rows {
        let (blocks, size) = (number(row, "NumBlocks"), number(row, "Size"));
        line(format!("{}\t{blocks:<15}\t{size}", text(row, "Cid")))?;
    }
    let (total, shared) = (number(stat, "TotalSize"), number(stat, "SharedSize"));
    let ratio = stat.get("Ratio").and_then(Value::as_f64).unwrap_or_default();
    line(format!("\nSummary\nTotal Size: {total} ({})", size::decimal(total)))?;
    line(format!("Unique Blocks: {}", number(stat, "UniqueBlocks")))?;
    line(format!("Shared Size: {shared} ({})\nRatio: {ratio:.6}\n\n", size::decimal(shared)))
}
