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

mod error;
mod escape;
mod etag;
mod extent;
mod headers;
mod hostname;
mod media;
mod range;
mod reply;
mod request;
mod respond;
pub mod visit;

use hyper::body::Incoming;
use hyper::header::{ALLOW, HeaderMap, HeaderValue, LOCATION};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use self::error::Refusal;
use self::hostname::Site;
use self::reply::Outgoing;
use self::request::{METHODS, Request};
use self::respond::Found;
use self::visit::{Visit, Watch};
use crate::http::trailers::NextRequest;
use crate::http::{Answer, Peer};
use crate::ipld::cid;
use crate::ipld::path::{Path, Root};
use crate::node::{Kind, Node};

/// Answers requests of one listener.
#[derive(Clone)]
pub struct Service {
    node: Node,
    watch: Watch,
}

impl Service {
    /// A gateway to what a node holds; `watch` is told of visits.
    pub fn new(node: Node, watch: Watch) -> Self {
        Self { node, watch }
    }

    async fn respond(&self, parts: &Parts) -> Result<Response<Outgoing>, Refusal> {
        if parts.method == Method::OPTIONS {
            return Ok(options());
        }
        let request = Request::parse(parts)?;
        let site = hostname::site(&request.host);
        if let Some(target) = elsewhere(&request, &site)? {
            return Ok(moved(&target));
        }
        let (text, base) = content_path(&request, &site)?;
        if request.service_worker && is_bare(&text) {
            return Err(Refusal::bad("navigator.serviceWorker: this scope is too wide"));
        }
        let path = Path::parse(&text)?;
        if request.only_if_cached && !self.has(&path).await? {
            let text = format!("{path} is not here");
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, text));
        }
        let place = self.node.place(&path).await?;
        let above = match &site {
            Site::Own { parent, .. } => format!("//{parent}"),
            Site::Shared | Site::Parent => String::new(),
        };
        let (node, request) = (&self.node, &request);
        let found = Found { node, request, path, shown: text, base, above, place };
        if let Some(target) = found.folder_address() {
            return Ok(moved(&target));
        }
        if let Some(response) = found.unchanged() {
            return Ok(response);
        }
        respond::respond(&found).await
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
    type Body = Outgoing;

    // No reply has trailers, so no request is told about them: `next` stays unused, and a body
    // that nobody asked for can never be taken for the beginning of a request.
    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        _next: NextRequest,
    ) -> Response<Outgoing> {
        let (parts, _) = request.into_parts();
        let from = parts.extensions.get::<Peer>().and_then(|peer| peer.0);
        let mut response = match self.respond(&parts).await {
            Ok(response) => response,
            Err(refusal) => reply::refused(&refusal, parts.method == Method::HEAD),
        };
        if response.status().is_success() {
            self.watch.tell(|| Visit { from, path: parts.uri.path().to_owned() });
        }
        headers::share(response.headers_mut());
        response
    }
}

/// The path of the content, and what stands for its root at the head of addresses.
fn content_path(request: &Request, site: &Site) -> Result<(String, String), Refusal> {
    if let Site::Own { space, label, .. } = site {
        return Ok((format!("/{space}/{label}{}", request.path), String::new()));
    }
    let mut names = request.path.splitn(4, '/').skip(1);
    match (names.next(), names.next()) {
        (Some(space @ ("ipfs" | "ipns")), Some(root)) if !root.is_empty() => {
            let base = format!("/{space}/{}", escape::segment(root.as_bytes()));
            Ok((request.path.clone(), base))
        }
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "404 page not found")),
    }
}

/// Where a request is sent that is at the wrong address: the origin of its content, the one
/// spelling of a root in a host name, the path of an `ipfs://` link, one `/ipfs` instead of two.
fn elsewhere(request: &Request, site: &Site) -> Result<Option<String>, Refusal> {
    let space = |path: &str| path.starts_with("/ipfs/") || path.starts_with("/ipns/");
    if let Site::Own { label, parent, space: "ipfs" } = site {
        let cid = cid::parse(label).map_err(|e| Refusal::bad(e.to_string()))?;
        let canonical = hostname::label(&cid).ok_or_else(too_long)?;
        let path = request.path.split('/').skip(1).map(|name| escape::segment(name.as_bytes()));
        let path = path.collect::<Vec<_>>().join("/");
        let question = request.question();
        let target = format!("{}://{canonical}.ipfs.{parent}/{path}{question}", request.scheme);
        return Ok((canonical != *label).then_some(target));
    }
    if let (Some(uri), "/ipfs/" | "/ipns/") = (&request.uri, request.path.as_str()) {
        let path = uri.replacen("://", "/", 1);
        let path = Path::parse(&format!("/{path}"))?;
        return Ok(Some(address(&path, uri.ends_with('/'))));
    }
    if let Some(inner) = request.path.strip_prefix("/ipfs").filter(|inner| space(inner)) {
        let path = Path::parse(inner)?;
        return Ok(Some(address(&path, request.ends_in_slash()) + &request.question()));
    }
    if *site != Site::Parent || !request.path.starts_with("/ipfs/") {
        return Ok(None);
    }
    // Only the root is looked at: whether the path leads anywhere is told at its own origin.
    let path = Path::parse(&request.path)?;
    let Some(root) = path.cid() else { return Ok(None) };
    let label = hostname::label(root).ok_or_else(too_long)?;
    let names = escape::encode_path(&path.segments);
    let slash = if names.is_empty() || request.ends_in_slash() { "/" } else { "" };
    let (host, question) = (request.host.to_ascii_lowercase(), request.question());
    Ok(Some(format!("{}://{label}.ipfs.{host}{names}{slash}{question}", request.scheme)))
}

fn too_long() -> Refusal {
    Refusal::bad(
        "CID incompatible with DNS label length limit of 63: ask at 127.0.0.1, not at localhost",
    )
}

/// A path's address on this host.
fn address(path: &Path, folder: bool) -> String {
    let root = match &path.root {
        Root::Ipfs(cid) => format!("/ipfs/{cid}"),
        Root::Ipns(name) => format!("/ipns/{}", escape::encode(name.as_bytes())),
    };
    let slash = if folder { "/" } else { "" };
    format!("{root}{}{slash}", escape::encode_path(&path.segments))
}

/// A root and not even a slash behind it.
fn is_bare(path: &str) -> bool {
    path.split('/').count() <= 3
}

fn options() -> Response<Outgoing> {
    let allow = (ALLOW, HeaderValue::from_static(METHODS));
    reply::of(HeaderMap::from_iter([allow]), Outgoing::Done)
}

fn moved(target: &str) -> Response<Outgoing> {
    let location = (LOCATION, headers::value(target));
    let mut response = reply::of(HeaderMap::from_iter([location]), Outgoing::Done);
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response
}

#[cfg(test)]
mod tests;
