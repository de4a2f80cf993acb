//! Folders: their `index.html`, or a page that lists them.
//!
//! The page is one file without scripts and without anything from elsewhere; names in it come from
//! strangers and are shown as text. Entries are written as the folder is read, none of them opened.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt::Write as _;

use bytes::Bytes;
use futures_util::stream;
use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, REFERRER_POLICY,
};

use super::{Found, file};
use crate::gateway::error::Refusal;
use crate::gateway::reply::{self, Outgoing};
use crate::gateway::{escape, etag, headers};
use crate::ipld::cid::{Cid, codec};
use crate::node::{Entries, Error, What};

/// The page that stands for a folder when it is there.
const INDEX: &str = "index.html";
/// Entries written at once, at most.
const BATCH: usize = 64;
/// What the listing may do: use its own style, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                      form-action 'none'";
const STYLE: &str = include_str!("listing.css");
const END: &str = "</tbody></table></main></body></html>\n";

/// The index, or the listing.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let index = found.node.entry(found.cid(), INDEX).await?;
    if let Some(index) = index
        && let What::File(size) = index.what
    {
        return file::serve(found, &index.cid, INDEX, size).await;
    }
    let mut map = found.headers("text/html; charset=utf-8");
    for (name, value) in [
        (ETAG, headers::value(&etag::of_listing(found.cid()))),
        (CACHE_CONTROL, HeaderValue::from_static(headers::LISTING)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ] {
        map.insert(name, value);
    }
    // A listing is no other form of the folder: there is no address that names it.
    map.remove(CONTENT_LOCATION);
    if found.request.head {
        return Ok(reply::of(map, Outgoing::Done));
    }
    let entries = found.node.entries(found.cid()).await?;
    Ok(reply::of(map, page(head(found), found.folder(), entries)))
}

/// What the page begins with: title, way back, column heads.
fn head(found: &Found<'_>) -> String {
    let (shown, cid) = (escape::show(found.shown.as_bytes()), found.cid());
    let mut way = format!("<a href=\"{}/\">{}</a>", found.base, root_name(found));
    let mut at = found.base.clone();
    for name in &found.path.segments {
        let _ = write!(at, "/{}", escape::encode(name.as_bytes()));
        let _ = write!(way, " / <a href=\"{at}/\">{}</a>", escape::show(name.as_bytes()));
    }
    let up = match found.path.segments.split_last() {
        None => String::new(),
        Some((_, above)) => {
            let above = escape::encode_path(above);
            format!("<tr><td><a href=\"{}{above}/\">..</a></td><td></td><td></td></tr>", found.base)
        }
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{shown}</title><style>{STYLE}</style></head><body>\
         <header><h1>{way}</h1><p class=\"cid\">{cid}</p></header>\
         <main><table><thead><tr><th>Name</th><th>CID</th><th>Size</th></tr></thead><tbody>\n{up}"
    )
}

fn root_name(found: &Found<'_>) -> String {
    found.path.cid().map_or_else(|| "/".into(), |cid| format!("/ipfs/{}", short(cid)))
}

/// The page as it is read: its head, rows in batches, its end.
fn page(head: String, folder: String, entries: Entries) -> Outgoing {
    let rows = stream::unfold(Some((head, folder, entries)), |state| async {
        let (mut text, folder, mut entries) = state?;
        for _ in 0..BATCH {
            match entries.recv().await {
                Some(Ok(entry)) => {
                    text.push_str(&row(&folder, &entry.name, &entry.cid, entry.tsize));
                }
                Some(Err(error)) => return Some((Err(Error::from(error)), None)),
                None => {
                    text.push_str(END);
                    return Some((Ok(Bytes::from(text)), None));
                }
            }
        }
        Some((Ok(Bytes::from(text)), Some((String::new(), folder, entries))))
    });
    Outgoing::Pieces(Box::pin(rows))
}

fn row(folder: &str, name: &[u8], cid: &Cid, size: u64) -> String {
    let (shown, target) = (escape::show(name), escape::encode(name));
    let kind = if cid.codec() == codec::RAW { "file" } else { "node" };
    format!(
        "<tr><td><a class=\"{kind}\" href=\"{folder}{target}\">{shown}</a></td>\
         <td class=\"cid\" title=\"{cid}\">{}</td><td>{}</td></tr>\n",
        short(cid),
        human(size)
    )
}

/// Both ends of a CID: enough to tell two apart by eye.
fn short(cid: &Cid) -> String {
    let text = cid.to_string();
    let tail = text.len().saturating_sub(4);
    match (text.get(..6), text.get(tail..)) {
        (Some(head), Some(end)) if tail > 8 => format!("{head}…{end}"),
        _ => text,
    }
}

/// A size for people to read.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in UNITS {
        if value < 1024.0 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    if value < 10.0 { format!("{value:.1} {unit}") } else { format!("{value:.0} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10 << 20, "10 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(human(bytes), text);
        }
    }

    #[test]
    fn a_row_holds_no_markup_of_its_name() {
        let dir = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let row = row("/ipfs/x/", b"\"><script>'&\xff\n", &dir, 5);
        assert!(row.contains("href=\"/ipfs/x/%22%3E%3Cscript%3E%27%26%FF%0A\""), "{row}");
        assert!(row.contains("&quot;&gt;&lt;script&gt;&#39;&amp;"), "{row}");
        assert!(!row.contains("<script") && row.contains("QmUNLL…A3Nn"), "{row}");
    }
}
