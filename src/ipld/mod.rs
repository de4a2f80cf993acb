//! IPLD vocabulary: CIDs, blocks, paths and codecs. Pure values and functions: no files, no
//! sockets, no tasks.

pub mod block;
pub mod car;
pub mod cid;
pub mod codec;
pub mod describe;
mod digest;
pub mod multibase;
pub mod multicodec;
pub mod path;
mod sha256;
