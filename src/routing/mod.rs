//! Routing: who has a block, where a peer is, what a name says; and telling others the same.
//!
//! Owns the DHTs, what they keep, and the announcing of what this node has. Owns no streams and no
//! addresses of its own: those come from whoever has the network. Does not fetch blocks.

pub mod dht;
pub mod dual;
pub mod offline;
pub mod provide;
pub mod records;
pub mod streams;
#[cfg(test)]
mod testsuite;
pub mod upkeep;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use libp2p::PeerId;
use tokio::sync::mpsc;

pub use dht::wire::Contact;
pub use dht::{Dht, QueryEvent, QueryStep, RoutingError, Watch};

use crate::ipld::cid::Multihash;

/// A way to find things in the network. `ipfs routing` speaks to one of these.
pub trait Routing: Send + Sync + 'static {
    /// Providers of a multihash as they are found, at most `limit` (0 for all), each once; one
    /// that came without addresses comes again when they are known. The channel closes when the
    /// search ends; dropping it ends the search.
    fn find_providers(
        &self,
        hash: Multihash,
        limit: usize,
        watch: Watch,
    ) -> mpsc::Receiver<Contact>;

    /// Where a peer is.
    fn find_peer<'a>(
        &'a self,
        peer: PeerId,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<Contact, RoutingError>>;

    /// Tells the network that this node has the content; says how many peers were told.
    fn provide<'a>(
        &'a self,
        hash: Multihash,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>>;

    /// The best valid value under a key (`/ipns/` or `/pk/` and a binary peer ID).
    fn get_value<'a>(
        &'a self,
        key: Bytes,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<Bytes, RoutingError>>;

    /// Puts a valid value under a key; says how many peers took it.
    fn put_value<'a>(
        &'a self,
        key: Bytes,
        value: Bytes,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>>;
}

impl Routing for Dht {
    fn find_providers(
        &self,
        hash: Multihash,
        limit: usize,
        watch: Watch,
    ) -> mpsc::Receiver<Contact> {
        Dht::find_providers(self, hash, limit, watch)
    }

    fn find_peer<'a>(
        &'a self,
        peer: PeerId,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<Contact, RoutingError>> {
        Dht::find_peer(self, peer, watch).boxed()
    }

    fn provide<'a>(
        &'a self,
        hash: Multihash,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>> {
        async move { Dht::provide(self, &hash, watch).await }.boxed()
    }

    fn get_value<'a>(
        &'a self,
        key: Bytes,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<Bytes, RoutingError>> {
        Dht::get_value(self, key, watch).boxed()
    }

    fn put_value<'a>(
        &'a self,
        key: Bytes,
        value: Bytes,
        watch: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>> {
        Dht::put_value(self, key, value, watch).boxed()
    }
}
