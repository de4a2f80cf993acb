//! `pin`.

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Args, Error, Reply, Router, reply};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::node::pin::{
    Kept, PinAddEvent, PinAddOptions, PinLsOptions, PinRmOptions, PinRow, PinUpdateOptions,
};

/// Pins paths.
pub async fn add(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: PinAddOptions = args.options()?;
    let Shape { progress } = args.options()?;
    if progress {
        let print = args.printer();
        let events = router.node.pin_add_telling(args.paths("ipfs-path")?, options);
        let told = reply::receive(events).map(move |event| match event {
            Ok(event) => Ok(event_value(&event, &print)),
            Err(error) => Err(named(error)),
        });
        return Ok(Reply::Lines(Box::pin(told)));
    }
    let cids = router.node.pin_add(&args.paths("ipfs-path")?, &options).await.map_err(named)?;
    let pins: Vec<String> = cids.iter().map(|cid| args.cid(cid)).collect();
    Ok(Reply::Value(json!({ "Pins": pins })))
}

/// Options that shape the reply.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Shape {
    progress: bool,
}

/// Kubo's shape, which leaves out what is nothing.
fn event_value(event: &PinAddEvent, print: &impl Fn(&Cid) -> String) -> Value {
    match event {
        PinAddEvent::Pinned(cids) => {
            json!({ "Pins": cids.iter().map(print).collect::<Vec<String>>() })
        }
        PinAddEvent::Progress { blocks, bytes } => {
            let told = [("Progress", *blocks), ("Bytes", *bytes)].into_iter();
            told.filter(|(_, n)| *n > 0)
                .map(|(name, n)| (name.to_owned(), Value::from(n)))
                .collect()
        }
    }
}

/// Kubo says which command failed, here and not elsewhere.
fn named(error: crate::node::Error) -> Error {
    let error = Error::from(error);
    Error { message: format!("pin: {}", error.message), ..error }
}

/// Removes pins.
pub async fn rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: PinRmOptions = args.options()?;
    let cids = router.node.pin_rm(&args.paths("ipfs-path")?, &options).await?;
    let pins: Vec<String> = cids.iter().map(|cid| args.cid(cid)).collect();
    Ok(Reply::Value(json!({ "Pins": pins })))
}

/// Lists pins, or tells how the named blocks are kept.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: PinLsOptions = args.options()?;
    let named = options.names || options.name.is_some();
    let print = args.printer();
    let line = move |row: &PinRow| {
        let name = if named { row.name.as_str() } else { "" };
        (print(&row.cid), kept_text(&row.kept, &print), name.to_owned())
    };
    let row_value = |(cid, kept, name): (String, String, String)| match name.is_empty() {
        true => json!({ "Cid": cid, "Type": kept }),
        false => json!({ "Cid": cid, "Type": kept, "Name": name }),
    };
    if args.all().is_empty() && options.stream {
        let rows = router.node.pin_ls(&options)?;
        return Ok(Reply::lines(rows, move |row| row_value(line(&row))));
    }
    let mut keys = Map::new();
    let mut keep = |row: &PinRow| {
        let (cid, kept, name) = line(row);
        keys.insert(cid, json!({ "Type": kept, "Name": name }));
    };
    if args.all().is_empty() {
        let mut rows = router.node.pin_ls(&options)?;
        while let Some(row) = rows.recv().await {
            keep(&row.map_err(Error::from)?);
        }
    } else {
        let parse = |text: &String| Ok((text.clone(), Path::parse(text)?));
        let paths = args.all().iter().map(parse).collect::<Result<Vec<_>, Error>>()?;
        let rows = router.node.pin_state(&paths, &options).await?;
        if options.stream {
            let values: Vec<_> = rows.iter().map(|row| Ok(row_value(line(row)))).collect();
            return Ok(Reply::Lines(Box::pin(futures_util::stream::iter(values))));
        }
        rows.iter().for_each(&mut keep);
    }
    let reply = if keys.is_empty() { json!({}) } else { json!({ "Keys": Value::Object(keys) }) };
    Ok(Reply::Value(reply))
}

fn kept_text(kept: &Kept, print: &impl Fn(&Cid) -> String) -> String {
    match kept {
        Kept::Recursive => "recursive".into(),
        Kept::Direct => "direct".into(),
        Kept::Indirect(None) => "indirect".into(),
        Kept::Indirect(Some(root)) => format!("indirect through {}", print(root)),
    }
}

/// Moves a pin.
pub async fn update(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: PinUpdateOptions = args.options()?;
    let paths = args.paths("from-path")?;
    let [from, to] = paths.as_slice() else {
        return Err(Error::refused(format!("expected 2 arguments, got {}", paths.len())));
    };
    let cids = router.node.pin_update(from, to, &options).await?;
    Ok(Reply::Value(json!({ "Pins": cids.map(|cid| args.cid(&cid)) })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct VerifyOptions {
    verbose: bool,
    #[serde(alias = "q")]
    quiet: bool,
}

/// Tells of recursive pins that lack blocks.
pub async fn verify(router: &Router, args: Args) -> Result<Reply, Error> {
    let VerifyOptions { verbose, quiet } = args.options()?;
    if verbose && quiet {
        let text = "the --verbose and --quiet options can not be used at the same time";
        return Err(Error { message: text.into(), client: false });
    }
    let print = args.printer();
    let told = reply::receive(router.node.pin_verify()).filter_map(move |item| {
        let line = match item {
            Err(error) => Some(Err(error.into())),
            Ok(found) if found.bad.is_empty() => {
                verbose.then(|| Ok(json!({ "Cid": print(&found.cid), "Ok": true })))
            }
            Ok(found) if quiet => Some(Ok(json!({ "Cid": print(&found.cid) }))),
            Ok(found) => {
                let bad = found.bad.iter();
                let bad: Vec<Value> =
                    bad.map(|b| json!({ "Cid": print(&b.cid), "Err": b.cause })).collect();
                Some(Ok(json!({ "Cid": print(&found.cid), "BadNodes": bad })))
            }
        };
        async { line }
    });
    Ok(Reply::Lines(Box::pin(told)))
}
