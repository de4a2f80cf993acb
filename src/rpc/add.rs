//! `add`.

use serde_json::json;

use super::{Args, Body, Error, Reply, Router};
use crate::node::add::{AddEvent, AddOptions};

/// Imports the uploaded files.
pub async fn add(router: &Router, args: Args, body: Body) -> Result<Reply, Error> {
    let options: AddOptions = args.options()?;
    let Body::Files(source) = body else {
        return Err(Error::invalid("argument \"path\" is required"));
    };
    let print = args.printer();
    let events = router.node.add(source, options).await?;
    Ok(Reply::lines(events, move |event| match event {
        AddEvent::Progress { name, bytes } => json!({ "Name": name, "Bytes": bytes }),
        AddEvent::Added { name, cid, size } => {
            json!({ "Name": name, "Hash": print(&cid), "Size": size.to_string() })
        }
    }))
}
