//! Blocks of data in the codec they were written in. None is translated into another (IPIP-524).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::{Response, StatusCode};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::Outgoing;
use crate::gateway::request::Format;
use crate::ipld::cid::codec;

/// The block under the media type of its codec.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let own = Format::of_codec(found.cid().codec());
    let format = match (found.request.format, own) {
        (None, Some(own)) => own,
        (Some(wanted), Some(own)) if wanted == own => own,
        // The data model's codecs are JSON and CBOR with rules added: the same bytes.
        (Some(Format::Json), Some(Format::DagJson)) => Format::Json,
        (Some(Format::Cbor), Some(Format::DagCbor)) => Format::Cbor,
        (wanted, _) => return Err(mismatch(found, wanted)),
    };
    let (kind, ending) = match format {
        Format::DagJson | Format::Json => ("inline", "json"),
        _ => ("attachment", "cbor"),
    };
    let mut map = found.headers(format.media());
    found.dispose_inert(&mut map, kind, &format!("{}.{ending}", found.cid()));
    found.block(map).await
}

fn mismatch(found: &Found<'_>, wanted: Option<Format>) -> Refusal {
    let code = found.cid().codec();
    let name = codec::name(code).map_or_else(|| format!("0x{code:x}"), str::to_owned);
    let (status, asked) = match wanted {
        Some(format) => (StatusCode::NOT_ACCEPTABLE, format!(", not {}", format.name())),
        None => (StatusCode::BAD_REQUEST, ", which has no page of its own".to_owned()),
    };
    let text = format!(
        "{} is {name}{asked}: nothing is translated here, ask with ?format=raw",
        found.cid()
    );
    Refusal::new(status, text)
}
