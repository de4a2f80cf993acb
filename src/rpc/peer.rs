//! Peers as arguments, in every spelling, and as what is told of them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use data_encoding::BASE64;
use serde_json::{Value, json};

use super::{Args, Error};
use crate::config::identity::decode_peer_id;
use crate::ipld::cid::{self, Cid, Multihash, codec};
use crate::node::swarm::{PeerId, Target, Who};

/// Characters of a stranger's own description that are passed on.
const CLAIM_CHARS_MAX: usize = 128;

/// A peer ID: base58, or a CID in base36 or base32.
pub fn id(text: &str) -> Option<PeerId> {
    decode_peer_id(text)
}

/// The same, where nothing else will do.
///
/// # Errors
/// Kubo's words, with what was given.
pub fn decoded(text: &str) -> Result<PeerId, Error> {
    let none = || Error::invalid(format!("failed to parse peer ID: {text:?} is none"));
    id(text).ok_or_else(none)
}

/// An address that ends in a peer ID.
///
/// # Errors
/// Names the address.
pub fn target(text: &str) -> Result<Target, Error> {
    Ok(in_base58(text).parse()?)
}

/// Every argument as an address that ends in a peer ID, at least one.
///
/// # Errors
/// Names the first that is none.
pub fn targets(args: &Args) -> Result<Vec<Target>, Error> {
    args.some("address")?.iter().map(|text| target(text)).collect()
}

/// The address with its peer ID in base58, the only spelling that the address library reads.
fn in_base58(text: &str) -> String {
    let parts = text.rsplit_once('/');
    let ending = parts.filter(|(above, _)| above.ends_with("/p2p") || above.ends_with("/ipfs"));
    match ending.and_then(|(above, last)| Some((above, id(last)?))) {
        Some((above, peer)) => format!("{above}/{peer}"),
        None => text.to_owned(),
    }
}

/// How peer IDs are printed: `b58mh`, or the multibase of a CID by name or letter.
///
/// # Errors
/// For a base that there is not.
pub fn printer(base: Option<&str>) -> Result<impl Fn(&PeerId) -> String, Error> {
    let base = match base {
        None | Some("b58mh") => None,
        Some(name) => {
            let unknown = || Error::invalid(format!("unsupported multibase encoding: {name}"));
            Some(cid::base_by_name(name).ok_or_else(unknown)?)
        }
    };
    Ok(move |peer: &PeerId| {
        let hash =
            base.and_then(|base| Some((base, Multihash::from_bytes(&peer.to_bytes()).ok()?)));
        match hash {
            Some((base, hash)) => cid::print(&Cid::new_v1(codec::LIBP2P_KEY, hash), base, true),
            None => peer.to_base58(),
        }
    })
}

/// The family of protocols. Kubo no longer tells it; clients written for older releases insist.
pub const FAMILY: &str = "ipfs/0.1.0";

/// A peer as `id` tells of it.
pub fn told(who: &Who, id: String) -> Value {
    let mut addresses: Vec<String> = who.addresses.iter().map(ToString::to_string).collect();
    let mut protocols: Vec<String> = who.protocols.iter().map(|text| clean(text)).collect();
    addresses.sort_unstable();
    protocols.sort_unstable();
    json!({
        "ID": id,
        "PublicKey": BASE64.encode(&who.public_key),
        "Addresses": or_null(addresses),
        "AgentVersion": clean(&who.agent),
        "Protocols": or_null(protocols),
        "ProtocolVersion": FAMILY,
    })
}

/// A list as Go writes one that nothing was ever put into.
pub fn or_null(texts: Vec<String>) -> Value {
    if texts.is_empty() { Value::Null } else { json!(texts) }
}

/// A stranger's own words, without what drives a terminal, and not too many.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(CLAIM_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWKnDdG3iXw9eTFijk3EWSunZcFi54Zka4wmtqtt6rPxc8";

    #[test]
    fn peers_are_read_and_printed_in_every_base() {
        let peer = id(PEER).unwrap();
        let plain = target(&format!("/ip4/127.0.0.1/tcp/1/p2p/{PEER}")).unwrap();
        for (base, prefix) in [("base36", "k51"), ("k", "k51"), ("base32", "bafz"), ("b", "bafz")] {
            let text = printer(Some(base)).unwrap()(&peer);
            assert!(text.starts_with(prefix), "{text}");
            assert_eq!(id(&text), Some(peer));
            assert_eq!(target(&format!("/ip4/127.0.0.1/tcp/1/p2p/{text}")).unwrap(), plain);
            assert_eq!(target(&format!("/ip4/127.0.0.1/tcp/1/ipfs/{text}")).unwrap(), plain);
        }
        assert_eq!(printer(Some("b58mh")).unwrap()(&peer), PEER);
        assert!(printer(Some("nonsense")).is_err());
        for bad in ["", "/", "/p2p/", "/p2p/x", "/ip4/127.0.0.1/tcp/1", "nonsense"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_strangers_say_is_cleaned() {
        assert_eq!(clean("a\u{1b}[31mb\n"), "a[31mb");
        assert_eq!(clean(&"x".repeat(1000)).len(), CLAIM_CHARS_MAX);
    }
}
