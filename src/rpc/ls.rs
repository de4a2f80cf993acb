//! `ls`.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router, reply};
use crate::ipld::cid::Cid;
use crate::node::What;
use crate::node::ls::{LsEntry, LsOptions};

/// The entries of folders: one object a path, or one an entry when they are streamed.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: LsOptions = args.options()?;
    let texts = args.some("ipfs-path")?.to_vec();
    let paths = args.paths("ipfs-path")?;
    if !options.stream {
        let mut objects = Vec::with_capacity(paths.len());
        for (text, path) in texts.iter().zip(&paths) {
            let mut links = Vec::new();
            let mut entries = router.node.ls(path, &options).await?;
            while let Some(entry) = entries.recv().await {
                links.push(entry.map_err(Error::from)?);
            }
            links.sort_by(|a, b| a.name.cmp(&b.name));
            let print = args.printer();
            let links: Vec<Value> = links.iter().map(|entry| ls_link(entry, &print)).collect();
            objects.push(json!({ "Hash": text, "Links": links }));
        }
        return Ok(Reply::Value(json!({ "Objects": objects })));
    }
    let mut streams = Vec::with_capacity(paths.len());
    for (text, path) in texts.into_iter().zip(&paths) {
        let print = args.printer();
        let entries = reply::receive(router.node.ls(path, &options).await?);
        streams.push(entries.map(move |entry| {
            let link = ls_link(&entry.map_err(Error::from)?, &print);
            Ok(json!({ "Objects": [{ "Hash": text, "Links": [link] }] }))
        }));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(streams).flatten())))
}

/// One entry in Kubo's shape; its numbers for types are those of the UnixFS protobuf.
fn ls_link(entry: &LsEntry, print: &impl Fn(&Cid) -> String) -> Value {
    let (kind, size, target) = match &entry.what {
        Some(What::Directory) => (1, 0, String::new()),
        Some(What::File(size)) => (2, *size, String::new()),
        Some(What::Symlink(to)) => (4, 0, String::from_utf8_lossy(to).into_owned()),
        Some(What::Other) | None => (0, 0, String::new()),
    };
    let name = String::from_utf8_lossy(&entry.name);
    json!({ "Name": name, "Hash": print(&entry.cid), "Size": size, "Type": kind, "Target": target })
}
