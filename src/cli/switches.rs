//! Switches with a value, `--recursive=true` or `-r=0`, as Kubo's command line takes them.
//!
//! Only where the plain definition refuses one is a definition made in which every switch takes
//! one: help and completions show switches as they are meant.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{ArgAction, Command, CommandFactory, FromArgMatches};

/// Reads a command line.
///
/// # Errors
/// clap's.
pub fn parse<C: CommandFactory + FromArgMatches>(arguments: &[OsString]) -> Result<C, clap::Error> {
    // `--recursive=1` is said to be a value too many, `-r=1` to be an unknown switch behind `-r`.
    let may_be_value = |kind| matches!(kind, ErrorKind::TooManyValues | ErrorKind::UnknownArgument);
    let matches = match C::command().try_get_matches_from(arguments) {
        Err(error) if may_be_value(error.kind()) => {
            taking_values(C::command()).try_get_matches_from(arguments)?
        }
        other => other?,
    };
    C::from_arg_matches(&matches)
}

fn taking_values(command: Command) -> Command {
    let names: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |all, name| all.mut_subcommand(name, taking_values));
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .value_parser(boolean),
        _ => arg,
    })
}

/// In Go's words.
fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Ok(true),
        "0" | "f" | "false" => Ok(false),
        _ => Err("true or false is expected".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser, Debug)]
    struct Sample {
        #[arg(long, global = true)]
        debug: bool,
        #[command(subcommand)]
        command: Sub,
    }

    #[derive(clap::Subcommand, Debug)]
    enum Sub {
        Add {
            #[arg(long, short = 'r')]
            recursive: bool,
            #[arg(long, short = 'q')]
            quiet: bool,
            paths: Vec<String>,
        },
    }

    fn read(line: &str) -> Result<(bool, bool, bool, Vec<String>), String> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let Sample { debug, command: Sub::Add { recursive, quiet, paths } } =
            parse(&words).map_err(|e: clap::Error| e.to_string())?;
        Ok((debug, recursive, quiet, paths))
    }

    #[test]
    fn values_of_switches_are_go_s() {
        let all = |debug, recursive, quiet| Ok((debug, recursive, quiet, vec!["p".to_owned()]));
        assert_eq!(read("x add -r p"), all(false, true, false));
        assert_eq!(read("x add --recursive=true -q p"), all(false, true, true));
        assert_eq!(read("x add -r=T -q=0 p --debug"), all(true, true, false));
        assert_eq!(read("x --debug=F add --recursive=False --quiet=1 p"), all(false, false, true));
        assert!(read("x add -r=maybe p").unwrap_err().contains("true or false is expected"));
        assert!(read("x add --nothing=true p").unwrap_err().contains("--nothing"));
    }
}
