//! `henge add`.

use std::io::{IsTerminal as _, stderr, stdin};
use std::path::PathBuf;
use std::sync::Arc;

use indicatif::ProgressBar;
use serde_json::Value;

use super::ignore::Ignore;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, safe, text};
use super::progress;
use super::walk::{self, Follow, WalkRules};
use crate::node::add::AddOptions;
use crate::rpc::Body;

/// Add files and folders, and pin them.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Add {
    /// Files and folders; `-` or none for standard input.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Add folders with everything in them.
    #[arg(long, short = 'r')]
    recursive: bool,
    /// Print CIDs alone.
    #[arg(long, short = 'q')]
    quiet: bool,
    /// Print the last CID alone.
    #[arg(long, short = 'Q')]
    quieter: bool,
    /// Print nothing.
    #[arg(long)]
    silent: bool,
    /// Show progress: on a terminal unless told otherwise.
    #[arg(long, short = 'p', num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    progress: Option<bool>,
    /// Take hidden files of folders, too.
    #[arg(long, short = 'H')]
    hidden: bool,
    /// Leave out what fits this rule, written as in .gitignore; may be given again.
    #[arg(long, value_name = "RULE")]
    ignore: Vec<String>,
    /// Leave out what fits the rules in this file, written as in .gitignore.
    #[arg(long, value_name = "FILE")]
    ignore_rules_path: Option<PathBuf>,
    /// Add what symlinks lead to, also those in folders.
    #[arg(long)]
    dereference_symlinks: bool,
    /// Add what the symlinks that are given lead to; older than --dereference-symlinks.
    #[arg(long)]
    dereference_args: bool,
    /// What standard input is called.
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    stdin_name: String,
    #[command(flatten)]
    options: AddOptions,
}

const EXAMPLES: &str = "\
Examples:
  henge add notes.txt                     prints: added <cid> notes.txt
  henge add -r photos                     a folder and everything in it
  henge add -r --ignore target src        without what is called target
  henge add -r -H --ignore-rules-path .gitignore --ignore .git .
                                          what git would take
  henge add -Q --cid-version=1 film.mkv   the CID alone, version 1
  henge add -s buzhash disk.img           cut where the content says: versions share blocks
  henge add -r --preserve-mode --preserve-mtime bin
                                          with permissions and times
  tar c src | henge add -q --stdin-name src.tar -w
                                          standard input, as a file in a folder
  henge add -n -r photos                  what the CID would be; stores nothing";

impl Add {
    /// Walks, sends and prints; what cannot be added at all is refused before the node is opened.
    pub async fn run(
        self,
        link: impl AsyncFnOnce() -> Result<Link, CliError>,
    ) -> Result<(), CliError> {
        let rules = self.rules()?;
        let stdin_path = PathBuf::from("-");
        let roots = match self.paths.is_empty() {
            true => vec![stdin_path.clone()],
            false => self.paths.clone(),
        };
        let piped = roots.contains(&stdin_path);
        let source = walk::files(&roots, rules.clone())?;
        if piped && stdin().is_terminal() {
            eprintln!("reading from standard input; Ctrl-D ends it, Ctrl-C stops");
        }
        let link = link().await?;
        let shown = self.progress.unwrap_or_else(|| stderr().is_terminal() && !self.is_quiet());
        let total = (shown && !piped).then(|| walk::total_bytes(&roots, rules));
        let mut view = View::new(&self, link.prints_json(), progress::bytes(total, Some(shown)));
        let options = AddOptions { progress: shown, ..self.options.clone() };
        let ask = Ask::new("add").options(&options)?.body(Body::Files(source));
        link.each(ask, |event| view.show(event)).await?;
        view.end()
    }

    fn rules(&self) -> Result<WalkRules, CliError> {
        let file = self.ignore_rules_path.as_deref();
        let ignore = Ignore::new(file, &self.ignore).map_err(|e| {
            let shown = file.map(|path| safe(&path.to_string_lossy())).unwrap_or_default();
            CliError::new(format!("ignore-rules-path {shown}: {e}"))
        })?;
        let follow = match (self.dereference_symlinks, self.dereference_args) {
            (true, _) => Follow::Always,
            (false, true) => Follow::Roots,
            (false, false) => Follow::Never,
        };
        Ok(WalkRules {
            recursive: self.recursive,
            hidden: self.hidden,
            ignore: Arc::new(ignore),
            follow,
            stdin_name: self.stdin_name.clone(),
        })
    }

    fn is_quiet(&self) -> bool {
        self.quiet || self.quieter || self.silent
    }
}

/// What is on the screen.
struct View<'a> {
    add: &'a Add,
    json: bool,
    bar: ProgressBar,
    /// The file being read, and its bytes so far; files that are done are in the bar already.
    current: (String, u64),
    last: String,
}

impl<'a> View<'a> {
    fn new(add: &'a Add, json: bool, bar: ProgressBar) -> Self {
        Self { add, json, bar, current: Default::default(), last: String::new() }
    }

    fn show(&mut self, event: &Value) -> Result<(), CliError> {
        let name = text(event, "Name");
        if event.get("Hash").is_none() {
            self.advance(name, number(event, "Bytes"));
            return Ok(());
        }
        self.last = text(event, "Hash").to_owned();
        if self.json {
            return output::json(event);
        }
        let Add { quiet, quieter, silent, .. } = self.add;
        if *quieter || *silent {
            return Ok(());
        }
        let shown = match *quiet {
            true => self.last.clone(),
            false => format!("added {} {}", self.last, safe(name)),
        };
        self.bar.suspend(|| line(shown))
    }

    fn advance(&mut self, name: &str, bytes: u64) {
        if self.current.0 != name {
            self.current = (name.to_owned(), 0);
        }
        self.bar.inc(bytes.saturating_sub(self.current.1));
        self.current.1 = bytes;
    }

    fn end(self) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        match self.add.quieter && !self.json && !self.last.is_empty() {
            true => line(self.last),
            false => Ok(()),
        }
    }
}
