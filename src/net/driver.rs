//! The swarm's loop: commands in, events out. Nothing in it waits for anything but the swarm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::futures::StreamExt;
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError as SwarmError, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Swarm, identify, mdns, ping, swarm};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use super::bandwidth::Meter;
use super::behaviour::{Behaviour, BehaviourEvent};
use super::book::{Book, Source, peer_of, without_peer};
use super::dials::{DialError, Dials, Reply};
use super::filters::{Filters, ip_of};
use super::peers::{Identified, Peer, Peers};
use super::streams::Streams;
use super::{Event, NetError, Settings, transport};

/// Commands taken in one turn, so that they cannot starve the swarm.
const COMMANDS_A_TURN: usize = 32;
/// Time between two looks at what is due.
const TICK: Duration = Duration::from_secs(5);
/// Time for the first address of a listener to be known.
const LISTEN_TIME: Duration = Duration::from_secs(5);
/// Addresses that identify tells: go refuses longer messages than 4 KiB.
const ANNOUNCED_MAX: usize = 20;
/// Addresses of one peer that are tried: a record may name as many as it likes.
const TRIED_MAX: usize = 32;
/// First and longest gap between two attempts to reach a peer that is to stay connected.
const PEERING_GAPS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(600));

/// What the handle asks of the loop.
pub enum Command {
    /// See `Net::connect`.
    Connect { peer: PeerId, addresses: Vec<Multiaddr>, reply: Reply },
    /// See `Net::disconnect`.
    Disconnect { peer: PeerId, address: Option<Multiaddr>, reply: oneshot::Sender<usize> },
    /// See `Net::peers`.
    Peers(oneshot::Sender<Vec<Peer>>),
    /// See `Net::peer`.
    Peer { peer: PeerId, reply: oneshot::Sender<Option<Peer>> },
    /// See `Net::addresses`.
    Addresses { peer: PeerId, reply: oneshot::Sender<Vec<Multiaddr>> },
    /// See `Net::book`.
    Book(oneshot::Sender<Vec<(PeerId, Vec<Multiaddr>)>>),
    /// See `Net::learn`.
    Learn { peer: PeerId, addresses: Vec<Multiaddr>, source: Source },
    /// See `Net::value`.
    Value { peer: PeerId, who: &'static str, value: u32 },
    /// See `Net::peering_add`.
    PeeringAdd { peer: PeerId, addresses: Vec<Multiaddr> },
    /// See `Net::peering_remove`.
    PeeringRemove { peer: PeerId, reply: oneshot::Sender<bool> },
    /// See `Net::peering`.
    Peering(oneshot::Sender<Vec<(PeerId, Vec<Multiaddr>)>>),
    /// See `Stop::stop`.
    Stop,
}

/// Where the loop says what happened.
pub struct Outputs {
    pub events: broadcast::Sender<Event>,
    pub listening: watch::Sender<Arc<[Multiaddr]>>,
    pub announced: watch::Sender<Arc<[Multiaddr]>>,
    /// Who counts bytes.
    pub meter: Meter,
}

/// A peer to stay connected with.
struct Peering {
    addresses: Vec<Multiaddr>,
    next: Instant,
    gap: Duration,
}

/// The loop and all it knows.
pub struct Driver {
    settings: Settings,
    swarm: Swarm<Behaviour>,
    filters: Filters,
    streams: Streams,
    commands: mpsc::Receiver<Command>,
    out: Outputs,
    peers: Peers,
    dials: Dials,
    book: Book,
    peering: HashMap<PeerId, Peering>,
}

impl Driver {
    pub fn new(
        settings: Settings,
        key: &Keypair,
        filters: Filters,
        streams: Streams,
        commands: mpsc::Receiver<Command>,
        out: Outputs,
    ) -> Result<Self, NetError> {
        let wire = transport::build(key, settings.encryption, &out.meter)?;
        let behaviour = Behaviour::new(&settings, key, filters.clone(), streams.clone())?;
        let config = swarm::Config::with_tokio_executor()
            .with_idle_connection_timeout(settings.idle)
            .with_smart_dial();
        let swarm = Swarm::new(wire, behaviour, key.public().to_peer_id(), config);
        let mut driver = Self {
            swarm,
            filters,
            streams,
            commands,
            out,
            peers: Peers::default(),
            dials: Dials::default(),
            book: Book::default(),
            peering: HashMap::new(),
            settings,
        };
        for (peer, addresses) in driver.settings.peering.clone() {
            driver.stay_with(peer, addresses);
        }
        Ok(driver)
    }

    /// Listens on what the settings say, and waits until each listener knows its address. One
    /// that cannot be had is named and left out, as long as another can.
    pub async fn listen(&mut self) -> Result<(), NetError> {
        let mut refused = Vec::new();
        let mut waiting = Vec::new();
        for address in self.settings.listen.clone() {
            if !self.settings.transports.allow(&address) {
                continue;
            }
            match self.swarm.listen_on(address.clone()) {
                Ok(id) => waiting.push((id, address)),
                Err(error) => refused.push(format!("{address}: {error}")),
            }
        }
        let deadline = tokio::time::Instant::now() + LISTEN_TIME;
        while !waiting.is_empty() {
            let Ok(event) = tokio::time::timeout_at(deadline, self.swarm.select_next_some()).await
            else {
                break;
            };
            match &event {
                SwarmEvent::NewListenAddr { listener_id, .. } => {
                    waiting.retain(|(id, _)| id != listener_id);
                }
                SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                    let lost = waiting.iter().position(|(id, _)| id == listener_id);
                    if let Some((_, address)) = lost.map(|at| waiting.swap_remove(at)) {
                        let why = reason.as_ref().err().map(ToString::to_string);
                        refused.push(format!("{address}: {}", why.unwrap_or_default()));
                    }
                }
                _ => {}
            }
            self.on_event(event);
        }
        for each in &refused {
            tracing::warn!("cannot listen on {each}");
        }
        let deaf = self.swarm.listeners().next().is_none();
        if deaf && !refused.is_empty() { Err(NetError::Deaf(refused.join("; "))) } else { Ok(()) }
    }

    /// Runs until told to stop.
    pub async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut turn = 0;
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv(), if turn < COMMANDS_A_TURN => {
                    turn += 1;
                    match command {
                        None | Some(Command::Stop) => break,
                        Some(command) => self.on_command(command),
                    }
                }
                event = self.swarm.select_next_some() => {
                    turn = 0;
                    self.on_event(event);
                }
                _ = tick.tick() => {
                    turn = 0;
                    self.on_tick(Instant::now());
                }
                // The swarm had nothing to do: commands again.
                () = std::future::ready(()), if turn >= COMMANDS_A_TURN => turn = 0,
            }
        }
        self.close().await;
    }

    fn on_command(&mut self, command: Command) {
        let now = Instant::now();
        // A caller that is gone wants no answer.
        match command {
            Command::Connect { peer, addresses, reply } => self.connect(peer, addresses, reply),
            Command::Disconnect { peer, address, reply } => {
                let connections = self.peers.connections(&peer, address.as_ref());
                let closed = connections.into_iter().filter(|id| self.swarm.close_connection(*id));
                let _ = reply.send(closed.count());
            }
            Command::Peers(reply) => drop(reply.send(self.peers.all(now))),
            Command::Peer { peer, reply } => drop(reply.send(self.peers.one(now, peer))),
            Command::Addresses { peer, reply } => drop(reply.send(self.book.of(now, &peer))),
            Command::Book(reply) => drop(reply.send(self.book.all(now))),
            Command::Learn { peer, addresses, source } => self.learn(peer, addresses, source),
            Command::Value { peer, who, value } => self.peers.value(&peer, who, value),
            Command::PeeringAdd { peer, addresses } => {
                self.stay_with(peer, addresses);
                self.on_tick(now);
            }
            Command::PeeringRemove { peer, reply } => {
                let _ = reply.send(self.peering.remove(&peer).is_some());
            }
            Command::Peering(reply) => {
                let with = self.peering.iter().map(|(peer, p)| (*peer, p.addresses.clone()));
                let _ = reply.send(with.collect());
            }
            Command::Stop => {}
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(BehaviourEvent::Identify(event)) => self.on_identify(event),
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event {
                peer,
                result: Ok(took),
                ..
            })) => self.peers.pinged(&peer, took),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(event)) => self.on_mdns(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                if endpoint.is_dialer() {
                    let address = endpoint.get_remote_address().clone();
                    self.book.add(now, peer_id, address, Source::Dialled);
                }
                self.dials.connected(&peer_id);
                if self.peers.opened(now, peer_id, connection_id, endpoint) {
                    self.say(Event::Connected(peer_id));
                }
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, .. } => {
                self.on_closed(peer_id, connection_id);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), error, .. } => {
                self.on_dial_failed(peer, &error);
            }
            SwarmEvent::NewListenAddr { .. }
            | SwarmEvent::ExpiredListenAddr { .. }
            | SwarmEvent::ListenerClosed { .. } => self.announce(),
            SwarmEvent::ListenerError { error, .. } => tracing::warn!("a listener failed: {error}"),
            _ => {}
        }
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.peers.closed(&peer, connection) {
            self.say(Event::Disconnected(peer));
        }
    }

    fn on_identify(&mut self, event: identify::Event) {
        let identify::Event::Received { peer_id, info, .. } = event else { return };
        let said = Arc::new(Identified::of(info));
        self.learn(peer_id, said.addresses.clone(), Source::Peer);
        self.peers.identified(&peer_id, Arc::clone(&said));
        self.say(Event::Identified(peer_id, said));
    }

    /// Whoever is near is a neighbour worth having.
    fn on_mdns(&mut self, event: mdns::Event) {
        let mdns::Event::Discovered(found) = event else { return };
        for (peer, address) in found {
            self.learn(peer, vec![address], Source::Local);
            if !self.peers.is_connected(&peer) {
                let (reply, _) = oneshot::channel();
                self.connect(peer, Vec::new(), reply);
            }
        }
    }

    fn on_dial_failed(&mut self, peer: PeerId, error: &SwarmError) {
        if let SwarmError::Transport(attempts) = error {
            attempts.iter().for_each(|(address, _)| self.book.failed(&peer, address));
        }
        // A connection that the peer made meanwhile serves as well.
        if self.peers.is_connected(&peer) {
            return self.dials.connected(&peer);
        }
        let next = self.dials.failed(&peer, DialError::of(peer, error));
        self.dial(peer, next);
    }

    fn on_tick(&mut self, now: Instant) {
        let waters = (self.settings.low_water, self.settings.high_water);
        let kept = |peer: &PeerId| self.peering.contains_key(peer);
        for peer in self.peers.too_many(now, waters, self.settings.grace, kept) {
            // It may have gone by itself.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let due: Vec<PeerId> = self
            .peering
            .iter()
            .filter(|(peer, p)| !self.peers.is_connected(peer) && p.next <= now)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in due {
            if let Some(with) = self.peering.get_mut(&peer) {
                with.next = now + with.gap;
                with.gap = (with.gap * 2).min(PEERING_GAPS.1);
            }
            let (reply, _) = oneshot::channel();
            self.connect(peer, Vec::new(), reply);
        }
        for (_, with) in self.peering.iter_mut().filter(|(p, _)| self.peers.is_connected(p)) {
            (with.next, with.gap) = (now, PEERING_GAPS.0);
        }
    }

    fn connect(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, reply: Reply) {
        if self.peers.is_connected(&peer) {
            return drop(reply.send(Ok(())));
        }
        if peer == *self.swarm.local_peer_id() {
            return drop(reply.send(Err(DialError::Myself(peer))));
        }
        let mut all: Vec<Multiaddr> = addresses.into_iter().map(without_peer).collect();
        for known in self.book.of(Instant::now(), &peer) {
            if !all.contains(&known) {
                all.push(known);
            }
        }
        all.retain(|address| self.filters.allow(address));
        all.truncate(TRIED_MAX);
        if all.is_empty() {
            return drop(reply.send(Err(DialError::NoAddress(peer))));
        }
        let now = self.dials.join(peer, all, reply);
        self.dial(peer, now);
    }

    fn dial(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        if addresses.is_empty() {
            return;
        }
        let options = DialOpts::peer_id(peer)
            .condition(PeerCondition::NotDialing)
            .addresses(addresses)
            .build();
        if let Err(error) = self.swarm.dial(options) {
            // One under way from elsewhere will answer.
            if !matches!(error, SwarmError::DialPeerConditionFalse(_)) {
                self.on_dial_failed(peer, &error);
            }
        }
    }

    fn learn(&mut self, peer: PeerId, addresses: Vec<Multiaddr>, source: Source) {
        let now = Instant::now();
        if peer == *self.swarm.local_peer_id() {
            return;
        }
        for address in addresses {
            // An address that says it is somebody else's is a lie or a mistake.
            if peer_of(&address).is_none_or(|said| said == peer) {
                self.book.add(now, peer, address, source);
            }
        }
    }

    fn stay_with(&mut self, peer: PeerId, addresses: Vec<Multiaddr>) {
        self.learn(peer, addresses.clone(), Source::Fixed);
        let (next, gap) = (Instant::now(), PEERING_GAPS.0);
        self.peering.insert(peer, Peering { addresses, next, gap });
    }

    /// Works out what is announced from what is listened on, and tells everybody.
    fn announce(&mut self) {
        let listening: Vec<Multiaddr> = self.swarm.listeners().cloned().collect();
        let mut wanted = match self.settings.announce.is_empty() {
            true => listening.clone(),
            false => self.settings.announce.clone(),
        };
        wanted.extend(self.settings.append_announce.iter().cloned());
        wanted.retain(|address| self.may_announce(address));
        wanted.truncate(ANNOUNCED_MAX);
        let before: Vec<Multiaddr> = self.swarm.external_addresses().cloned().collect();
        for gone in before.iter().filter(|address| !wanted.contains(address)) {
            self.swarm.remove_external_address(gone);
        }
        for new in wanted.iter().filter(|address| !before.contains(address)) {
            self.swarm.add_external_address(new.clone());
        }
        let everybody = self.peers.ids();
        self.swarm.behaviour_mut().identify.push(everybody);
        self.out.listening.send_replace(listening.into());
        self.out.announced.send_replace(wanted.into());
    }

    fn may_announce(&self, address: &Multiaddr) -> bool {
        let blocks = &self.settings.no_announce_blocks;
        let blocked = |ip| blocks.iter().any(|block| block.contains(ip));
        !self.settings.no_announce.contains(address) && !ip_of(address).is_some_and(blocked)
    }

    fn say(&self, event: Event) {
        // Nobody may listen.
        let _ = self.out.events.send(event);
    }

    /// Closes every connection, so that peers need not find out by themselves.
    async fn close(mut self) {
        for peer in self.peers.ids() {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let gone = async {
            while self.swarm.connected_peers().next().is_some() {
                self.swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), gone).await;
        self.streams.end();
    }
}
