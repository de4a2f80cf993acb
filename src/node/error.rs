//! The one error of the node's API, and what a caller can do about it.

use crate::dag::DagError;
use crate::dag::car::CarImportError;
use crate::dag::import::ImportError;
use crate::ipld::block::BlockError;
use crate::ipld::cid::CidError;
use crate::ipld::codec::CodecError;
use crate::ipld::path::PathError;
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
    /// An option or argument that cannot be meant.
    #[error("{0}")]
    Invalid(String),
    /// Something else is in the way.
    #[error("{0}")]
    Conflict(String),
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
    /// Make room.
    Limit,
    /// Stored bytes are damaged.
    Corrupt,
    /// The caller went away.
    Cancelled,
    /// A bug, or the machine.
    Internal,
}

impl Kind {
    /// Every kind, in the order of `docs/errors.md`.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Invalid,
        Self::Conflict,
        Self::Unsupported,
        Self::Limit,
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
            Self::Conflict(_) => Kind::Conflict,
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
            },
        }
    }
}

fn dag_kind(error: &DagError) -> Kind {
    match error {
        DagError::NotFound(_) | DagError::NoLink { .. } => Kind::NotFound,
        DagError::Store(error) => store_kind(error),
        DagError::Malformed { .. }
        | DagError::IsDirectory
        | DagError::NotUnixfs(_)
        | DagError::TooLarge(_) => Kind::Invalid,
        DagError::Name(_) => Kind::Unsupported,
    }
}

fn store_kind(error: &StoreError) -> Kind {
    match error {
        StoreError::Backend(BackendError::Full) => Kind::Limit,
        StoreError::Backend(BackendError::Damaged(_)) | StoreError::Corrupt { .. } => Kind::Corrupt,
        StoreError::Backend(BackendError::Failed(_)) => Kind::Internal,
        StoreError::Missing(_) => Kind::NotFound,
        StoreError::Unreadable { .. } => Kind::Invalid,
        StoreError::Pin(_) => Kind::Conflict,
        StoreError::Layout { .. } => Kind::Unsupported,
    }
}
