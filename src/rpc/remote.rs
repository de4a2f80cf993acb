//! `pin remote`: pins that somebody else keeps.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::Instant;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Common, Error, Reply, Router, peer};
use crate::config::services;
use crate::ipld::cid;
use crate::ipld::path::Path;
use crate::node::swarm::Target;
use crate::remote::{
    Client, Endpoint, Filter, NAME_MAX_CHARS, ORIGINS_MAX, Page, Pin, PinStatus, Status,
};
use crate::task;

/// Most addresses of the service that are connected with.
const DELEGATES_MAX: usize = 20;

#[derive(Default, Deserialize)]
#[serde(default)]
struct AddOptions {
    service: Option<String>,
    name: Option<String>,
    background: bool,
}

/// Asks a service to pin what a path leads to, and waits until it has.
pub async fn add(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: AddOptions = args.options()?;
    let common: Common = args.options()?;
    let until = common.deadline()?;
    let client = client(router, options.service.as_deref())?;
    let text = args.one("ipfs-path")?;
    let name = checked_name(options.name)?;
    let path = Path::parse(text)?;
    let cid = router.node.dag_resolve(&path).await?.cid;
    let pin = Pin { cid: cid.to_string(), name, origins: origins(router, &path).await };
    let mut told = client.add(&pin).await.map_err(failed)?;
    meet(router, &told.delegates);
    if !options.background {
        told = wait(&client, &told.requestid, until).await?;
    }
    shown(&told, &args.printer()).map(Reply::Value)
}

async fn wait(client: &Client, id: &str, until: Option<Instant>) -> Result<PinStatus, Error> {
    let looking = client.until_done(id);
    let ended = match until {
        None => looking.await,
        Some(until) => match tokio::time::timeout_at(until.into(), looking).await {
            Ok(ended) => ended,
            Err(_) => {
                let text = "waiting for pin interrupted, requestid=";
                return Err(Error::invalid(format!("{text}{id:?} remains on remote service")));
            }
        },
    };
    let unknown = "failed to check pin status for requestid=";
    let told = ended.map_err(|e| Error::invalid(format!("{unknown}{id:?} due to error: {e}")))?;
    match told.status {
        Status::Failed => {
            let why = told.info.get("status_details").map(|why| peer::clean(why));
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            Err(Error::invalid(format!("remote service failed to pin requestid={id:?}{why}")))
        }
        _ => Ok(told),
    }
}

/// This node's own addresses, if what is to be pinned is here and others can ask for it.
async fn origins(router: &Router, path: &Path) -> Vec<String> {
    if router.node.offline().block_stat(path).await.is_err() {
        return Vec::new();
    }
    let Some(me) = router.node.myself() else {
        tracing::info!("offline: a remote pin may fail if nobody else provides {path}");
        return Vec::new();
    };
    let mut addresses: Vec<String> = me.addresses.iter().map(ToString::to_string).collect();
    addresses.dedup();
    addresses.truncate(ORIGINS_MAX);
    addresses
}

/// Connects with whom the service says will fetch it, so that it need not be searched for us. Nobody
/// waits for that, and it may fail.
fn meet(router: &Router, delegates: &[String]) {
    if !router.node.is_online() {
        return;
    }
    let read = |text: &String| {
        let target = peer::target(text);
        target.inspect_err(|e| tracing::info!("a delegate that is no address: {e}")).ok()
    };
    let targets = delegates.iter().take(DELEGATES_MAX).filter_map(read).collect();
    for target in Target::group(targets) {
        let node = router.node.clone();
        task::detach(async move {
            if let Err(error) = node.swarm_connect(&target).await {
                tracing::info!("cannot connect with the delegate {}: {error}", target.peer);
            }
        });
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LsOptions {
    service: Option<String>,
    name: Option<String>,
    cid: Vec<String>,
    status: Vec<String>,
    force: bool,
}

impl LsOptions {
    fn filter(&self) -> Result<Filter, Error> {
        let mut cids: Vec<String> = Vec::new();
        for text in listed(&self.cid) {
            let bad = |e| Error::invalid(format!("CID {text:?} cannot be parsed: {e}"));
            let cid = cid::parse(text).map_err(bad)?.to_string();
            if !cids.contains(&cid) {
                cids.push(cid);
            }
        }
        let mut status: Vec<Status> = Vec::new();
        for text in listed(&self.status) {
            let read: Status = text.parse().map_err(Error::invalid)?;
            if !status.contains(&read) {
                status.push(read);
            }
        }
        if status.is_empty() {
            status.push(Status::Pinned);
        }
        let name = checked_name(self.name.clone())?;
        Ok(Filter { cids, name, status, ..Filter::default() })
    }
}

/// Values that may be many in one, as the command line takes them.
fn listed(texts: &[String]) -> impl Iterator<Item = &str> {
    texts.iter().flat_map(|text| text.split(',')).filter(|text| !text.is_empty())
}

/// Lists the pins at a service.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: LsOptions = args.options()?;
    let client = client(router, options.service.as_deref())?;
    let (out, pages) = tokio::sync::mpsc::channel::<Result<Page, Error>>(1);
    let filter = options.filter()?;
    task::detach(async move {
        let mut pages = client.pages(filter);
        while let Some(page) = pages.next().await.map_err(failed).transpose() {
            let last = page.is_err();
            if out.send(page).await.is_err() || last {
                return;
            }
        }
    });
    let print = args.printer();
    let lines = super::reply::receive(pages).flat_map(move |page| {
        let lines: Vec<Result<Value, Error>> = match page {
            Ok(page) => page.results.iter().map(|told| shown(told, &print)).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(lines)
    });
    Ok(Reply::Lines(Box::pin(lines)))
}

/// Takes pins back: the one that a filter leaves, or with `force` all of them.
pub async fn rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: LsOptions = args.options()?;
    let client = client(router, options.service.as_deref())?;
    if let Some(unexpected) = args.all().first() {
        return Err(Error::refused(format!("unexpected argument {unexpected:?}")));
    }
    let mut pages = client.pages(options.filter()?);
    let listing = |e| Error::invalid(format!("error while listing remote pins: {e}"));
    while let Some(page) = pages.next().await.map_err(listing)? {
        if !options.force && (page.count > 1 || page.results.len() > 1) {
            return Err(Error::invalid(
                "multiple remote pins are matching this query, add --force to confirm the bulk \
                 removal",
            ));
        }
        for told in page.results {
            let id = told.requestid;
            let kept = |e| {
                Error::invalid(format!("removing pin identified by requestid={id:?} failed: {e}"))
            };
            client.delete(&id).await.map_err(kept)?;
        }
    }
    Ok(Reply::Empty)
}

/// Writes a service into the configuration.
pub async fn service_add(router: &Router, args: Args) -> Result<Reply, Error> {
    let [name, endpoint, key] = args.all() else {
        let missing = ["service", "endpoint", "key"];
        return Err(match missing.get(args.all().len()) {
            Some(name) => Error::refused(format!("argument {name:?} is required")),
            None => Error::refused(format!("expected 3 arguments, got {}", args.all().len())),
        });
    };
    let endpoint: Endpoint = endpoint.parse().map_err(failed)?;
    // Whatever it cannot be asked with is refused before it is kept.
    Client::new(name, endpoint.clone(), key).map_err(failed)?;
    let mut config = router.repo.config().map_err(failed)?;
    let (name, endpoint, key) = (name.clone(), endpoint.to_string(), key.clone());
    let service = services::Service { name, endpoint, key };
    if !services::add(&mut config, service).map_err(failed)? {
        return Err(Error::invalid("service already present"));
    }
    router.repo.save_config(&config).map_err(failed)?;
    Ok(Reply::Empty)
}

/// Takes a service out of the configuration; says nothing when it was not there, as Kubo.
pub async fn service_rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let name = args.one("service")?;
    let mut config = router.repo.config().map_err(failed)?;
    services::remove(&mut config, name).map_err(failed)?;
    router.repo.save_config(&config).map_err(failed)?;
    Ok(Reply::Empty)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceLsOptions {
    stat: bool,
}

/// Names services and where they are; with `stat` how many pins each has.
pub async fn service_ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let ServiceLsOptions { stat } = args.options()?;
    let config = router.repo.config().map_err(failed)?;
    let all = services::all(&config);
    let looks = all.iter().map(|service| async move {
        let mut row = json!({ "Service": service.name, "ApiEndpoint": service.endpoint });
        if stat {
            row["Stat"] = match counts(service).await {
                Ok(counts) => json!({ "Status": "valid", "PinCount": counts }),
                // `pin remote ls` tells why.
                Err(_) => json!({ "Status": "invalid" }),
            };
        }
        row
    });
    let rows = futures_util::future::join_all(looks).await;
    Ok(Reply::Value(json!({ "RemoteServices": rows })))
}

async fn counts(service: &services::Service) -> Result<Value, Error> {
    let client = opened(service)?;
    let mut counts = json!({});
    for (name, status) in ["Queued", "Pinning", "Pinned", "Failed"].into_iter().zip(Status::ALL) {
        counts[name] = client.count(status).await.map_err(failed)?.into();
    }
    Ok(counts)
}

/// The service that a command names, in Kubo's words where it does not.
fn client(router: &Router, name: Option<&str>) -> Result<Client, Error> {
    let name = name.ok_or_else(|| Error::invalid("a service name must be passed"))?;
    if name.is_empty() {
        return Err(Error::invalid("remote pinning service name not specified"));
    }
    let config = router.repo.config().map_err(failed)?;
    let service = services::named(&config, name);
    opened(&service.ok_or_else(|| Error::invalid(format!("service not known: {name:?}")))?)
}

fn opened(service: &services::Service) -> Result<Client, Error> {
    let endpoint: Endpoint = service.endpoint.parse().map_err(failed)?;
    Client::new(&service.name, endpoint, &service.key).map_err(failed)
}

fn checked_name(name: Option<String>) -> Result<Option<String>, Error> {
    match name {
        Some(name) if name.chars().count() > NAME_MAX_CHARS => {
            Err(Error::invalid(format!("name cannot be longer than {NAME_MAX_CHARS}")))
        }
        other => Ok(other.filter(|name| !name.is_empty())),
    }
}

/// A request in Kubo's shape.
fn shown(told: &PinStatus, print: &impl Fn(&cid::Cid) -> String) -> Result<Value, Error> {
    let bad = |e| Error::invalid(format!("the service tells of a pin of no CID: {e}"));
    let cid = print(&cid::parse(&told.pin.cid).map_err(bad)?);
    let name = told.pin.name.as_deref().unwrap_or_default();
    Ok(json!({ "Status": told.status.word(), "Cid": cid, "Name": name }))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::invalid(error.to_string())
}
