//! A life that is there to be killed: three hands on one node add, pin, read, unpin and collect at
//! the same time and without end, and write down what the node acknowledged.
//!
//! The log is not synced: the process is killed, the machine is not.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{Cursor, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use henge::dag::import::{Content, Entry, Source};
use henge::ipld::cid::{self, Cid};
use henge::ipld::path::Path;
use henge::node::Meta;
use henge::node::add::{AddEvent, AddOptions};
use henge::node::block::BlockPutOptions;
use henge::node::cat::CatOptions;
use henge::node::dag::DagPutOptions;
use henge::node::pin::{PinAddOptions, PinRmOptions};
use henge::node::{Error, Node};
use henge::store::Mode;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::Digest as _;

use crate::crash_log::{LARGE_BYTES, Log, Made, Shape};
use crate::harness::{keystream, open_here};

/// The variable that turns the test below into a life.
pub const LIFE: &str = "HENGE_CRASH_LIFE";
/// Pinned content above which a life unpins before it adds, in bytes: what is re-hashed after each
/// kill stays bounded.
const LIVE_BYTES: (usize, usize) = (6 << 20, 96 << 20);
/// Roots above which it unpins, too.
const LIVE_ROOTS: usize = 60;
/// Files of a folder.
const FOLDER_FILES: usize = 8;

/// What a life is told.
pub struct Plan {
    pub root: PathBuf,
    pub log: PathBuf,
    pub seed: String,
    /// Sizes up to 64 MiB rather than mostly small ones.
    pub full: bool,
}

impl Plan {
    pub fn to_text(&self) -> String {
        let (root, log) = (self.root.display(), self.log.display());
        format!("{root}\n{log}\n{}\n{}", self.seed, self.full)
    }

    fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split('\n').collect();
        let [root, log, seed, full] = parts[..] else { panic!("not a plan: {text:?}") };
        Self { root: root.into(), log: log.into(), seed: seed.into(), full: full == "true" }
    }
}

/// What the hands share.
struct Shared {
    file: File,
    log: Log,
    /// Roots and seeds that somebody works on; the others leave those alone, so that the order of
    /// the log is the order of what happened.
    busy: BTreeSet<String>,
    made: usize,
}

impl Shared {
    fn say(&mut self, line: &str) {
        self.file.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.log.apply(line);
    }

    /// Takes names for itself: all of them or none.
    fn take(&mut self, names: &[&str]) -> bool {
        let free = names.iter().all(|name| !self.busy.contains(*name));
        if free {
            self.busy.extend(names.iter().map(|name| (*name).to_owned()));
        }
        free
    }

    fn leave(&mut self, names: &[&str]) {
        names.iter().for_each(|name| assert!(self.busy.remove(*name)));
    }
}

/// One who works on the node.
struct Hand<'a> {
    node: &'a Node,
    shared: &'a Mutex<Shared>,
    plan: &'a Plan,
    rng: ChaCha8Rng,
}

impl Hand<'_> {
    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    fn pick<'t, T>(&mut self, from: &'t [T]) -> Option<&'t T> {
        (!from.is_empty()).then(|| &from[self.rng.random_range(0..from.len())])
    }

    /// A pinned root that `wanted` likes and nobody works on, taken with its seed.
    fn take_root(&mut self, wanted: impl Fn(&Made) -> bool) -> Option<(String, Made)> {
        let roots: Vec<_> = {
            let shared = self.shared();
            let liked = shared.log.live.iter().filter(|(_, (made, _))| wanted(made));
            liked.map(|(cid, (made, _))| (cid.clone(), made.clone())).collect()
        };
        let (cid, made) = self.pick(&roots)?.clone();
        // Another hand may have had it between the two locks.
        let mut shared = self.shared();
        let there = shared.log.live.contains_key(&cid);
        (there && shared.take(&[&cid, &made.seed])).then_some((cid, made))
    }

    fn size(&mut self) -> usize {
        let (low, high) = match (self.plan.full, self.rng.random_bool(0.06)) {
            (true, _) => (1 << 10, 64 << 20),
            (false, true) => (LARGE_BYTES / 2, LARGE_BYTES * 3 / 2),
            (false, false) => (1 << 10, 64 << 10),
        };
        let (low, high) = (f64::from(low as u32).ln(), f64::from(high as u32).ln());
        self.rng.random_range(low..=high).exp() as usize
    }

    fn new_seed(&self) -> String {
        let mut shared = self.shared();
        shared.made += 1;
        let seed = format!("{}/{}", self.plan.seed, shared.made);
        assert!(shared.take(&[&seed]));
        seed
    }

    /// New content, or now and then content that is here already under other options.
    fn choose(&mut self) -> Option<Made> {
        let file = |made: &Made| matches!(made.shape, Shape::File(_));
        if self.rng.random_bool(0.1) {
            let (cid, made) = self.take_root(file)?;
            self.shared().leave(&[&cid]);
            return Some(made);
        }
        let shape = match self.rng.random_bool(0.2) {
            true => Shape::Folder,
            false => Shape::File(self.size()),
        };
        Some(Made { seed: self.new_seed(), shape })
    }

    async fn add(&mut self, pin: bool) {
        let Some(made) = self.choose() else { return };
        let mut options = AddOptions { pin, ..Default::default() };
        if self.rng.random_bool(0.3) {
            options.cid_version = Some(1);
        }
        if self.rng.random_bool(0.3) {
            options.raw_leaves = Some(true);
        }
        if made.size() < 8 << 20 && self.rng.random_bool(0.3) {
            // Several levels of nodes.
            options.chunker = Some("size-4096".into());
            options.max_file_links = Some(8);
        }
        self.shared().say(&format!("adding {} {}", made.seed, made.size()));
        let mut events = self.node.add(source(&made), options).await.unwrap();
        let mut root = None;
        while let Some(event) = events.recv().await {
            if let AddEvent::Added { cid, .. } = event.unwrap() {
                root = Some(cid);
            }
        }
        let verb = if pin { "added" } else { "loose" };
        let mut shared = self.shared();
        shared.say(&format!("{verb} {} {}", root.expect("a root"), made.to_text()));
        shared.leave(&[&made.seed]);
    }

    /// Collections so far: what nothing holds may be gone by the end of an operation during which
    /// there was one, and only then.
    fn collections(&self) -> (usize, bool) {
        let shared = self.shared();
        (shared.log.collections, shared.log.collecting)
    }

    fn missed(&self, before: (usize, bool), error: &Error) {
        let collected = before.1 || self.collections().0 > before.0;
        assert!(collected, "{error}: and nothing was collected");
        self.shared().say("missed");
    }

    /// A DAG of dag-cbor nodes over raw blocks, in which children have several parents, and one may
    /// be a root that is here already.
    async fn add_cbor(&mut self) {
        let before = self.collections();
        let seed = self.new_seed();
        self.shared().say(&format!("adding {seed} 0"));
        match self.put_cbor(&seed).await {
            Ok(root) => self.shared().say(&format!("added {root} {seed} cbor")),
            Err(error) => self.missed(before, &error),
        }
        self.shared().leave(&[&seed]);
    }

    async fn put_cbor(&mut self, seed: &str) -> Result<Cid, Error> {
        let mut below: Vec<String> = Vec::new();
        for n in 0..self.rng.random_range(1..4) {
            let data = keystream(&format!("{seed} {n}"), self.rng.random_range(1..6000));
            let raw = self.node.block_put(data.into(), &BlockPutOptions::default()).await?;
            below.push(raw.to_string());
        }
        // Its pin may be gone a moment later: the new root's pin then holds it, or is refused.
        let roots: Vec<String> = {
            let shared = self.shared();
            let whole = shared.log.live.iter().filter(|(_, (_, mode))| *mode == Mode::Recursive);
            whole.map(|(cid, _)| cid.clone()).collect()
        };
        if self.rng.random_bool(0.5) {
            below.extend(self.pick(&roots).cloned());
        }
        let nodes = self.rng.random_range(2..6);
        for n in 1..=nodes {
            let links: Vec<_> = (0..self.rng.random_range(1..4))
                .filter_map(|_| self.pick(&below).map(|cid| serde_json::json!({ "/": cid })))
                .chain((n > 1).then(|| serde_json::json!({ "/": below.last() })))
                .collect();
            let node = serde_json::json!({ "links": links, "n": n, "seed": seed });
            let options = DagPutOptions { pin: n == nodes, ..Default::default() };
            below.push(self.node.dag_put(node.to_string().into(), &options).await?.to_string());
        }
        Ok(cid::parse(below.last().unwrap()).unwrap())
    }

    /// Pins something below a root, which may be unpinned meanwhile, or right after.
    async fn pin_part(&mut self) {
        let whole = |made: &Made| matches!(made.shape, Shape::Folder | Shape::Cbor);
        let Some((root, made)) = self.take_root(whole) else { return };
        let before = self.collections();
        let guarded = self.rng.random_bool(0.5);
        if !guarded {
            self.shared().leave(&[&root, &made.seed]);
        }
        let within = match made.shape {
            Shape::Folder => format!("file {}", self.rng.random_range(0..FOLDER_FILES)),
            _ => "links/0".to_owned(),
        };
        let path = Path::parse(&format!("/ipfs/{root}/{within}")).unwrap();
        match self.node.dag_resolve(&path).await {
            Ok(found) => self.pin(found.cid, &made.seed, before, guarded).await,
            Err(error) if !guarded => self.missed(before, &error),
            Err(error) => panic!("{path:?}: {error}"),
        }
        if guarded {
            self.shared().leave(&[&root, &made.seed]);
        }
    }

    async fn pin(&mut self, part: Cid, seed: &str, before: (usize, bool), guarded: bool) {
        let text = part.to_string();
        {
            let mut shared = self.shared();
            let log = &shared.log;
            let known = log.live.contains_key(&text) || log.roots.contains(&text);
            if known || !shared.take(&[&text]) {
                return;
            }
            shared.say(&format!("pinning {text}"));
        }
        let recursive = self.rng.random_bool(0.6);
        let options = PinAddOptions { recursive, ..Default::default() };
        match self.node.pin_add(&[Path::of(part)], &options).await {
            Ok(_) => {
                let mode = if recursive { "recursive" } else { "direct" };
                self.shared().say(&format!("pinned {text} {mode} {seed}"));
            }
            Err(error) if !guarded => self.missed(before, &error),
            Err(error) => panic!("{part}: {error}"),
        }
        self.shared().leave(&[&text]);
    }

    async fn get(&mut self) {
        let file = |made: &Made| matches!(made.shape, Shape::File(_));
        let Some((text, made)) = self.take_root(file) else { return };
        let at = Path::of(cid::parse(&text).unwrap());
        let (_, mut pieces) = self.node.cat(&[at], &CatOptions::default()).await.unwrap();
        let mut hasher = sha2::Sha256::new();
        while let Some(piece) = pieces.recv().await {
            hasher.update(piece.unwrap());
        }
        let wanted = sha2::Sha256::digest(keystream(&made.seed, made.size()));
        assert!(hasher.finalize() == wanted, "{text} is not seed {}", made.seed);
        let mut shared = self.shared();
        shared.say(&format!("got {text}"));
        shared.leave(&[&text, &made.seed]);
    }

    async fn unpin(&mut self) {
        let Some((text, made)) = self.take_root(|_| true) else { return };
        self.shared().say(&format!("unpinning {text}"));
        let at = Path::of(cid::parse(&text).unwrap());
        self.node.pin_rm(&[at], &PinRmOptions::default()).await.unwrap();
        let mut shared = self.shared();
        shared.say(&format!("unpinned {text}"));
        shared.leave(&[&text, &made.seed]);
    }

    async fn collect(&mut self) {
        if !self.shared().take(&["collection"]) {
            return;
        }
        self.shared().say("collecting");
        let mut freed = self.node.gc().await;
        while let Some(event) = freed.recv().await {
            event.unwrap();
        }
        let mut shared = self.shared();
        shared.say("collected");
        shared.leave(&["collection"]);
    }

    async fn run(mut self) {
        let most = if self.plan.full { LIVE_BYTES.1 } else { LIVE_BYTES.0 };
        loop {
            let full = {
                let shared = self.shared();
                shared.log.live_bytes() > most || shared.log.live.len() > LIVE_ROOTS
            };
            match self.rng.random_range(0..100) {
                0..80 if full => self.unpin().await,
                0..30 => self.add(true).await,
                30..38 => self.add(false).await,
                38..50 => self.add_cbor().await,
                50..64 => self.pin_part().await,
                64..78 => self.get().await,
                78..99 => self.unpin().await,
                _ => self.collect().await,
            }
            // What found nothing to do has waited for nothing.
            tokio::task::yield_now().await;
        }
    }
}

/// One file, or a folder of small ones.
fn source(made: &Made) -> Source {
    let file = |path: Vec<Bytes>, seed: &str, size: usize| {
        let content = Content::File(Box::new(Cursor::new(keystream(seed, size))));
        Ok(Entry { path, content, meta: Meta::NONE })
    };
    let entries: Vec<_> = match made.shape {
        Shape::File(size) => vec![file(vec![Bytes::from_static(b"file")], &made.seed, size)],
        _ => (0..FOLDER_FILES)
            .map(|n| {
                let path = vec![Bytes::from_static(b"folder"), Bytes::from(format!("file {n}"))];
                file(path, &format!("{}/{n}", made.seed), 100 + 700 * n)
            })
            .collect(),
    };
    Box::new(entries.into_iter())
}

/// Does nothing unless it was started by `crash.rs`; then it ends by being killed.
#[test]
fn a_life() {
    let Ok(text) = std::env::var(LIFE) else { return };
    let plan = Plan::parse(&text);
    let (node, _repo) = open_here(&plan.root).expect("every start succeeds");
    let log = Log::read(&plan.log);
    let file = OpenOptions::new().create(true).append(true).open(&plan.log).unwrap();
    let mut shared = Shared { file, log, busy: BTreeSet::new(), made: 0 };
    shared.say("born");
    let shared = Mutex::new(shared);
    let hand = |n: usize| {
        let key = sha2::Sha256::digest(format!("{} {n}", plan.seed).as_bytes());
        let rng = ChaCha8Rng::from_seed(key.into());
        Hand { node: &node, shared: &shared, plan: &plan, rng }.run()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::join!(hand(1), hand(2), hand(3)) });
}
