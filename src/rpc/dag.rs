//! `dag`.

use super::{Args, Error, Reply, Router};
use crate::ipld::path::Path;
use crate::node::dag::DagGetOptions;

/// A block as data.
pub async fn get(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: DagGetOptions = args.options()?;
    let path = Path::parse(args.one("ref")?)?;
    Ok(Reply::whole(router.node.dag_get(&path, &options).await?.into()))
}
