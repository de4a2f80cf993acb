//! The task that owns the engine: what happens goes in, what is to be done comes out.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod looking;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::keeper::{self, Arrived, Kept, Waiter};
use super::reader::{Budget, Held, Readers};
use super::sender::{self, Sender};
use super::{Search, Shared};
use crate::exchange::engine::{Action, Engine, Settings};
use crate::exchange::wire::{Message, Outgoing, PROTOCOLS, TARGET_BYTES, Version};
use crate::exchange::{ExchangeError, Progress, SessionId};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, Multihash};
use crate::net::{Event, Inbound, Net, OpenError, PeerId, StreamProtocol};
use crate::store::Store;
use crate::task;

/// Time between two looks at callers that are gone and peers that are.
const SWEEP: Duration = Duration::from_secs(1);
/// Sweeps between two comparisons of the engine's peers with those that are connected.
const COMPARE_EVERY: u32 = 30;
/// Providers dialled at a time, by all searches.
const DIALS_MAX: usize = 32;
/// Messages that may fail in a row before a peer counts as gone.
const FAILURES_MAX: u32 = 3;
/// What the network calls our opinion of peers.
const WHO: &str = "bitswap";

/// A question to the engine.
pub type Question = Box<dyn FnOnce(&Engine) + Send>;
type Reply = oneshot::Sender<Result<Block, ExchangeError>>;

/// Something that happened.
pub enum Input {
    /// Somebody wants a block.
    Want { session: u64, shared: Arc<Shared>, cid: Cid, reply: Reply },
    /// Somebody may want it no more.
    Gone { session: u64, cid: Cid },
    /// A session's handle is gone.
    Close { session: u64 },
    /// Blocks came into the store by other ways.
    Local(Vec<(Cid, u32)>),
    /// A peer sent a message.
    Message { peer: PeerId, message: Message, _held: Held },
    /// A peer is sending one.
    Progress(PeerId),
    /// A peer speaks this version.
    Speaks { peer: PeerId, version: Version },
    /// The store's index was asked for a peer.
    Indexed { peer: PeerId, found: Vec<(Cid, Option<u32>)> },
    /// A message was written, or not.
    Sent {
        peer: PeerId,
        turn: u64,
        message: Outgoing,
        missing: Vec<Cid>,
        failure: Option<OpenError>,
    },
    /// A search found a provider, or ended.
    Provider { session: SessionId, cid: Cid, peer: Option<PeerId> },
    /// A provider could not be dialled.
    DialFailed { session: SessionId, peer: PeerId, why: String },
    /// A question.
    Ask(Question),
    /// How a session fares.
    Status { session: u64, reply: oneshot::Sender<Progress> },
    /// What is being fetched.
    Fetches(oneshot::Sender<Vec<Progress>>),
}

/// What is known of a peer here.
struct Peer {
    jobs: mpsc::Sender<Outgoing>,
    turn: u64,
    /// Messages that its sender has.
    at_work: usize,
    failures: u32,
}

/// A session of a caller.
struct Session {
    id: SessionId,
    shared: Arc<Shared>,
    waiters: HashMap<Multihash, Vec<Waiter>>,
    /// Why the last provider could not be dialled.
    failure: Option<String>,
}

/// The task's state.
pub struct Driver {
    engine: Engine,
    net: Net,
    store: Store,
    search: Search,
    inputs: mpsc::Sender<Input>,
    readers: Readers,
    budgets: HashMap<PeerId, Budget>,
    peers: HashMap<PeerId, Peer>,
    sessions: HashMap<u64, Session>,
    names: HashMap<SessionId, u64>,
    arrive: mpsc::Sender<Arrived>,
    kept: mpsc::Receiver<Kept>,
    wanting: Arc<AtomicBool>,
    dials: Arc<Semaphore>,
    turns: u64,
    sweeps: u32,
}

impl Driver {
    /// A driver without peers.
    pub fn new(
        net: Net,
        store: Store,
        search: Search,
        settings: Settings,
        inputs: mpsc::Sender<Input>,
    ) -> Self {
        let (arrive, kept) = keeper::start(store.clone());
        Self {
            engine: Engine::new(settings, rand::random(), Instant::now()),
            net,
            store,
            search,
            inputs,
            readers: Readers::new(),
            budgets: HashMap::new(),
            peers: HashMap::new(),
            sessions: HashMap::new(),
            names: HashMap::new(),
            arrive,
            kept,
            wanting: Arc::default(),
            dials: Arc::new(Semaphore::new(DIALS_MAX)),
            turns: 0,
            sweeps: 0,
        }
    }

    /// Runs until told to stop; ends every fetch then.
    pub async fn run(mut self, mut given: mpsc::Receiver<Input>, stop: CancellationToken) {
        let names: Vec<StreamProtocol> =
            PROTOCOLS.iter().map(|(name, _)| StreamProtocol::new(name)).collect();
        let mut events = self.net.events();
        let mut accepted = self.net.streams().accept(&names);
        let mut sweep = tokio::time::interval(SWEEP);
        self.compare().await;
        loop {
            let due = self.engine.next_tick();
            tokio::select! {
                () = stop.cancelled() => break,
                Some(kept) = self.kept.recv() => {
                    self.engine.on_local_blocks(Instant::now(), &kept);
                }
                Some(input) = given.recv() => self.on_input(input),
                Some(inbound) = accepted.recv() => self.on_stream(inbound),
                event = events.next() => match event {
                    Some(Event::Lagged) => self.compare().await,
                    Some(event) => self.on_event(event),
                    None => break,
                },
                () = tokio::time::sleep_until(due.into()) => self.engine.tick(Instant::now()),
                _ = sweep.tick() => self.on_sweep().await,
            }
            self.act().await;
        }
        self.net.streams().refuse(&names);
        // Whoever stops the exchange closes the store next: what was fetched is in it by then.
        let Self { arrive, mut kept, .. } = self;
        drop(arrive);
        while kept.recv().await.is_some() {}
    }

    fn on_input(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Want { session, shared, cid, reply } => {
                self.want(now, session, shared, cid, reply);
            }
            Input::Gone { session, cid } => self.withdraw(now, session, &cid),
            Input::Close { session } => self.close(now, session),
            Input::Local(blocks) => self.engine.on_local_blocks(now, &blocks),
            Input::Message { peer, message, .. } => self.engine.on_message(now, peer, message),
            Input::Progress(peer) => self.engine.on_progress(now, peer),
            Input::Speaks { peer, version } => self.engine.set_version(peer, version),
            Input::Indexed { peer, found } => self.engine.on_index(peer, &found),
            Input::Sent { peer, turn, message, missing, failure } => {
                self.on_sent(now, (peer, turn), &message, &missing, failure);
            }
            Input::Provider { session, cid, peer } => {
                let done = peer.is_none();
                let peers: Vec<PeerId> = peer.into_iter().collect();
                self.engine.on_providers(now, session, &cid, &peers, done);
            }
            Input::DialFailed { session, peer, why } => {
                self.engine.on_dial_failed(peer);
                let key = self.names.get(&session);
                if let Some(session) = key.and_then(|key| self.sessions.get_mut(key)) {
                    session.failure = Some(why);
                }
            }
            Input::Ask(question) => question(&self.engine),
            Input::Status { session, reply } => {
                let session = self.sessions.get(&session);
                let progress = session.and_then(|session| self.progress(session));
                let _ = reply.send(progress.unwrap_or_default());
            }
            Input::Fetches(reply) => drop(reply.send(self.fetches())),
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Identified(peer, said) => {
                let spoken = said.protocols.iter().filter_map(|name| Version::of_protocol(name));
                if let Some(best) = spoken.max() {
                    self.meet(peer, best);
                }
            }
            Event::Disconnected(peer) => {
                self.budgets.remove(&peer);
                self.part(peer);
            }
            Event::Connected(_) | Event::Lagged => {}
        }
    }

    fn on_stream(&mut self, inbound: Inbound) {
        let Some(version) = Version::of_protocol(inbound.protocol.as_ref()) else { return };
        if !self.peers.contains_key(&inbound.peer) {
            self.meet(inbound.peer, version);
        }
        let budget = self.budgets.entry(inbound.peer).or_default().clone();
        self.readers.read(inbound, budget, self.inputs.clone());
    }

    /// A peer speaks Bitswap.
    fn meet(&mut self, peer: PeerId, version: Version) {
        if !self.peers.contains_key(&peer) {
            self.turns = self.turns.wrapping_add(1);
            let sender = Sender {
                peer,
                turn: self.turns,
                net: self.net.clone(),
                store: self.store.clone(),
                inputs: self.inputs.clone(),
                wanting: Arc::clone(&self.wanting),
            };
            let (jobs, turn) = (sender.start(), self.turns);
            self.peers.insert(peer, Peer { jobs, turn, at_work: 0, failures: 0 });
        }
        self.engine.on_connected(Instant::now(), peer, version);
    }

    /// A peer is gone, or takes no messages. While it is connected, its budget stands: its streams
    /// are still read.
    fn part(&mut self, peer: PeerId) {
        if self.peers.remove(&peer).is_some() {
            self.engine.on_disconnected(Instant::now(), peer);
        }
    }

    fn on_sent(
        &mut self,
        now: Instant,
        (id, turn): (PeerId, u64),
        message: &Outgoing,
        missing: &[Cid],
        failure: Option<OpenError>,
    ) {
        let Some(peer) = self.peers.get_mut(&id).filter(|peer| peer.turn == turn) else { return };
        peer.at_work = peer.at_work.saturating_sub(1);
        missing.iter().for_each(|cid| self.engine.on_missing(id, cid));
        match failure {
            None => {
                peer.failures = 0;
                self.engine.on_sent(id, message);
            }
            Some(error) => {
                peer.failures = peer.failures.saturating_add(1);
                let hopeless = matches!(error, OpenError::Unsupported { .. });
                tracing::debug!(peer = %id, "a Bitswap message was not sent: {error}");
                self.engine.on_send_failed(id, message);
                if hopeless || peer.failures >= FAILURES_MAX {
                    return self.part(id);
                }
            }
        }
        self.give(now, id);
    }

    /// Gives a peer's sender what there is for it, as far as it has room.
    fn give(&mut self, now: Instant, id: PeerId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        while peer.at_work < sender::JOBS {
            let Some(message) = self.engine.take_message(now, id, TARGET_BYTES) else { return };
            if peer.jobs.try_send(message).is_err() {
                return; // Its task is gone, and so is the runtime.
            }
            peer.at_work = peer.at_work.saturating_add(1);
        }
    }

    /// Does what the engine wants done. Waits for the store's queue alone: with that full, peers
    /// are not to send more.
    async fn act(&mut self) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::Ready(peer) => self.give(Instant::now(), peer),
                Action::Lookup { peer, cids } => self.look_up(peer, cids),
                Action::Deliver { block, sessions, .. } => {
                    let waiters = self.waiters(block.cid().hash(), &sessions);
                    self.keep(Arrived { block, waiters }).await;
                }
                Action::Found { cid, sessions } => self.read(cid, &sessions),
                Action::FindProviders { session, cid } => self.find(session, cid),
                Action::Tag { peer, value } => self.net.value(peer, WHO, value),
            }
        }
    }

    /// Gives a block to the store's thread. Listens to it meanwhile: one message brings more blocks
    /// than both channels hold, and with both of them full each side would wait for the other.
    async fn keep(&mut self, arrived: Arrived) {
        loop {
            tokio::select! {
                room = self.arrive.reserve() => {
                    // Closed only when the store's thread died; then everything is over.
                    if let Ok(room) = room {
                        room.send(arrived);
                    }
                    return;
                }
                Some(kept) = self.kept.recv() => {
                    self.engine.on_local_blocks(Instant::now(), &kept);
                }
            }
        }
    }

    fn want(&mut self, now: Instant, key: u64, shared: Arc<Shared>, cid: Cid, reply: Reply) {
        let session = self.sessions.entry(key).or_insert_with(|| {
            let id = self.engine.open_session(now);
            self.names.insert(id, key);
            Session { id, shared, waiters: HashMap::new(), failure: None }
        });
        if !self.engine.want(now, session.id, &cid) {
            let _ = reply.send(Err(ExchangeError::Refused(Box::new(cid))));
            return;
        }
        session.waiters.entry(*cid.hash()).or_default().push(Waiter { cid, reply });
        self.wanting.store(true, Ordering::Relaxed);
    }

    /// Takes a want back when nobody waits for it any more.
    fn withdraw(&mut self, now: Instant, key: u64, cid: &Cid) {
        let Some(session) = self.sessions.get_mut(&key) else { return };
        let Some(waiters) = session.waiters.get_mut(cid.hash()) else { return };
        waiters.retain(|waiter| !waiter.reply.is_closed());
        if waiters.is_empty() {
            session.waiters.remove(cid.hash());
            self.engine.cancel(now, session.id, cid);
        }
    }

    fn close(&mut self, now: Instant, key: u64) {
        if let Some(session) = self.sessions.remove(&key) {
            self.names.remove(&session.id);
            self.engine.close_session(now, session.id);
        }
    }

    /// Whoever waits for a block in these sessions.
    fn waiters(&mut self, hash: &Multihash, sessions: &[SessionId]) -> Vec<Waiter> {
        let mut all = Vec::new();
        for id in sessions {
            let session = self.names.get(id).and_then(|key| self.sessions.get_mut(key));
            all.extend(session.and_then(|s| s.waiters.remove(hash)).unwrap_or_default());
        }
        all
    }

    /// A wanted block is in the store by other ways.
    fn read(&mut self, cid: Cid, sessions: &[SessionId]) {
        let (waiters, store) = (self.waiters(cid.hash(), sessions), self.store.clone());
        task::detach(async move {
            for Waiter { cid, reply } in waiters {
                let read = match store.get(&cid).await {
                    Ok(Some(block)) => Ok(block),
                    Ok(None) => Err(ExchangeError::NotFound(Box::new(cid))),
                    Err(error) => Err(error.into()),
                };
                let _ = reply.send(read);
            }
        });
    }

    /// Withdraws what nobody waits for.
    async fn on_sweep(&mut self) {
        let now = Instant::now();
        let keys: Vec<u64> = self.sessions.keys().copied().collect();
        for key in keys {
            let Some(session) = self.sessions.get(&key) else { continue };
            if Arc::strong_count(&session.shared) == 1 {
                self.close(now, key);
                continue;
            }
            let gone = |waiters: &[Waiter]| waiters.iter().all(|w| w.reply.is_closed());
            let left: Vec<Cid> = session
                .waiters
                .values()
                .filter(|waiters| gone(waiters))
                .filter_map(|waiters| waiters.first().map(|waiter| waiter.cid))
                .collect();
            left.iter().for_each(|cid| self.withdraw(now, key, cid));
        }
        let wanted = self.engine.wantlist().count();
        self.wanting.store(wanted > 0, Ordering::Relaxed);
        self.sweeps = self.sweeps.wrapping_add(1);
        if wanted > 0 {
            self.look_again(wanted);
        }
        if self.sweeps.is_multiple_of(COMPARE_EVERY) {
            self.compare().await;
        }
    }

    /// Makes up for events that were missed.
    async fn compare(&mut self) {
        let connected = self.net.peers().await;
        let gone = |peer: &&PeerId| !connected.iter().any(|c| c.id == **peer);
        let lost: Vec<PeerId> = self.peers.keys().filter(gone).copied().collect();
        lost.into_iter().for_each(|peer| self.part(peer));
        self.budgets.retain(|peer, _| connected.iter().any(|c| c.id == *peer));
        for peer in connected {
            let Some(said) = peer.identified.filter(|_| !self.peers.contains_key(&peer.id)) else {
                continue;
            };
            self.on_event(Event::Identified(peer.id, said));
        }
    }

    fn progress(&self, session: &Session) -> Option<Progress> {
        let status = self.engine.status(session.id)?;
        let peers = self.engine.asking(session.id);
        Some(Progress { status, peers, failure: session.failure.clone() })
    }

    fn fetches(&self) -> Vec<Progress> {
        let wanting = self.sessions.values().filter(|session| !session.waiters.is_empty());
        wanting.filter_map(|session| self.progress(session)).collect()
    }
}
