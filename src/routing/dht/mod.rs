//! The DHT of IPFS.

pub mod key;
pub mod lookup;
pub mod scope;
pub mod table;
pub mod wire;
