//! The gateway: content over plain HTTP, for browsers and for whoever has a URL.
//!
//! Read-only, and open to every origin: what it serves is public. The RPC is not here. A request is
//! parsed whole (`request`, `hostname`), its path followed by the node, and what lies there written
//! in the form that was asked for (`respond/`).
//!
//! Source: ipfs/specs http-gateways.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod address;
mod date;
mod error;
pub mod escape;
mod etag;
pub mod extent;
pub mod headers;
pub mod hostname;
mod media;
mod observe;
pub mod range;
pub mod redirects;
mod reply;
pub mod request;
mod respond;
mod rewrite;
pub mod settings;
pub mod visit;

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::error::Refusal;
use self::hostname::Site;
use self::observe::Asked;
use self::reply::{Bounded, Outgoing};
use self::request::{METHODS, Request};
use self::respond::Found;
pub use self::settings::Settings;
use self::visit::{Visit, Watch};
use crate::http::trailers::NextRequest;
use crate::http::{Answer, Held, Peer};
use crate::ipld::path::Path;
use crate::metrics::Metrics;
use crate::node::{Kind, Node, Patience};

/// Answers requests; clones answer others at the same time, within the same bounds.
#[derive(Clone)]
pub struct Service {
    node: Node,
    settings: Arc<Settings>,
    room: Option<Arc<Semaphore>>,
    watch: Watch,
    metrics: Metrics,
}

impl Service {
    /// A gateway to what a node holds and can fetch; `watch` is told of visits, `metrics` of every
    /// request.
    pub fn new(node: Node, settings: Settings, watch: Watch, metrics: Metrics) -> Self {
        let room = settings
            .requests_max
            .map(|most| Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))));
        Self { node, settings: Arc::new(settings), room, watch, metrics }
    }

    /// A place among the requests at a time.
    fn place(&self) -> Result<Option<OwnedSemaphorePermit>, Refusal> {
        let Some(room) = &self.room else { return Ok(None) };
        Arc::clone(room).try_acquire_owned().map(Some).map_err(|_| Refusal::busy())
    }

    /// The reply, unless it takes too long to begin.
    async fn in_time(&self, parts: &Parts, end: Instant) -> Result<Response<Outgoing>, Refusal> {
        let begun = self.settings.retrieval_time.and_then(|t| Instant::now().checked_add(t));
        let limit = begun.map_or(end, |begun| begun.min(end));
        let reply = tokio::time::timeout_at(limit, self.respond(parts));
        reply.await.unwrap_or_else(|_| Err(Refusal::late()))
    }

    async fn respond(&self, parts: &Parts) -> Result<Response<Outgoing>, Refusal> {
        if parts.method == Method::OPTIONS {
            return Ok(options());
        }
        let request = Request::parse(parts)?;
        let site = hostname::site(&request.host, &self.settings.hosts);
        if let Some(response) = self.own_page(&request, &site) {
            return Ok(response);
        }
        if let Some(target) = address::elsewhere(&request, &site)? {
            return Ok(moved(StatusCode::MOVED_PERMANENTLY, &target));
        }
        let (text, base) = address::content_path(&request, &site)?;
        if request.service_worker && address::is_bare(&text) {
            return Err(Refusal::bad("navigator.serviceWorker: this scope is too wide"));
        }
        let path = Path::parse(&text)?;
        let told = site.host().and_then(|host| host.deserialized);
        if !told.unwrap_or(self.settings.deserialized) && !request.is_trustless(&path) {
            let text = "only blocks (?format=raw) and CARs (?format=car) are served here, which \
                        clients can check";
            return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, text));
        }
        if request.only_if_cached && !self.has(&path).await? {
            let text = format!("{path} is not here");
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, text));
        }
        let above = match &site {
            Site::Own { parent, .. } => format!("//{parent}"),
            Site::Shared | Site::Known(_) => String::new(),
        };
        let isolated = matches!(site, Site::Own { .. });
        self.find_and_respond(&request, path, (text, base, above), isolated).await
    }

    /// What is at a path; and where nothing is, what the site's own rules say.
    async fn find_and_respond(
        &self,
        request: &Request,
        path: Path,
        (shown, base, above): (String, String, String),
        isolated: bool,
    ) -> Result<Response<Outgoing>, Refusal> {
        let (node, settings) = (&self.node_for_request(), &*self.settings);
        let found =
            |path, place| Found { node, settings, request, path, place, shown, base, above };
        let missing = match node.place(&path).await {
            Ok(place) => return found(path, place).respond().await,
            Err(error) => error,
        };
        let asks_rules = isolated && request.format.is_none() && missing.kind() == Kind::NotFound;
        let target = match asks_rules {
            true => rewrite::target(node, &path).await?,
            false => None,
        };
        let Some(target) = target else { return Err(missing.into()) };
        let status = StatusCode::from_u16(target.status).unwrap_or(StatusCode::NOT_FOUND);
        if status.is_redirection() {
            return Ok(moved(status, &rewrite::location(&target.to, request)));
        }
        let root = Path { root: path.root, segments: Vec::new() };
        let path = Path::parse(&format!("{root}{}", target.to))?;
        let place = node.place(&path).await?;
        let found = found(path, place);
        match status {
            StatusCode::OK => found.respond().await,
            status => found.respond_in_place_of(status).await,
        }
    }

    /// The node for one request: in a session of its own, or with what is here alone.
    fn node_for_request(&self) -> Node {
        match self.settings.no_fetch {
            true => self.node.offline(),
            false => self.node.session(self.patience()),
        }
    }

    /// How long a block is waited for: a little less than the reply may stand still, so that whoever
    /// was asked is named before.
    fn patience(&self) -> Patience {
        let time = self.settings.retrieval_time.map(|time| time.mul_f32(0.9));
        time.map_or(Patience::Endless, Patience::Each)
    }

    /// What is asked of the gateway itself, not of content.
    fn own_page(&self, request: &Request, site: &Site<'_>) -> Option<Response<Outgoing>> {
        match (site, request.path.as_str()) {
            (Site::Own { .. }, _) => None,
            (_, "/version") => {
                let (version, agent) = (env!("CARGO_PKG_VERSION"), Node::agent());
                let text = format!("Commit: henge-{version}\nClient Version: {agent}\n");
                Some(reply::text("text/plain; charset=utf-8", text, request.head))
            }
            (_, "/") => {
                let target = self.settings.root_redirect.as_ref()?;
                Some(moved(StatusCode::FOUND, target))
            }
            _ => None,
        }
    }

    /// Whether the root of a path is here.
    async fn has(&self, path: &Path) -> Result<bool, Refusal> {
        let Some(root) = path.cid() else { return Ok(false) };
        match self.node.block_stat(&Path::of(*root)).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Answer for Service {
    type Body = Held<Bounded>;

    // No reply has trailers, so no request is told about them: `next` stays unused, and a body
    // that nobody asked for can never be taken for the beginning of a request.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        _next: NextRequest,
    ) -> Response<Held<Bounded>> {
        let mut asked = Asked::new(self.metrics.clone());
        let (parts, _) = request.into_parts();
        let from = parts.extensions.get::<Peer>().and_then(|peer| peer.0);
        let now = Instant::now();
        let end = now.checked_add(self.settings.request_time).unwrap_or(now);
        let (place, outcome) = match self.place() {
            Ok(place) => (place, self.in_time(&parts, end).await),
            Err(refusal) => (None, Err(refusal)),
        };
        let mut response = outcome.unwrap_or_else(|refusal| {
            let page = self.settings.error_pages && request::accepts_page(&parts.headers);
            reply::refused(&refusal, parts.method == Method::HEAD, page)
        });
        if response.status().is_success() {
            self.watch.tell(|| Visit { from, path: parts.uri.path().to_owned() });
        }
        self.settings.added.put_into(response.headers_mut());
        asked.is_answered(&response);
        let patience = self.settings.retrieval_time;
        response.map(|body| Held::new(Bounded::new(body, patience, end, place), Some(asked)))
    }
}

fn options() -> Response<Outgoing> {
    let allow = (ALLOW, HeaderValue::from_static(METHODS));
    reply::of(HeaderMap::from_iter([allow]), Outgoing::Done)
}

fn moved(status: StatusCode, target: &str) -> Response<Outgoing> {
    let location = (LOCATION, headers::value(target));
    let mut response = reply::of(HeaderMap::from_iter([location]), Outgoing::Done);
    *response.status_mut() = status;
    response
}
