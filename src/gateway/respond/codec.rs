//! Blocks of data in the codec they were written in. None is translated into another (IPIP-524)
//! unless the operator wants it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, HeaderMap, HeaderValue};
use hyper::{Response, StatusCode};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::{self, Outgoing};
use crate::gateway::request::Format;
use crate::ipld::cid::codec;
use crate::ipld::path::Path;
use crate::node::dag::DagGetOptions;

/// The block under the media type of its codec.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let own = Format::of_codec(found.cid().codec());
    let format = match (found.request.format, own) {
        (None, Some(own)) => own,
        (Some(wanted), Some(own)) if wanted == own => own,
        // The data model's codecs are JSON and CBOR with rules added: the same bytes.
        (Some(Format::Json), Some(Format::DagJson)) => Format::Json,
        (Some(Format::Cbor), Some(Format::DagCbor)) => Format::Cbor,
        (Some(wanted @ (Format::DagJson | Format::DagCbor)), _) if found.settings.converts => {
            return translated(found, wanted).await;
        }
        (wanted, _) => return Err(mismatch(found, wanted)),
    };
    found.block(heads(found, format)).await
}

fn heads(found: &Found<'_>, format: Format) -> HeaderMap {
    let (kind, ending) = match format {
        Format::DagJson | Format::Json => ("inline", "json"),
        _ => ("attachment", "cbor"),
    };
    let mut map = found.headers(format.media());
    found.dispose_inert(&mut map, kind, &format!("{}.{ending}", found.cid()));
    map
}

/// The block's data in another codec, where the operator allows that. It has no parts: its bytes
/// are made anew each time.
async fn translated(found: &Found<'_>, format: Format) -> Result<Response<Outgoing>, Refusal> {
    let options = DagGetOptions { output_codec: Some(format.name().to_owned()) };
    let data = found.node.dag_get(&Path::of(*found.cid()), &options).await?;
    let mut map = heads(found, format);
    map.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    map.insert(CONTENT_LENGTH, HeaderValue::from(data.len()));
    let body = if found.request.head { Outgoing::Done } else { Outgoing::whole(data) };
    Ok(reply::of(map, body))
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
