//! Lookups driven over [`Rpc`](super::Rpc): finding, telling, and what watchers hear of it.

use std::collections::HashSet;
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use libp2p::PeerId;
use tokio::sync::mpsc;

use super::lookup::{Goal, Lookup, News, PROVIDERS_MAX, Step};
use super::server::lock;
use super::table::BUCKET_PEERS;
use super::wire::{Contact, KEY_MAX_BYTES, Message};
use super::{Dht, Key, RoutingError, unix_now, validate};
use crate::ipld::cid::Multihash;
use crate::task;

/// Providers waiting for whoever asked for them.
const PROVIDERS_WAITING: usize = 64;
/// Valid answers after which a value counts as found (ipfs/specs kad-dht, IPNS quorum).
pub const QUORUM: usize = 16;
/// Messages handed to one stream at a time: what a dead peer can hold is bounded by it.
const MESSAGES_AT_ONCE: usize = 256;

/// What happens in a lookup; the numbers are those of Kubo's `Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum QueryStep {
    /// A peer is asked.
    SendingQuery = 0,
    /// It answered with closer peers.
    PeerResponse = 1,
    /// The lookup ended with this peer.
    FinalPeer = 2,
    /// It gave no answer.
    QueryError = 3,
    /// It named providers.
    Provider = 4,
    /// It had a value.
    Value = 5,
    /// A peer is added to those to be asked.
    AddingPeer = 6,
    /// A peer is dialled.
    DialingPeer = 7,
}

/// One event of a lookup, as `ipfs routing findprovs -v` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryEvent {
    /// The peer it is about.
    pub peer: PeerId,
    /// What happened.
    pub step: QueryStep,
    /// Peers that were named.
    pub responses: Vec<Contact>,
    /// The error, or the value.
    pub extra: String,
}

/// Who watches a lookup, if anybody. Events that a slow watcher does not take are lost, never
/// waited for.
#[derive(Clone, Debug, Default)]
pub struct Watch(Option<mpsc::Sender<QueryEvent>>);

impl Watch {
    /// A watcher with its end of a channel of `bound` events.
    pub fn new(bound: usize) -> (Self, mpsc::Receiver<QueryEvent>) {
        let (events, watched) = mpsc::channel(bound);
        (Self(Some(events)), watched)
    }

    fn tell(&self, peer: PeerId, step: QueryStep, responses: &[Contact], extra: &str) {
        if let Some(events) = &self.0 {
            let (responses, extra) = (responses.to_vec(), extra.to_owned());
            // Full or closed: the lookup is not held up by who watches it.
            let _ = events.try_send(QueryEvent { peer, step, responses, extra });
        }
    }
}

impl Dht {
    fn lookup(&self, goal: Goal, key: &[u8], mut seeds: Vec<Contact>) -> Lookup {
        seeds.extend(self.nearest_known(key));
        Lookup::new(self.shared.origin, goal, key, seeds, Instant::now())
    }

    /// Drives a lookup to its end. `learn` hears who said what, and ends it by `false`.
    async fn drive(
        &self,
        mut lookup: Lookup,
        watch: &Watch,
        mut learn: impl FnMut(&Contact, News) -> bool,
    ) -> Lookup {
        // Never closed; were it, lookups would only be unbounded.
        let _turn = self.shared.lookups.acquire().await.ok();
        let mut asked = FuturesUnordered::new();
        loop {
            let until = loop {
                match lookup.step(Instant::now()) {
                    Step::Ask(contact) => {
                        watch.tell(contact.peer, QueryStep::SendingQuery, &[], "");
                        let (peer, addrs) = (contact.peer, contact.addrs.clone());
                        let answer = self.shared.rpc.request(peer, addrs, lookup.message());
                        asked.push(async move { (contact, answer.await) });
                    }
                    Step::Wait(until) => break until,
                    Step::Done => return lookup,
                }
            };
            tokio::select! {
                Some((contact, answer)) = asked.next() => {
                    if !self.take(&mut lookup, watch, contact, answer, &mut learn) {
                        return lookup;
                    }
                }
                () = tokio::time::sleep_until(until.into()) => {}
            }
        }
    }

    /// Takes one answer or failure in; `false` when whoever asked has enough.
    fn take(
        &self,
        lookup: &mut Lookup,
        watch: &Watch,
        contact: Contact,
        answer: Result<Message, super::RpcError>,
        learn: &mut impl FnMut(&Contact, News) -> bool,
    ) -> bool {
        let peer = contact.peer;
        match answer {
            Ok(answer) => {
                self.answered(&contact);
                watch.tell(peer, QueryStep::PeerResponse, &answer.closer, "");
                let news = lookup.answered(&peer, answer);
                for heard in &news.closer {
                    watch.tell(heard.peer, QueryStep::AddingPeer, &[], "");
                }
                if !news.providers.is_empty() {
                    watch.tell(peer, QueryStep::Provider, &news.providers, "");
                }
                learn(&contact, news)
            }
            Err(error) => {
                self.failed(&peer, &error);
                watch.tell(peer, QueryStep::QueryError, &[], &error.to_string());
                lookup.failed(&peer);
                true
            }
        }
    }

    /// The peers nearest to a key that answered, at most 20, nearest first.
    pub async fn closest(&self, key: Bytes, watch: &Watch) -> Vec<Contact> {
        self.closest_from(Vec::new(), key, watch).await
    }

    pub(super) async fn closest_from(
        &self,
        seeds: Vec<Contact>,
        key: Bytes,
        watch: &Watch,
    ) -> Vec<Contact> {
        let lookup = self.lookup(Goal::Closest, &key, seeds);
        let closest = self.drive(lookup, watch, |_, _| true).await.closest(BUCKET_PEERS);
        for contact in &closest {
            watch.tell(contact.peer, QueryStep::FinalPeer, &[], "");
        }
        let mut table = lock(&self.shared.table);
        let bits = table.bucket_of(&Key::of(&key));
        table.refreshed(bits, Instant::now());
        closest
    }

    /// Providers of a multihash as they are found, at most `limit` (0 for all). Those kept here
    /// come first. The channel closes when the lookup ends; dropping it ends the lookup.
    pub fn find_providers(
        &self,
        hash: Multihash,
        limit: usize,
        watch: Watch,
    ) -> mpsc::Receiver<Contact> {
        let (out, found) = mpsc::channel(PROVIDERS_WAITING);
        let dht = self.clone();
        task::detach(async move {
            tokio::select! {
                () = dht.pump_providers(&hash, limit, &watch, &out) => {}
                () = out.closed() => {}
            }
        });
        found
    }

    async fn pump_providers(
        &self,
        hash: &Multihash,
        limit: usize,
        watch: &Watch,
        out: &mpsc::Sender<Contact>,
    ) {
        let key = Bytes::from(hash.to_bytes());
        let limit = if limit == 0 { usize::MAX } else { limit };
        let kept = {
            let key = key.clone();
            self.shared.records.run(move |records| records.providers(&key, unix_now())).await
        };
        let mut told = HashSet::new();
        // What is kept here only makes it faster; without it the lookup still runs.
        for contact in kept.unwrap_or_default().into_iter().take(limit) {
            told.insert(contact.peer);
            if out.send(contact).await.is_err() {
                return;
            }
        }
        if told.len() >= limit {
            return;
        }
        // A reader that is slow must not stop the lookup's clock: what one lookup can collect, each
        // provider without its addresses and once more with them, may wait here.
        let (found, waiting) = mpsc::channel(2 * PROVIDERS_MAX);
        let lookup = self.lookup(Goal::Providers(limit), &key, Vec::new());
        let driving = async move {
            let learn = |_: &Contact, news: News| {
                news.providers.into_iter().all(|contact| found.try_send(contact).is_ok())
            };
            self.drive(lookup, watch, learn).await;
        };
        // The channel closes when the lookup ends, and the telling ends when all is told, or enough.
        tokio::select! {
            () = tell_providers(told, limit, waiting, out) => {}
            () = async { driving.await; std::future::pending().await } => {}
        }
    }

    /// Where a peer is: at once if it is connected, else what a lookup finds, else what was last
    /// known of it.
    ///
    /// # Errors
    /// [`RoutingError::NotFound`] and [`RoutingError::NoPeers`].
    pub async fn find_peer(&self, peer: PeerId, watch: &Watch) -> Result<Contact, RoutingError> {
        let connected = lock(&self.shared.known).addrs(&peer).map(<[_]>::to_vec);
        let contact = match connected {
            Some(addrs) => Contact { peer, addrs },
            None => match self.look_for(peer, watch).await {
                Ok(contact) => contact,
                Err(error) => self.known_peer(peer).await?.ok_or(error)?,
            },
        };
        watch.tell(peer, QueryStep::FinalPeer, std::slice::from_ref(&contact), "");
        Ok(contact)
    }

    async fn look_for(&self, peer: PeerId, watch: &Watch) -> Result<Contact, RoutingError> {
        self.need_peers()?;
        let lookup = self.lookup(Goal::Peer(peer), &peer.to_bytes(), Vec::new());
        let lookup = self.drive(lookup, watch, |_, _| true).await;
        lookup.found().cloned().ok_or(RoutingError::NotFound)
    }

    fn need_peers(&self) -> Result<(), RoutingError> {
        match self.peers() {
            0 => Err(RoutingError::NoPeers(self.scope())),
            _ => Ok(()),
        }
    }

    /// Tells the 20 nearest peers that this node has the content under a multihash; says how many
    /// took the message. Nobody answers it, so taking is all that can be known.
    ///
    /// # Errors
    /// [`RoutingError::NoAddress`], [`RoutingError::NoPeers`], [`RoutingError::NotTaken`].
    pub async fn provide(&self, hash: &Multihash, watch: &Watch) -> Result<usize, RoutingError> {
        let key = Bytes::from(hash.to_bytes());
        let peers = self.region(&key, watch).await?;
        self.announce(&peers, vec![key]).await
    }

    /// The peers that are to be told of a key, found by a lookup.
    ///
    /// # Errors
    /// As [`Self::provide`].
    pub async fn region(&self, key: &Bytes, watch: &Watch) -> Result<Vec<Contact>, RoutingError> {
        if key.len() > KEY_MAX_BYTES {
            return Err(RoutingError::Key);
        }
        if self.own_addrs().is_empty() {
            return Err(RoutingError::NoAddress(self.scope()));
        }
        self.need_peers()?;
        let peers = self.closest(key.clone(), watch).await;
        match peers.is_empty() {
            true => Err(RoutingError::NoPeers(self.scope())),
            false => Ok(peers),
        }
    }

    /// Tells peers of keys, pipelined on one stream a peer, and remembers that they were told;
    /// says how many peers took all of it.
    ///
    /// # Errors
    /// As [`Self::provide`].
    pub async fn announce(
        &self,
        peers: &[Contact],
        keys: Vec<Bytes>,
    ) -> Result<usize, RoutingError> {
        let own = self.own_addrs();
        if own.is_empty() {
            return Err(RoutingError::NoAddress(self.scope()));
        }
        let own = Contact { peer: self.shared.origin.local, addrs: own.to_vec() };
        let tell = |contact: &Contact| self.tell_all(contact.clone(), own.clone(), keys.clone());
        let mut telling: FuturesUnordered<_> = peers.iter().map(tell).collect();
        let (mut took, mut last) = (0, String::new());
        while let Some((contact, told)) = telling.next().await {
            match told {
                Ok(()) => {
                    took += 1;
                    self.answered(&contact);
                }
                Err(error) => {
                    self.failed(&contact.peer, &error);
                    last = error.to_string();
                }
            }
        }
        if took == 0 {
            return Err(RoutingError::NotTaken { asked: peers.len(), last });
        }
        self.shared.records.run(move |records| records.announced(&keys, unix_now())).await?;
        Ok(took)
    }

    async fn tell_all(
        &self,
        contact: Contact,
        own: Contact,
        keys: Vec<Bytes>,
    ) -> (Contact, Result<(), super::RpcError>) {
        for some in keys.chunks(MESSAGES_AT_ONCE) {
            let message = |key: &Bytes| Message::add_provider(key.clone(), own.clone());
            let messages = some.iter().map(message).collect();
            let sent = self.shared.rpc.send(contact.peer, contact.addrs.clone(), messages);
            if let Err(error) = sent.await {
                return (contact, Err(error));
            }
        }
        (contact, Ok(()))
    }

    /// The best valid value under a key of [`QUORUM`] answers, or of all that come. Peers that had
    /// an older one, or none although they are near, are told the best one afterwards.
    ///
    /// # Errors
    /// [`RoutingError::NotFound`] and [`RoutingError::NoPeers`].
    pub async fn get_value(&self, key: Bytes, watch: &Watch) -> Result<Bytes, RoutingError> {
        let mut best = self.kept_value(&key).await?;
        if best.is_none() {
            self.need_peers()?;
        }
        let mut holders: Vec<(PeerId, Bytes)> = Vec::new();
        let lookup = self.lookup(Goal::Values, &key, Vec::new());
        let lookup = self
            .drive(lookup, watch, |contact, news| {
                let Some(record) = news.record else { return true };
                if validate::validate(&key, &record.value, unix_now()).is_err() {
                    return true;
                }
                watch.tell(contact.peer, QueryStep::Value, &[], "");
                let old = best.as_deref();
                if old.is_none_or(|old| validate::is_better(&key, &record.value, old)) {
                    best = Some(record.value.clone());
                }
                holders.push((contact.peer, record.value));
                holders.len() < QUORUM
            })
            .await;
        let best = best.ok_or(RoutingError::NotFound)?;
        let current = |contact: &Contact| {
            holders.iter().any(|(peer, value)| *peer == contact.peer && *value == best)
        };
        let behind: Vec<Contact> =
            lookup.closest(BUCKET_PEERS).into_iter().filter(|c| !current(c)).collect();
        self.correct(behind, Message::put_value(key, best.clone()));
        Ok(best)
    }

    async fn kept_value(&self, key: &Bytes) -> Result<Option<Bytes>, RoutingError> {
        let at = key.clone();
        let kept = self.shared.records.run(move |records| records.value(&at, unix_now())).await?;
        let valid = |value: &Bytes| validate::validate(key, value, unix_now()).is_ok();
        Ok(kept.map(|(value, _)| value).filter(valid))
    }

    /// Tells peers a better value than theirs, after whoever asked has got it.
    fn correct(&self, peers: Vec<Contact>, message: Message) {
        let dht = self.clone();
        task::detach(async move {
            let tell = |contact: Contact| {
                dht.shared.rpc.request(contact.peer, contact.addrs, message.clone())
            };
            let telling: FuturesUnordered<_> = peers.into_iter().map(tell).collect();
            // They may refuse: the value is theirs to keep.
            telling.for_each(|_| std::future::ready(())).await;
        });
    }

    /// Keeps a value and gives it to the 20 nearest peers; says how many took it.
    ///
    /// # Errors
    /// [`RoutingError::Invalid`], [`RoutingError::Older`], [`RoutingError::NoPeers`],
    /// [`RoutingError::NotTaken`].
    pub async fn put_value(
        &self,
        key: Bytes,
        value: Bytes,
        watch: &Watch,
    ) -> Result<usize, RoutingError> {
        validate::validate(&key, &value, unix_now())?;
        self.need_peers()?;
        let (at, kept) = (key.clone(), value.clone());
        let keep = move |records: &crate::routing::records::Records| {
            let better =
                |old: Option<&Bytes>| old.is_none_or(|old| validate::is_better(&at, &kept, old));
            records.put_value(&at, &kept, unix_now(), better)
        };
        if !self.shared.records.run(keep).await? {
            return Err(RoutingError::Older);
        }
        let peers = self.closest(key.clone(), watch).await;
        let message = Message::put_value(key, value);
        let tell = |contact: &Contact| {
            self.shared.rpc.request(contact.peer, contact.addrs.clone(), message.clone())
        };
        let mut telling: FuturesUnordered<_> = peers.iter().map(tell).collect();
        let (mut took, mut last) = (0, String::new());
        while let Some(answer) = telling.next().await {
            match answer {
                Ok(echo) if echo.record == message.record => took += 1,
                Ok(_) => last = "answered with another value".to_owned(),
                Err(error) => last = error.to_string(),
            }
        }
        match took {
            0 => Err(RoutingError::NotTaken { asked: peers.len(), last }),
            _ => Ok(took),
        }
    }
}

/// Passes providers on: each once, and once more when it first came without addresses.
async fn tell_providers(
    mut told: HashSet<PeerId>,
    limit: usize,
    mut waiting: mpsc::Receiver<Contact>,
    out: &mpsc::Sender<Contact>,
) {
    let mut bare = HashSet::new();
    while let Some(contact) = waiting.recv().await {
        let is_new = match contact.addrs.is_empty() {
            true => !told.contains(&contact.peer) && bare.insert(contact.peer),
            false => told.insert(contact.peer),
        };
        if is_new && (out.send(contact).await.is_err() || told.len() >= limit) {
            return;
        }
    }
}
