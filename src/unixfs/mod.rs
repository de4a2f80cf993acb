//! UnixFS: files, folders and symlinks as dag-pb nodes.
//!
//! Pure: takes bytes and sizes, gives blocks; never reads a file nor the store. The walk over
//! blocks that reads a DAG back is in `dag/`.
//!
//! Source: ipfs/specs src/unixfs.md, IPIP-499, and where they differ from the deployed network,
//! the network.

pub mod balanced;
pub mod chunk;
pub mod directory;
pub mod entries;
pub mod hamt;
pub mod layout;
pub mod node;
pub mod profile;
pub mod seek;
pub mod trickle;

use crate::ipld::cid::Cid;

/// The root of a finished sub-DAG, as its parent will link to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    /// Its CID.
    pub cid: Cid,
    /// Serialized size of all its blocks, in bytes, repeats counted: the link's `Tsize`.
    pub tsize: u64,
    /// Size of the file content below it, in bytes; 0 for folders and symlinks.
    pub size: u64,
}

/// Where an entry of a folder leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Root of the entry's DAG.
    pub cid: Cid,
    /// Its cumulative size in bytes.
    pub tsize: u64,
}

/// Why a node is not UnixFS, or why a DAG cannot be built.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnixfsError {
    /// The payload is not the UnixFS protobuf.
    #[error("not UnixFS: {0}")]
    NotUnixfs(String),
    /// The payload contradicts itself or its links.
    #[error("malformed UnixFS node: {0}")]
    Malformed(&'static str),
    /// A HAMT whose hash bits are used up: names that collide on all 64 bits.
    #[error("HAMT is too deep")]
    TooDeep,
    /// A setting out of its bounds.
    #[error("{0}")]
    Setting(String),
    /// A name that no link can carry.
    #[error("invalid name {0:?}")]
    Name(String),
    /// A folder has two entries of this name.
    #[error("{0:?} is there twice")]
    Twice(String),
    /// The hash function refused.
    #[error("{0}")]
    Hash(String),
}
