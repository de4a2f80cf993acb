//! `henge cid`: needs no repository.

use std::io::BufRead as _;

use serde_json::Value;

use super::link::{Ask, Link};
use super::output::{self, CliError, line, number, safe, text};

/// Convert CIDs and tell what they say.
#[derive(clap::Subcommand)]
pub enum Cid {
    /// Print CIDs in another version, base or codec, or spelled out.
    Format(Format),
    /// Print CIDs as CIDv1 in base32.
    Base32(Base32),
    /// List the multibases.
    Bases(Bases),
    /// List the codecs of IPLD.
    Codecs(Codecs),
    /// List the hash functions under which blocks are taken.
    Hashes(Codecs),
    /// Take a CID apart.
    Inspect(Inspect),
}

/// Arguments of `cid format`.
#[derive(clap::Args)]
#[command(after_help = FORMAT_EXAMPLES)]
pub struct Format {
    /// CIDs; lines of standard input without one.
    #[arg(value_name = "CID")]
    cids: Vec<String>,
    /// What to print: see below.
    #[arg(short = 'f', value_name = "FORMAT", default_value = "%s")]
    format: String,
    /// Version to convert to: 0 or 1.
    #[arg(short = 'v', value_name = "VERSION")]
    version: Option<String>,
    /// Codec to convert to.
    #[arg(long, value_name = "CODEC")]
    mc: Option<String>,
    /// Multibase to print in.
    #[arg(short = 'b', value_name = "BASE")]
    base: Option<String>,
}

const FORMAT_EXAMPLES: &str = "\
Format:
  %s %S  CID; without its base's letter     %v %V  version, as cidv1; as 1
  %m %M  multihash; without the letter      %c %C  codec, by name; by number
  %d %D  digest; without the letter         %h %H  hash, by name; by number
  %b %B  base, by name; by letter           %L     length of the digest
  %P     %v-%c-%h-%L                        %%     a percent sign

Examples:
  henge cid format -v 1 -b base36 <cid>     the same CID for a subdomain
  henge cid format -f '%P' <cid>            cidv1-dag-pb-sha2-256-32";

/// Arguments of `cid base32`.
#[derive(clap::Args)]
#[command(after_help = BASE32_EXAMPLES)]
pub struct Base32 {
    /// CIDs; lines of standard input without one.
    #[arg(value_name = "CID")]
    cids: Vec<String>,
}

const BASE32_EXAMPLES: &str = "\
Examples:
  henge cid base32 QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn
  henge pin ls -q | henge cid base32";

/// Arguments of `cid bases` and `multibase list`.
#[derive(clap::Args)]
#[command(after_help = BASES_EXAMPLES)]
pub struct Bases {
    /// With the letter of each.
    #[arg(long)]
    prefix: bool,
    /// With the number of that letter.
    #[arg(long)]
    numeric: bool,
}

const BASES_EXAMPLES: &str = "\
Examples:
  henge cid bases --prefix     b  base32, z  base58btc, ...";

/// Arguments of `cid codecs` and `cid hashes`.
#[derive(clap::Args)]
#[command(after_help = CODECS_EXAMPLES)]
pub struct Codecs {
    /// With the number of each.
    #[arg(long, short = 'n')]
    numeric: bool,
    /// Only those that commands can read or write.
    #[arg(long, short = 's')]
    supported: bool,
}

const CODECS_EXAMPLES: &str = "\
Examples:
  henge cid codecs -n -s
  henge cid hashes --numeric";

/// Arguments of `cid inspect`.
#[derive(clap::Args)]
#[command(after_help = INSPECT_EXAMPLES)]
pub struct Inspect {
    /// The CID; a line of standard input without one.
    #[arg(value_name = "CID")]
    cid: Option<String>,
}

const INSPECT_EXAMPLES: &str = "\
Examples:
  henge cid inspect bafkqabdumvzxi
  henge cid inspect --enc=json <cid>";

impl Cid {
    /// Runs one of them.
    pub async fn run(self, link: &Link) -> Result<(), CliError> {
        match self {
            Self::Format(format) => {
                let ask = Ask::new("cid/format").option("f", format.format);
                let given = [("v", format.version), ("mc", format.mc), ("b", format.base)];
                let given = given.into_iter().filter_map(|(name, value)| Some((name, value?)));
                let ask = given.fold(ask, |ask, (name, value)| ask.option(name, value));
                formatted(link, ask, format.cids).await
            }
            Self::Base32(base32) => formatted(link, Ask::new("cid/base32"), base32.cids).await,
            Self::Bases(bases) => bases.run("cid/bases", link).await,
            Self::Codecs(codecs) => codecs.run("cid/codecs", link).await,
            Self::Hashes(hashes) => hashes.run("cid/hashes", link).await,
            Self::Inspect(inspect) => inspect.run(link).await,
        }
    }
}

/// The arguments, or the lines of standard input that are not empty.
pub(super) fn or_stdin(given: Vec<String>) -> Result<Vec<String>, CliError> {
    if !given.is_empty() {
        return Ok(given);
    }
    let mut lines = Vec::new();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        lines.extend((!line.trim().is_empty()).then(|| line.trim().to_owned()));
    }
    Ok(lines)
}

async fn formatted(link: &Link, ask: Ask, cids: Vec<String>) -> Result<(), CliError> {
    let mut failed = false;
    link.each(ask.args(&or_stdin(cids)?), |reply| {
        let error = text(reply, "ErrorMsg");
        failed |= !error.is_empty();
        match (link.prints_json(), error) {
            (true, _) => output::json(reply),
            (false, "") => line(text(reply, "Formatted")),
            (false, error) => {
                eprintln!("{}: {}", safe(text(reply, "CidStr")), safe(error));
                Ok(())
            }
        }
    })
    .await?;
    if failed { Err(CliError::new("errors while displaying some entries")) } else { Ok(()) }
}

/// Prints the rows of a reply that is one list.
async fn rows(
    link: &Link,
    command: Ask,
    shown: impl Fn(u64, &str) -> String,
) -> Result<(), CliError> {
    link.each(command, |reply| {
        if link.prints_json() {
            return output::json(reply);
        }
        let rows = reply.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().try_for_each(|row| line(shown(number(row, "Code"), text(row, "Name"))))
    })
    .await
}

impl Bases {
    /// Prints them, in the order of their letters.
    pub async fn run(self, command: &'static str, link: &Link) -> Result<(), CliError> {
        rows(link, Ask::new(command), |code, name| {
            let letter = u32::try_from(code).ok().and_then(char::from_u32);
            let letter = letter.filter(|letter| !letter.is_control()).unwrap_or(' ');
            match (self.prefix, self.numeric) {
                (true, true) => format!("{letter} {code:7}  {name}"),
                (true, false) => format!("{letter}  {name}"),
                (false, true) => format!("{code:7}  {name}"),
                (false, false) => name.to_owned(),
            }
        })
        .await
    }
}

impl Codecs {
    async fn run(self, command: &'static str, link: &Link) -> Result<(), CliError> {
        let ask = Ask::new(command).option("supported", self.supported);
        rows(link, ask, |code, name| match self.numeric {
            true => format!("{code:5}  {name}"),
            false => name.to_owned(),
        })
        .await
    }
}

impl Inspect {
    async fn run(self, link: &Link) -> Result<(), CliError> {
        let cids = or_stdin(self.cid.into_iter().collect())?;
        link.each(Ask::new("cid/inspect").args(&cids), |reply| {
            match (link.prints_json(), text(reply, "errorMsg")) {
                (true, _) => output::json(reply),
                (false, "") => line(parts(reply)),
                (false, error) => Err(CliError::new(error)),
            }
        })
        .await
    }
}

/// The parts of a CID, a line each.
fn parts(reply: &Value) -> String {
    let part = |name: &str| reply.get(name).unwrap_or(&Value::Null);
    let (base, codec, hash) = (part("multibase"), part("multicodec"), part("multihash"));
    let v0 = number(reply, "version") == 0;
    let implicit = if v0 { ", implicit" } else { "" };
    let letter = if v0 { "implicit" } else { text(base, "prefix") };
    let [codec_name, hash_name] = [codec, hash].map(|part| text(part, "name"));
    let [codec_code, hash_code] = [codec, hash].map(|part| number(part, "code"));
    let length = number(hash, "length");
    let none = |wanted: &str, got: String| format!("not possible, requires {wanted}, got {got}");
    let as_v0 = match (text(reply, "cidV0"), codec_code, hash_code) {
        ("", 0x70, 0x12) => none("32-byte digest", length.to_string()),
        ("", 0x70, _) => none("sha2-256 (0x12)", format!("{hash_name} (0x{hash_code:x})")),
        ("", ..) => none("dag-pb (0x70)", format!("{codec_name} (0x{codec_code:x})")),
        (as_v0, ..) => as_v0.to_owned(),
    };
    [
        format!("CID:        {}", safe(text(reply, "cid"))),
        format!("Version:    {}", number(reply, "version")),
        format!("Multibase:  {} ({letter})", text(base, "name")),
        format!("Multicodec: {codec_name} (0x{codec_code:x}{implicit})"),
        format!("Multihash:  {hash_name} (0x{hash_code:x}{implicit})"),
        format!("  Length:   {length} bytes"),
        format!("  Digest:   {}", text(hash, "digest")),
        format!("CIDv0:      {as_v0}"),
        format!("CIDv1:      {}", text(reply, "cidV1")),
    ]
    .join("\n")
}
