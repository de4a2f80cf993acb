//! `cat`, `get`, `ls`, `refs`.

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write as _;

use super::{Args, Error, Reply, Router, reply};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::node::What;
use crate::node::cat::CatOptions;
use crate::node::ls::{LsEntry, LsOptions};
use crate::node::refs::{RefsOptions, render};

/// The content of files.
pub async fn cat(router: &Router, args: Args) -> Result<Reply, Error> {
    let paths = args.paths("ipfs-path")?;
    let options: CatOptions = args.options()?;
    let (length, content) = router.node.cat(&paths, &options).await?;
    Ok(Reply::bytes(content, Some(length)))
}

/// Options of `get` that shape the reply; where it is written is the client's affair.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct GetShape {
    #[serde(alias = "a")]
    archive: bool,
    #[serde(alias = "C")]
    compress: bool,
    #[serde(alias = "l")]
    compression_level: Option<u32>,
}

/// A file or folder as TAR; a lone file that is compressed but not archived as itself.
pub async fn get(router: &Router, args: Args) -> Result<Reply, Error> {
    let text = args.one("ipfs-path")?;
    let shape: GetShape = args.options()?;
    let path = Path::parse(text)?;
    let content = match shape.compress && !shape.archive {
        true => router.node.cat(&[path], &CatOptions::default()).await?.1,
        false => router.node.get(&path, &path.file_name()).await?,
    };
    let plain = Reply::bytes(content, None);
    match shape.compress {
        false => Ok(plain),
        true => gzip(plain, shape.compression_level.unwrap_or(6)),
    }
}

/// Compresses a reply as it streams by.
fn gzip(reply: Reply, level: u32) -> Result<Reply, Error> {
    if !(1..=9).contains(&level) {
        return Err(Error::invalid("compression level must be between 1 and 9"));
    }
    let Reply::Bytes { stream, .. } = reply else { return Ok(reply) };
    let encoder = GzEncoder::new(Vec::new(), Compression::new(level));
    let packed = stream::unfold(Some((stream, encoder)), |state| async {
        let (mut stream, mut encoder) = state?;
        let failed = |e: std::io::Error| Error { message: e.to_string(), client: false };
        Some(match stream.next().await {
            Some(Ok(piece)) => match encoder.write_all(&piece) {
                Ok(()) => (Ok(std::mem::take(encoder.get_mut()).into()), Some((stream, encoder))),
                Err(error) => (Err(failed(error)), None),
            },
            Some(Err(error)) => (Err(error), None),
            None => (encoder.finish().map(bytes::Bytes::from).map_err(failed), None),
        })
    });
    Ok(Reply::Bytes { stream: Box::pin(packed), length: None })
}

/// The entries of folders: one object a path, or one an entry when they are streamed.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let texts = args.some("ipfs-path")?.to_vec();
    let paths = args.paths("ipfs-path")?;
    let options: LsOptions = args.options()?;
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
        let format = format.clone();
        streams.push(steps.map(move |step| match step {
            Ok(step) => Ok(json!({ "Ref": render(&step, &format), "Err": "" })),
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
