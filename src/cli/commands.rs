//! `henge commands`: what commands there are, told from the command line's own definition.

use clap::{Arg, CommandFactory as _};
use clap_complete::Shell;
use serde_json::{Value, json};

use super::Cli;
use super::link::{Ask, Link};
use super::output::{self, CliError, line, list, text};
use crate::config::program_name;

/// List every command.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct Commands {
    /// List options, too.
    #[arg(long, short = 'f')]
    flags: bool,
    #[command(subcommand)]
    what: Option<What>,
}

/// What else can be told of commands.
#[derive(clap::Subcommand)]
enum What {
    /// Print a script that lets a shell complete commands and options.
    #[command(subcommand, after_help = COMPLETION_EXAMPLES)]
    Completion(Completion),
}

/// The shells.
#[derive(clap::Subcommand)]
enum Completion {
    /// For bash.
    Bash,
    /// For zsh.
    Zsh,
    /// For fish.
    Fish,
}

const EXAMPLES: &str = "\
Examples:
  henge commands              every command, a line each
  henge commands --flags      and every option";

const COMPLETION_EXAMPLES: &str = "\
Examples:
  henge commands completion bash > ~/.local/share/bash-completion/completions/henge
  henge commands completion fish > ~/.config/fish/completions/henge.fish";

impl Commands {
    /// Needs no repository.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        if let Some(What::Completion(completion)) = self.what {
            return completion.print();
        }
        let flags = self.flags;
        link.each(Ask::new("commands").option("flags", flags), |reply| {
            if link.prints_json() {
                return output::json(reply);
            }
            let mut lines = Vec::new();
            paths(reply, "", flags, &mut lines);
            lines.sort();
            lines.iter().try_for_each(line)
        })
        .await
    }
}

impl Completion {
    fn print(&self) -> Result<(), CliError> {
        let shell = match self {
            Self::Bash => Shell::Bash,
            Self::Zsh => Shell::Zsh,
            Self::Fish => Shell::Fish,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), program_name(), &mut script);
        line(String::from_utf8_lossy(&script).trim_end())
    }
}

/// The tree of commands, in Kubo's shape. Options of every command stand at its root.
pub fn tree() -> Value {
    let root = Cli::command();
    let options = root.get_arguments().map(names).collect();
    told(&root, program_name(), options)
}

fn told(command: &clap::Command, name: &str, options: Vec<Value>) -> Value {
    let below = command.get_subcommands().filter(|below| below.get_name() != "help");
    let below: Vec<Value> = below
        .map(|below| {
            let own = below.get_arguments().filter(|arg| is_option(arg)).map(names).collect();
            told(below, below.get_name(), own)
        })
        .collect();
    json!({ "Name": name, "Subcommands": below, "Options": options })
}

fn is_option(arg: &Arg) -> bool {
    !arg.is_positional() && !arg.is_global_set()
}

/// The names of an option: long ones before short ones.
fn names(arg: &Arg) -> Value {
    let long = arg.get_long().into_iter().map(str::to_owned);
    let more = arg.get_all_aliases().unwrap_or_default().into_iter().map(str::to_owned);
    let short = arg.get_short().into_iter().map(String::from);
    json!({ "Names": long.chain(more).chain(short).collect::<Vec<String>>() })
}

/// A line for a command and each of its options, then those below it.
fn paths(command: &Value, above: &str, flags: bool, lines: &mut Vec<String>) {
    let path = format!("{above}{}", text(command, "Name"));
    lines.push(path.clone());
    if flags && !above.is_empty() {
        lines.extend(list(command, "Options").iter().map(|option| {
            let names = list(option, "Names").iter().filter_map(Value::as_str);
            let spelled = names.map(|name| {
                let dashes = if name.chars().count() == 1 { "-" } else { "--" };
                format!("{path} {dashes}{name}")
            });
            spelled.collect::<Vec<String>>().join(" / ")
        }));
    }
    let above = format!("{path} ");
    list(command, "Subcommands").iter().for_each(|below| paths(below, &above, flags, lines));
}
