//! Why a pinning service did not do what it was asked: always with its name, and in its own words
//! where it said some.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::Duration;

/// Characters of a stranger's text that are passed on.
const TEXT_MAX_CHARS: usize = 500;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// It cannot be reached, or breaks off.
    #[error("pinning service {service:?}: {cause}")]
    Unreachable {
        /// Its name in the configuration.
        service: String,
        /// What was tried, and why it failed.
        cause: String,
    },
    /// It refuses.
    #[error("pinning service {service:?} returned http error {status}: {said}")]
    Refused {
        /// Its name in the configuration.
        service: String,
        /// The status of the reply.
        status: u16,
        /// Its reason and details.
        said: String,
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It answers what is no answer.
    #[error(
        "pinning service {service:?} answers what is no reply of the Pinning Service API: {cause}"
    )]
    Malformed {
        /// Its name in the configuration.
        service: String,
        /// What is wrong.
        cause: String,
    },
}

/// A stranger's text on one line of bounded length, without what drives a terminal.
pub fn clean(text: &str) -> String {
    let kept = text.trim().chars().take(TEXT_MAX_CHARS);
    kept.map(|c| if c.is_control() || hides(c) { ' ' } else { c }).collect()
}

/// Whether a character turns the direction of what follows.
fn hides(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_cannot_drive_a_terminal() {
        assert_eq!(clean(" a\x1b[31m\nb\u{202e} "), "a [31m b ");
        assert_eq!(clean(&"x".repeat(10_000)).len(), TEXT_MAX_CHARS);
    }
}
