//! Dials under way, and who waits for them.

use std::collections::HashMap;

use libp2p::swarm::DialError as SwarmError;
use libp2p::{Multiaddr, PeerId};
use tokio::sync::oneshot;

use super::book::without_peer;

/// Callers that wait for one peer.
const WAITERS_MAX: usize = 256;
/// Addresses that wait for a dial under way to fail: callers come and go, and each may bring some.
const UNTRIED_MAX: usize = 64;

/// Why there is no connection with a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    /// It is this node.
    #[error("cannot connect to myself ({0})")]
    Myself(PeerId),
    /// No address of it is known, or none may be dialled.
    #[error("no usable address of {0} is known")]
    NoAddress(PeerId),
    /// Every address was tried.
    #[error("failed to dial {peer}: {}", tried(attempts))]
    Failed {
        /// The peer.
        peer: PeerId,
        /// What was tried, and why it failed.
        attempts: Vec<(Multiaddr, String)>,
    },
    /// Refused before anything was tried.
    #[error("failed to dial {0}: {1}")]
    Refused(PeerId, String),
    /// The node stops.
    #[error("failed to dial {0}: the node is stopping")]
    Stopped(PeerId),
}

fn tried(attempts: &[(Multiaddr, String)]) -> String {
    let each: Vec<String> = attempts.iter().map(|(at, why)| format!("{at}: {why}")).collect();
    each.join("; ")
}

impl DialError {
    /// The reason alone, where it is clear whom it is about.
    pub fn why(&self) -> String {
        match self {
            Self::Failed { attempts, .. } => tried(attempts),
            Self::Refused(_, why) => why.clone(),
            other => other.to_string(),
        }
    }

    /// In this room's words; the innermost cause, without libp2p's wrappings.
    pub(super) fn of(peer: PeerId, error: &SwarmError) -> Self {
        match error {
            SwarmError::LocalPeerId { .. } => Self::Myself(peer),
            SwarmError::NoAddresses => Self::NoAddress(peer),
            SwarmError::WrongPeerId { obtained, address } => {
                let at = without_peer(address.clone());
                Self::Failed { peer, attempts: vec![(at, format!("{obtained} answers there"))] }
            }
            SwarmError::Transport(errors) => {
                let attempts = errors.iter().map(|(at, e)| (without_peer(at.clone()), inmost(e)));
                Self::Failed { peer, attempts: attempts.collect() }
            }
            other => Self::Refused(peer, inmost(other)),
        }
    }
}

/// The last cause in a chain: the ones above it only wrap it.
fn inmost(error: &dyn std::error::Error) -> String {
    let mut at = error;
    while let Some(source) = at.source() {
        at = source;
    }
    // Some end in a text of several lines.
    at.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(super) type Reply = oneshot::Sender<Result<(), DialError>>;

/// A dial under way.
#[derive(Default)]
struct Dial {
    waiters: Vec<Reply>,
    /// Addresses that came while it was under way.
    untried: Vec<Multiaddr>,
    tried: Vec<Multiaddr>,
}

/// Every dial that somebody waits for.
#[derive(Default)]
pub(super) struct Dials {
    peers: HashMap<PeerId, Dial>,
}

impl Dials {
    /// Waits for a peer. Gives the addresses to dial now: none while a dial is under way.
    pub fn join(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        reply: Reply,
    ) -> Vec<Multiaddr> {
        let under_way = self.peers.contains_key(&peer);
        let dial = self.peers.entry(peer).or_default();
        dial.waiters.retain(|waiter| !waiter.is_closed());
        if dial.waiters.len() >= WAITERS_MAX {
            let full = DialError::Refused(peer, "too many callers wait for it".into());
            let _ = reply.send(Err(full));
            return Vec::new();
        }
        dial.waiters.push(reply);
        let new: Vec<Multiaddr> =
            addresses.into_iter().filter(|a| !dial.tried.contains(a)).collect();
        if under_way {
            let room = UNTRIED_MAX.saturating_sub(dial.tried.len());
            let new = new.into_iter().filter(|a| !dial.untried.contains(a));
            let new: Vec<Multiaddr> = new.collect();
            dial.untried.extend(new);
            dial.untried.truncate(room);
            return Vec::new();
        }
        dial.tried.extend(new.iter().cloned());
        new
    }

    /// A connection stands.
    pub fn connected(&mut self, peer: &PeerId) {
        self.end(peer, &Ok(()));
    }

    /// A dial failed. Gives further addresses to try, or tells the waiters.
    pub fn failed(&mut self, peer: &PeerId, error: DialError) -> Vec<Multiaddr> {
        let Some(dial) = self.peers.get_mut(peer) else { return Vec::new() };
        let next = std::mem::take(&mut dial.untried);
        if next.is_empty() {
            self.end(peer, &Err(error));
        } else {
            dial.tried.extend(next.iter().cloned());
        }
        next
    }

    fn end(&mut self, peer: &PeerId, outcome: &Result<(), DialError>) {
        for waiter in self.peers.remove(peer).map(|dial| dial.waiters).unwrap_or_default() {
            // A waiter that is gone wants no answer.
            let _ = waiter.send(outcome.clone());
        }
    }
}
