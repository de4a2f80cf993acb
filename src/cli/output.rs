//! What is printed, and how a command ends.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::Value;

use crate::rpc;

/// Why a command failed: one line for people, or nothing when the reader went away.
#[derive(Debug)]
pub struct CliError {
    message: Option<String>,
}

impl CliError {
    /// An error with its line.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()) }
    }
}

impl From<rpc::Error> for CliError {
    fn from(error: rpc::Error) -> Self {
        Self::new(error.message)
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // `henge cat … | head` is no error of ours; say nothing.
            io::ErrorKind::BrokenPipe => Self { message: None },
            _ => Self::new(error.to_string()),
        }
    }
}

/// Prints the error and gives the exit code.
pub fn fail(error: &CliError) -> ExitCode {
    if let Some(message) = &error.message {
        // Nowhere is left to complain about stderr.
        let _ = writeln!(io::stderr(), "Error: {message}");
    }
    ExitCode::FAILURE
}

/// Prints a line on stdout.
///
/// # Errors
/// That nobody reads it.
pub fn line(text: impl std::fmt::Display) -> Result<(), CliError> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints text on stdout, which brings its own newlines.
///
/// # Errors
/// As [`line()`].
pub fn part(text: impl std::fmt::Display) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")?;
    Ok(out.flush()?)
}

/// Prints a reply as it is.
///
/// # Errors
/// As [`line()`].
pub fn json(value: &Value) -> Result<(), CliError> {
    line(value)
}

/// A text field of a reply, or nothing.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A number of a reply, or 0.
pub fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

/// A list of a reply, or an empty one.
pub fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value.get(field).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A name from a stranger, safe for a terminal: control characters are spelled out
/// (CVE-2020-26283).
pub fn safe(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        match c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cve_2020_26283_names_cannot_drive_a_terminal() {
        assert_eq!(safe("plain näme"), "plain näme");
        assert_eq!(safe("a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert!(!safe("x\u{202e}gpj.exe").contains('\u{202e}'));
    }
}
