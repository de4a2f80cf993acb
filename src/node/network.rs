//! What makes a node one of many: connections, the exchange of blocks over them, and whom to ask
//! for providers.

use std::sync::Arc;

use super::provide::Announcer;
use super::{Error, Node};
pub use crate::dag::Patience;
use crate::exchange::Exchange as _;
use crate::exchange::bitswap::Bitswap;
pub use crate::net::Bandwidth;
use crate::net::{Net, PeerId};
use crate::routing::{Dht, Routing};

/// Everything an online node has beside its store.
pub struct Network {
    /// Connections and streams.
    pub net: Net,
    /// Blocks from others, and to them.
    pub exchange: Bitswap,
    /// Who has what, and where peers are.
    pub routing: Arc<dyn Routing>,
    /// The DHTs behind it; none when routing is switched off.
    pub dhts: Vec<Dht>,
    /// Tells others what is here; `None` when nothing is to be announced.
    pub announcer: Option<Announcer>,
}

impl Node {
    /// The same node, online.
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = Some(Arc::new(network));
        self
    }

    /// The same node for one request: what is not in its store is asked of others, in a session of
    /// its own that ends with the request. What nobody sends within `patience` is an error.
    /// Offline, what is not in the store is nowhere.
    pub fn session(&self, patience: Patience) -> Self {
        let Some(network) = &self.network else { return self.clone() };
        let dag = self.local().asking(network.exchange.session(), patience);
        Self { dag, ..self.clone() }
    }

    /// The same node for a request that must not go to the network.
    pub fn offline(&self) -> Self {
        Self { dag: self.local(), network: None, ..self.clone() }
    }

    /// Whether there is a network.
    pub fn is_online(&self) -> bool {
        self.network.is_some()
    }

    /// How much went over streams: from and to a peer, or all of them.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub fn bandwidth(&self, peer: Option<&PeerId>) -> Result<Bandwidth, Error> {
        Ok(self.network()?.net.bandwidth(peer))
    }

    /// The network.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub(super) fn network(&self) -> Result<&Network, Error> {
        self.network.as_deref().ok_or(Error::Offline)
    }
}
