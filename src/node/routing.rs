//! `routing`: asking the network where things are, and telling it, event by event.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::swarm::PeerId;
use super::{Error, Node, RESULTS, Results};
use crate::dag::order::Order;
use crate::ipld::cid::{Cid, Multihash};
pub use crate::routing::dht::table::{BucketStat, Entry};
use crate::routing::offline::Offline;
use crate::routing::records::{Limits, Records};
pub use crate::routing::{Contact, QueryStep};
use crate::routing::{QueryEvent, Routing, Watch, dht};
use crate::task;

/// Events of a lookup that wait for the mouth; more are lost.
const EVENTS: usize = 256;

/// What happens while a question is asked, and what comes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The peer it is about, if it is one.
    pub peer: Option<PeerId>,
    /// What happened.
    pub step: QueryStep,
    /// Peers that were named.
    pub responses: Vec<Contact>,
    /// The error, or the value in base64.
    pub extra: String,
}

impl Event {
    fn of(step: QueryStep, responses: Vec<Contact>) -> Self {
        Self { peer: None, step, responses, extra: String::new() }
    }
}

impl From<QueryEvent> for Event {
    fn from(event: QueryEvent) -> Self {
        let QueryEvent { peer, step, responses, extra } = event;
        Self { peer: Some(peer), step, responses, extra }
    }
}

/// One DHT and its table.
#[derive(Clone, Debug)]
pub struct DhtStat {
    /// `wan` or `lan`.
    pub name: &'static str,
    /// Its buckets, those that have peers.
    pub buckets: Vec<BucketStat>,
}

type Out = mpsc::Sender<Result<Event, Error>>;

impl Node {
    /// Who has a block: at most so many.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub fn find_providers(&self, hash: Multihash, limit: usize) -> Result<Results<Event>, Error> {
        let routing = self.network()?.routing.clone();
        let (watch, watched) = Watch::new(EVENTS);
        Ok(follow(watched, &[QueryStep::Provider, QueryStep::FinalPeer], |out| async move {
            let mut found = routing.find_providers(hash, limit, watch);
            while let Some(contact) = found.recv().await {
                let event = Event::of(QueryStep::Provider, vec![contact]);
                if out.send(Ok(event)).await.is_err() {
                    break;
                }
            }
            Ok(None)
        }))
    }

    /// Where a peer is.
    ///
    /// # Errors
    /// [`Error::Offline`].
    pub fn find_peer(&self, peer: PeerId) -> Result<Results<Event>, Error> {
        let routing = self.network()?.routing.clone();
        let (watch, watched) = Watch::new(EVENTS);
        Ok(follow(watched, &[QueryStep::FinalPeer], |_| async move {
            let contact = routing.find_peer(peer, &watch).await?;
            Ok(Some(Event::of(QueryStep::FinalPeer, vec![contact])))
        }))
    }

    /// The best valid value under a key.
    ///
    /// # Errors
    /// [`Error::Offline`]; [`Error::Routing`].
    pub async fn get_value(&self, key: Bytes) -> Result<Bytes, Error> {
        Ok(self.network()?.routing.get_value(key, &Watch::default()).await?)
    }

    /// Puts a valid value under a key. With `alone` also where there is no network: it is kept here
    /// then.
    ///
    /// # Errors
    /// [`Error::Offline`]; [`Error::Routing`] says what is wrong with the value, or who took it not.
    pub async fn put_value(&self, key: Bytes, value: Bytes, alone: bool) -> Result<(), Error> {
        let watch = Watch::default();
        match self.network() {
            Ok(network) => network.routing.put_value(key, value, &watch).await?,
            Err(error) if !alone => return Err(error),
            Err(_) => {
                let records =
                    Records::new(self.store.clone(), dht::scope::Scope::Wan, Limits::default());
                Offline::new(records).put_value(key, value, &watch).await?
            }
        };
        Ok(())
    }

    /// Tells the network of blocks that are here, one after the other; of all below them, too, when
    /// `recursive`.
    ///
    /// # Errors
    /// [`Error::Offline`]; names a block that is not here.
    pub async fn provide_now(
        &self,
        roots: &[Cid],
        recursive: bool,
    ) -> Result<Results<Event>, Error> {
        let network = self.network()?;
        if network.net.peers().await.is_empty() {
            return Err(Error::Conflict("cannot provide, no connected peers".into()));
        }
        self.announcer()?;
        let roots = self.held(roots).await?;
        let (routing, node) = (network.routing.clone(), self.clone());
        let (watch, watched) = Watch::new(EVENTS);
        Ok(follow(watched, &[], |_| async move {
            for root in roots {
                let mut order = Order::new(root);
                while let Some(visit) = order.next() {
                    routing.provide(*visit.cid.hash(), &watch).await?;
                    if !recursive {
                        break;
                    }
                    let links = node.local().links(&visit.cid).await?;
                    order.below(links.into_iter().map(|(cid, _)| cid).collect());
                }
            }
            Ok(None)
        }))
    }

    /// Queues blocks that are here for announcing, and tells of each. What the strategy announces
    /// stays as it is.
    ///
    /// # Errors
    /// [`Error::Offline`]; that nothing is announced.
    pub async fn provide_once(
        &self,
        roots: Vec<Cid>,
        recursive: bool,
    ) -> Result<Results<Cid>, Error> {
        let network = self.network()?;
        let provider = self.announcer()?.provider.clone();
        if network.net.peers().await.is_empty() {
            return Err(Error::Conflict("cannot provide: no connected peers".into()));
        }
        let (out, told) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            let work = async {
                let mut seen = std::collections::HashSet::new();
                for root in node.held(&roots).await? {
                    let mut order = Order::new(root);
                    while let Some(visit) = order.next() {
                        // A visit here costs one lookup of the set; what is below is known then.
                        if !seen.insert(*visit.cid.hash()) {
                            continue;
                        }
                        provider.add(std::slice::from_ref(visit.cid.hash())).await?;
                        if out.send(Ok(visit.cid)).await.is_err() || !recursive {
                            break;
                        }
                        let links = node.local().links(&visit.cid).await?;
                        order.below(links.into_iter().map(|(cid, _)| cid).collect());
                    }
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = work.await {
                // Whoever asked may be gone.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(told)
    }

    /// The same blocks, when all of them are here.
    async fn held(&self, cids: &[Cid]) -> Result<Vec<Cid>, Error> {
        for cid in cids {
            let at = *cid;
            if self.store.run(move |core| core.stat(&at)).await?.is_none() {
                let text = format!("block {cid} not found locally, cannot provide");
                return Err(Error::Conflict(text));
            }
        }
        Ok(cids.to_vec())
    }

    /// Forgets keys that wait to be announced; says how many those were. A node that announces
    /// nothing has none.
    ///
    /// # Errors
    /// The store's.
    pub async fn provide_clear(&self) -> Result<usize, Error> {
        match self.announcer() {
            Ok(announcer) => Ok(announcer.provider.clear().await?),
            Err(_) => Ok(0),
        }
    }

    /// The tables of the DHTs.
    ///
    /// # Errors
    /// [`Error::Offline`]; [`Error::Unsupported`] for a node that takes part in none.
    pub fn dht_stat(&self) -> Result<Vec<DhtStat>, Error> {
        let dhts = &self.network()?.dhts;
        if dhts.is_empty() {
            return Err(Error::Unsupported("routing service is not a DHT".into()));
        }
        let stat = |dht: &dht::Dht| DhtStat {
            name: match dht.scope() {
                dht::scope::Scope::Wan => "wan",
                dht::scope::Scope::Lan => "lan",
            },
            buckets: dht.stats(),
        };
        Ok(dhts.iter().map(stat).collect())
    }
}

/// Does the work in a task of its own, and passes on what its watcher sees but for the steps named;
/// an error is told twice, as Kubo does: as an event, and as the end.
fn follow<F>(
    mut watched: mpsc::Receiver<QueryEvent>,
    but: &'static [QueryStep],
    work: impl FnOnce(Out) -> F,
) -> Results<Event>
where
    F: Future<Output = Result<Option<Event>, Error>> + Send + 'static,
{
    let (out, events) = mpsc::channel(RESULTS);
    let work = work(out.clone());
    task::detach(async move {
        let mut work = Box::pin(work);
        let outcome = loop {
            tokio::select! {
                biased;
                Some(event) = watched.recv() => {
                    let shown = !but.contains(&event.step);
                    if shown && out.send(Ok(event.into())).await.is_err() {
                        return;
                    }
                }
                outcome = &mut work => break outcome,
                () = out.closed() => return,
            }
        };
        drop(work);
        while let Ok(event) = watched.try_recv() {
            if !but.contains(&event.step) && out.send(Ok(event.into())).await.is_err() {
                return;
            }
        }
        let last = match outcome {
            Ok(event) => event.map(Ok),
            Err(error) => {
                let extra = error.to_string();
                let event = Event { extra, ..Event::of(QueryStep::QueryError, Vec::new()) };
                let _ = out.send(Ok(event)).await;
                Some(Err(error))
            }
        };
        if let Some(last) = last {
            let _ = out.send(last).await;
        }
    });
    events
}
