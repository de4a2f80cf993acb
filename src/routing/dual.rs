//! The public DHT and that of the local network as one: both are asked at the same time, and what
//! they find is merged.
//!
//! The public one is asked only while it knows peers: a node in a closed network must not wait for
//! it, nor fail because of it.

use std::collections::HashSet;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join};
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::dht::{Dht, validate};
use super::{Contact, Routing, RoutingError, Watch};
use crate::ipld::cid::Multihash;
use crate::task;

/// Providers waiting for whoever asked for them.
const PROVIDERS_WAITING: usize = 64;

/// Both DHTs. Clones share them.
#[derive(Clone)]
pub struct Dual {
    /// `/ipfs/kad/1.0.0`.
    pub wan: Dht,
    /// `/ipfs/lan/kad/1.0.0`.
    pub lan: Dht,
}

impl Dual {
    /// The public DHT, while it knows peers.
    fn active_wan(&self) -> Option<&Dht> {
        (self.wan.peers() > 0).then_some(&self.wan)
    }

    /// Asks both, or the local one alone.
    async fn both<'a, T>(
        &'a self,
        ask: impl Fn(&'a Dht) -> BoxFuture<'a, Result<T, RoutingError>>,
    ) -> (Option<Result<T, RoutingError>>, Result<T, RoutingError>) {
        let wan = async {
            match self.active_wan() {
                Some(wan) => Some(ask(wan).await),
                None => None,
            }
        };
        join(wan, ask(&self.lan)).await
    }

    async fn first_peer(&self, peer: PeerId, watch: &Watch) -> Result<Contact, RoutingError> {
        let lan = self.lan.find_peer(peer, watch);
        let Some(wan) = self.active_wan() else { return lan.await };
        // The first to find it: the other may still be asking around for a minute.
        let (wan, lan) = (wan.find_peer(peer, watch).boxed(), lan.boxed());
        match futures_util::future::select(wan, lan).await.factor_first() {
            (Ok(contact), _) => Ok(contact),
            (Err(_), other) => other.await,
        }
    }
}

/// What both told together: the sum where both did, an error where neither did, that of the public
/// DHT before that of the local one.
fn told(
    wan: Option<Result<usize, RoutingError>>,
    lan: Result<usize, RoutingError>,
) -> Result<usize, RoutingError> {
    match (wan, lan) {
        (Some(Ok(wan)), Ok(lan)) => Ok(wan.saturating_add(lan)),
        (Some(Ok(told)), Err(_)) | (_, Ok(told)) => Ok(told),
        (Some(Err(error)), Err(_)) | (None, Err(error)) => Err(error),
    }
}

impl Routing for Dual {
    fn find_providers(
        &self,
        hash: Multihash,
        limit: usize,
        watch: Watch,
    ) -> mpsc::Receiver<Contact> {
        let mut lan = self.lan.find_providers(hash, limit, watch.clone());
        let Some(wan) = self.active_wan() else { return lan };
        let mut wan = wan.find_providers(hash, limit, watch);
        let (out, found) = mpsc::channel(PROVIDERS_WAITING);
        task::detach(async move {
            let mut seen: HashSet<(PeerId, bool)> = HashSet::new();
            loop {
                let either = async {
                    // A branch whose channel is closed is left out; when both are, it is over.
                    tokio::select! {
                        Some(contact) = wan.recv() => Some(contact),
                        Some(contact) = lan.recv() => Some(contact),
                        else => None,
                    }
                };
                let next = tokio::select! {
                    next = either => next,
                    () = out.closed() => None,
                };
                let Some(next) = next else { return };
                // Addresses of the two are apart: with them a peer may come from each.
                let is_new = seen.insert((next.peer, !next.addrs.is_empty()));
                let peers = seen.iter().filter(|(_, reachable)| *reachable).count();
                if (is_new && out.send(next).await.is_err()) || (limit > 0 && peers >= limit) {
                    return;
                }
            }
        });
        found
    }

    fn find_peer<'a>(
        &'a self,
        peer: PeerId,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<Contact, RoutingError>> {
        self.first_peer(peer, watch).boxed()
    }

    fn provide<'a>(
        &'a self,
        hash: Multihash,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>> {
        async move {
            let ask = move |dht: &'a Dht| Routing::provide(dht, hash, watch);
            let (wan, lan) = self.both(ask).await;
            told(wan, lan)
        }
        .boxed()
    }

    fn get_value<'a>(
        &'a self,
        key: Bytes,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<Bytes, RoutingError>> {
        async move {
            let asked = key.clone();
            let ask = move |dht: &'a Dht| Routing::get_value(dht, asked.clone(), watch);
            match self.both(ask).await {
                (Some(Ok(wan)), Ok(lan)) => {
                    Ok(if validate::is_better(&key, &lan, &wan) { lan } else { wan })
                }
                (Some(Ok(value)), Err(_)) | (_, Ok(value)) => Ok(value),
                (Some(Err(error)), Err(_)) | (None, Err(error)) => Err(error),
            }
        }
        .boxed()
    }

    fn put_value<'a>(
        &'a self,
        key: Bytes,
        value: Bytes,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>> {
        async move {
            let ask =
                move |dht: &'a Dht| Routing::put_value(dht, key.clone(), value.clone(), watch);
            let (wan, lan) = self.both(ask).await;
            told(wan, lan)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::dht::fake::{Network, contact, id};
    use super::super::dht::scope::Scope;
    use super::super::testsuite::{self, hash};
    use super::*;

    async fn dual(network: &Network) -> (Vec<Dht>, Dual) {
        let mut nodes = network.filled(Scope::Wan, 25).await;
        nodes.extend(network.filled(Scope::Lan, 25).await);
        let (wan, lan) = (network.node(Scope::Wan, 100), network.node(Scope::Lan, 100));
        wan.bootstrap(vec![contact(&nodes[0])]).await;
        lan.bootstrap(vec![contact(&nodes[25])]).await;
        (nodes, Dual { wan, lan })
    }

    #[tokio::test]
    async fn the_whole_routing_suite() {
        let network = Network::default();
        let (nodes, dual) = dual(&network).await;
        testsuite::online(&dual, &nodes[3], id(&nodes[30])).await;
    }

    #[tokio::test]
    async fn both_are_asked_and_told() {
        let network = Network::default();
        let (nodes, dual) = dual(&network).await;
        let watch = Watch::default();
        nodes[2].provide(&hash(1), &watch).await.unwrap();
        nodes[40].provide(&hash(1), &watch).await.unwrap();
        let mut found = dual.find_providers(hash(1), 0, Watch::default());
        let mut peers = Vec::new();
        while let Some(contact) = found.recv().await {
            peers.push(contact.peer);
        }
        assert_eq!(peers.len(), 2);
        assert!(peers.contains(&id(&nodes[2])) && peers.contains(&id(&nodes[40])));
        assert!(Routing::provide(&dual, hash(2), &watch).await.unwrap() > 20, "both were told");
    }

    #[tokio::test]
    async fn without_public_peers_the_local_ones_are_enough() {
        let network = Network::default();
        let nodes = network.filled(Scope::Lan, 25).await;
        let (wan, lan) = (network.node(Scope::Wan, 100), nodes[7].clone());
        let dual = Dual { wan, lan };
        testsuite::online(&dual, &nodes[3], id(&nodes[20])).await;
    }
}
