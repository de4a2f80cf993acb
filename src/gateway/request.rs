//! Requests, parsed before anything is done: what is asked for, in which form, under which conditions.
//!
//! Pure: no store, no clock. What is refused here is refused whatever the node holds.
//!
//! Source: ipfs/specs path-gateway.md, IPIP-523.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::Method;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;

use super::error::Refusal;
use super::escape;
use super::extent::{CarForm, PARAMETERS};
use crate::ipld::cid::codec;
use crate::ipld::path::Path;

/// A form of content that has to be asked for by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The block as it is.
    Raw,
    /// Blocks as a CAR.
    Car,
    /// Files as an archive.
    Tar,
    /// The block as canonical JSON.
    DagJson,
    /// The block as canonical CBOR.
    DagCbor,
    /// Plain JSON.
    Json,
    /// Plain CBOR.
    Cbor,
    /// A signed record of a mutable name.
    IpnsRecord,
}

/// Every format, by its name in a query and its media type.
const FORMATS: [(Format, &str, &str); 8] = [
    (Format::Raw, "raw", "application/vnd.ipld.raw"),
    (Format::Car, "car", "application/vnd.ipld.car"),
    (Format::Tar, "tar", "application/x-tar"),
    (Format::DagJson, "dag-json", "application/vnd.ipld.dag-json"),
    (Format::DagCbor, "dag-cbor", "application/vnd.ipld.dag-cbor"),
    (Format::Json, "json", "application/json"),
    (Format::Cbor, "cbor", "application/cbor"),
    (Format::IpnsRecord, "ipns-record", "application/vnd.ipfs.ipns-record"),
];

impl Format {
    fn row(self) -> (&'static str, &'static str) {
        let row = FORMATS.iter().find(|(format, ..)| *format == self);
        row.map_or(("raw", "application/octet-stream"), |(_, name, media)| (name, media))
    }

    /// Its name in a query.
    pub fn name(self) -> &'static str {
        self.row().0
    }

    /// Its media type.
    pub fn media(self) -> &'static str {
        self.row().1
    }

    /// What blocks of a codec are without being asked for; none for files and bytes.
    pub fn of_codec(codec: u64) -> Option<Self> {
        match codec {
            codec::DAG_JSON => Some(Self::DagJson),
            codec::DAG_CBOR => Some(Self::DagCbor),
            codec::JSON => Some(Self::Json),
            codec::CBOR => Some(Self::Cbor),
            _ => None,
        }
    }

    /// How ETags end that name it.
    pub fn ending(self) -> &'static str {
        self.media().rsplit(['/', '.']).next().unwrap_or_default()
    }
}

/// A request for content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Headers alone are wanted.
    pub head: bool,
    /// The host it was sent to, with the port.
    pub host: String,
    /// `http`, or `https` when a proxy says so.
    pub scheme: &'static str,
    /// The path, decoded.
    pub path: String,
    /// The path as it was sent.
    pub escaped: String,
    /// The query as it was sent.
    pub query: String,
    /// The form asked for by name.
    pub format: Option<Format>,
    /// The address alone does not tell the form: the header `Accept` did.
    pub negotiated: bool,
    /// What of the DAG, when a CAR is asked for.
    pub car: Option<CarForm>,
    /// The parameters of the form that `Accept` told, as pairs of a query.
    pub parameters: Vec<(&'static str, String)>,
    /// `Range`, where `If-Range` does not stand against it yet.
    pub range: Option<String>,
    /// `If-Range`.
    pub if_range: Option<String>,
    /// `If-None-Match`, several joined by commas.
    pub known: Option<String>,
    /// `If-Modified-Since`.
    pub since: Option<String>,
    /// A browser asks for a page.
    pub accepts_page: bool,
    /// Only what is here already.
    pub only_if_cached: bool,
    /// A browser wants to install the answer as a service worker.
    pub service_worker: bool,
    /// To be saved, not shown.
    pub download: bool,
    /// The name it is to be saved under.
    pub filename: Option<String>,
    /// An `ipfs://` address to be sent to.
    pub uri: Option<String>,
}

impl Request {
    /// Takes a request apart.
    ///
    /// # Errors
    /// 405 for other methods, 400 for what cannot be meant.
    pub fn parse(parts: &Parts) -> Result<Self, Refusal> {
        let head = match parts.method {
            Method::GET => false,
            Method::HEAD => true,
            _ => return Err(Refusal::method()),
        };
        let headers = &parts.headers;
        let path = escape::decode(parts.uri.path())
            .ok_or_else(|| Refusal::bad("the path is not UTF-8"))?;
        let query = parts.uri.query().unwrap_or_default();
        let pairs: Vec<(String, String)> = serde_html_form::from_str(query)
            .map_err(|e| Refusal::bad(format!("bad query: {e}")))?;
        let option = |name: &str| {
            let found = pairs.iter().find(|(key, value)| key == name && !value.is_empty());
            found.map(|(_, value)| value.clone())
        };
        let named = option("format").map(|name| by_name(&name)).transpose()?;
        let (accepted, parameters) = accepted(headers).unzip();
        let format = named.or(accepted);
        // Of a form that the query did not name, `Accept` says nothing.
        let parameters = parameters.filter(|_| accepted == format).unwrap_or_default();
        let car = match format {
            Some(Format::Car) => Some(CarForm::parse(&pairs, &parameters)?),
            _ => None,
        };
        Ok(Self {
            head,
            host: host(parts),
            scheme: scheme(headers),
            path,
            escaped: parts.uri.path().to_owned(),
            query: query.to_owned(),
            format,
            negotiated: accepted.is_some() && named != accepted,
            car,
            parameters: spelled_out(parameters),
            range: joined(headers, &header::RANGE),
            if_range: joined(headers, &header::IF_RANGE),
            known: joined(headers, &header::IF_NONE_MATCH),
            since: joined(headers, &header::IF_MODIFIED_SINCE),
            accepts_page: accepts_page(headers),
            only_if_cached: has_word(headers, &header::CACHE_CONTROL, "only-if-cached"),
            service_worker: has_word(headers, &SERVICE_WORKER, "script"),
            download: option("download").is_some_and(|value| value == "true"),
            filename: option("filename"),
            uri: option("uri"),
        })
    }

    /// Whether clients can check what is asked for: a block by its CID, a CAR, a signed record.
    pub fn is_trustless(&self, path: &Path) -> bool {
        match (self.format, path.cid()) {
            (Some(Format::Car), Some(_)) => true,
            (Some(Format::Raw), Some(_)) | (Some(Format::IpnsRecord), None) => {
                path.segments.is_empty()
            }
            _ => false,
        }
    }

    /// Whether the address ends as a folder's does.
    pub fn ends_in_slash(&self) -> bool {
        self.path.ends_with('/')
    }

    /// The query behind its question mark; nothing when there is none.
    pub fn question(&self) -> String {
        match self.query.is_empty() {
            true => String::new(),
            false => format!("?{}", self.query),
        }
    }
}

/// The methods there are.
pub const METHODS: &str = "GET, HEAD, OPTIONS";
const SERVICE_WORKER: HeaderName = HeaderName::from_static("service-worker");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-proto");

fn by_name(name: &str) -> Result<Format, Refusal> {
    let found = FORMATS.iter().find(|(_, known, _)| *known == name);
    found.map(|(format, ..)| *format).ok_or_else(|| Refusal::bad(format!("no format {name:?}")))
}

/// Whether a page is among what is accepted by name: browsers say so, tools do not.
pub fn accepts_page(headers: &HeaderMap) -> bool {
    joined(headers, &header::ACCEPT).is_some_and(|accepted| accepted.contains("text/html"))
}

/// The first form that `Accept` names, with its parameters; what browsers send names none.
fn accepted(headers: &HeaderMap) -> Option<(Format, Vec<(String, String)>)> {
    let listed = joined(headers, &header::ACCEPT)?;
    listed.split(',').find_map(|item| {
        let mut parts = item.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default();
        let found = FORMATS.iter().find(|(.., known)| known.eq_ignore_ascii_case(media));
        let pair = |part: &str| {
            let (name, value) = part.split_once('=')?;
            Some((name.trim().to_ascii_lowercase(), value.trim().trim_matches('"').to_owned()))
        };
        found.map(|(format, ..)| (*format, parts.filter_map(pair).collect()))
    })
}

/// Parameters of a type as pairs of a query; those that have no form there are left out.
fn spelled_out(parameters: Vec<(String, String)>) -> Vec<(&'static str, String)> {
    let long = |name: &str| PARAMETERS.iter().find(|(short, _)| *short == name);
    let pairs = parameters.into_iter();
    pairs.filter_map(|(name, value)| Some((long(&name)?.1, value))).collect()
}

/// The host that the client asked; a proxy before us says which that was.
fn host(parts: &Parts) -> String {
    let named = joined(&parts.headers, &FORWARDED_HOST);
    let named = named.or_else(|| parts.uri.authority().map(|a| a.as_str().to_owned()));
    named.or_else(|| joined(&parts.headers, &header::HOST)).unwrap_or_default()
}

fn scheme(headers: &HeaderMap) -> &'static str {
    match headers.get(FORWARDED).map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        _ => "http",
    }
}

fn has_word(headers: &HeaderMap, name: &HeaderName, word: &str) -> bool {
    let text = joined(headers, name).unwrap_or_default();
    text.split(',').any(|item| item.trim().eq_ignore_ascii_case(word))
}

/// A header's values, joined by commas; those that are not text do not count.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> =
        headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &str, uri: &str, headers: &[(&str, &str)]) -> Result<Request, Refusal> {
        let mut request = hyper::Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Request::parse(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn formats_come_from_the_query_before_the_header() {
        let raw = ("accept", "application/vnd.ipld.raw");
        for (uri, accept, format, negotiated) in [
            ("/ipfs/x", None, None, false),
            ("/ipfs/x", Some(raw), Some(Format::Raw), true),
            ("/ipfs/x?format=raw", Some(raw), Some(Format::Raw), false),
            ("/ipfs/x?format=tar", Some(raw), Some(Format::Tar), true),
            ("/ipfs/x?format=", Some(raw), Some(Format::Raw), true),
            ("/ipfs/x?format=dag-json", None, Some(Format::DagJson), false),
            ("/ipfs/x", Some(("accept", "text/html,*/*;q=0.8")), None, false),
            (
                "/ipfs/x",
                Some(("accept", "text/html, application/vnd.ipld.car; version=1;q=0.5")),
                Some(Format::Car),
                true,
            ),
            ("/ipfs/x", Some(("accept", "application/jsonx")), None, false),
        ] {
            let request = parse("GET", uri, accept.as_slice()).unwrap();
            assert_eq!((request.format, request.negotiated), (format, negotiated), "{uri}");
        }
        assert_eq!(parse("GET", "/ipfs/x?format=zip", &[]).unwrap_err().status.as_u16(), 400);
    }

    #[test]
    fn paths_are_decoded_and_queries_kept() {
        let request = parse("HEAD", "/ipfs/x/a%20b%2Fc/?filename=%C4%85+x&download=true", &[]);
        let request = request.unwrap();
        assert_eq!(request.path, "/ipfs/x/a b/c/");
        assert_eq!(request.filename.as_deref(), Some("ą x"));
        assert_eq!(request.question(), "?filename=%C4%85+x&download=true");
        assert!(request.head && request.download && request.ends_in_slash());
        assert_eq!(parse("GET", "/ipfs/%ff", &[]).unwrap_err().status.as_u16(), 400);
    }

    #[test]
    fn other_methods_are_refused() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"] {
            assert_eq!(parse(method, "/ipfs/x", &[]).unwrap_err().status.as_u16(), 405);
        }
    }

    #[test]
    fn conditions_are_read() {
        let request = parse(
            "GET",
            "/",
            &[
                ("if-none-match", "\"a\""),
                ("if-none-match", "\"b\""),
                ("cache-control", "no-transform, Only-If-Cached"),
                ("service-worker", "script"),
                ("range", "bytes=0-1"),
                ("host", "localhost:8080"),
                ("x-forwarded-proto", "https"),
            ],
        );
        let request = request.unwrap();
        assert_eq!(request.known.as_deref(), Some("\"a\",\"b\""));
        assert!(request.only_if_cached && request.service_worker);
        assert_eq!(request.range.as_deref(), Some("bytes=0-1"));
        assert_eq!((request.host.as_str(), request.scheme), ("localhost:8080", "https"));
        let proxied = [("host", "inner"), ("x-forwarded-host", "localhost")];
        assert_eq!(parse("GET", "/", &proxied).unwrap().host, "localhost");
    }

    #[test]
    fn every_format_has_a_name_of_its_own() {
        for (format, name, media) in FORMATS {
            assert_eq!((format.name(), format.media()), (name, media));
        }
        assert_eq!(Format::Tar.ending(), "x-tar");
        assert_eq!(Format::DagCbor.ending(), "dag-cbor");
    }
}
