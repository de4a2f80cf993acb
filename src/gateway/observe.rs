//! Figures for Prometheus: each request by the form of its reply.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::Instant;

use hyper::Response;

use crate::metrics::Metrics;

/// What is told of a request whose client was gone before there was a reply.
const GONE: u16 = 499;

/// The form of a reply with content, in its extensions.
#[derive(Clone, Copy, Debug)]
pub struct Form(pub &'static str);

/// A request that is being answered; when this is dropped, its reply has ended.
pub struct Asked {
    kind: &'static str,
    status: u16,
    since: Instant,
    metrics: Metrics,
}

impl Asked {
    /// A request has come.
    pub fn new(metrics: Metrics) -> Self {
        metrics.gateway_asked();
        Self { kind: "none", status: GONE, since: Instant::now(), metrics }
    }

    /// There is a reply.
    pub fn is_answered<B>(&mut self, response: &Response<B>) {
        let status = response.status();
        self.status = status.as_u16();
        self.kind = match response.extensions().get::<Form>() {
            Some(Form(name)) => name,
            None if status.is_redirection() => "redirect",
            None if status.is_success() => "none",
            None => "refusal",
        };
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.metrics.gateway_answered(self.kind, self.status, self.since.elapsed());
    }
}
