//! The pinning service over HTTP: the IPFS Pinning Service API 1.0.0 for tenants with tokens.
//!
//! A mouth: it parses and shapes, and what is pinned for whom is `node::service`'s. Open to every
//! origin, because a page can do nothing without a token, and no browser sends one by itself.
//!
//! Source: ipfs/pinning-services-api-spec 1.0.0.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod admit;
mod body;
mod error;
mod model;
mod query;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONNECTION, CONTENT_TYPE,
    HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use self::body::{BODY_TIME, Bodies};
use self::error::Refusal;
use self::model::{PinResults, PinStatus};
use crate::http::trailers::NextRequest;
use crate::http::{Answer, Held, Peer, Pieces};
use crate::metrics::Metrics;
use crate::node::service::find::SHORT_PAGE_ROWS;
use crate::node::service::{self, About, Access, Filter, Need};
use crate::task;
use crate::task::places::{Place, Places};

type Reply = Response<Held<Pieces>>;

/// Bytes of a page from which on it is long.
const LONG_PAGE_BYTES: usize = 256 << 10;
/// Long pages at a time that are made, or wait for their readers; and those of one tenant.
const LONG_PAGES_MAX: usize = 64;
const LONG_PAGES_EACH: usize = 8;

/// Whether the service takes requests: not before the daemon is up, and not while it stops.
#[derive(Clone)]
pub struct Readiness {
    up: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl Readiness {
    /// One of a daemon that begins, and ends by `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self { up: Arc::default(), stop }
    }

    /// The daemon is up.
    pub fn is_up(&self) {
        self.up.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<(), Refusal> {
        match (self.stop.is_cancelled(), self.up.load(Ordering::Acquire)) {
            (true, _) => Err(Refusal::not_ready("the node is stopping")),
            (false, false) => Err(Refusal::not_ready("the node is starting")),
            (false, true) => Ok(()),
        }
    }
}

/// What the mouth is told at its start.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Addresses told to clients, at most 20; the node's own when there are none.
    pub delegates: Vec<String>,
}

/// Answers requests; clones answer others at the same time, within the same bounds.
#[derive(Clone)]
pub struct Service {
    pins: service::Service,
    settings: Arc<Settings>,
    bodies: Bodies,
    pages: Arc<Places<u32>>,
    readiness: Readiness,
    metrics: Metrics,
}

/// What a path leads to.
enum Route {
    Alive,
    Ready,
    Pins,
    Pin(String),
}

impl Route {
    fn of(path: &str) -> Option<Self> {
        match path {
            "/healthz" => Some(Self::Alive),
            "/readyz" => Some(Self::Ready),
            "/pins" => Some(Self::Pins),
            _ => {
                let id = path.strip_prefix("/pins/")?;
                (!id.is_empty() && !id.contains('/')).then(|| Self::Pin(id.to_owned()))
            }
        }
    }

    fn methods(&self) -> &'static str {
        match self {
            Self::Alive | Self::Ready => "GET, HEAD, OPTIONS",
            Self::Pins => "GET, OPTIONS, POST",
            Self::Pin(_) => "DELETE, GET, OPTIONS, POST",
        }
    }

    fn takes(&self, method: &Method) -> bool {
        self.methods().split(", ").any(|name| name == method.as_str())
    }
}

impl Service {
    /// A mouth for a node's service.
    pub fn new(
        pins: service::Service,
        settings: Settings,
        readiness: Readiness,
        metrics: Metrics,
    ) -> Self {
        let (settings, bodies) = (Arc::new(settings), Bodies::new(BODY_TIME));
        let pages = Arc::new(Places::new(LONG_PAGES_MAX, LONG_PAGES_EACH));
        Self { pins, settings, bodies, pages, readiness, metrics }
    }

    async fn dispatch(&self, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let nothing = || Refusal::absent("there is nothing at this path");
        let route = Route::of(request.uri().path()).ok_or_else(nothing)?;
        if !route.takes(request.method()) {
            return Err(Refusal::method(route.methods()));
        }
        if request.method() == Method::OPTIONS {
            return Ok(preflight(route.methods()));
        }
        match route {
            Route::Alive => Ok(json_of(StatusCode::OK, &json!({ "status": "alive" }))),
            Route::Ready => {
                self.readiness.check()?;
                Ok(json_of(StatusCode::OK, &json!({ "status": "ready" })))
            }
            Route::Pins => self.pins(request).await,
            Route::Pin(id) => self.pin(request, &id).await,
        }
    }

    /// `/pins`.
    async fn pins(&self, request: Request<Incoming>) -> Result<Reply, Refusal> {
        let (parts, body) = request.into_parts();
        let who = self.admit(&parts)?;
        if parts.method == Method::GET {
            let filter = query::filter(parts.uri.query().unwrap_or_default())?;
            return self.page(&who, &filter).await;
        }
        let ask = model::ask(&self.bodies.json(&parts.headers, body).await?)?;
        Ok(self.told(StatusCode::ACCEPTED, &self.pins.add(&who, ask).await?))
    }

    /// `/pins/{requestid}`.
    async fn pin(&self, request: Request<Incoming>, id: &str) -> Result<Reply, Refusal> {
        let (parts, body) = request.into_parts();
        let who = self.admit(&parts)?;
        match parts.method {
            Method::GET => Ok(self.told(StatusCode::OK, &self.pins.request(&who, id).await?)),
            Method::DELETE => {
                self.pins.remove(&who, id).await?;
                Ok(empty(StatusCode::ACCEPTED))
            }
            _ => {
                let ask = model::ask(&self.bodies.json(&parts.headers, body).await?)?;
                Ok(self.told(StatusCode::ACCEPTED, &self.pins.replace(&who, id, ask).await?))
            }
        }
    }

    /// Whose request it is, if the secret is enough for it.
    fn admit(&self, parts: &Parts) -> Result<Access, Refusal> {
        let need = if parts.method == Method::GET { Need::Read } else { Need::Pin };
        let from = parts.extensions.get::<Peer>().and_then(|peer| peer.0);
        let what = format!("{} {}", parts.method, parts.uri.path());
        let about = About { from, what: &what };
        Ok(self.pins.admit(admit::secret(&parts.headers)?, need, &about)?)
    }

    /// A page of requests. One that is long, or may be by its limit, takes a place for that, and keeps
    /// it until it has been sent.
    async fn page(&self, who: &Access, filter: &Filter) -> Result<Reply, Refusal> {
        let mut place = None;
        if filter.limit > SHORT_PAGE_ROWS {
            place = Some(self.place(who)?);
        }
        let found = self.pins.find(who, filter).await?;
        if place.is_none() && found.bytes > LONG_PAGE_BYTES {
            place = Some(self.place(who)?);
        }
        let delegates = self.pins.delegates(&self.settings.delegates);
        let text = match &place {
            None => text_of(&PinResults::of(&found, &delegates)),
            Some(_) => task::blocking(move || text_of(&PinResults::of(&found, &delegates))).await,
        };
        if text.len() <= LONG_PAGE_BYTES {
            return Ok(json_text(StatusCode::OK, text));
        }
        let place = place.map_or_else(|| self.place(who), Ok)?;
        Ok(json_text(StatusCode::OK, text).map(|body| body.with(place)))
    }

    /// A place for a long page.
    fn place(&self, who: &Access) -> Result<Place, Refusal> {
        let place = self.pages.try_take(who.tenant.number);
        place.ok_or_else(|| Refusal::busy("too many long pages: lower the limit"))
    }

    fn told(&self, status: StatusCode, request: &service::Request) -> Reply {
        let delegates = self.pins.delegates(&self.settings.delegates);
        json_of(status, &PinStatus::of(request, &delegates))
    }
}

impl Answer for Service {
    type Body = Held<Pieces>;

    // No reply has trailers: `next` stays unused.
    async fn answer(&self, request: Request<Incoming>, _next: NextRequest) -> Reply {
        let (method, since) = (request.method().clone(), Instant::now());
        let mut reply = self.dispatch(request).await.unwrap_or_else(|refusal| refused(&refusal));
        self.metrics.pinning_answered(method.as_str(), reply.status().as_u16(), since.elapsed());
        let headers = reply.headers_mut();
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_EXPOSE_HEADERS, "Retry-After, WWW-Authenticate"),
            (CACHE_CONTROL, "no-store"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        ] {
            headers.insert::<HeaderName>(name, HeaderValue::from_static(value));
        }
        reply
    }
}

fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Held::new(Pieces::default(), None::<()>));
    *reply.status_mut() = status;
    reply
}

fn json_of(status: StatusCode, value: &impl Serialize) -> Reply {
    json_text(status, text_of(value))
}

fn text_of(value: &impl Serialize) -> Bytes {
    // Texts and numbers by name can always be written.
    serde_json::to_vec(value).unwrap_or_default().into()
}

fn json_text(status: StatusCode, text: Bytes) -> Reply {
    let mut reply = empty(status);
    *reply.body_mut() = Held::new(Pieces::new(text), None::<()>);
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}

fn refused(refusal: &Refusal) -> Reply {
    let mut reply = json_of(refusal.status, &refusal.body());
    if let Some((name, value)) = &refusal.extra {
        reply.headers_mut().insert(name, value.clone());
    }
    // What is left of such a body is not read.
    if matches!(refusal.status, StatusCode::REQUEST_TIMEOUT | StatusCode::PAYLOAD_TOO_LARGE) {
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    reply
}

/// What a browser asks before it sends a token.
fn preflight(methods: &'static str) -> Reply {
    let mut reply = empty(StatusCode::NO_CONTENT);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_METHODS, methods),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, User-Agent"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
    ] {
        reply.headers_mut().insert::<HeaderName>(name, HeaderValue::from_static(value));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_taken_between_the_start_and_the_stop() {
        let stop = CancellationToken::new();
        let readiness = Readiness::new(stop.clone());
        let told = |readiness: &Readiness| {
            readiness.check().map_err(|refusal| (refusal.status.as_u16(), refusal.details))
        };
        assert_eq!(told(&readiness), Err((503, "the node is starting".into())));
        readiness.is_up();
        assert_eq!(told(&readiness), Ok(()));
        stop.cancel();
        assert_eq!(told(&readiness), Err((503, "the node is stopping".into())));
    }

    #[test]
    fn paths_lead_where_the_api_says() {
        assert!(matches!(Route::of("/pins"), Some(Route::Pins)));
        assert!(matches!(Route::of("/pins/a%2Fb"), Some(Route::Pin(id)) if id == "a%2Fb"));
        for nothing in ["/", "/pins/", "/pins/a/b", "/pinsx", "/api/v1/pins", "//pins"] {
            assert!(Route::of(nothing).is_none(), "{nothing}");
        }
        assert!(Route::Pins.takes(&Method::POST) && !Route::Pins.takes(&Method::DELETE));
        assert!(!Route::Pins.takes(&Method::HEAD));
    }
}
