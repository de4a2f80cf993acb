//! A DAG, or a part of it, as a CAR, for clients that check it block by block.
//!
//! Source: ipfs/specs trustless-gateway.md.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::Response;
use hyper::header::{ACCEPT_RANGES, HeaderValue};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::extent::CarForm;
use crate::gateway::reply::{self, Outgoing};

/// The archive: the blocks along the path, and those that are asked for below its end.
pub async fn respond(found: &Found<'_>, form: &CarForm) -> Result<Response<Outgoing>, Refusal> {
    let mut map = found.headers(&form.media());
    map.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    let root = found.path.cid().unwrap_or(found.cid());
    let name = match found.path.segments.last() {
        Some(last) => format!("{root}_{last}.car"),
        None => format!("{root}.car"),
    };
    found.dispose_inert(&mut map, "attachment", &name);
    if found.request.head {
        return Ok(reply::of(map, Outgoing::Done));
    }
    let pieces = found.node.part(&found.path, form.extent).await?;
    Ok(reply::of(map, Outgoing::pieces(pieces)))
}
