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
use crate::gateway::reply::{self, Outgoing, POLICY, STYLE};
use crate::gateway::{escape, etag, headers};
use crate::ipld::cid::Cid;
use crate::node::{Entries, Error, What};
use crate::size;

/// The page that stands for a folder when it is there.
const INDEX: &str = "index.html";
/// Entries written at once, at most.
const BATCH: usize = 64;
const END: &str = "</tbody></table></main></body></html>\n";

/// The index, or the listing.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let index = found.node.entry(found.cid(), INDEX).await?;
    if let Some(index) = index
        && let What::File(size) = index.what
    {
        return file::serve(found, &index, INDEX, size).await;
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
    Ok(reply::of(map, page(head(found), (found.folder(), found.above.clone()), entries)))
}

/// What the page begins with: title, way back, column heads. Kubo's words and links, by which its
/// users' tools read listings.
fn head(found: &Found<'_>) -> String {
    let (shown, cid) = (escape::show(found.shown.as_bytes()), found.cid());
    let root = found.path.cid().unwrap_or(cid);
    let mut at = format!("{}/ipfs/{root}", found.above);
    let mut way = format!("/ipfs/<a href=\"{at}\">{root}</a>");
    for name in &found.path.segments {
        let _ = write!(at, "/{}", escape::segment(name.as_bytes()));
        let _ = write!(way, "/<a href=\"{at}\">{}</a>", escape::show(name.as_bytes()));
    }
    let up = match found.path.segments.is_empty() {
        true => String::new(),
        false => {
            let folder = found.folder();
            format!("<tr><td><a href=\"{folder}..\">..</a></td><td></td><td></td></tr>")
        }
    };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{shown}</title><style>{STYLE}</style></head><body>\
         <header><h1>Index of {way}</h1><p class=\"cid\">{cid}</p></header>\
         <main><table><thead><tr><th>Name</th><th>CID</th><th>Size</th></tr></thead><tbody>\n{up}"
    )
}

/// The page as it is read: its head, rows in batches, its end. `places` are what stands before
/// names of entries, and before roots.
fn page(head: String, places: (String, String), entries: Entries) -> Outgoing {
    let rows = stream::unfold(Some((head, places, entries)), |state| async {
        let (mut text, places, mut entries) = state?;
        for _ in 0..BATCH {
            match entries.recv().await {
                Some(Ok(entry)) => {
                    text.push_str(&row(&places, &entry.name, &entry.cid, entry.tsize));
                }
                Some(Err(error)) => return Some((Err(Error::from(error)), None)),
                None => {
                    text.push_str(END);
                    return Some((Ok(Bytes::from(text)), None));
                }
            }
        }
        Some((Ok(Bytes::from(text)), Some((String::new(), places, entries))))
    });
    Outgoing::Pieces(Box::pin(rows))
}

fn row((folder, above): &(String, String), name: &[u8], cid: &Cid, size: u64) -> String {
    let (shown, target) = (escape::show(name), escape::segment(name));
    // Encoded twice, as Kubo does: the name that comes back is the address's spelling.
    let filename = escape::encode(escape::encode(name).as_bytes());
    format!(
        "<tr><td><a href=\"{folder}{target}\">{shown}</a></td><td class=\"cid\" title=\"{cid}\">\
         <a class=\"ipfs-hash\" translate=\"no\" href=\"{above}/ipfs/{cid}?filename={filename}\">{}\
         </a></td><td>{}</td></tr>\n",
        short(cid),
        size::short(size)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn a_row_holds_no_markup_of_its_name() {
        let dir = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let row = row(&("/ipfs/x/".into(), String::new()), b"\"><script>'&\xff\n", &dir, 5);
        assert!(row.contains("href=\"/ipfs/x/%22%3E%3Cscript%3E%27%26%FF%0A\""), "{row}");
        assert!(row.contains("&quot;&gt;&lt;script&gt;&#39;&amp;"), "{row}");
        assert!(!row.contains("<script") && row.contains("QmUNLL…A3Nn"), "{row}");
    }
}
