//! Routing without a network: what is kept here, and a clear answer for everything else.

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::dht::{unix_now, validate};
use super::records::Records;
use super::{Contact, Routing, RoutingError, Watch};
use crate::ipld::cid::Multihash;

/// Nobody to ask. Values are kept, so that a name published offline resolves on this node.
#[derive(Clone)]
pub struct Offline {
    records: Records,
}

impl Offline {
    /// Over what is kept of others and of this node.
    pub fn new(records: Records) -> Self {
        Self { records }
    }
}

impl Routing for Offline {
    fn find_providers(&self, _: Multihash, _: usize, _: Watch) -> mpsc::Receiver<Contact> {
        // Records that are kept name peers that cannot be reached: nothing is found.
        mpsc::channel(1).1
    }

    fn find_peer<'a>(
        &'a self,
        _: PeerId,
        _: &'a Watch,
    ) -> BoxFuture<'a, Result<Contact, RoutingError>> {
        async { Err(RoutingError::Offline) }.boxed()
    }

    fn provide<'a>(
        &'a self,
        _: Multihash,
        _: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>> {
        async { Err(RoutingError::Offline) }.boxed()
    }

    fn get_value<'a>(
        &'a self,
        key: Bytes,
        _: &'a Watch,
    ) -> BoxFuture<'a, Result<Bytes, RoutingError>> {
        async move {
            let at = key.clone();
            let kept = self.records.run(move |records| records.value(&at, unix_now())).await?;
            let valid = |value: &Bytes| validate::validate(&key, value, unix_now()).is_ok();
            kept.map(|(value, _)| value).filter(valid).ok_or(RoutingError::NotFound)
        }
        .boxed()
    }

    fn put_value<'a>(
        &'a self,
        key: Bytes,
        value: Bytes,
        _: &'a Watch,
    ) -> BoxFuture<'a, Result<usize, RoutingError>> {
        async move {
            validate::validate(&key, &value, unix_now())?;
            let keep = move |records: &Records| {
                let better = |old: Option<&Bytes>| {
                    old.is_none_or(|old| validate::is_better(&key, &value, old))
                };
                records.put_value(&key, &value, unix_now(), better)
            };
            match self.records.run(keep).await? {
                true => Ok(0),
                false => Err(RoutingError::Older),
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::super::dht::scope::Scope;
    use super::super::records::Limits;
    use super::super::testsuite;
    use super::*;
    use crate::store::Store;

    #[tokio::test]
    async fn the_part_of_the_suite_that_needs_no_network() {
        let store = Store::in_memory().unwrap();
        let offline = Offline::new(Records::new(store, Scope::Wan, Limits::default()));
        testsuite::anywhere(&offline).await;
        let watch = Watch::default();
        let refused = offline.provide(testsuite::hash(1), &watch).await;
        assert!(matches!(refused, Err(RoutingError::Offline)));
        let refused = offline.find_peer(PeerId::random(), &watch).await;
        assert!(matches!(refused, Err(RoutingError::Offline)));
    }
}
