//! Files and folders as one archive.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use futures_util::stream::{self, StreamExt as _};
use hyper::Response;
use hyper::header::{ACCEPT_RANGES, HeaderValue};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::{self, Outgoing};
use crate::gateway::request::Format;
use crate::node::What;

/// Pieces that are waited for before the reply begins: the head of the folder, that of its first
/// entry.
const FIRST: usize = 2;

/// The archive; its one member at the top is named as the end of the path.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    if found.place.what == What::Other {
        return Err(Refusal::bad(format!("{} is not a file or folder", found.cid())));
    }
    let mut map = found.headers(Format::Tar.media());
    map.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    found.dispose_inert(&mut map, "attachment", &format!("{}.tar", found.cid()));
    if found.request.head {
        return Ok(reply::of(map, Outgoing::Done));
    }
    let mut pieces = found.node.get(&found.path, &found.path.file_name(), None).await?;
    // What is wrong with the first entry can still be told by a status.
    let mut first = Vec::with_capacity(FIRST);
    while first.len() < FIRST
        && let Some(piece) = pieces.recv().await
    {
        first.push(Ok(piece?));
    }
    let whole = stream::iter(first).chain(reply::as_pieces(pieces));
    Ok(reply::of(map, Outgoing::Pieces(Box::pin(whole))))
}
