//! What makes a node one of many: connections, and in time the exchange and the routing over them.

use std::sync::Arc;

use super::{Error, Node};
use crate::net::Net;

/// Everything an online node has beside its store.
pub struct Network {
    /// Connections and streams.
    pub net: Net,
}

impl Node {
    /// The same node, online.
    pub fn with_network(mut self, network: Network) -> Self {
        self.network = Some(Arc::new(network));
        self
    }

    /// Whether there is a network.
    pub fn is_online(&self) -> bool {
        self.network.is_some()
    }

    /// The network.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub(super) fn network(&self) -> Result<&Network, Error> {
        self.network.as_deref().ok_or(Error::Offline)
    }
}
