//! The exchange: blocks from other nodes, and to them.

pub mod wire;
