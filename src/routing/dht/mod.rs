//! The DHT of IPFS.

pub mod key;
pub mod scope;
pub mod table;
pub mod wire;
