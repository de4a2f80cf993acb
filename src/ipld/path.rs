//! Content paths: `/ipfs/<cid>/a/b` and its spellings.
//!
//! Owns parsing and normalising. Walking a path through blocks is `dag::resolve`'s work.
//!
//! Source: ipfs/specs path-gateway.md, boxo `path`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt;

use super::cid::{self, Cid, CidError};

/// Longest path that is accepted, in bytes: a bound for strangers, far above any real path.
pub const PATH_MAX_BYTES: usize = 16 << 10;

/// A root and the names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Where the walk begins.
    pub root: Root,
    /// Names to follow, none of them empty, `.` or `..`.
    pub segments: Vec<String>,
}

/// What stands at the head of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Root {
    /// Immutable content.
    Ipfs(Cid),
    /// A mutable name: a key or a domain.
    Ipns(String),
}

/// Why a text is not a path.
#[derive(Debug, thiserror::Error)]
pub enum PathError {
    /// No CID, no namespace, or too long.
    #[error("invalid path {path:?}: {cause}")]
    Invalid {
        /// What was given, at most 100 characters of it.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl Path {
    /// The path of a bare CID.
    pub fn of(cid: Cid) -> Self {
        Self { root: Root::Ipfs(cid), segments: Vec::new() }
    }

    /// Parses `/ipfs/<cid>/…`, `/ipns/<name>/…`, `ipfs://…`, `ipns://…` or a bare `<cid>/…`.
    /// `.` and empty segments vanish, `..` climbs.
    ///
    /// # Errors
    /// [`PathError::Invalid`] names the text.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let invalid =
            |cause: String| PathError::Invalid { path: text.chars().take(100).collect(), cause };
        if text.len() > PATH_MAX_BYTES {
            return Err(invalid(format!("longer than {PATH_MAX_BYTES} bytes")));
        }
        let (space, rest) = split_namespace(text).map_err(invalid)?;
        let mut segments = rest.split('/').filter(|s| !s.is_empty() && *s != ".");
        let head = segments.next().ok_or_else(|| invalid("path does not name a root".into()))?;
        let root = match space {
            Namespace::Ipfs => Root::Ipfs(cid::parse(head).map_err(|e| invalid(cause_of(e)))?),
            Namespace::Ipns => Root::Ipns(head.to_owned()),
        };
        let mut clean: Vec<String> = Vec::new();
        for segment in segments {
            match segment {
                ".." => {
                    clean.pop().ok_or_else(|| invalid("'..' climbs above the root".into()))?;
                }
                name => clean.push(name.to_owned()),
            }
        }
        Ok(Self { root, segments: clean })
    }

    /// The CID at the head, unless the path begins with a mutable name.
    pub fn cid(&self) -> Option<&Cid> {
        match &self.root {
            Root::Ipfs(cid) => Some(cid),
            Root::Ipns(_) => None,
        }
    }

    /// The last name, or the root's own text: what `get` calls its output by default.
    pub fn file_name(&self) -> String {
        self.segments.last().cloned().unwrap_or_else(|| match &self.root {
            Root::Ipfs(cid) => cid.to_string(),
            Root::Ipns(name) => name.clone(),
        })
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.root {
            Root::Ipfs(cid) => write!(f, "/ipfs/{cid}")?,
            Root::Ipns(name) => write!(f, "/ipns/{name}")?,
        }
        self.segments.iter().try_for_each(|s| write!(f, "/{s}"))
    }
}

enum Namespace {
    Ipfs,
    Ipns,
}

/// Tells the namespace and what follows it; a text without one is an /ipfs path.
fn split_namespace(text: &str) -> Result<(Namespace, &str), String> {
    for (prefix, space) in [
        ("/ipfs/", Namespace::Ipfs),
        ("ipfs://", Namespace::Ipfs),
        ("/ipns/", Namespace::Ipns),
        ("ipns://", Namespace::Ipns),
    ] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return Ok((space, rest));
        }
    }
    match text.strip_prefix('/') {
        None => Ok((Namespace::Ipfs, text)),
        Some(_) => Err("unknown namespace: expected /ipfs/ or /ipns/".into()),
    }
}

/// The parser's reason alone: the path's own error already names the text.
fn cause_of(error: CidError) -> String {
    match error {
        CidError::Malformed { cause, .. } => format!("invalid CID: {cause}"),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_DIR: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

    #[test]
    fn every_spelling_means_the_same() {
        let plain = Path::parse(&format!("/ipfs/{EMPTY_DIR}/a/b")).unwrap();
        for text in [
            format!("{EMPTY_DIR}/a/b"),
            format!("ipfs://{EMPTY_DIR}/a/b"),
            format!("/ipfs/{EMPTY_DIR}//a/./b/"),
            format!("/ipfs/{EMPTY_DIR}/a/c/../b"),
        ] {
            assert_eq!(Path::parse(&text).unwrap(), plain, "{text}");
        }
        assert_eq!(plain.to_string(), format!("/ipfs/{EMPTY_DIR}/a/b"));
    }

    #[test]
    fn garbage_is_named_in_one_line() {
        for text in ["", "/", "/ipfs/", "/foo/bar", "/ipfs/nonsense", &format!("{EMPTY_DIR}/../x")]
        {
            let error = Path::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("invalid path") && !error.contains('\n'), "{error}");
        }
        assert!(Path::parse(&"x".repeat(1 << 20)).unwrap_err().to_string().len() < 300);
    }
}
