//! A whole DAG as a CAR, for clients that check it block by block.
//!
//! Serves the DAG of a bare CID, depth first, each block once. Parts of one (`dag-scope`,
//! `entity-bytes`), and the blocks along a path, are not served yet: half an answer could not be
//! told from a whole one.
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

use hyper::header::{ACCEPT_RANGES, HeaderValue};
use hyper::{Response, StatusCode};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::{self, Outgoing};
use crate::node::car::DagExportOptions;

/// What the stream is: version 1, in depth-first order, without duplicates.
const MEDIA: &str = "application/vnd.ipld.car; version=1; order=dfs; dups=n";

/// The archive of the DAG.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let asks = |name: &str| {
        let mut pairs = found.request.query.split('&');
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    };
    let part = asks("dag-scope").is_some_and(|scope| scope != "all")
        || asks("entity-bytes").is_some()
        || asks("car-dups") == Some("y")
        || asks("car-version").is_some_and(|version| version != "1");
    if part || !found.path.segments.is_empty() {
        let text = "only whole DAGs are served as CAR: /ipfs/<cid>?format=car";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, text));
    }
    let mut map = found.headers(MEDIA);
    map.insert(ACCEPT_RANGES, HeaderValue::from_static("none"));
    found.dispose_inert(&mut map, "attachment", &format!("{}.car", found.cid()));
    if found.request.head {
        return Ok(reply::of(map, Outgoing::Done));
    }
    let pieces = found.node.dag_export(&found.path, &DagExportOptions::default()).await?;
    Ok(reply::of(map, Outgoing::pieces(pieces)))
}
