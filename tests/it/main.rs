//! The one integration binary: each further one would link RocksDB again.

mod bad_input;
mod car;
mod cids;
mod crash;
mod docs;
mod harness;
mod journeys;
mod tidy;
