//! `add`.

use futures_util::StreamExt as _;
use serde_json::json;

use super::{Args, Body, Error, Reply, Router, reply};
use crate::node::add::{AddEvent, AddOptions};

/// Imports the uploaded files; tells of bytes read only where that was asked for.
pub async fn add(router: &Router, args: Args, body: Body) -> Result<Reply, Error> {
    let options: AddOptions = args.options()?;
    let Body::Files(source) = body else {
        return Err(Error::no_file("path"));
    };
    let print = args.printer();
    let events = reply::receive(router.node.add(source, options).await?);
    let shown = events.map(move |event| match event {
        Ok(AddEvent::Progress { name, bytes }) => Ok(json!({ "Name": name, "Bytes": bytes })),
        Ok(AddEvent::Added { name, cid, size }) => {
            Ok(json!({ "Name": name, "Hash": print(&cid), "Size": size.to_string() }))
        }
        Err(error) => Err(Error::from(error)),
    });
    Ok(Reply::Lines(Box::pin(shown)))
}
