//! What keeps a DHT going: who is connected goes into its table, what is announced into its
//! records, and what is stale is refreshed.

use std::time::Duration;

use super::dht::{Contact, Dht, unix_now};
use crate::net::{Connection, Event, Identified, Multiaddr, Net, Peer};

/// Time between two looks at what is due.
const LOOK: Duration = Duration::from_secs(60);
/// The first looks come sooner: a node that has just started may have nobody yet.
const FIRST_LOOKS: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(20)];
/// Looks between two sweeps of expired records.
const SWEEP_EVERY: u32 = 60;

/// Keeps DHTs going until the network stops. `seeds` are asked whenever a table is empty.
pub async fn run(net: Net, dhts: Vec<Dht>, seeds: Vec<Contact>) {
    tokio::select! {
        () = follow(&net, &dhts) => {}
        () = look(&dhts, &seeds) => {}
    }
}

/// Tells the DHTs who is connected and what is announced.
async fn follow(net: &Net, dhts: &[Dht]) {
    let (mut events, mut announced) = (net.events(), net.announced());
    announced.mark_changed();
    net.peers().await.iter().for_each(|peer| take_in(dhts, peer));
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::Identified(peer, _)) => {
                    if let Some(peer) = net.peer(peer).await {
                        take_in(dhts, &peer);
                    }
                }
                Some(Event::Disconnected(peer)) => dhts.iter().for_each(|dht| dht.on_gone(&peer)),
                Some(Event::Lagged) => {
                    net.peers().await.iter().for_each(|peer| take_in(dhts, peer));
                }
                Some(Event::Connected(_)) => {}
                None => return,
            },
            changed = announced.changed() => {
                if changed.is_err() {
                    return;
                }
                let addresses = announced.borrow_and_update().clone();
                dhts.iter().for_each(|dht| dht.set_own_addrs(&addresses));
            }
        }
    }
}

/// Looks after tables and records from time to time; a look may take a minute.
pub(super) async fn look(dhts: &[Dht], seeds: &[Contact]) {
    for looks in 0.. {
        for dht in dhts {
            look_after(dht, seeds, looks).await;
        }
        let gap = FIRST_LOOKS.get(looks as usize).copied().unwrap_or(LOOK);
        tokio::time::sleep(gap).await;
    }
}

async fn look_after(dht: &Dht, seeds: &[Contact], looks: u32) {
    if dht.peers() == 0 {
        dht.bootstrap(seeds.to_vec()).await;
    } else if let Err(error) = dht.refresh().await {
        tracing::warn!("peers of the DHT were not saved: {error}");
    }
    if looks % SWEEP_EVERY == SWEEP_EVERY - 1 {
        let swept = dht.records().run(|records| records.sweep(unix_now())).await;
        if let Err(error) = swept {
            tracing::warn!("expired records of the DHT were not deleted: {error}");
        }
    }
}

/// A peer said who it is.
fn take_in(dhts: &[Dht], peer: &Peer) {
    let (Some(said), Some(connection)) = (&peer.identified, peer.connections.first()) else {
        return;
    };
    let addresses = addresses(said, connection);
    for dht in dhts {
        let serves = said.protocols.iter().any(|name| name == dht.scope().protocol());
        dht.on_peer(peer.id, &addresses, serves);
    }
}

/// Where a peer can be reached: where it was dialled, and where it says it listens. Of those, the
/// ones on the machine it comes from go first: a peer may claim any address.
fn addresses(said: &Identified, connection: &Connection) -> Vec<Multiaddr> {
    let host = connection.address.iter().next();
    let mut all: Vec<Multiaddr> = said.addresses.clone();
    all.sort_by_key(|address| address.iter().next() != host);
    if connection.outbound {
        all.insert(0, connection.address.clone());
    }
    all
}
