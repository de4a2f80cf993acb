//! A single block as it is, for clients that check it themselves.
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

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::Outgoing;
use crate::gateway::request::Format;

/// The block, or a part of it.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let mut map = found.headers(Format::Raw.media());
    found.dispose_inert(&mut map, "attachment", &format!("{}.bin", found.cid()));
    found.block(map).await
}
