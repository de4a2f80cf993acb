//! The RPC over HTTP/1.1: Kubo's envelope around requests and replies.
//!
//! Owns methods, status, headers, uploads and trailers. Commands know none of it.
//!
//! Source: go-ipfs-cmds `http`, Kubo `core/corehttp`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod guard;
pub mod handover;
pub mod multipart;
mod observe;
mod reply;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};

use futures_util::stream::{self, Stream};
use hyper::body::Body as _;
use hyper::header::{ALLOW, HeaderName, HeaderValue, ORIGIN, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode, header};

use tokio::sync::Semaphore;

use self::guard::Guard;
use self::handover::Desk;
use self::observe::Answering;
use self::reply::Outgoing;
use super::{Body, Router, scopes};
use crate::http::trailers::NextRequest;
use crate::http::{Answer, Held, Peer};
use crate::metrics::{self, Metrics};
use crate::node::service::{About, Need, Refused};

pub use hyper::body::Incoming;

/// Where the commands are.
const PREFIX: &str = "/api/v0/";
/// Uploads at a time; more wait. Each takes a thread, and reads of the store need some, too.
const UPLOADS_MAX: usize = 128;
/// Where Prometheus finds the figures. Kubo's place.
const METRICS: &str = "/debug/metrics/prometheus";

/// What is said to a client without a secret. Kubo's words.
const NO_SECRET: &str = "Kubo RPC Access Denied: Please provide a valid authorization token as \
                         defined in the API.Authorizations configuration.\n";

/// Answers requests of one listener.
#[derive(Clone)]
pub struct Service {
    router: Router,
    guard: Arc<Guard>,
    metrics: Metrics,
    uploads: Arc<Semaphore>,
    desk: Desk,
}

impl Service {
    /// A service over a router; uploads may name files of `desk`.
    pub fn new(router: Router, guard: Guard, metrics: Metrics, desk: Desk) -> Self {
        let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
        Self { router, guard: Arc::new(guard), metrics, uploads, desk }
    }

    /// Answers a request; what comes with the reply is to be kept until it has been sent.
    async fn dispatch(
        &self,
        request: Request<Incoming>,
    ) -> (Response<Outgoing>, Option<Answering>) {
        if request.uri().path() == METRICS {
            return (self.figures(&request).await, None);
        }
        let (command, query) = match self.admit(&request) {
            Ok(admitted) => admitted,
            Err(refused) => return (*refused, None),
        };
        let running = self.router.requests.begin(&command, &query);
        let mut answering = Answering::new(&command, self.metrics.clone(), running);
        let end = BodyEnd::default();
        let body = match multipart::boundary(request.headers()) {
            Some(boundary) => {
                answering.keep(Arc::clone(&self.uploads).acquire_owned().await.ok());
                let desk = self.desk.clone();
                Body::Files(multipart::entries(request.into_body(), boundary, desk, end.clone()))
            }
            None => {
                end.note(request.body());
                Body::None
            }
        };
        let answer = self.router.call(super::Request { command, query, body }).await;
        let response = reply::of(answer, &end).await;
        answering.is_answered(response.status().as_u16());
        (response, Some(answering))
    }

    /// The command and the query of a request that may be made.
    fn admit(
        &self,
        request: &Request<Incoming>,
    ) -> Result<(String, String), Box<Response<Outgoing>>> {
        let refuse = |status, text| Err(Box::new(reply::plain(status, text)));
        let Some(command) = request.uri().path().strip_prefix(PREFIX) else {
            return refuse(StatusCode::NOT_FOUND, "404 page not found\n");
        };
        if !self.guard.admits_origin(request.headers()) {
            return refuse(StatusCode::FORBIDDEN, "403 - Forbidden\n");
        }
        if request.method() == Method::OPTIONS {
            return Err(Box::new(preflight()));
        }
        if request.method() != Method::POST {
            return Err(Box::new(wrong_method("OPTIONS, POST")));
        }
        let located = locate(command, request.uri().query().unwrap_or_default());
        let need = located.as_ref().map_or(Need::Read, |(command, _)| scopes::need(command));
        self.opens(request, need)?;
        match located {
            Some(located) => Ok(located),
            None => refuse(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }

    /// Whether what the request carries is enough: a token that was issued, which counts where it is
    /// given, or a secret of the configuration.
    fn opens(
        &self,
        request: &Request<Incoming>,
        need: Need,
    ) -> Result<(), Box<Response<Outgoing>>> {
        let path = request.uri().path();
        let denied = || Box::new(reply::plain(StatusCode::FORBIDDEN, NO_SECRET));
        let Some(secret) = guard::token(request.headers()) else {
            let admitted = self.guard.admits_client(request.headers(), path);
            return if admitted { Ok(()) } else { Err(denied()) };
        };
        let from = request.extensions().get::<Peer>().and_then(|peer| peer.0);
        let what = format!("{} {path}", request.method());
        let service = self.router.node.service();
        match service.admit_operator(secret, need, &About { from, what: &what }) {
            Ok(()) => Ok(()),
            Err(Refused::Unknown | Refused::Scope) => Err(denied()),
            Err(Refused::Rate { wait }) => {
                let mut refused = reply::plain(StatusCode::TOO_MANY_REQUESTS, "429 - too often\n");
                refused.headers_mut().insert(RETRY_AFTER, wait.into());
                Err(Box::new(refused))
            }
        }
    }

    /// The figures for Prometheus: read by GET, under the same rules as commands.
    async fn figures(&self, request: &Request<Incoming>) -> Response<Outgoing> {
        if !self.guard.admits_origin(request.headers()) {
            return reply::plain(StatusCode::FORBIDDEN, "403 - Forbidden\n");
        }
        if request.method() != Method::GET {
            return wrong_method("GET");
        }
        if let Err(refused) = self.opens(request, Need::Read) {
            return *refused;
        }
        observe::store(&self.router.node, &self.metrics).await;
        observe::pins(&self.router.node, &self.metrics);
        self.metrics.network(observe::network(&self.router.node).await);
        reply::whole(StatusCode::OK, metrics::CONTENT_TYPE, self.metrics.text().into())
    }

    /// Tells a page whose origin is allowed that it may read the reply.
    fn allow_origin(&self, response: &mut Response<Outgoing>, origin: Option<HeaderValue>) {
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        let allowed = origin.filter(|o| o.to_str().is_ok_and(|text| self.guard.admits(text)));
        if let Some(origin) = allowed {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        }
    }
}

impl Answer for Service {
    type Body = Held<Outgoing>;

    async fn answer(&self, request: Request<Incoming>, next: NextRequest) -> Response<Self::Body> {
        let origin = request.headers().get(ORIGIN).cloned();
        let asks_for_desk = request.headers().contains_key(handover::DESK);
        let (mut response, answering) = self.dispatch(request).await;
        if response.headers().get(header::CONNECTION).is_none() {
            next.begins();
        }
        self.allow_origin(&mut response, origin);
        if asks_for_desk && let Ok(name) = self.desk.name().parse() {
            response.headers_mut().insert(handover::DESK, name);
        }
        response.map(|body| Held::new(body, answering))
    }
}

/// The command of a path and the query it means: names behind the longest known command are
/// arguments (`pin/add/<cid>`). `None` for an unknown command.
fn locate(path: &str, query: &str) -> Option<(String, String)> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    (1..=segments.len()).rev().find_map(|n| {
        let (command, extra) = segments.split_at_checked(n)?;
        let command = command.join("/");
        if !Router::knows(&command) {
            return None;
        }
        let mut query = query.to_owned();
        for argument in extra {
            // Path and query share their escapes, so the text moves as it is.
            query = format!("{query}&arg={argument}");
        }
        Some((command, query))
    })
}

/// A method that is not served here.
fn wrong_method(allowed: &'static str) -> Response<Outgoing> {
    let mut refused = reply::plain(StatusCode::METHOD_NOT_ALLOWED, "405 - Method Not Allowed\n");
    refused.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    refused
}

/// What a browser asks before it posts.
fn preflight() -> Response<Outgoing> {
    let mut response = reply::plain(StatusCode::OK, "");
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "PUT, POST"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, User-Agent"),
    ] {
        headers.insert::<HeaderName>(name, HeaderValue::from_static(value));
    }
    response
}

/// Whether a request's body was read to its end: only then can the connection carry another.
#[derive(Clone, Debug, Default)]
struct BodyEnd(Arc<AtomicBool>);

impl BodyEnd {
    /// Looks whether anything is left.
    fn note(&self, body: &Incoming) {
        if body.is_end_stream() {
            self.0.store(true, Ordering::Release);
        }
    }

    fn is_reached(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The data of a body, without its trailers; `end` is told when there is no more.
fn data(
    mut body: Incoming,
    end: BodyEnd,
) -> impl Stream<Item = Result<bytes::Bytes, hyper::Error>> + Send {
    stream::poll_fn(move |context| {
        loop {
            let frame = ready!(Pin::new(&mut body).poll_frame(context));
            end.note(&body);
            match frame {
                None => {
                    end.0.store(true, Ordering::Release);
                    return Poll::Ready(None);
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_behind_a_command_are_arguments() {
        let found = |path: &str, query: &str| locate(path, query);
        assert_eq!(found("id", ""), Some(("id".into(), "".into())));
        assert_eq!(found("pin/add/Qm1", "a=b"), Some(("pin/add".into(), "a=b&arg=Qm1".into())));
        assert_eq!(found("refs/local", ""), Some(("refs/local".into(), "".into())));
        assert_eq!(found("nothing", ""), None);
        assert_eq!(found("", ""), None);
    }
}
