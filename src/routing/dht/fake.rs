//! A network in memory: every node is a [`Dht`], and messages go from one to the other by a map.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use libp2p::{Multiaddr, PeerId};

use super::scope::Scope;
use super::{Contact, Dht, Message, Rpc, RpcError, Settings, Shared};
use crate::routing::records::{Limits, Records};
use crate::store::Store;

type Nodes = HashMap<PeerId, Weak<Shared>>;

/// All nodes of one network.
#[derive(Clone, Default)]
pub struct Network(Arc<Mutex<Nodes>>);

/// One node's way into the network.
struct Line {
    network: Network,
    local: PeerId,
}

impl Network {
    /// A server with an address of the scope and its own store.
    pub fn node(&self, scope: Scope, n: u8) -> Dht {
        self.node_over(scope, n, Store::in_memory().unwrap())
    }

    pub fn node_over(&self, scope: Scope, n: u8, store: Store) -> Dht {
        let local = PeerId::random();
        let rpc = Arc::new(Line { network: self.clone(), local });
        let records = Records::new(store, scope, Limits::default());
        let settings = Settings { server: true, loopback: false };
        let dht = Dht::new(scope, local, rpc, records, settings);
        let ip =
            if scope == Scope::Wan { format!("{}.1.1.1", 20 + n) } else { format!("10.1.1.{n}") };
        dht.set_own_addrs(&[format!("/ip4/{ip}/tcp/4001").parse().unwrap()]);
        self.lock().insert(local, Arc::downgrade(&dht.shared));
        dht
    }

    /// `count` servers, each of which knows the first.
    pub async fn filled(&self, scope: Scope, count: u8) -> Vec<Dht> {
        let nodes: Vec<Dht> = (0..count).map(|n| self.node(scope, n)).collect();
        let first = contact(&nodes[0]);
        for node in &nodes[1..] {
            node.on_peer(first.peer, &first.addrs, true);
            nodes[0].on_peer(id(node), &node.own_addrs(), true);
        }
        for node in &nodes {
            node.bootstrap(vec![first.clone()]).await;
        }
        nodes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Nodes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn id(dht: &Dht) -> PeerId {
    dht.shared.origin.local
}

pub fn contact(dht: &Dht) -> Contact {
    Contact { peer: id(dht), addrs: dht.own_addrs().to_vec() }
}

impl Line {
    /// The node that is dialled. Identify tells it who dialled, as on every connection: without
    /// that, those in the middle learn of nobody who came after them, and one lookup in some
    /// hundred ends among peers that another never heard of.
    fn dial(&self, peer: &PeerId) -> Result<Dht, RpcError> {
        let gone = || RpcError::Dial("nobody there".to_owned());
        let dialled = self.node(peer).ok_or_else(gone)?;
        if let Some(own) = self.node(&self.local) {
            dialled.on_peer(self.local, &own.own_addrs(), own.is_server());
        }
        Ok(dialled)
    }

    fn node(&self, peer: &PeerId) -> Option<Dht> {
        let shared = self.network.lock().get(peer).and_then(Weak::upgrade)?;
        Some(Dht { shared })
    }
}

impl Rpc for Line {
    fn request(
        &self,
        peer: PeerId,
        addrs: Vec<Multiaddr>,
        message: Message,
    ) -> BoxFuture<'static, Result<Message, RpcError>> {
        let (dialled, local) = (self.dial(&peer), self.local);
        async move {
            let dht = dialled?;
            assert!(!addrs.is_empty(), "only who can be dialled is asked");
            // Over the bytes, as it would be on a stream.
            let message = Message::decode(message.encode().into())?;
            let answer = dht.handle(local, message).await;
            let answer = answer.map_err(|e| RpcError::Stream(e.to_string()))?;
            Ok(Message::decode(answer.ok_or(RpcError::Timeout)?.encode().into())?)
        }
        .boxed()
    }

    fn send(
        &self,
        peer: PeerId,
        _: Vec<Multiaddr>,
        messages: Vec<Message>,
    ) -> BoxFuture<'static, Result<(), RpcError>> {
        let (dialled, local) = (self.dial(&peer), self.local);
        async move {
            let dht = dialled?;
            for message in messages {
                let answer = dht.handle(local, message).await;
                answer.map_err(|e| RpcError::Stream(e.to_string()))?;
            }
            Ok(())
        }
        .boxed()
    }
}
