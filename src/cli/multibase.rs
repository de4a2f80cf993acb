//! `henge multibase`: needs no repository.

use std::path::PathBuf;

use super::cat;
use super::cid::Bases;
use super::link::{Ask, Link};
use super::output::CliError;
use super::walk::{self, WalkRules};
use crate::rpc::{Body, Reply};

/// Bytes as text, and back.
#[derive(clap::Subcommand)]
pub enum Multibase {
    /// Print a file as text in a base.
    Encode(Encode),
    /// Print the bytes of text in any base.
    Decode(Decode),
    /// Print text in any base in another one.
    Transcode(Encode),
    /// List the multibases.
    List(Bases),
}

/// Arguments of `multibase encode` and `multibase transcode`.
#[derive(clap::Args)]
#[command(after_help = ENCODE_EXAMPLES)]
pub struct Encode {
    /// The file; standard input without one.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Multibase to print in.
    #[arg(short = 'b', value_name = "BASE", default_value = "base64url")]
    base: String,
}

const ENCODE_EXAMPLES: &str = "\
Examples:
  echo -n hello | henge multibase encode -b base16        f68656c6c6f
  echo -n f68656c6c6f | henge multibase transcode         uaGVsbG8";

/// Arguments of `multibase decode`.
#[derive(clap::Args)]
#[command(after_help = DECODE_EXAMPLES)]
pub struct Decode {
    /// The file; standard input without one.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

const DECODE_EXAMPLES: &str = "\
Examples:
  echo -n f68656c6c6f | henge multibase decode     hello";

impl Multibase {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        let (ask, file) = match self {
            Self::List(bases) => return bases.run("multibase/list", link).await,
            Self::Encode(how) => (Ask::new("multibase/encode").option("b", how.base), how.file),
            Self::Transcode(how) => {
                (Ask::new("multibase/transcode").option("b", how.base), how.file)
            }
            Self::Decode(how) => (Ask::new("multibase/decode"), how.file),
        };
        let source = match file.filter(|path| path.as_os_str() != "-") {
            None => walk::stdin(),
            Some(path) => walk::files(&[path], WalkRules::default())?,
        };
        match link.call(ask.body(Body::Files(source))).await? {
            Reply::Bytes { stream, length } => cat::copy(stream, length, Some(false)).await,
            _ => Err(CliError::new("the node answered without content")),
        }
    }
}
