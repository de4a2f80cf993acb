//! The one integration binary: each further one would link RocksDB again.
// A test stops by a panic, also where it does not stand in a test function, and has its own threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]

mod bad_args;
mod bad_input;
mod cids;
mod crash;
mod damage;
mod docs;
mod harness;
mod journeys;
mod surface;
mod surface_repo;
mod tidy;
