//! Finding a tenant's requests: by CID, name, status, time and meta.

use std::collections::BTreeMap;

use super::request::{Request, Status};
use crate::ipld::cid::Cid;

/// How a name is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Match {
    /// The whole name, as it is written.
    #[default]
    Exact,
    /// The whole name, in any case.
    Iexact,
    /// A part of the name, as it is written.
    Partial,
    /// A part of the name, in any case.
    Ipartial,
}

/// What is looked for. A request is found when all of it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Any of these DAGs, in whatever version of the CID; all when there are none.
    pub cids: Vec<Cid>,
    /// The name.
    pub name: Option<(Match, String)>,
    /// Any of these statuses; pinned ones alone when there are none.
    pub status: Vec<Status>,
    /// Made before this, in microseconds since 1970.
    pub before: Option<u64>,
    /// Made after this, in microseconds since 1970.
    pub after: Option<u64>,
    /// Most results, the newest first.
    pub limit: usize,
    /// All of these entries of its meta.
    pub meta: BTreeMap<String, String>,
}

impl Default for Filter {
    /// The ten newest that are pinned.
    fn default() -> Self {
        Self {
            cids: Vec::new(),
            name: None,
            status: Vec::new(),
            before: None,
            after: None,
            limit: 10,
            meta: BTreeMap::new(),
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// All that the filter finds, beyond its limit, too.
    pub count: u64,
    /// The newest of them.
    pub results: Vec<Request>,
}
