//! The one integration binary: each further one would link RocksDB again.

mod bad_input;
mod cids;
mod crash;
mod crash_life;
mod faulty;
mod gate;
mod harness;
mod journeys;
mod store_faults;
mod store_regressions;
mod tidy;
