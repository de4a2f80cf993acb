//! Files and symlinks, whole or in part.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, HeaderValue, LAST_MODIFIED};
use hyper::{Response, StatusCode};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::{self, Outgoing};
use crate::gateway::{date, headers, media};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::node::cat::CatOptions;
use crate::node::resolve::Place;

/// The file at the end of the path.
pub async fn respond(found: &Found<'_>, size: u64) -> Result<Response<Outgoing>, Refusal> {
    let name = found.path.segments.last().map(String::as_str).unwrap_or_default();
    serve(found, &found.place, name, size).await
}

/// A file under a name: its type from the name or the first bytes, then the part that is asked
/// for. A HEAD reads no more than the type takes.
pub async fn serve(
    found: &Found<'_>,
    file: &Place,
    name: &str,
    size: u64,
) -> Result<Response<Outgoing>, Refusal> {
    if let Some(most) = found.settings.range_file_max.filter(|most| size > *most)
        && found.request.range.is_some()
    {
        let text = format!(
            "no parts are served of files larger than {most} bytes: ask for blocks (?format=raw)"
        );
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    let cid = &file.cid;
    let name = found.request.filename.as_deref().unwrap_or(name);
    let media = match media::by_name(name) {
        Some(media) => media,
        None => media::by_content(&first_bytes(found, cid, size).await?),
    };
    let mut map = found.headers(media);
    if let Some(date) = file.mtime.and_then(date::text) {
        map.insert(LAST_MODIFIED, headers::value(&date));
    }
    if found.request.filename.is_some() || found.request.download {
        let fallback = if name.is_empty() { cid.to_string() } else { name.to_owned() };
        found.dispose(&mut map, "inline", &fallback);
    }
    let (status, start, end) = found.cut(&mut map, size)?;
    let body = match found.request.head || start == end {
        true => Outgoing::Done,
        false => Outgoing::pieces(read(found, cid, start, end.saturating_sub(start)).await?),
    };
    let mut response = reply::of(map, body);
    *response.status_mut() = status;
    Ok(response)
}

/// A symlink as its target: following it is the client's choice.
pub fn symlink(found: &Found<'_>, target: &Bytes) -> Response<Outgoing> {
    let mut map = found.headers("inode/symlink");
    map.insert(CONTENT_LENGTH, HeaderValue::from(target.len()));
    let body = if found.request.head { Outgoing::Done } else { Outgoing::whole(target.clone()) };
    reply::of(map, body)
}

async fn first_bytes(found: &Found<'_>, cid: &Cid, size: u64) -> Result<Vec<u8>, Refusal> {
    let mut pieces = read(found, cid, 0, size.min(media::SNIFF_BYTES as u64)).await?;
    let mut head = Vec::with_capacity(media::SNIFF_BYTES);
    while let Some(piece) = pieces.recv().await {
        head.extend_from_slice(&piece?);
    }
    Ok(head)
}

async fn read(
    found: &Found<'_>,
    cid: &Cid,
    start: u64,
    length: u64,
) -> Result<crate::node::Results<Bytes>, Refusal> {
    let bound = |n: u64| Some(i64::try_from(n).unwrap_or(i64::MAX));
    let options = CatOptions { offset: bound(start), length: bound(length) };
    Ok(found.node.cat(&[Path::of(*cid)], &options).await?.1)
}
