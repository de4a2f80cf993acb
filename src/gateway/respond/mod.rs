//! Replies with content: one file a form, and what all of them share.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod block;
mod car;
mod codec;
mod directory;
mod file;
mod tar;

use bytes::Bytes;
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};

use super::error::Refusal;
use super::range::{self, Cut};
use super::reply::{self, Outgoing};
use super::request::{Format, Request};
use super::{escape, etag, headers};
use crate::ipld::cid::{Cid, codec as codecs};
use crate::ipld::path::Path;
use crate::node::resolve::Place;
use crate::node::{Node, What};

const IPFS_PATH: HeaderName = HeaderName::from_static("x-ipfs-path");
const IPFS_ROOTS: HeaderName = HeaderName::from_static("x-ipfs-roots");

/// Content that was found, and the request for it.
pub struct Found<'a> {
    /// The node that holds it.
    pub node: &'a Node,
    /// The request.
    pub request: &'a Request,
    /// Its path.
    pub path: Path,
    /// The path as it was asked for.
    pub shown: String,
    /// What stands for the root in addresses: nothing on a host of its own.
    pub base: String,
    /// What stands before paths that lead to other roots: the host above a host of its own.
    pub above: String,
    /// What is there.
    pub place: Place,
}

impl Found<'_> {
    fn cid(&self) -> &Cid {
        &self.place.cid
    }

    /// Whether files and folders are served as such: nothing else was asked for. JSON and CBOR
    /// name what a file holds as often as a codec.
    fn is_plain(&self) -> bool {
        let format = matches!(self.request.format, None | Some(Format::Json | Format::Cbor));
        format && matches!(self.cid().codec(), codecs::DAG_PB | codecs::RAW)
    }

    fn is_listed(&self) -> bool {
        self.is_plain() && self.place.what == What::Directory
    }

    /// The address of a folder that was asked for without the slash that links in it rely on.
    pub fn folder_address(&self) -> Option<String> {
        if !self.is_listed() || self.request.ends_in_slash() {
            return None;
        }
        // Two slashes at the head would lead to another host.
        let path = self.request.escaped.trim_start_matches(['/', '\\']);
        Some(format!("/{path}/{}", self.request.question()))
    }

    /// The path of the folder in addresses, made anew from its names.
    fn folder(&self) -> String {
        format!("{}{}/", self.base, escape::encode_path(&self.path.segments))
    }

    /// The reply to a client that has the content already.
    pub fn unchanged(&self) -> Option<Response<Outgoing>> {
        let given = self.request.known.as_deref()?;
        let listing = self.is_listed().then(|| etag::of_listing(self.cid()));
        let mut map = self.headers("");
        map.remove(CONTENT_TYPE);
        if let Some(tag) = listing.filter(|tag| etag::is_known(given, tag)) {
            map.insert(ETAG, headers::value(&tag));
            map.insert(CACHE_CONTROL, HeaderValue::from_static(headers::LISTING));
        } else if !etag::is_known(given, &self.tag()) {
            return None;
        }
        let mut response = reply::of(map, Outgoing::Done);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        Some(response)
    }

    fn tag(&self) -> String {
        match &self.request.car {
            Some(form) => etag::of_car(&self.path, form),
            None => etag::of(self.cid(), self.request.format),
        }
    }

    /// The headers of every reply with content.
    fn headers(&self, media: &str) -> HeaderMap {
        let mut map = HeaderMap::new();
        map.insert(CONTENT_TYPE, headers::value(media));
        map.insert(CACHE_CONTROL, HeaderValue::from_static(headers::IMMUTABLE));
        map.insert(ETAG, headers::value(&self.tag()));
        map.insert(IPFS_PATH, headers::value(&self.shown));
        if let Some(roots) = headers::roots(&self.place.roots) {
            map.insert(IPFS_ROOTS, roots);
        }
        if let Some(format) = self.request.format.filter(|_| self.request.negotiated) {
            map.insert(VARY, HeaderValue::from_static("Accept"));
            map.insert(CONTENT_LOCATION, headers::value(&self.location(format)));
        }
        map
    }

    /// The address that tells the form by itself.
    fn location(&self, format: Format) -> String {
        let kept = self.request.query.split('&');
        let kept = kept.filter(|pair| !pair.is_empty() && !pair.starts_with("format="));
        let mut pairs: Vec<String> =
            kept.map(str::to_owned).chain([format!("format={}", format.name())]).collect();
        for (name, value) in self.request.parameters.iter().filter(|_| format == Format::Car) {
            // What the query says itself stands before what `Accept` says.
            if !pairs.iter().any(|pair| pair.split('=').next() == Some(name)) {
                pairs.push(format!("{name}={}", escape::encode(value.as_bytes())));
            }
        }
        let slash = if self.request.ends_in_slash() { "/" } else { "" };
        let names = escape::encode_path(&self.path.segments);
        format!("{}{names}{slash}?{}", self.base, pairs.join("&"))
    }

    /// Makes the reply one to be saved, or to be shown, under the name asked for or `name`.
    fn dispose(&self, map: &mut HeaderMap, kind: &str, name: &str) {
        let kind = if self.request.download { "attachment" } else { kind };
        let name = self.request.filename.as_deref().unwrap_or(name);
        map.insert(CONTENT_DISPOSITION, headers::disposition(kind, name));
    }

    /// The same for forms that no page may take for a script or a style.
    fn dispose_inert(&self, map: &mut HeaderMap, kind: &str, name: &str) {
        self.dispose(map, kind, name);
        map.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }

    /// The part that is asked for, with the status and headers of it: first and one past the last
    /// byte.
    fn cut(&self, map: &mut HeaderMap, size: u64) -> Result<(StatusCode, u64, u64), Refusal> {
        map.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        let same = self.request.if_range.as_ref().is_none_or(|tag| *tag == self.tag());
        let wanted = self.request.range.as_ref().filter(|_| same && !self.request.head);
        let (status, start, end) = match wanted.map_or(Cut::Whole, |r| range::cut(r, size)) {
            Cut::Whole => (StatusCode::OK, 0, size),
            Cut::Part { start, end } => (StatusCode::PARTIAL_CONTENT, start, end),
            Cut::Outside => return Err(Refusal::range(size)),
        };
        if status == StatusCode::PARTIAL_CONTENT {
            let text = format!("bytes {start}-{}/{size}", end.saturating_sub(1));
            map.insert(CONTENT_RANGE, headers::value(&text));
        }
        map.insert(CONTENT_LENGTH, HeaderValue::from(end.saturating_sub(start)));
        Ok((status, start, end))
    }

    /// A reply with the bytes of the block itself.
    async fn block(&self, mut map: HeaderMap) -> Result<Response<Outgoing>, Refusal> {
        let at = Path::of(*self.cid());
        if self.request.head {
            let (_, size) = self.node.block_stat(&at).await?;
            self.cut(&mut map, size)?;
            return Ok(reply::of(map, Outgoing::Done));
        }
        let data: Bytes = self.node.block_get(&at).await?.data().clone();
        let (status, start, end) = self.cut(&mut map, data.len() as u64)?;
        let part = data.slice(start as usize..end as usize);
        let mut response = reply::of(map, Outgoing::whole(part));
        *response.status_mut() = status;
        Ok(response)
    }
}

/// Answers in the form that was asked for, or in the one that the codec suggests.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    if let Some(form) = &found.request.car {
        return car::respond(found, form).await;
    }
    if let Some(name) = found.place.inside.first() {
        let text = format!(
            "{name:?} is inside the block {}, and only whole blocks are served: ask for that",
            found.cid()
        );
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    match found.request.format {
        Some(Format::Raw) => return block::respond(found).await,
        Some(Format::Tar) => return tar::respond(found).await,
        Some(Format::IpnsRecord) => {
            return Err(Refusal::bad("only names under /ipns have records"));
        }
        // A CAR was answered above.
        Some(Format::Car | Format::DagJson | Format::DagCbor | Format::Json | Format::Cbor)
        | None => {}
    }
    if !found.is_plain() {
        return codec::respond(found).await;
    }
    match &found.place.what {
        What::File(size) => file::respond(found, *size).await,
        What::Symlink(target) => Ok(file::symlink(found, target)),
        What::Directory => directory::respond(found).await,
        What::Other => {
            let text = format!("{} is not a file or folder: ask with ?format=raw", found.cid());
            Err(Refusal::bad(text))
        }
    }
}
