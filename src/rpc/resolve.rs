//! `resolve`.

use serde::Deserialize;
use serde_json::json;

use super::{Args, Error, Reply, Router};
use crate::ipld::cid;
use crate::ipld::multibase;
use crate::ipld::path::Path;
use crate::node::Resolved;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Bases {
    cid_base: Option<String>,
    upgrade_cidv0_in_output: Option<String>,
}

/// The path of the block that a path leads to, in the base that the path is written in unless
/// another one is asked for.
pub async fn resolve(router: &Router, args: Args) -> Result<Reply, Error> {
    let text = args.one("name")?;
    let path = Path::parse(text)?;
    let Resolved { cid, inside } = router.node.dag_resolve(&path).await?;
    let bases: Bases = args.options()?;
    let asked = bases.cid_base.is_some() || bases.upgrade_cidv0_in_output.is_some();
    let head = text.split('/').find(|part| cid::parse(part).is_ok());
    let shown = match head.and_then(multibase::of_cid).filter(|_| !asked) {
        Some(base) => cid::print(&cid, base, true),
        None => args.cid(&cid),
    };
    let below: String = inside.iter().map(|name| format!("/{name}")).collect();
    Ok(Reply::Value(json!({ "Path": format!("/ipfs/{shown}{below}") })))
}
