//! `pin`.

use std::time::{Duration, UNIX_EPOCH};

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Args, Error, Reply, Router, reply};
use crate::clock::rfc3339;
use crate::config::units::parse_duration;
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::node::pin::{
    Kept, PinAddEvent, PinAddOptions, PinLsOptions, PinRmOptions, PinRow, PinUpdateOptions,
};
use crate::node::service::{Fetching, Waiting};

/// Pins paths.
pub async fn add(router: &Router, args: Args) -> Result<Reply, Error> {
    let mut options: PinAddOptions = args.options()?;
    options.keep_for = options.expire_in.as_deref().map(time_to_keep).transpose()?;
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

/// How long a pin is kept: some time, or it would be gone before anybody knew.
fn time_to_keep(text: &str) -> Result<Duration, Error> {
    let refuse = |why: String| Error::refused(format!("invalid expire-in: {why}"));
    let time = parse_duration(text).map_err(|error| refuse(error.to_string()))?;
    match time.is_zero() {
        true => Err(refuse(format!("{text:?} is no time"))),
        false => Ok(time),
    }
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

/// What tenants wait for, and what is being fetched for them.
pub fn queue(router: &Router) -> Result<Reply, Error> {
    let fetching = |fetching: &Fetching| {
        let mut value = json!({
            "Cid": fetching.cid,
            "Name": fetching.name,
            "Blocks": fetching.blocks,
            "Bytes": fetching.bytes,
            "Seconds": fetching.time.as_secs(),
        });
        if let Some(size) = fetching.size {
            value["Size"] = size.into();
        }
        if !fetching.asking.is_empty() {
            value["Asking"] = fetching.asking.as_str().into();
        }
        value
    };
    let tenant = |waiting: &Waiting| {
        json!({
            "Tenant": waiting.tenant,
            "Queued": waiting.ready,
            "Later": waiting.later,
            "Pinning": waiting.fetching.iter().map(fetching).collect::<Vec<_>>(),
        })
    };
    let queue = router.node.service().queue();
    Ok(Reply::Value(json!({ "Tenants": queue.iter().map(tenant).collect::<Vec<_>>() })))
}

/// Lists pins, or tells how the named blocks are kept.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: PinLsOptions = args.options()?;
    let print = args.printer();
    let shape =
        Row { named: options.names || options.long || options.name.is_some(), long: options.long };
    if args.all().is_empty() {
        let rows = router.node.pin_ls(&options)?;
        if options.stream {
            return Ok(Reply::lines(rows, move |row| shape.line(&row, &print)));
        }
        let entries = reply::receive(rows).map(move |row| {
            let row = row?;
            Ok((print(&row.cid), shape.entry(&row, &print)))
        });
        return Ok(Reply::Object { name: "Keys", entries: Box::pin(entries) });
    }
    let parse = |text: &String| Ok((text.clone(), Path::parse(text)?));
    let paths = args.all().iter().map(parse).collect::<Result<Vec<_>, Error>>()?;
    let rows = router.node.pin_state(&paths, &options).await?;
    if options.stream {
        let values: Vec<_> = rows.iter().map(|row| Ok(shape.line(row, &print))).collect();
        return Ok(Reply::Lines(Box::pin(futures_util::stream::iter(values))));
    }
    let entry = |row: &PinRow| (print(&row.cid), shape.entry(row, &print));
    let keys: Map<String, Value> = rows.iter().map(entry).collect();
    Ok(Reply::Value(json!({ "Keys": keys })))
}

/// How rows of `pin ls` are shaped: as Kubo's, and what Kubo's pins have not behind it, where it says
/// something or was asked for.
#[derive(Clone, Copy)]
struct Row {
    named: bool,
    long: bool,
}

impl Row {
    /// A row of a stream.
    fn line(self, row: &PinRow, print: &impl Fn(&Cid) -> String) -> Value {
        let mut value = json!({ "Cid": print(&row.cid), "Type": kept_text(&row.kept, print) });
        if self.named && !row.name.is_empty() {
            value["Name"] = row.name.as_str().into();
        }
        self.with_more(value, row)
    }

    /// What is said of a CID in a reply that is one value.
    fn entry(self, row: &PinRow, print: &impl Fn(&Cid) -> String) -> Value {
        let name = if self.named { row.name.as_str() } else { "" };
        self.with_more(json!({ "Type": kept_text(&row.kept, print), "Name": name }), row)
    }

    fn with_more(self, mut value: Value, row: &PinRow) -> Value {
        let more = self.long || row.expires.is_some() || !row.labels.is_empty();
        let text = |seconds| Some(rfc3339(UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?));
        if let Some(created) = row.created.filter(|_| more).and_then(text) {
            value["Created"] = created.into();
        }
        if let Some(expires) = row.expires.and_then(text) {
            value["Expires"] = expires.into();
        }
        if !row.labels.is_empty() {
            value["Labels"] = json!(row.labels);
        }
        value
    }
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
