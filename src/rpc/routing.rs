//! `routing`: asking the network where things are, and telling it; events as lines.

use bytes::{Bytes, BytesMut};
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Body, Error, Reply, Router, body, peer};
use crate::ipld::cid;
use crate::node;
use crate::node::routing::{Contact, Event, QueryStep};
use crate::node::swarm::PeerId;

/// Bytes of a value that is put: a record is bounded by 10 KiB, and one beyond is refused in words.
const VALUE_MAX_BYTES: u64 = 64 << 10;

#[derive(Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct FindOptions {
    #[serde(alias = "n")]
    num_providers: i64,
}

impl Default for FindOptions {
    fn default() -> Self {
        Self { num_providers: 20 }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct PutOptions {
    allow_offline: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ProvideOptions {
    #[serde(alias = "r")]
    recursive: bool,
}

/// Who has a block.
pub async fn find_providers(router: &Router, args: Args) -> Result<Reply, Error> {
    let (options, text) = (args.options::<FindOptions>()?, first(&args, "key")?);
    online(router)?;
    let limit = usize::try_from(options.num_providers).ok().filter(|limit| *limit > 0);
    let none = || Error::invalid("number of providers must be greater than 0");
    let limit = limit.ok_or_else(none)?;
    let cid = cid::parse(text.trim_start_matches("/ipfs/"))?;
    Ok(Reply::lines(router.node.find_providers(*cid.hash(), limit)?, |event| shape(&event)))
}

/// Where a peer is.
pub async fn find_peer(router: &Router, args: Args) -> Result<Reply, Error> {
    let text = first(&args, "peerID")?;
    online(router)?;
    let peer = peer::decoded(text)?;
    Ok(Reply::lines(router.node.find_peer(peer)?, |event| shape(&event)))
}

/// The value under a key.
pub async fn get(router: &Router, args: Args) -> Result<Reply, Error> {
    let (key, _) = key(first(&args, "key")?)?;
    let value = router.node.get_value(key).await.map_err(acting)?;
    let extra = BASE64.encode(&value);
    Ok(Reply::Value(event("", QueryStep::Value, Value::Null, &extra)))
}

/// Puts a value under a key.
pub async fn put(router: &Router, args: Args, body: Body) -> Result<Reply, Error> {
    let (options, text) = (args.options::<PutOptions>()?, args.one("key")?);
    let value = body::file(body, VALUE_MAX_BYTES).await?.into();
    let (key, peer) = key(text)?;
    router.node.put_value(key, value, options.allow_offline).await.map_err(acting)?;
    Ok(Reply::Value(event(&peer.to_base58(), QueryStep::Value, Value::Null, "")))
}

/// Tells the network of blocks.
pub async fn provide(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: ProvideOptions = args.options()?;
    let texts = args.some("key")?;
    online(router)?;
    let cids = texts.iter().map(|text| cid::parse(text)).collect::<Result<Vec<_>, _>>()?;
    let events = router.node.provide_now(&cids, options.recursive).await?;
    Ok(Reply::lines(events, |event| shape(&event)))
}

/// The first argument: Kubo lets more of them pass.
fn first<'a>(args: &'a Args, name: &str) -> Result<&'a str, Error> {
    Ok(args.some(name)?.first().map(String::as_str).unwrap_or_default())
}

/// A key of the DHT, `/ipns/<peer ID>` or `/pk/<peer ID>`, and the peer in it.
fn key(text: &str) -> Result<(Bytes, PeerId), Error> {
    let invalid = || Error::invalid("invalid key");
    let (space, name) = match text.split('/').collect::<Vec<_>>().as_slice() {
        ["", space @ ("ipns" | "pk"), name] => (*space, *name),
        _ => return Err(invalid()),
    };
    let peer = peer::decoded(name)?;
    let mut key = BytesMut::from(format!("/{space}/").as_bytes());
    key.extend_from_slice(&peer.to_bytes());
    Ok((key.freeze(), peer))
}

fn online(router: &Router) -> Result<(), Error> {
    match router.node.is_online() {
        true => Ok(()),
        false => Err(node::Error::Offline.into()),
    }
}

/// Kubo says it in other words where its core API is asked.
fn acting(error: node::Error) -> Error {
    match error {
        node::Error::Offline => Error::invalid(
            "this action must be run in online mode, try running 'ipfs daemon' first",
        ),
        other => other.into(),
    }
}

fn shape(told: &Event) -> Value {
    let responses: Vec<Value> = told.responses.iter().map(contact).collect();
    let responses = if responses.is_empty() { Value::Null } else { Value::Array(responses) };
    let peer = told.peer.map(|peer| peer.to_base58()).unwrap_or_default();
    event(&peer, told.step, responses, &told.extra)
}

fn event(peer: &str, step: QueryStep, responses: Value, extra: &str) -> Value {
    json!({ "Extra": extra, "ID": peer, "Responses": responses, "Type": step as u8 })
}

fn contact(contact: &Contact) -> Value {
    let addrs: Vec<String> = contact.addrs.iter().map(ToString::to_string).collect();
    json!({ "Addrs": addrs, "ID": contact.peer.to_base58() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_of_two_kinds() {
        let peer = "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8";
        let (bytes, id) = key(&format!("/ipns/{peer}")).unwrap();
        assert_eq!(id.to_base58(), peer);
        assert_eq!(bytes, [&b"/ipns/"[..], &id.to_bytes()].concat());
        let base36 = peer::printer(Some("base36")).unwrap()(&id);
        assert_eq!(key(&format!("/ipns/{base36}")).unwrap().0, bytes);
        for bad in ["", peer, "/ipns/", "/ipfs/x", &format!("/a/{peer}"), "/ipns/x/y"] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
