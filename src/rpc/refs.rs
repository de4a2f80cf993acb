//! `refs`.

use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::{Args, Error, Reply, Router, reply};
use crate::ipld::cid::Cid;
use crate::node::Step;
use crate::node::refs::RefsOptions;

/// The links below paths.
pub async fn refs(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: RefsOptions = args.options()?;
    let format = match (&options.format, options.edges) {
        (Some(format), _) => format.clone(),
        (None, true) => "<src> -> <dst>".to_owned(),
        (None, false) => "<dst>".to_owned(),
    };
    let mut streams = Vec::new();
    for path in args.paths("ipfs-path")? {
        let steps = reply::receive(router.node.refs(&path, &options).await?);
        let (format, print) = (format.clone(), args.printer());
        streams.push(steps.map(move |step| match step {
            Ok(step) => Ok(json!({ "Ref": render(&step, &format, &print), "Err": "" })),
            Err(error) => Err(crate::node::Error::from(error).into()),
        }));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(streams).flatten())))
}

/// Every block of the store.
pub async fn refs_local(router: &Router, args: Args) -> Result<Reply, Error> {
    let print = args.printer();
    let found = router.node.refs_local();
    Ok(Reply::lines(found, move |cid| json!({ "Ref": print(&cid), "Err": "" })))
}

/// A step as one line, with every token of `format` replaced.
fn render(step: &Step, format: &str, print: &impl Fn(&Cid) -> String) -> String {
    format
        .replace("<src>", &print(&step.from))
        .replace("<dst>", &print(&step.to))
        .replace("<linkname>", &String::from_utf8_lossy(&step.name))
}
