//! henge: a content-addressed storage node that speaks IPFS.
#![forbid(unsafe_code)]

pub mod dag;
pub mod ipld;
pub mod proto;
pub mod store;
pub mod task;
pub mod unixfs;
