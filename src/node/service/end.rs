//! How a fetch ended, and what its tenant is told: neither names of files nor figures of the node.

use super::quota::Short;
use crate::dag::DagError;
use crate::exchange::ExchangeError;
use crate::store::StoreError;
use crate::store::backend::BackendError;

/// What a tenant is told of trouble that is the node's own.
const UNABLE: &str = "this node cannot store it now";

/// How a fetch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The DAG is here, and its pin on the disk.
    Pinned,
    /// It may be had another time: says what was tried.
    Again(String),
    /// The node can take nothing now, whatever is asked: no try of the request's.
    Held(Hold),
    /// It cannot be had: says why.
    Failed(String),
    /// The request is gone, or the node stops.
    Stopped,
}

/// Why a node takes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Hold {
    /// There is no room in the store, or on the disk.
    Full = 1,
    /// It has no network, and not all of the DAG is here.
    Offline = 2,
}

impl Hold {
    /// What the tenant is told.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Full => "this node is full; it goes on when there is room",
            Self::Offline => "this node is offline",
        }
    }

    /// That of a byte in a row.
    pub fn of(byte: u8) -> Option<Self> {
        [Self::Full, Self::Offline].into_iter().find(|hold| *hold as u8 == byte)
    }

    /// Seconds until the request's next turn. One that filled the node twice running waits longer:
    /// it may be the one that does not fit.
    pub fn wait(self, again: bool) -> u64 {
        match (self, again) {
            (Self::Full, false) => 30,
            (Self::Full, true) => 300,
            (Self::Offline, _) => 1800,
        }
    }
}

/// Why a DAG is not kept.
pub(super) enum Trouble {
    Dag(DagError),
    /// The tenant may not have it.
    Quota(Short),
}

impl<E: Into<DagError>> From<E> for Trouble {
    fn from(error: E) -> Self {
        Self::Dag(error.into())
    }
}

impl From<Short> for End {
    fn from(short: Short) -> Self {
        match short.later {
            true => Self::Again(short.reason),
            false => Self::Failed(short.reason),
        }
    }
}

impl Trouble {
    /// How it ends the fetch of a node that is online, or not. What is told to nobody is logged for
    /// the operator, with the request's `id`.
    pub fn end(self, online: bool, id: &str) -> End {
        match self {
            Self::Quota(short) => short.into(),
            Self::Dag(error) if !online && is_lost(&error) => End::Held(Hold::Offline),
            Self::Dag(DagError::Store(error) | DagError::Exchange(ExchangeError::Store(error))) => {
                of_store(&error, id)
            }
            // No other time would be better.
            Self::Dag(
                error
                @ (DagError::Malformed { .. } | DagError::Exchange(ExchangeError::Refused(_))),
            ) => End::Failed(error.to_string()),
            Self::Dag(error) => End::Again(error.to_string()),
        }
    }
}

fn of_store(error: &StoreError, id: &str) -> End {
    match error {
        StoreError::Gone => return End::Stopped,
        StoreError::Unreadable { .. } => return End::Failed(error.to_string()),
        StoreError::Short | StoreError::Missing(_) => return End::Again(error.to_string()),
        _ => {}
    }
    tracing::warn!("pin request {id}: {error}");
    match error {
        StoreError::NoRoom { .. } | StoreError::Backend(BackendError::Full) => {
            End::Held(Hold::Full)
        }
        StoreError::Corrupt { cid, .. } => End::Again(format!("block {cid} was damaged here")),
        StoreError::Pin(_) => End::Failed(UNABLE.to_owned()),
        _ => End::Again(UNABLE.to_owned()),
    }
}

/// Whether a DAG that was whole, or seemed so, lacks a block.
pub(super) fn is_lost(error: &DagError) -> bool {
    matches!(
        error,
        DagError::NotFound(_)
            | DagError::Store(StoreError::Missing(_) | StoreError::Corrupt { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_told_no_more_than_it_may_know() {
        let no_room = StoreError::NoRoom { wanted: 4711, used: 4712, limit: 4713 };
        let file = || StoreError::from(BackendError::Failed("/secret/file: EIO".into()));
        let damaged = StoreError::from(BackendError::Damaged("000123.sst".into()));
        let full = || StoreError::from(BackendError::Full);
        for error in [no_room, full()] {
            let exchange = DagError::Exchange(ExchangeError::Store(error.clone()));
            assert_eq!(Trouble::Dag(exchange).end(true, "id"), End::Held(Hold::Full));
            assert_eq!(Trouble::from(error).end(false, "id"), End::Held(Hold::Full));
        }
        for error in [file(), damaged] {
            assert_eq!(Trouble::from(error).end(true, "id"), End::Again(UNABLE.into()));
        }
        // A shortage at the end of a fetch may pass, and a request that is gone is nobody's failure.
        assert!(matches!(Trouble::from(StoreError::Short).end(true, "id"), End::Again(_)));
        assert_eq!(Trouble::from(StoreError::Gone).end(true, "id"), End::Stopped);
        let ended = Trouble::from(StoreError::Pin("/secret".into())).end(true, "id");
        assert_eq!(ended, End::Failed(UNABLE.into()));
    }

    #[test]
    fn what_is_not_here_waits_for_a_network_and_for_nothing_else() {
        let cid = crate::ipld::cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
        let cid = Box::new(cid.unwrap());
        let missing = || Trouble::Dag(DagError::NotFound(cid.clone()));
        assert_eq!(missing().end(false, "id"), End::Held(Hold::Offline));
        assert!(matches!(missing().end(true, "id"), End::Again(_)));
        let cause = "no node".to_owned();
        let malformed = Trouble::Dag(DagError::Malformed { cid, cause });
        assert!(matches!(malformed.end(false, "id"), End::Failed(_)));
    }
}
