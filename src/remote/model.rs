//! What is sent to a pinning service and what it answers, as the Pinning Service API 1.0.0 has it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Most origins of a pin.
pub const ORIGINS_MAX: usize = 20;
/// Longest name of a pin, in characters.
pub const NAME_MAX_CHARS: usize = 255;

/// What is to be pinned.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The root, as text.
    pub cid: String,
    /// Its name; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Addresses of those who have it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
}

/// How far a pin has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It waits.
    Queued,
    /// It is being fetched.
    Pinning,
    /// It is there.
    Pinned,
    /// It was given up.
    Failed,
}

impl Status {
    /// Every one, in the order of a pin's life.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Pinning, Self::Pinned, Self::Failed];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Status {
    type Err = String;

    /// In Kubo's words when there is no such one.
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|status| status.word() == text);
        found.ok_or_else(|| format!("status {text:?} is not valid"))
    }
}

/// A request for a pin, as the service tells of it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PinStatus {
    /// Its name at the service.
    pub requestid: String,
    /// How far it is.
    pub status: Status,
    /// When it was made: a time by which pages are asked for, kept as it was written.
    pub created: String,
    /// What was asked for.
    pub pin: Pin,
    /// Addresses of those who fetch it.
    #[serde(default)]
    pub delegates: Vec<String>,
    /// Whatever else the service tells.
    #[serde(default)]
    pub info: BTreeMap<String, String>,
}

/// A page of requests, the newest first.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Page {
    /// How many there are in all, from this page on.
    pub count: u64,
    /// Those of this page.
    pub results: Vec<PinStatus>,
}

/// What the service says of its refusal.
#[derive(Debug, Deserialize)]
pub struct Failure {
    /// Its one member.
    pub error: Reason,
}

/// A word for programs, and a text for people.
#[derive(Debug, Deserialize)]
pub struct Reason {
    /// The word.
    pub reason: String,
    /// The text.
    #[serde(default)]
    pub details: String,
}

/// Which requests are asked for. Empty fields do not filter, but no status means pinned ones.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Roots, at most 10 in one question.
    pub cids: Vec<String>,
    /// The name, exactly.
    pub name: Option<String>,
    /// How far they are.
    pub status: Vec<Status>,
    /// Made before this one.
    pub before: Option<String>,
    /// Most of a page, 1 to 1000.
    pub limit: usize,
}

impl Filter {
    /// The query of a URL.
    pub fn query(&self) -> String {
        let mut pairs: Vec<(&str, String)> = vec![("limit", self.limit.to_string())];
        if !self.cids.is_empty() {
            pairs.push(("cid", self.cids.join(",")));
        }
        if let Some(name) = self.name.as_ref().filter(|name| !name.is_empty()) {
            pairs.push(("name", name.clone()));
        }
        if !self.status.is_empty() {
            let words: Vec<&str> = self.status.iter().map(|status| status.word()).collect();
            pairs.push(("status", words.join(",")));
        }
        if let Some(before) = &self.before {
            pairs.push(("before", before.clone()));
        }
        // Pairs of texts can always be written.
        serde_html_form::to_string(&pairs).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_written_as_the_api_reads_them() {
        let filter = Filter {
            cids: vec!["a".into(), "b".into()],
            name: Some("x y&z".into()),
            status: vec![Status::Queued, Status::Failed],
            before: Some("2020-01-01T00:00:00+01:00".into()),
            limit: 7,
        };
        assert_eq!(
            filter.query(),
            "limit=7&cid=a%2Cb&name=x+y%26z&status=queued%2Cfailed\
             &before=2020-01-01T00%3A00%3A00%2B01%3A00"
        );
        assert_eq!(Filter { limit: 1, ..Filter::default() }.query(), "limit=1");
        assert_eq!("odd".parse::<Status>().unwrap_err(), "status \"odd\" is not valid");
    }

    #[test]
    fn what_a_service_leaves_out_is_empty() {
        let status: PinStatus = serde_json::from_str(
            r#"{"requestid":"1","status":"pinned","created":"x","pin":{"cid":"c","name":null},
                "more":[1]}"#,
        )
        .unwrap();
        assert_eq!((status.pin.name, status.delegates.len()), (None, 0));
    }
}
