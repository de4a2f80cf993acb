//! The `henge` command: runs the command line and turns its outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    henge::cli::main(std::env::args_os())
}
