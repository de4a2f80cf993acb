//! `henge dag import` and `henge dag export`.

use std::io::Write as _;
use std::path::PathBuf;

use serde_json::Value;

use super::cat;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, text};
use super::walk;
use crate::node::car::{DagExportOptions, DagImportOptions};
use crate::node::refs::RefsOptions;
use crate::rpc::{Body, Reply};

/// Missing blocks that are named at the end of an export.
const NAMED_MAX: usize = 100;

/// Arguments of `dag import`.
#[derive(clap::Args)]
pub struct Import {
    /// CAR files, version 1 or 2; `-` or none for standard input.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
    #[command(flatten)]
    options: DagImportOptions,
}

/// Arguments of `dag export`.
#[derive(clap::Args)]
pub struct Export {
    /// Path of the root: <cid>, <cid>/name.
    #[arg(value_name = "PATH")]
    path: String,
    /// Show progress: on a terminal unless told otherwise.
    #[arg(long, short = 'p', num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    progress: Option<bool>,
    #[command(flatten)]
    options: DagExportOptions,
}

impl Import {
    /// Sends the files and prints what became of the roots.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let source = walk::streams(&self.files)?;
        let ask = Ask::new("dag/import").options(&self.options)?.body(Body::Files(source));
        link.each(ask, |event| match link.prints_json() {
            true => output::json(event),
            false if self.silent => Ok(()),
            false => show(event),
        })
        .await
    }
}

fn show(event: &Value) -> Result<(), CliError> {
    if let Some(stats) = event.get("Stats") {
        let (blocks, bytes) = (number(stats, "BlockCount"), number(stats, "BlockBytesCount"));
        return line(format!("Imported {blocks} blocks ({bytes} bytes)"));
    }
    let root = event.get("Root").unwrap_or(&Value::Null);
    let cid = root.get("Cid").map(|cid| text(cid, "/")).unwrap_or_default();
    match text(root, "PinErrorMsg") {
        "" => line(format!("Pinned root\t{cid}\tsuccess")),
        why => Err(CliError::new(format!("pinning root {cid:?} FAILED: {why}"))),
    }
}

impl Export {
    /// Prints the CAR as it comes; then, on standard error, what is not in it.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new("dag/export").arg(self.path.as_str()).options(&self.options)?;
        match link.call(ask).await? {
            Reply::Bytes { stream, length } => cat::copy(stream, length, self.progress).await?,
            _ => return Err(CliError::new("the node answered without content")),
        }
        if self.options.local_only { missing(link, &self.path).await } else { Ok(()) }
    }
}

/// Names the blocks that are not here, the first of them one by one.
async fn missing(link: &Link, path: &str) -> Result<(), CliError> {
    let options = RefsOptions { missing: true, ..RefsOptions::default() };
    let (mut named, mut count) = (Vec::new(), 0u64);
    let each = |reply: &Value| {
        count += 1;
        if named.len() < NAMED_MAX {
            named.push(text(reply, "Ref").to_owned());
        }
        Ok(())
    };
    link.each(Ask::new("refs").arg(path).options(&options)?, each).await?;
    if count == 0 {
        return Ok(());
    }
    let mut err = std::io::stderr().lock();
    writeln!(err, "Left out, with what lies below: {count} blocks that are not here.")?;
    named.iter().try_for_each(|cid| writeln!(err, "missing {cid}"))?;
    if count > NAMED_MAX as u64 {
        writeln!(err, "All of them: henge refs --missing {path}")?;
    }
    Ok(())
}
