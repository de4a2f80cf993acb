//! One request of a tenant to pin a DAG: what was asked, how far it is, and its row's bytes.

use std::collections::BTreeMap;

use crate::ipld::cid::{self, Cid, CidError};

/// Longest name of a request, in characters.
pub const NAME_MAX_CHARS: usize = 255;
/// Origins of one request.
pub const ORIGINS_MAX: usize = 20;
/// Entries of one request's meta.
pub const META_MAX: usize = 1000;

/// What a tenant asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinAsk {
    /// The root of the DAG.
    pub cid: Cid,
    /// The same as it was written.
    pub written: String,
    /// What the tenant calls it; empty for none.
    pub name: String,
    /// Multiaddrs of peers that may have it.
    pub origins: Vec<String>,
    /// What else the tenant says of it. `priority` (-100 to 100), `expires` (RFC 3339) and
    /// `expire-in` (`90s`, `12h`, `30d`) mean something here.
    pub meta: BTreeMap<String, String>,
}

impl PinAsk {
    /// An ask for a DAG and nothing else.
    ///
    /// # Errors
    /// [`CidError`] when the text is no CID of a block that could be fetched.
    pub fn new(text: &str) -> Result<Self, CidError> {
        let cid = cid::parse(text)?;
        Ok(Self {
            cid,
            written: text.to_owned(),
            name: String::new(),
            origins: Vec::new(),
            meta: BTreeMap::new(),
        })
    }
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It waits.
    Queued,
    /// Its DAG is being fetched.
    Pinning,
    /// Its DAG is here, and stays.
    Pinned,
    /// It could not be had.
    Failed,
}

impl Status {
    /// Every status, in the order in which a request goes through them.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Pinning, Self::Pinned, Self::Failed];

    /// As the API spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pinning => "pinning",
            Self::Pinned => "pinned",
            Self::Failed => "failed",
        }
    }
}

/// A request as a tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is called from now on; nobody can guess another's.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// When it was made, in microseconds since 1970: no two requests of a tenant have the same, and
    /// all are whole milliseconds, for there are clients that know no finer time and page by it.
    pub created: u64,
    /// The CID as it was written.
    pub cid: String,
    /// As asked.
    pub name: String,
    /// As asked.
    pub origins: Vec<String>,
    /// As asked.
    pub meta: BTreeMap<String, String>,
    /// What this node says of it.
    pub info: BTreeMap<String, String>,
}
