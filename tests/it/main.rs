//! The one integration binary: each further one would link RocksDB again.
// A test stops by a panic, also where it does not stand in a test function, and has its own threads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
// Figures and seeds are said on standard output, which libtest shows of tests that fail.
#![allow(clippy::print_stdout)]

mod add_meta;
mod add_options;
mod add_walk;
mod bad_args;
mod bad_input;
mod beside;
mod browser;
mod car;
mod churn;
mod cids;
mod clients;
mod collecting;
mod commands;
mod connections;
mod crash;
mod crash_life;
mod crash_log;
mod daemon;
mod damage;
mod docs;
mod envelope;
mod faulty;
mod fetching;
mod flips;
mod fuzz;
mod gateway;
mod gateway_car;
mod gateway_fixtures;
mod gateway_latency;
mod gateway_rules;
mod getting;
mod harness;
mod heal;
mod hostile;
mod http_client;
mod idle;
mod incidents;
mod interop;
mod journeys;
mod limit;
mod minimums;
mod neighbours;
mod operations;
mod oracles;
mod peers;
mod pin_remote;
mod pins;
mod pins_soak;
mod power;
mod reading;
mod routing;
mod rows;
mod scripted;
mod share;
mod store_faults;
mod store_regressions;
mod surface;
mod surface_repo;
mod swarm;
mod tidy;
mod weigh;
