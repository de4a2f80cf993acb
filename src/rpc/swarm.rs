//! `swarm`: who is connected, and being connected.

use std::time::Duration;

use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Args, Error, Reply, Router, peer};
use crate::config::lists;
use crate::node;
use crate::node::swarm::{Connection, Multiaddr, Peer, PeerId, Target, Who};

/// Where filters are kept over a restart.
const FILTERS: &str = "Swarm.AddrFilters";

#[derive(Default, Deserialize)]
#[serde(default)]
struct PeersOptions {
    #[serde(alias = "v")]
    verbose: bool,
    latency: bool,
    direction: bool,
    identify: bool,
}

/// Every connection.
pub async fn peers(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: PeersOptions = args.options()?;
    let peers = router.node.swarm_peers().await.map_err(acting)?;
    let mut rows: Vec<(String, Value)> =
        peers.iter().flat_map(|peer| connections(peer, &options)).collect();
    rows.sort_by(|(a, _), (b, _)| a.cmp(b));
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    let rows = if rows.is_empty() { Value::Null } else { Value::Array(rows) };
    Ok(Reply::Value(json!({ "Peers": rows })))
}

/// A peer's connections, each with its address.
fn connections(peer: &Peer, options: &PeersOptions) -> Vec<(String, Value)> {
    let id = peer.id.to_base58();
    let identify = match options.verbose || options.identify {
        true => peer::told(&Who::of(peer), id.clone()),
        false => json!({
            "ID": "", "PublicKey": "", "Addresses": null, "AgentVersion": "", "Protocols": null,
        }),
    };
    let row = |connection: &Connection| {
        let address = bare(&connection.address, &id);
        let mut row = Map::new();
        row.insert("Addr".into(), json!(address));
        row.insert("Peer".into(), json!(id));
        if options.verbose || options.latency {
            let latency = peer.latency.map_or_else(|| "n/a".to_owned(), go_duration);
            row.insert("Latency".into(), json!(latency));
        }
        if options.verbose || options.direction {
            row.insert("Direction".into(), json!(if connection.outbound { 2 } else { 1 }));
        }
        row.insert("Identify".into(), identify.clone());
        (address, Value::Object(row))
    };
    peer.connections.iter().map(row).collect()
}

/// An address without the peer's ID at its end.
fn bare(address: &Multiaddr, id: &str) -> String {
    let text = address.to_string();
    match text.strip_suffix(id).and_then(|above| above.strip_suffix("/p2p/")) {
        Some(above) => above.to_owned(),
        None => text,
    }
}

/// A round trip as Go prints it; those of a minute and more end in a time-out.
fn go_duration(time: Duration) -> String {
    let ns = time.as_nanos();
    match ns {
        0 => "0s".to_owned(),
        1..=999 => format!("{ns}ns"),
        1_000..=999_999 => format!("{}µs", ns as f64 / 1e3),
        1_000_000..=999_999_999 => format!("{}ms", ns as f64 / 1e6),
        _ => format!("{}s", ns as f64 / 1e9),
    }
}

/// Connects with peers, each after the other.
pub async fn connect(router: &Router, args: Args) -> Result<Reply, Error> {
    let mut told = Vec::new();
    for target in Target::group(peer::targets(&args)?) {
        let line = format!("connect {}", target.peer);
        let failed = |error| {
            let error = acting(error);
            Error { message: format!("{line} failure: {}", error.message), ..error }
        };
        router.node.swarm_connect(&target).await.map_err(failed)?;
        told.push(format!("{line} success"));
    }
    Ok(Reply::Value(json!({ "Strings": told })))
}

/// Closes connections. One that cannot be closed is told of, and is no error: as in Kubo.
pub async fn disconnect(router: &Router, args: Args) -> Result<Reply, Error> {
    let mut told = Vec::new();
    for target in peer::targets(&args)? {
        told.push(match router.node.swarm_disconnect(&target).await {
            Ok(()) => format!("disconnect {} success", target.peer),
            Err(error) => {
                format!("disconnect {} failure: {}", target.peer, acting(error).message)
            }
        });
    }
    Ok(Reply::Value(json!({ "Strings": told })))
}

/// Every address that is known.
pub async fn addrs(router: &Router) -> Result<Reply, Error> {
    let mut known = Map::new();
    for (peer, addresses) in router.node.known_addresses().await.map_err(acting)? {
        known.insert(peer.to_base58(), json!(sorted(&addresses)));
    }
    Ok(Reply::Value(json!({ "Addrs": known })))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LocalOptions {
    id: bool,
}

/// Addresses that peers are told.
pub async fn addrs_local(router: &Router, args: Args) -> Result<Reply, Error> {
    let LocalOptions { id } = args.options()?;
    let mut addresses = sorted(&router.node.announced().map_err(acting)?);
    if id {
        let own = &router.node.settings().peer_id;
        addresses.iter_mut().for_each(|address| *address = format!("{address}/p2p/{own}"));
    }
    Ok(Reply::Value(json!({ "Strings": peer::or_null(addresses) })))
}

/// Addresses that are listened on.
pub async fn addrs_listen(router: &Router) -> Result<Reply, Error> {
    let addresses = sorted(&router.node.listening().map_err(acting)?);
    Ok(Reply::Value(json!({ "Strings": peer::or_null(addresses) })))
}

fn sorted(addresses: &[Multiaddr]) -> Vec<String> {
    let mut texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.sort_unstable();
    texts
}

/// Blocks of addresses that are refused.
pub async fn filters(router: &Router) -> Result<Reply, Error> {
    let blocks = router.node.address_filters()?;
    let texts = blocks.iter().map(ToString::to_string).collect();
    Ok(Reply::Value(json!({ "Strings": peer::or_null(texts) })))
}

/// Refuses further ones, now and after a restart.
pub async fn filters_add(router: &Router, args: Args) -> Result<Reply, Error> {
    let texts = args.some("address")?;
    router.node.address_filters()?;
    for text in texts {
        router.node.address_filter_add(text)?;
    }
    let mut config = router.repo.config().map_err(failed)?;
    let added = lists::add(&mut config, FILTERS, texts).map_err(failed)?;
    router.repo.save_config(&config).map_err(failed)?;
    Ok(Reply::Value(json!({ "Strings": added })))
}

/// Lets some in again, or everybody: now and after a restart.
pub async fn filters_rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let texts = args.some("address")?;
    router.node.address_filters()?;
    let mut config = router.repo.config().map_err(failed)?;
    let removed = match texts {
        [all, ..] if all == "all" || all == "*" => {
            router.node.address_filter_remove("all")?;
            peer::or_null(lists::clear(&mut config, FILTERS).map_err(failed)?)
        }
        _ => {
            for text in texts {
                router.node.address_filter_remove(text)?;
            }
            let named = |known: &str| texts.iter().any(|text| text == known);
            json!(lists::remove(&mut config, FILTERS, named).map_err(failed)?)
        }
    };
    router.repo.save_config(&config).map_err(failed)?;
    Ok(Reply::Value(json!({ "Strings": removed })))
}

/// Stays connected with peers, until the restart.
pub async fn peering_add(router: &Router, args: Args) -> Result<Reply, Error> {
    let mut done = Vec::new();
    for target in Target::group(peer::targets(&args)?) {
        router.node.peering_add(&target).await?;
        done.push(Ok(json!({ "ID": target.peer.to_base58(), "Status": "success" })));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(done))))
}

/// With whom the node stays connected.
pub async fn peering_ls(router: &Router) -> Result<Reply, Error> {
    let with = router.node.peering().await?;
    let row = |(peer, addresses): &(_, Vec<Multiaddr>)| {
        let texts = addresses.iter().map(ToString::to_string).collect();
        json!({ "ID": PeerId::to_base58(*peer), "Addrs": peer::or_null(texts) })
    };
    Ok(Reply::Value(json!({ "Peers": with.iter().map(row).collect::<Vec<Value>>() })))
}

/// Does so no longer.
pub async fn peering_rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let read = |text: &String| {
        let none = || Error::invalid(format!("failed to parse peer ID: {text:?}"));
        peer::id(text).ok_or_else(none)
    };
    let ids = args.some("ID")?.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
    let mut done = Vec::new();
    for id in ids {
        // One that was not kept is not kept now, either.
        router.node.peering_remove(id).await?;
        done.push(Ok(json!({ "ID": id.to_base58(), "Status": "success" })));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(done))))
}

/// Kubo says it in other words where its core API is asked.
fn acting(error: node::Error) -> Error {
    match error {
        node::Error::Offline => Error {
            message: "this action must be run in online mode, try running 'ipfs daemon' first"
                .into(),
            client: false,
        },
        other => other.into(),
    }
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error { message: error.to_string(), client: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_are_printed_as_go_prints_them() {
        let cases = [
            (0, "0s"),
            (999, "999ns"),
            (1_500, "1.5µs"),
            (1_234_567, "1.234567ms"),
            (2_000_000_000, "2s"),
        ];
        for (ns, text) in cases {
            assert_eq!(go_duration(Duration::from_nanos(ns)), text);
        }
    }
}
