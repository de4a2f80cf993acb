//! A network of engines in virtual time: links with latency and bandwidth, peers that come, go, lie
//! and flood, and an oracle for providers. One seed is one course of events.

#[cfg(test)]
mod scenes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libp2p::PeerId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::engine::{Action, Engine, Settings};
use super::session::SessionId;
use super::wantlist::Key;
use super::wire::{
    Entry, Kind, Message, Outgoing, Presence, RawMessage, Version, decode_frame, encode, frame_head,
};
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::{Cid, codec};

/// How long the index takes to answer.
const INDEX: Duration = Duration::from_micros(200);
/// How long a search for providers takes.
const SEARCH: Duration = Duration::from_millis(300);

/// How a node behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// By the engine.
    Honest,
    /// Says HAVE to everything, and sends nothing.
    Boaster,
    /// Sends blocks with a byte changed.
    Corrupter,
    /// Wants 10,000 blocks on sight, and sends some that nobody asked for.
    Flooder,
}

/// A link in one direction.
#[derive(Clone, Copy)]
pub struct Line {
    pub latency: Duration,
    /// Bytes a second.
    pub speed: f64,
}

struct Node {
    id: PeerId,
    role: Role,
    engine: Engine,
    store: HashMap<Key, Block>,
    /// What each session still waits for.
    awaited: BTreeMap<SessionId, BTreeSet<Key>>,
    /// Peers whose sender is at work.
    sending: BTreeSet<usize>,
    tick_at: Instant,
    dials: u64,
}

enum Event {
    Arrive { from: usize, to: usize, epoch: u64, frame: Bytes },
    Sent { from: usize, to: usize, epoch: u64, out: Outgoing },
    Tick { node: usize },
    Index { node: usize, peer: PeerId, cids: Vec<Cid> },
    Providers { node: usize, session: SessionId, cid: Cid },
    Connect { a: usize, b: usize },
    Disconnect { a: usize, b: usize },
}

/// The network.
pub struct Net {
    pub rng: ChaCha8Rng,
    start: Instant,
    pub now: Instant,
    nodes: Vec<Node>,
    /// Both ways of every pair that can be connected, and until when it is in use.
    lines: BTreeMap<(usize, usize), (Line, Instant)>,
    /// Connections, each with the number of its epoch: what was sent in an earlier one is lost.
    links: BTreeMap<(usize, usize), u64>,
    versions: BTreeMap<(usize, usize), Version>,
    events: BinaryHeap<Reverse<(Instant, u64)>>,
    details: HashMap<u64, Event>,
    next: u64,
    /// Nodes that can be dialled, for each block.
    providers: HashMap<Key, Vec<usize>>,
    /// Bytes that went over all links.
    pub carried: u64,
}

/// A block of `len` bytes made of `n`.
pub fn block(n: u64, len: usize) -> Block {
    let mut data = vec![0u8; len.max(8)];
    data[..8].copy_from_slice(&n.to_le_bytes());
    Block::hashed(Prefix::v1(codec::RAW), Bytes::from(data)).unwrap()
}

fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

impl Net {
    /// `roles` are the nodes; any two can be connected over `line`.
    pub fn new(seed: u64, roles: &[Role], line: Line) -> Self {
        eprintln!("seed {seed}");
        let start = Instant::now();
        let node = |(n, role): (usize, &Role)| {
            let mut id = vec![0x12, 0x20];
            id.extend_from_slice(&[n as u8; 32]);
            Node {
                id: PeerId::from_bytes(&id).unwrap(),
                role: *role,
                engine: Engine::new(Settings::default(), seed ^ n as u64, start),
                store: HashMap::new(),
                awaited: BTreeMap::new(),
                sending: BTreeSet::new(),
                tick_at: start,
                dials: 0,
            }
        };
        let nodes: Vec<Node> = roles.iter().enumerate().map(node).collect();
        let mut lines = BTreeMap::new();
        for a in 0..nodes.len() {
            for b in (0..nodes.len()).filter(|b| *b != a) {
                lines.insert((a, b), (line, start));
            }
        }
        Self {
            rng: ChaCha8Rng::seed_from_u64(seed),
            start,
            now: start,
            nodes,
            lines,
            links: BTreeMap::new(),
            versions: BTreeMap::new(),
            events: BinaryHeap::new(),
            details: HashMap::new(),
            next: 0,
            providers: HashMap::new(),
            carried: 0,
        }
    }

    pub fn engine(&self, node: usize) -> &Engine {
        &self.nodes[node].engine
    }

    pub fn id(&self, node: usize) -> PeerId {
        self.nodes[node].id
    }

    pub fn elapsed(&self) -> Duration {
        self.now - self.start
    }

    pub fn set_line(&mut self, a: usize, b: usize, line: Line) {
        for way in [(a, b), (b, a)] {
            self.lines.insert(way, (line, self.start));
        }
    }

    pub fn set_version(&mut self, a: usize, b: usize, version: Version) {
        self.versions.insert(pair(a, b), version);
    }

    /// Gives a node a block, silently.
    pub fn stock(&mut self, node: usize, block: &Block) {
        self.nodes[node].store.insert(Key::of(block.cid()), block.clone());
    }

    /// A block is added at a node.
    pub fn add(&mut self, node: usize, block: &Block) {
        self.stock(node, block);
        let now = self.now;
        let size = block.data().len() as u32;
        self.nodes[node].engine.on_local_blocks(now, &[(*block.cid(), size)]);
        self.act(node);
    }

    /// Makes a node dialable for a block.
    pub fn publish(&mut self, node: usize, cid: &Cid) {
        self.providers.entry(Key::of(cid)).or_default().push(node);
    }

    pub fn open(&mut self, node: usize) -> SessionId {
        let id = self.nodes[node].engine.open_session(self.now);
        self.nodes[node].awaited.insert(id, BTreeSet::new());
        id
    }

    pub fn close(&mut self, node: usize, session: SessionId) {
        self.nodes[node].engine.close_session(self.now, session);
        self.nodes[node].awaited.remove(&session);
        self.act(node);
    }

    pub fn want(&mut self, node: usize, session: SessionId, cid: &Cid) {
        assert!(self.nodes[node].engine.want(self.now, session, cid));
        self.nodes[node].awaited.get_mut(&session).unwrap().insert(Key::of(cid));
        self.act(node);
    }

    pub fn cancel(&mut self, node: usize, session: SessionId, cid: &Cid) {
        self.nodes[node].engine.cancel(self.now, session, cid);
        self.nodes[node].awaited.get_mut(&session).unwrap().remove(&Key::of(cid));
        self.act(node);
    }

    /// Blocks that sessions of a node wait for.
    pub fn awaited(&self, node: usize) -> usize {
        self.nodes[node].awaited.values().map(BTreeSet::len).sum()
    }

    pub fn is_connected(&self, a: usize, b: usize) -> bool {
        self.links.contains_key(&pair(a, b))
    }

    pub fn connect(&mut self, a: usize, b: usize) {
        if self.is_connected(a, b) {
            return;
        }
        let version = self.versions.get(&pair(a, b)).copied().unwrap_or(Version::V1_2);
        self.next += 1;
        self.links.insert(pair(a, b), self.next);
        for (one, other) in [(a, b), (b, a)] {
            let (id, now) = (self.nodes[other].id, self.now);
            self.lines.get_mut(&(one, other)).unwrap().1 = now;
            match self.nodes[one].role {
                Role::Honest => self.nodes[one].engine.on_connected(now, id, version),
                Role::Flooder => self.flood(one, other),
                Role::Boaster | Role::Corrupter => {}
            }
        }
        self.act(a);
        self.act(b);
    }

    pub fn disconnect(&mut self, a: usize, b: usize) {
        if self.links.remove(&pair(a, b)).is_none() {
            return;
        }
        for (one, other) in [(a, b), (b, a)] {
            let id = self.nodes[other].id;
            self.nodes[one].sending.remove(&other);
            self.nodes[one].engine.on_disconnected(self.now, id);
        }
        self.act(a);
        self.act(b);
    }

    /// Lets things happen until `end` says so, at most for `limit`; whether it did.
    pub fn run(&mut self, limit: Duration, end: impl Fn(&Self) -> bool) -> bool {
        let until = self.now + limit;
        while !end(self) {
            let Some(Reverse((at, number))) = self.events.pop() else { return false };
            if at > until {
                self.events.push(Reverse((at, number)));
                self.now = until;
                return false;
            }
            self.now = at;
            let event = self.details.remove(&number).unwrap();
            self.happen(event);
        }
        true
    }

    /// A connection will be made or cut.
    pub fn plan(&mut self, after: Duration, a: usize, b: usize, connect: bool) {
        let event = if connect { Event::Connect { a, b } } else { Event::Disconnect { a, b } };
        self.push(after, event);
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.next += 1;
        self.events.push(Reverse((self.now + after, self.next)));
        self.details.insert(self.next, event);
    }

    fn happen(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Arrive { from, to, epoch, frame } => {
                if self.links.get(&pair(from, to)) == Some(&epoch) {
                    self.arrive(from, to, frame);
                }
            }
            Event::Sent { from, to, epoch, out } => {
                if self.links.get(&pair(from, to)) == Some(&epoch) {
                    let id = self.nodes[to].id;
                    self.nodes[from].sending.remove(&to);
                    self.nodes[from].engine.on_sent(id, &out);
                    self.send_next(from, to);
                    self.act(from);
                }
            }
            Event::Tick { node } => {
                if self.nodes[node].tick_at <= now {
                    self.nodes[node].engine.tick(now);
                    self.nodes[node].tick_at = now;
                    self.act(node);
                }
            }
            Event::Index { node, peer, cids } => {
                let size = |cid: &Cid| {
                    let block = self.nodes[node].store.get(&Key::of(cid));
                    (*cid, block.map(|block| block.data().len() as u32))
                };
                let found: Vec<_> = cids.iter().map(size).collect();
                self.nodes[node].engine.on_index(peer, &found);
                self.act(node);
            }
            Event::Providers { node, session, cid } => self.found(node, session, &cid),
            Event::Connect { a, b } => self.connect(a, b),
            Event::Disconnect { a, b } => self.disconnect(a, b),
        }
    }

    fn found(&mut self, node: usize, session: SessionId, cid: &Cid) {
        let nodes = self.providers.get(&Key::of(cid)).cloned().unwrap_or_default();
        let nodes: Vec<usize> = nodes.into_iter().filter(|other| *other != node).collect();
        let ids: Vec<PeerId> = nodes.iter().map(|other| self.nodes[*other].id).collect();
        self.nodes[node].engine.on_providers(self.now, session, cid, &ids, true);
        for other in nodes {
            if !self.is_connected(node, other) {
                self.nodes[node].dials += 1;
                let latency = self.lines[&(node, other)].0.latency;
                self.push(latency * 4, Event::Connect { a: node, b: other });
            }
        }
        self.act(node);
    }

    fn arrive(&mut self, from: usize, to: usize, frame: Bytes) {
        let (head, len) = frame_head(&frame).unwrap().unwrap();
        assert_eq!(head + len, frame.len());
        let message = decode_frame(frame.slice(head..)).map(RawMessage::verify).unwrap();
        let id = self.nodes[from].id;
        match self.nodes[to].role {
            Role::Honest => {
                self.nodes[to].engine.on_message(self.now, id, message);
                self.act(to);
            }
            Role::Flooder => {}
            role => self.lie(to, from, role, &message),
        }
    }

    fn lie(&mut self, from: usize, to: usize, role: Role, message: &Message) {
        let (mut out, mut blocks) = (Outgoing::default(), Vec::new());
        for entry in message.wantlist.iter().filter(|entry| !entry.cancel) {
            match (role, entry.kind) {
                (_, Kind::Have) => out.presences.push((entry.cid, Presence::Have)),
                (Role::Corrupter, Kind::Block) => {
                    let good = self.nodes[from].store.get(&Key::of(&entry.cid));
                    let mut bad = good.map(|b| b.data().to_vec()).unwrap_or_else(|| vec![1; 99]);
                    bad[0] ^= 1;
                    blocks.push((entry.cid, Bytes::from(bad)));
                }
                _ => {}
            }
        }
        self.transmit(from, to, &out, &blocks, Version::V1_2);
    }

    fn flood(&mut self, from: usize, to: usize) {
        for batch in 0..10 {
            let entry = |n: u64| Entry {
                cid: *block((1 << 40) + batch * 1000 + n, 8).cid(),
                priority: n as i32,
                cancel: false,
                kind: Kind::Block,
                send_dont_have: n.is_multiple_of(2),
            };
            let out = Outgoing { entries: (0..1000).map(entry).collect(), ..Outgoing::default() };
            let blocks = [block((1 << 41) + batch, 5000).into_parts()];
            self.transmit(from, to, &out, &blocks, Version::V1_2);
        }
    }

    /// Puts a message on a line; how long the line is in use.
    fn transmit(
        &mut self,
        from: usize,
        to: usize,
        out: &Outgoing,
        blocks: &[(Cid, Bytes)],
        version: Version,
    ) -> Duration {
        let frame = Bytes::from(encode(out, blocks, version).concat());
        let (line, free) = self.lines.get_mut(&(from, to)).unwrap();
        let takes = Duration::from_secs_f64(frame.len() as f64 / line.speed);
        *free = (*free).max(self.now) + takes;
        let (done, latency) = (*free - self.now, line.latency);
        self.carried += frame.len() as u64;
        let epoch = self.links[&pair(from, to)];
        self.push(done + latency, Event::Arrive { from, to, epoch, frame });
        done
    }

    /// A sender's turn.
    fn send_next(&mut self, from: usize, to: usize) {
        let Some(epoch) = self.links.get(&pair(from, to)).copied() else { return };
        let id = self.nodes[to].id;
        let node = &mut self.nodes[from];
        if node.sending.contains(&to) {
            return;
        }
        let Some(out) = node.engine.take_message(self.now, id, usize::MAX) else { return };
        let mut blocks = Vec::new();
        for cid in &out.blocks {
            match node.store.get(&Key::of(cid)) {
                Some(block) => blocks.push((*cid, block.data().clone())),
                None => node.engine.on_missing(id, cid),
            }
        }
        node.sending.insert(to);
        let version = self.versions.get(&pair(from, to)).copied().unwrap_or(Version::V1_2);
        let done = self.transmit(from, to, &out, &blocks, version);
        self.push(done, Event::Sent { from, to, epoch, out });
    }

    /// Does what a node's engine says.
    fn act(&mut self, node: usize) {
        while let Some(action) = self.nodes[node].engine.poll_action() {
            match action {
                Action::Lookup { peer, cids } => {
                    self.push(INDEX, Event::Index { node, peer, cids });
                }
                Action::Ready(peer) => {
                    let to = self.nodes.iter().position(|other| other.id == peer).unwrap();
                    self.send_next(node, to);
                }
                Action::Deliver { block, sessions, .. } => {
                    let key = Key::of(block.cid());
                    for session in sessions {
                        let awaited = self.nodes[node].awaited.get_mut(&session).unwrap();
                        assert!(awaited.remove(&key), "delivered what was not awaited");
                    }
                    self.add(node, &block);
                }
                Action::Found { cid, sessions } => {
                    for session in sessions {
                        let awaited = self.nodes[node].awaited.get_mut(&session).unwrap();
                        assert!(awaited.remove(&Key::of(&cid)));
                    }
                }
                Action::FindProviders { session, cid } => {
                    self.push(SEARCH, Event::Providers { node, session, cid });
                }
                Action::Tag { .. } => {}
            }
        }
        let now = self.now;
        let at = self.nodes[node].engine.next_tick().max(now);
        let due = &mut self.nodes[node].tick_at;
        if *due <= now || at < *due {
            *due = at;
            self.push(at - now, Event::Tick { node });
        }
    }
}
