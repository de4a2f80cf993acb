//! The audit: a line for every use of a token, in a file of the repository that is bounded.
//!
//! A secret that opens nothing is nobody's: whoever guesses would push out what is known of others,
//! so those are counted, and the number stands in the next line. Of a token's refusals one a second has
//! a line, for the same reason.

use std::collections::HashSet;
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
    /// Uses since the last line that have none: those of nobody, and refusals beyond one a second.
    unlisted: u64,
    /// The second of the last refusal, and whose were written in it.
    refused: (u64, HashSet<String>),
    failing: bool,
    uses: Uses,
}

/// Uses of secrets since the process began, by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Let through.
    pub admitted: u64,
    /// Tokens that open something else.
    pub scope: u64,
    /// Tokens that came too often.
    pub rate: u64,
    /// Secrets that open nothing.
    pub unknown: u64,
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

    /// How often secrets were used.
    pub fn uses(&self) -> Uses {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).uses
    }

    /// Notes a use. A disk that takes no line keeps nobody from being served; it is told in the log.
    pub fn note(&self, about: &About<'_>, token: Option<&Token>, outcome: Outcome) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let Uses { admitted, scope, rate, unknown } = &mut open.uses;
        let uses = match outcome {
            Outcome::Admitted => admitted,
            Outcome::Scope => scope,
            Outcome::Rate => rate,
            Outcome::Unknown => unknown,
        };
        *uses = uses.saturating_add(1);
        let Some(token) = token else {
            open.unlisted = open.unlisted.saturating_add(1);
            return;
        };
        let Some(folder) = &self.folder else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        if outcome != Outcome::Admitted {
            let (second, whose) = &mut open.refused;
            if *second != since.as_secs() {
                (*second, *whose) = (since.as_secs(), HashSet::new());
            }
            if !whose.insert(token.id.clone()) {
                open.unlisted = open.unlisted.saturating_add(1);
                return;
            }
        }
        let what: String = about.what.chars().take(WHAT_MAX_BYTES).collect();
        let line = json!({
            "time": since.as_millis() as u64,
            "token": token.id,
            "tenant": token.tenant,
            "from": about.from.map(|from| from.to_string()),
            "what": what,
            "outcome": outcome.name(),
            "unlisted_before": open.unlisted,
        });
        let written = write(&mut open, folder, &format!("{line}\n"));
        match &written {
            Ok(()) => open.unlisted = 0,
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

#[cfg(test)]
mod tests {
    use super::super::token::Scopes;
    use super::*;

    #[test]
    fn the_file_is_bounded_and_strangers_push_nothing_out() {
        let folder = tempfile::tempdir().unwrap();
        let audit = Audit::in_folder(folder.path().to_owned());
        let token = Token {
            id: "5f2a".into(),
            tenant: None,
            scopes: Scopes::default(),
            cid: None,
            name_prefix: None,
            created: 0,
            expires: None,
            rate: None,
            label: String::new(),
            revoked: false,
        };
        let what = "POST /pins\n".repeat(100);
        let about = About { from: None, what: &what };
        (0..3).for_each(|_| audit.note(&about, None, Outcome::Unknown));
        audit.note(&about, Some(&token), Outcome::Admitted);
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let line: serde_json::Value = serde_json::from_str(&read(FILE)).unwrap();
        assert_eq!((&line["token"], &line["unlisted_before"]), (&json!("5f2a"), &json!(3)));
        assert_eq!(read(FILE).lines().count(), 1, "a line break within what was done is escaped");
        let lines = 2 * FILE_MAX_BYTES / read(FILE).len() as u64;
        (0..lines).for_each(|_| audit.note(&about, Some(&token), Outcome::Rate));
        assert!(read(FILE).lines().count() < 100, "one refusal a second");
        (0..lines).for_each(|_| audit.note(&about, Some(&token), Outcome::Admitted));
        let sizes = [FILE, "audit.log.1"].map(|name| read(name).len() as u64);
        assert!(sizes.iter().all(|size| *size <= FILE_MAX_BYTES + 1000), "{sizes:?}");
        assert!(sizes.iter().sum::<u64>() > FILE_MAX_BYTES, "{sizes:?}");
        let uses = Uses { admitted: 1 + lines, scope: 0, rate: lines, unknown: 3 };
        assert_eq!(audit.uses(), uses);
    }
}
