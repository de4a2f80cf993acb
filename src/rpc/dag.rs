//! `dag`.

use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Args, Body, Error, Reply, Router, block};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::node::car::{DagExportOptions, DagImportEvent, DagImportOptions};
use crate::node::dag::{DagGetOptions, DagPutOptions, DagStat};

/// A block as data.
pub async fn get(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: DagGetOptions = args.options()?;
    let path = Path::parse(args.one("ref")?)?;
    Ok(Reply::whole(router.node.dag_get(&path, &options).await?.into()))
}

/// Stores each uploaded file as one block of data.
pub async fn put(router: &Router, args: Args, body: Body) -> Result<Reply, Error> {
    let options: DagPutOptions = args.options()?;
    let Body::Files(mut source) = body else {
        return Err(Error::no_file("object data"));
    };
    let mut put: Vec<Result<Value, Error>> = Vec::new();
    while let (Some(data), rest) = block::next_whole(source).await? {
        source = rest;
        let cid = router.node.dag_put(data, &options).await?;
        put.push(Ok(json!({ "Cid": { "/": args.cid(&cid) } })));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(put))))
}

/// The last block on a path.
pub async fn resolve(router: &Router, args: Args) -> Result<Reply, Error> {
    let path = Path::parse(args.one("ref")?)?;
    let resolved = router.node.dag_resolve(&path).await?;
    let cid = json!({ "/": args.cid(&resolved.cid) });
    Ok(Reply::Value(json!({ "Cid": cid, "RemPath": resolved.inside.join("/") })))
}

/// Imports the uploaded CARs.
pub async fn import(router: &Router, args: Args, body: Body) -> Result<Reply, Error> {
    let options: DagImportOptions = args.options()?;
    let Body::Files(source) = body else {
        return Err(Error::no_file("path"));
    };
    let print = args.printer();
    let events = router.node.dag_import(source, options).await?;
    Ok(Reply::lines(events, move |event| match event {
        DagImportEvent::Root { cid, error } => {
            let message = error.unwrap_or_default();
            json!({ "Root": { "Cid": { "/": print(&cid) }, "PinErrorMsg": message } })
        }
        DagImportEvent::Stats { blocks, bytes } => {
            json!({ "Stats": { "BlockCount": blocks, "BlockBytesCount": bytes } })
        }
    }))
}

/// A DAG as a CAR.
pub async fn export(router: &Router, args: Args) -> Result<Reply, Error> {
    let path = Path::parse(args.one("root")?)?;
    let options: DagExportOptions = args.options()?;
    let Explicit { offline } = args.options()?;
    if options.local_only && offline == Some(false) {
        let text = "--local-only implies --offline and cannot be combined with --offline=false; \
                    please drop one of them";
        return Err(Error::invalid(text));
    }
    Ok(Reply::bytes(router.node.dag_export(&path, &options).await?, None))
}

/// What was said outright of an option that every command takes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Explicit {
    offline: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StatOptions {
    #[serde(alias = "p")]
    progress: Option<bool>,
}

/// Sizes of DAGs: reports unless they are not wanted, then the result.
pub async fn stat(router: &Router, args: Args) -> Result<Reply, Error> {
    let StatOptions { progress } = args.options()?;
    let paths = args.paths("root")?;
    let stats = router.node.dag_stat(&paths, progress.unwrap_or(true)).await?;
    let print = args.printer();
    Ok(Reply::lines(stats, move |stat| stat_value(&stat, &print)))
}

/// Kubo's shape, which leaves out what is zero, and before the end what is not known yet.
fn stat_value(stat: &DagStat, print: &impl Fn(&Cid) -> String) -> Value {
    let mut fields = Map::new();
    let mut put = |name: &str, value: u64| {
        if value != 0 {
            fields.insert(name.to_owned(), value.into());
        }
    };
    if stat.done {
        put("UniqueBlocks", stat.unique_blocks);
    }
    put("TotalSize", stat.total_size);
    if stat.done {
        put("SharedSize", stat.shared_size);
        // The shortest text of a 32-bit float, which is not that of the 64-bit float beside it.
        if let Ok(ratio) = serde_json::from_str::<Value>(&stat.ratio().to_string()) {
            fields.insert("Ratio".into(), ratio);
        }
    }
    let root = |root: &crate::node::dag::RootStat| {
        let mut fields = Map::from_iter([("Cid".to_owned(), Value::from(print(&root.cid)))]);
        for (name, value) in [("Size", root.size), ("NumBlocks", root.blocks)] {
            if value != 0 {
                fields.insert(name.to_owned(), value.into());
            }
        }
        Value::Object(fields)
    };
    fields.insert("DagStats".into(), stat.roots.iter().map(root).collect());
    Value::Object(fields)
}
