//! The one error of the node's API, and what a caller can do about it.

use crate::dag::DagError;
use crate::dag::car::CarImportError;
use crate::dag::import::ImportError;
use crate::exchange::ExchangeError;
use crate::ipld::block::BlockError;
use crate::ipld::cid::CidError;
use crate::ipld::codec::CodecError;
use crate::ipld::path::PathError;
use crate::net::{DialError, OpenError};
use crate::routing::RoutingError;
use crate::store::StoreError;
use crate::store::backend::BackendError;
use crate::unixfs::UnixfsError;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that is none.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A CID that is none.
    #[error(transparent)]
    Cid(#[from] CidError),
    /// Bytes that are not what their CID says.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// Finding, walking or reading a DAG.
    #[error(transparent)]
    Dag(#[from] DagError),
    /// Importing.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// Importing a CAR.
    #[error(transparent)]
    Car(#[from] CarImportError),
    /// A block's codec.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Settings of an import.
    #[error(transparent)]
    Unixfs(#[from] UnixfsError),
    /// A peer cannot be reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// A peer does not speak what is wanted.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Asking or telling the network.
    #[error(transparent)]
    Routing(#[from] RoutingError),
    /// Only a node with a network can do it.
    #[error("this command must be run in online mode. Try running 'ipfs daemon' first")]
    Offline,
    /// It took too long: says what.
    #[error("{0}")]
    Timeout(String),
    /// An option or argument that cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// Something else is in the way.
    #[error("{0}")]
    Conflict(String),
    /// There is nothing of that name: says what was looked for.
    #[error("{0}")]
    Absent(String),
    /// A tenant has used up what it may use: says how much that is.
    #[error("{0}")]
    Quota(String),
    /// As much of it is going on as may: says of what.
    #[error("{0}")]
    Busy(String),
    /// A token does not open this: says what it lacks.
    #[error("{0}")]
    Denied(String),
    /// Something that this version cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// Stored bytes are damaged: says how much.
    #[error("{0}")]
    Corrupt(String),
    /// The machine refused: names the file.
    #[error("{path}: {cause}")]
    Io {
        /// The file.
        path: String,
        /// The system's reason.
        cause: String,
    },
}

/// What a caller can do about an error; each mouth has one match on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Ask for something else: it is not here.
    NotFound,
    /// Ask differently.
    Invalid,
    /// Something else is in the way; change that first.
    Conflict,
    /// This version cannot do it.
    Unsupported,
    /// Start the daemon.
    Offline,
    /// Try again later, or another peer.
    Unreachable,
    /// Wait longer.
    Timeout,
    /// Make room.
    Limit,
    /// Remove something of one's own first, or ask for more.
    Quota,
    /// Try again soon, and less at a time.
    Busy,
    /// Ask whoever issued the token.
    Denied,
    /// Stored bytes are damaged.
    Corrupt,
    /// The caller went away.
    Cancelled,
    /// A bug, or the machine.
    Internal,
}

impl Kind {
    /// Every kind, in the order of `docs/errors.md`.
    pub const ALL: [Self; 14] = [
        Self::NotFound,
        Self::Invalid,
        Self::Conflict,
        Self::Unsupported,
        Self::Offline,
        Self::Unreachable,
        Self::Timeout,
        Self::Limit,
        Self::Quota,
        Self::Busy,
        Self::Denied,
        Self::Corrupt,
        Self::Cancelled,
        Self::Internal,
    ];
}

impl Error {
    /// What a caller can do about it.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Path(_) | Self::Cid(_) | Self::Unixfs(_) | Self::Invalid(_) => Kind::Invalid,
            Self::Block(_) => Kind::Invalid,
            Self::Codec(error) => match error {
                CodecError::Unknown(_) => Kind::Unsupported,
                CodecError::Malformed { .. } | CodecError::Unwritable { .. } => Kind::Invalid,
            },
            Self::Dial(_) | Self::Open(_) => Kind::Unreachable,
            Self::Offline => Kind::Offline,
            Self::Routing(error) => routing_kind(error),
            Self::Timeout(_) => Kind::Timeout,
            Self::Conflict(_) => Kind::Conflict,
            Self::Absent(_) => Kind::NotFound,
            Self::Quota(_) => Kind::Quota,
            Self::Busy(_) => Kind::Busy,
            Self::Denied(_) => Kind::Denied,
            Self::Unsupported(_) => Kind::Unsupported,
            Self::Corrupt(_) => Kind::Corrupt,
            Self::Io { .. } => Kind::Internal,
            Self::Dag(error) => dag_kind(error),
            Self::Store(error) => store_kind(error),
            Self::Car(error) => match error {
                CarImportError::Car { .. }
                | CarImportError::Block { .. }
                | CarImportError::Roots
                | CarImportError::Source(_) => Kind::Invalid,
                CarImportError::Store(error) => store_kind(error),
            },
            Self::Import(error) => match error {
                ImportError::Source(_) | ImportError::Unixfs(_) | ImportError::Hash(_) => {
                    Kind::Invalid
                }
                ImportError::Conflict(_) => Kind::Conflict,
                ImportError::Cancelled => Kind::Cancelled,
                ImportError::Store(error) => store_kind(error),
                ImportError::Dag(error) => dag_kind(error),
            },
        }
    }
}

fn dag_kind(error: &DagError) -> Kind {
    match error {
        DagError::NotFound(_) | DagError::NoLink { .. } => Kind::NotFound,
        DagError::Store(error) => store_kind(error),
        DagError::Unfetched { .. } => Kind::Timeout,
        DagError::Exchange(ExchangeError::NotFound(_)) => Kind::NotFound,
        DagError::Exchange(ExchangeError::Refused(_)) => Kind::Invalid,
        DagError::Exchange(ExchangeError::Store(error)) => store_kind(error),
        DagError::Exchange(ExchangeError::Closed) => Kind::Cancelled,
        DagError::Malformed { .. }
        | DagError::IsDirectory
        | DagError::NotUnixfs(_)
        | DagError::TooLarge(_) => Kind::Invalid,
        DagError::Name(_) => Kind::Unsupported,
    }
}

fn routing_kind(error: &RoutingError) -> Kind {
    match error {
        RoutingError::NotFound => Kind::NotFound,
        RoutingError::NoPeers(_) | RoutingError::NoAddress(_) | RoutingError::NotTaken { .. } => {
            Kind::Unreachable
        }
        RoutingError::Invalid(_) | RoutingError::Key => Kind::Invalid,
        RoutingError::Older => Kind::Conflict,
        RoutingError::Offline => Kind::Offline,
        RoutingError::Store(error) => store_kind(error),
    }
}

fn store_kind(error: &StoreError) -> Kind {
    match error {
        StoreError::Backend(BackendError::Full) | StoreError::NoRoom { .. } => Kind::Limit,
        StoreError::Backend(BackendError::Damaged(_)) | StoreError::Corrupt { .. } => Kind::Corrupt,
        StoreError::Backend(BackendError::Failed(_)) => Kind::Internal,
        StoreError::Missing(_) | StoreError::Gone => Kind::NotFound,
        StoreError::Short => Kind::Quota,
        StoreError::Unreadable { .. } => Kind::Invalid,
        StoreError::Pin(_) => Kind::Conflict,
        StoreError::Incomplete(_) | StoreError::PinsLost => Kind::Corrupt,
        StoreError::Layout { .. } => Kind::Unsupported,
    }
}
