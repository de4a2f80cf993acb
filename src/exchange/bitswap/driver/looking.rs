//! What the driver looks for elsewhere, in tasks of their own: in the store's index, and by searches
//! for providers. Their outcome comes back as inputs.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::{Driver, Input};
use crate::exchange::{LOOKUP_MAX, SessionId};
use crate::ipld::cid::Cid;
use crate::net::PeerId;
use crate::store::Core;
use crate::task;

/// Providers that one search dials.
const PROVIDERS_MAX: usize = 10;

/// Which blocks are here, and their sizes in bytes.
fn sizes(core: &Core, cids: Vec<Cid>) -> Vec<(Cid, Option<u32>)> {
    // An index that cannot be read has nothing to offer.
    let size = |cid: &Cid| core.stat(cid).ok().flatten().map(|row| row.size);
    cids.into_iter().map(|cid| (cid, size(&cid))).collect()
}

impl Driver {
    /// Asks the store's index for a peer.
    pub(super) fn look_up(&self, peer: PeerId, cids: Vec<Cid>) {
        let (store, inputs) = (self.store.clone(), self.inputs.clone());
        task::detach(async move {
            let found = store.run(move |core: &Core| sizes(core, cids)).await;
            let _ = inputs.send(Input::Indexed { peer, found }).await;
        });
    }

    /// Searches providers and dials them.
    pub(super) fn find(&self, session: SessionId, cid: Cid) {
        let (net, inputs, dials) = (self.net.clone(), self.inputs.clone(), self.dials.clone());
        let mut found = (self.search)(cid);
        task::detach(async move {
            let mut count = 0usize;
            while count < PROVIDERS_MAX
                && let Some((peer, addresses)) = found.recv().await
            {
                count = count.saturating_add(1);
                let told = Input::Provider { session, cid, peer: Some(peer) };
                if inputs.send(told).await.is_err() {
                    return;
                }
                let (net, inputs, dials) = (net.clone(), inputs.clone(), dials.clone());
                task::detach(async move {
                    let _permit = dials.acquire().await;
                    if let Err(error) = net.connect(peer, addresses).await {
                        let why = error.why();
                        let _ = inputs.send(Input::DialFailed { session, peer, why }).await;
                    }
                });
            }
            let _ = inputs.send(Input::Provider { session, cid, peer: None }).await;
        });
    }

    /// Looks whether some of what is wanted is here by now: a block may have come into the store
    /// between the look of whoever wants it and the want, or unheard while the engine was busy. A
    /// different part of the wants each time.
    pub(super) fn look_again(&self, wanted: usize) {
        let start = (self.sweeps as usize).wrapping_mul(LOOKUP_MAX).checked_rem(wanted);
        let part = self.engine.wantlist().skip(start.unwrap_or(0)).take(LOOKUP_MAX);
        let cids: Vec<Cid> = part.copied().collect();
        let (store, inputs) = (self.store.clone(), self.inputs.clone());
        task::detach(async move {
            let look = move |core: &Core| sizes(core, cids);
            let found = store.run(look).await.into_iter();
            let here: Vec<(Cid, u32)> = found.filter_map(|(cid, n)| Some((cid, n?))).collect();
            if !here.is_empty() {
                let _ = inputs.send(Input::Local(here)).await;
            }
        });
    }
}
