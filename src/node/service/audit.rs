//! The audit: a line for every use of a token, in a file of the repository that is bounded.
//!
//! A secret that opens nothing is nobody's: whoever guesses would push out what is known of others,
//! so those are counted, and the number stands in the next line.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::token::{Refused, Token};

/// Name of the file; the one before has `.1` behind it.
pub const FILE: &str = "audit.log";
/// Size at which a new one is begun, in bytes: both together take twice that at most.
const FILE_MAX_BYTES: u64 = 16 << 20;
/// Longest text of what was done, in bytes.
const WHAT_MAX_BYTES: usize = 256;

/// What a caller does.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Its address; none over a Unix socket.
    pub from: Option<SocketAddr>,
    /// What: `POST /pins`.
    pub what: &'a str,
}

/// How it was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was let through.
    Admitted,
    /// The token opens something else.
    Scope,
    /// It came too often.
    Rate,
    /// There is no such token.
    Unknown,
}

impl Outcome {
    /// That of a decision.
    pub fn of(decided: &Result<(), Refused>) -> Self {
        match decided {
            Ok(()) => Self::Admitted,
            Err(Refused::Scope) => Self::Scope,
            Err(Refused::Rate { .. }) => Self::Rate,
            Err(Refused::Unknown) => Self::Unknown,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Scope => "refused: scope",
            Self::Rate => "refused: rate",
            Self::Unknown => "refused: unknown",
        }
    }
}

/// The file, and what is not in it yet.
#[derive(Debug, Default)]
struct Open {
    file: Option<File>,
    bytes: u64,
    unknown: u64,
    failing: bool,
}

/// Writes it. Without a folder it writes nothing.
#[derive(Debug, Default)]
pub struct Audit {
    folder: Option<PathBuf>,
    open: Mutex<Open>,
}

impl Audit {
    /// One in a folder.
    pub fn in_folder(folder: PathBuf) -> Self {
        Self { folder: Some(folder), open: Mutex::default() }
    }

    /// Notes a use. A disk that takes no line keeps nobody from being served; it is told in the log.
    pub fn note(&self, about: &About<'_>, token: Option<&Token>, outcome: Outcome) {
        let Some(folder) = &self.folder else { return };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(token) = token else {
            open.unknown = open.unknown.saturating_add(1);
            return;
        };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let what: String = about.what.chars().take(WHAT_MAX_BYTES).collect();
        let line = json!({
            "time": since.as_millis() as u64,
            "token": token.id,
            "tenant": token.tenant,
            "from": about.from.map(|from| from.to_string()),
            "what": what,
            "outcome": outcome.name(),
            "unknown_before": open.unknown,
        });
        let written = write(&mut open, folder, &format!("{line}\n"));
        match &written {
            Ok(()) => open.unknown = 0,
            Err(error) if !open.failing => {
                tracing::error!("{}: {error}", folder.join(FILE).display());
            }
            Err(_) => {}
        }
        open.failing = written.is_err();
    }
}

/// Appends a line: one write, so that no other line stands within it.
fn write(open: &mut Open, folder: &std::path::Path, line: &str) -> io::Result<()> {
    let path = folder.join(FILE);
    if open.file.is_some() && open.bytes >= FILE_MAX_BYTES {
        open.file = None;
        std::fs::rename(&path, folder.join(format!("{FILE}.1")))?;
    }
    if open.file.is_none() {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        open.bytes = file.metadata()?.len();
        open.file = Some(file);
    }
    if let Some(file) = &mut open.file {
        file.write_all(line.as_bytes())?;
        open.bytes = open.bytes.saturating_add(line.len() as u64);
    }
    Ok(())
}
