//! `block`.

use std::io::Read as _;

use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Body, Error, Reply, Router};
use crate::ipld::cid;
use crate::ipld::path::Path;
use crate::node::block::BlockPutOptions;
use crate::node::{Entry, Source};
use crate::task;

/// Most bytes taken for one block even with `--allow-big-block`: no upload grows memory further.
const UPLOAD_MAX_BYTES: u64 = 32 << 20;

/// One whole block.
pub async fn get(router: &Router, args: Args) -> Result<Reply, Error> {
    let path = Path::parse(args.one("cid")?)?;
    let block = router.node.block_get(&path).await?;
    Ok(Reply::whole(block.data().clone()))
}

/// A block's size, without its bytes.
pub async fn stat(router: &Router, args: Args) -> Result<Reply, Error> {
    let path = Path::parse(args.one("cid")?)?;
    let (cid, size) = router.node.block_stat(&path).await?;
    Ok(Reply::Value(json!({ "Key": args.cid(&cid), "Size": size })))
}

/// Stores each uploaded file as one block.
pub async fn put(router: &Router, args: Args, body: Body) -> Result<Reply, Error> {
    let options: BlockPutOptions = args.options()?;
    let Body::Files(mut source) = body else {
        return Err(Error::no_file("data"));
    };
    let mut put: Vec<Result<Value, Error>> = Vec::new();
    while let (Some(data), rest) = next_whole(source).await? {
        source = rest;
        let size = data.len();
        let cid = router.node.block_put(data, &options).await?;
        put.push(Ok(json!({ "Key": args.cid(&cid), "Size": size })));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(put))))
}

/// All of the next uploaded file, and the files after it.
pub(super) async fn next_whole(
    mut source: Source,
) -> Result<(Option<bytes::Bytes>, Source), Error> {
    task::blocking(move || match source.next() {
        Some(entry) => Ok((Some(whole(entry)?), source)),
        None => Ok((None, source)),
    })
    .await
}

/// All of one uploaded file.
fn whole(entry: std::io::Result<Entry>) -> Result<bytes::Bytes, Error> {
    let failed = |e: std::io::Error| Error { message: e.to_string(), client: false };
    let Some(reader) = entry.map_err(failed)?.content.into_reader() else {
        return Err(Error::invalid("a block is a file, not a folder"));
    };
    let mut data = Vec::new();
    reader.take(UPLOAD_MAX_BYTES + 1).read_to_end(&mut data).map_err(failed)?;
    match data.len() as u64 > UPLOAD_MAX_BYTES {
        true => Err(Error::invalid(format!("a block has at most {UPLOAD_MAX_BYTES} bytes"))),
        false => Ok(data.into()),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RmOptions {
    #[serde(alias = "f")]
    force: bool,
    #[serde(alias = "q")]
    quiet: bool,
}

/// Deletes blocks; what cannot be deleted is said in the reply, and the others still go.
pub async fn rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let RmOptions { force, quiet } = args.options()?;
    let cids = args.some("cid")?.iter().map(|text| cid::parse(text));
    let cids = cids.collect::<Result<Vec<_>, _>>()?;
    let mut lines: Vec<Result<Value, Error>> = Vec::new();
    for cid in cids {
        let shown = args.cid(&cid);
        match router.node.block_rm(cid).await {
            Ok(false) if !force => lines.push(Ok(json!({
                "Hash": shown,
                "Error": format!("ipld: could not find {cid}"),
            }))),
            Ok(_) if quiet => {}
            Ok(_) => lines.push(Ok(json!({ "Hash": shown }))),
            Err(error) => lines.push(Ok(json!({ "Hash": shown, "Error": error.to_string() }))),
        }
    }
    Ok(Reply::Lines(Box::pin(stream::iter(lines))))
}
