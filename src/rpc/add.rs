//! `add`.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{Args, Body, Error, Reply, Router, reply};
use crate::node::add::{AddEvent, AddOptions};
use crate::node::{Meta, Mtime};

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
        Ok(AddEvent::Added { name, cid, size, meta }) => {
            let row = json!({ "Name": name, "Hash": print(&cid), "Size": size.to_string() });
            Ok(carrying(row, &meta))
        }
        Err(error) => Err(Error::from(error)),
    });
    Ok(Reply::Lines(Box::pin(shown)))
}

/// A row with the permissions and the time that came with the entry, where they are known.
fn carrying(mut row: Value, meta: &Meta) -> Value {
    let mut add = |name: &str, value: Value| {
        if let Some(fields) = row.as_object_mut() {
            fields.insert(name.into(), value);
        }
    };
    if let Some(mode) = meta.mode {
        add("Mode", format!("0{mode:o}").into());
    }
    if let Some(Mtime { seconds, nanos }) = meta.mtime {
        add("Mtime", seconds.into());
        if nanos > 0 {
            add("MtimeNsecs", nanos.into());
        }
    }
    row
}
