//! The one integration binary: each further one would link RocksDB again.

mod bad_args;
mod bad_input;
mod cids;
mod crash;
mod damage;
mod harness;
mod journeys;
mod surface;
mod surface_repo;
mod tidy;
