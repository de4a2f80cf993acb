//! What the gateway is told at its start, with Kubo's defaults.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::Duration;

use super::headers::Added;
use super::hostname::Hosts;

/// Longest wait for content, before its first byte and between any two, unless told otherwise.
const RETRIEVAL_TIME: Duration = Duration::from_secs(30);
/// Longest time for one request, unless told otherwise.
const REQUEST_TIME: Duration = Duration::from_secs(3600);
/// Requests at a time, unless told otherwise.
const REQUESTS_MAX: usize = 4096;

/// What the gateway is told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where `/` leads.
    pub root_redirect: Option<String>,
    /// Headers of every reply.
    pub added: Added,
    /// Whether files, folders and data are served, on hosts that do not say so themselves; else
    /// only what clients can check: blocks and CARs.
    pub deserialized: bool,
    /// Whether data is translated into the codec that is asked for.
    pub converts: bool,
    /// Whether browsers are told of errors by a page.
    pub error_pages: bool,
    /// Hosts with rules of their own.
    pub hosts: Hosts,
    /// Largest file, in bytes, of which parts are served.
    pub range_file_max: Option<u64>,
    /// Requests at a time; more are sent away.
    pub requests_max: Option<usize>,
    /// Longest wait for content, before its first byte and between any two.
    pub retrieval_time: Option<Duration>,
    /// Whether only what is here is served (`NoFetch`).
    pub no_fetch: bool,
    /// Longest time for one request.
    pub request_time: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            root_redirect: None,
            added: Added::default(),
            deserialized: true,
            converts: false,
            error_pages: true,
            hosts: Hosts::default(),
            range_file_max: None,
            requests_max: Some(REQUESTS_MAX),
            retrieval_time: Some(RETRIEVAL_TIME),
            no_fetch: false,
            request_time: REQUEST_TIME,
        }
    }
}
