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
mod data;
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
use super::observe::Form;
use super::range::{self, Cut};
use super::reply::{self, Outgoing};
use super::request::{Format, Request};
use super::{Settings, date, escape, etag, headers, moved};
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
    /// The rules.
    pub settings: &'a Settings,
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

    /// What the reply is, in a word.
    fn form(&self) -> Form {
        Form(match (self.request.format, &self.place.what) {
            _ if self.request.car.is_some() => "car",
            (Some(Format::Raw), _) => "block",
            (Some(Format::Tar), _) => "tar",
            _ if !self.is_plain() => "codec",
            (_, What::Directory) => "directory",
            (_, What::Symlink(_)) => "symlink",
            (_, What::File(_) | What::Other) => "file",
        })
    }

    fn is_listed(&self) -> bool {
        self.is_plain() && self.place.what == What::Directory
    }

    fn is_data(&self) -> bool {
        matches!(self.cid().codec(), codecs::DAG_JSON | codecs::DAG_CBOR)
    }

    /// Whether data is shown as a page: no form of it is asked for, and a browser asks.
    fn is_shown(&self) -> bool {
        let plain = self.request.format.is_none() && !self.request.download;
        self.is_data() && plain && self.request.accepts_page && self.place.inside.is_empty()
    }

    /// The address of a folder, or of a page of data, that was asked for without the slash that
    /// links in it rely on.
    fn folder_address(&self) -> Option<String> {
        if !(self.is_listed() || self.is_shown()) || self.request.ends_in_slash() {
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
    fn unchanged(&self) -> Option<Response<Outgoing>> {
        if self.request.known.is_none() && self.request.since.is_none() {
            return None;
        }
        let mut map = self.headers("");
        map.remove(CONTENT_TYPE);
        // A page of ours: as good as new for as long as it is made the same way.
        let page = match (self.is_listed(), self.is_shown()) {
            (true, _) => Some(etag::of_listing(self.cid())),
            (_, true) => Some(etag::of_data_page(self.cid())),
            _ => None,
        };
        let file = matches!(self.place.what, What::File(_)) && self.is_plain();
        match (&self.request.known, &self.request.since, self.place.mtime) {
            (Some(given), ..) => {
                if let Some(tag) = page.filter(|tag| etag::is_known(given, tag)) {
                    map.insert(ETAG, headers::value(&tag));
                    map.insert(CACHE_CONTROL, HeaderValue::from_static(headers::LISTING));
                } else if self.is_shown() || !etag::is_known(given, &self.tag()) {
                    return None;
                }
            }
            // A tag says more than a date: only without one is that looked at.
            (None, Some(since), Some(mtime)) if file && date::is_unchanged(mtime, since) => {}
            _ => return None,
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
        if self.request.format.is_none() && self.is_data() {
            // Browsers get a page at the same address.
            map.insert(VARY, HeaderValue::from_static("Accept"));
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

impl Found<'_> {
    /// The reply: a redirect, nothing new, or the content.
    pub async fn respond(self) -> Result<Response<Outgoing>, Refusal> {
        if let Some(target) = self.folder_address() {
            return Ok(moved(StatusCode::MOVED_PERMANENTLY, &target));
        }
        match self.unchanged() {
            Some(response) => Ok(response),
            None => respond(&self).await,
        }
    }

    /// The file as the page of an error: whole, whatever part was asked for.
    pub async fn respond_in_place_of(
        self,
        status: StatusCode,
    ) -> Result<Response<Outgoing>, Refusal> {
        let What::File(size) = self.place.what else {
            let text = format!("the page for {status} in _redirects is not a file");
            return Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, text));
        };
        let plain = Request { range: None, filename: None, ..self.request.clone() };
        let found = Found { request: &plain, ..self };
        let mut response = file::respond(&found, size).await?;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response.headers_mut().remove(ACCEPT_RANGES);
        *response.status_mut() = status;
        Ok(response)
    }
}

/// Answers in the form that was asked for, or in the one that the codec suggests.
async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let mut response = in_form(found).await?;
    response.extensions_mut().insert(found.form());
    Ok(response)
}

async fn in_form(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
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
    if found.is_shown() {
        return data::respond(found).await;
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
