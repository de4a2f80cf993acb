//! Routing: who has a block, where a peer is, what a name says.

pub mod dht;
pub mod records;
