//! The exchange: blocks from other nodes, and to them.
//!
//! Owns Bitswap as a library that does no input or output: [`wire`] takes messages apart and puts
//! them together, [`engine::Engine`] decides what is asked of whom and what is answered. Sockets,
//! the store and the clock are somebody else's, who drives the engine like this:
//!
//! 1. One task owns the engine. After every call it empties [`engine::Engine::poll_action`], and it
//!    calls `tick` when `next_tick` is due.
//! 2. A reader a stream: [`wire::frame_head`], the body into one buffer, [`wire::decode_frame`], then
//!    [`wire::RawMessage::verify`] off the engine's task, then `on_message`. Streams are kept and read
//!    to their end: peers reuse them. A [`wire::WireError`] resets the stream. While a large body
//!    comes in, `on_progress` tells that the peer is alive.
//! 3. A sender a peer. On `Ready` it calls `take_message` until there is none: reads the blocks from
//!    the store (`on_missing` for each that is not there), writes the pieces of [`wire::encode`], and
//!    says `on_sent`, or `on_send_failed` and opens another stream. `take_message` answers `None`
//!    only when the peer is up to date, and `Ready` comes again after that.
//! 4. `Lookup` is answered from the store's index by `on_index`, always, also after an error (as
//!    absent): one question a peer is open at a time, and the next waits for the answer. So a flood
//!    of wants costs one batch of look-ups, not a queue of them.
//! 5. `Deliver` goes to the store, then to whoever waits under that multihash, and then
//!    `on_local_blocks` passes it on to peers that wait for it.
//! 6. `FindProviders` is answered by `on_providers`, each time with those being dialled, at the end
//!    with `done`; `on_dial_failed` for those that cannot be reached.
//!
//! Source: ipfs/specs bitswap-protocol.md; the limits are those of boxo.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod bitswap;
pub mod engine;
mod ledger;
pub mod offline;
mod session;
#[cfg(test)]
mod sim;
mod wantlist;
pub mod wire;

use std::fmt;

use futures_util::future::BoxFuture;
use libp2p::PeerId;

use crate::ipld::block::Block;
use crate::ipld::cid::Cid;
pub use ledger::LOOKUP_MAX;
pub use session::{Round, SessionId, Status, Tally};

/// Where blocks come from that are not in the store.
pub trait Exchange: Send + Sync {
    /// A session: one for all blocks that belong together, as those of a DAG do.
    fn session(&self) -> Box<dyn Session>;

    /// Tells that blocks have come into the store by other ways, with their sizes in bytes: peers
    /// may wait for them.
    fn announce_local(&self, blocks: &[(Cid, u32)]);
}

/// Fetches that belong together. Dropping it takes back whatever it still wants.
pub trait Session: Send + Sync {
    /// Waits for a block. Hundreds may be awaited at once, and should be where they are known to be
    /// needed: a peer's line is only full when it is asked for much. Dropping the future takes the
    /// want back. There is no time limit: whoever waits knows how long it pays.
    ///
    /// # Errors
    /// [`ExchangeError`].
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>>;

    /// What is being tried, for whoever waits.
    fn progress(&self) -> BoxFuture<'_, Progress>;
}

/// What is being tried, and what went wrong last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// In numbers.
    pub status: Status,
    /// Connected peers that are said to have some of it, and are asked for the rest; at most 32.
    pub peers: Vec<PeerId>,
    /// Why the last provider could not be dialled.
    pub failure: Option<String>,
}

impl Progress {
    fn failed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.failure {
            Some(failure) if self.status.tally.dial_failures > 0 => write!(f, ": {failure}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        self.failed(f)
    }
}

/// Peers that [`Whom`] names; more are counted.
const NAMED_MAX: usize = 3;

/// The same by name: `asking <peer>, <peer>, <peer> and 2 more; searched for providers once: found 5`.
/// Nobody is named while nobody is known to have any of it.
pub struct Whom<'a>(pub &'a Progress);

impl fmt::Display for Whom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress { status, peers, .. } = self.0;
        let Some((first, others)) = peers.split_first() else { return self.0.fmt(f) };
        write!(f, "asking {first}")?;
        others
            .iter()
            .take(NAMED_MAX.saturating_sub(1))
            .try_for_each(|peer| write!(f, ", {peer}"))?;
        match peers.len().saturating_sub(NAMED_MAX) {
            0 => {}
            more => write!(f, " and {more} more")?,
        }
        write!(f, "; ")?;
        status.searched(f)?;
        self.0.failed(f)
    }
}

/// Why a block cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExchangeError {
    /// There is nobody to ask.
    #[error("block {0} was not found locally, and this node is offline")]
    NotFound(Box<Cid>),
    /// No peer can be asked for it: its hash function is not allowed.
    #[error("block {0} cannot be fetched: its hash function is not allowed")]
    Refused(Box<Cid>),
    /// It came, and could not be put into the store.
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    /// The exchange is closing down.
    #[error("the exchange is closed")]
    Closed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_fetch_asks_is_told_by_name_and_bounded() {
        let tally = Tally { searches: 1, providers: 5, dial_failures: 1, ..Tally::default() };
        let status = Status { wants: 1, tally, ..Status::default() };
        let failure = Some("refused".to_owned());
        let mut progress = Progress { status, peers: Vec::new(), failure };
        let found = "searched for providers once: found 5, could not dial 1: refused";
        assert_eq!(Whom(&progress).to_string(), format!("no connected peer to ask; {found}"));
        let peers: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
        let [a, b, c, ..] = &peers[..] else { unreachable!() };
        progress.peers = peers[..1].to_vec();
        assert_eq!(Whom(&progress).to_string(), format!("asking {a}; {found}"));
        progress.peers = peers.clone();
        let told = format!("asking {a}, {b}, {c} and 2 more; {found}");
        assert_eq!(Whom(&progress).to_string(), told);
        assert_eq!(progress.to_string(), format!("no connected peer to ask; {found}"));
    }
}
