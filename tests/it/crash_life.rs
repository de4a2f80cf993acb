//! A life that is there to be killed: adds, gets, unpins and collects without end, and writes down
//! what the node acknowledged, each line on the disk before the next operation.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use henge::dag::import::{Content, Entry, Source};
use henge::ipld::cid;
use henge::ipld::path;
use henge::node::Node;
use henge::node::add::{AddEvent, AddOptions};
use henge::node::cat::CatOptions;
use henge::node::pin::PinRmOptions;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use sha2::Digest as _;

use crate::harness::keystream;

/// The variable that turns the test below into a life.
pub const LIFE: &str = "HENGE_CRASH_LIFE";
/// Content from which an add goes past the log, in bytes.
const LARGE_BYTES: usize = 4 << 20;
/// Pinned content above which a life unpins before it adds, in bytes: what is re-hashed after each
/// kill stays bounded.
const LIVE_BYTES: (usize, usize) = (48 << 20, 192 << 20);

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

/// What an acknowledged DAG was made of: a file has a size.
#[derive(Clone, Debug)]
pub struct Made {
    pub seed: String,
    pub size: Option<usize>,
}

/// The lines written so far. A line without its end was never acknowledged.
pub struct Log(Vec<String>);

impl Log {
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        Self(whole.map(str::to_owned).collect())
    }

    pub fn count(&self, verb: &str) -> usize {
        self.0.iter().filter(|line| line.split(' ').next() == Some(verb)).count()
    }

    /// What is acknowledged and not acknowledged as unpinned, by CID.
    pub fn live(&self) -> BTreeMap<String, Made> {
        let mut live = BTreeMap::new();
        for line in &self.0 {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["added", cid, seed, size] => {
                    let made = Made { seed: seed.to_owned(), size: size.parse().ok() };
                    live.insert(cid.to_owned(), made);
                }
                ["unpinned", cid] => {
                    live.remove(cid);
                }
                _ => {}
            }
        }
        live
    }

    /// The DAG whose unpin was cut short.
    pub fn undecided(&self) -> Option<String> {
        let cid = self.0.last()?.strip_prefix("unpinning ")?;
        Some(cid.to_owned())
    }

    pub fn large_add_under_way(&self) -> bool {
        let size = self.0.last().and_then(|line| line.strip_prefix("adding "));
        size.and_then(|size| size.parse().ok()).is_some_and(|size: usize| size >= LARGE_BYTES)
    }
}

struct Life {
    node: Node,
    rng: ChaCha8Rng,
    plan: Plan,
    log: File,
    live: BTreeMap<String, Made>,
    made: usize,
}

impl Life {
    fn say(&mut self, line: String) {
        self.log.write_all(format!("{line}\n").as_bytes()).unwrap();
        self.log.sync_data().unwrap();
    }

    fn size(&mut self) -> usize {
        let (low, high) = match (self.plan.full, self.rng.random_bool(0.08)) {
            (true, _) => (1 << 10, 64 << 20),
            (false, true) => (LARGE_BYTES, 24 << 20),
            (false, false) => (1 << 10, 256 << 10),
        };
        let (low, high) = (f64::from(low as u32).ln(), f64::from(high as u32).ln());
        self.rng.random_range(low..=high).exp() as usize
    }

    /// New content, or now and then content that is here already under other options.
    fn choose(&mut self) -> Made {
        let files: Vec<&Made> = self.live.values().filter(|made| made.size.is_some()).collect();
        if !files.is_empty() && self.rng.random_bool(0.1) {
            return files[self.rng.random_range(0..files.len())].clone();
        }
        self.made += 1;
        let seed = format!("{}/{}", self.plan.seed, self.made);
        let size = if self.rng.random_bool(0.1) { None } else { Some(self.size()) };
        Made { seed, size }
    }

    async fn add(&mut self) {
        let made = self.choose();
        let size = made.size.unwrap_or(0);
        let mut options = AddOptions { pin: true, ..Default::default() };
        if self.rng.random_bool(0.3) {
            options.cid_version = Some(1);
        }
        if self.rng.random_bool(0.3) {
            options.raw_leaves = Some(true);
        }
        if size < 8 << 20 && self.rng.random_bool(0.3) {
            // Several levels of nodes.
            options.chunker = Some("size-4096".into());
            options.max_file_links = Some(8);
        }
        self.say(format!("adding {size}"));
        let source = source(&made);
        let mut events = self.node.add(source, options).await.unwrap();
        let mut root = None;
        while let Some(event) = events.recv().await {
            if let AddEvent::Added { cid, .. } = event.unwrap() {
                root = Some(cid);
            }
        }
        let cid = root.expect("a root").to_string();
        let shown = made.size.map_or("folder".to_owned(), |size| size.to_string());
        self.say(format!("added {cid} {} {shown}", made.seed));
        self.live.insert(cid, made);
    }

    async fn get(&mut self) {
        let files: Vec<_> = self.live.iter().filter(|(_, made)| made.size.is_some()).collect();
        if files.is_empty() {
            return;
        }
        let (text, made) = files[self.rng.random_range(0..files.len())];
        let (text, made) = (text.clone(), made.clone());
        let at = path::Path::of(cid::parse(&text).unwrap());
        let (_, mut pieces) = self.node.cat(&[at], &CatOptions::default()).await.unwrap();
        let mut hasher = sha2::Sha256::new();
        while let Some(piece) = pieces.recv().await {
            hasher.update(piece.unwrap());
        }
        let wanted = sha2::Sha256::digest(keystream(&made.seed, made.size.unwrap()));
        assert!(hasher.finalize() == wanted, "{text} is not seed {}", made.seed);
        self.say(format!("got {text}"));
    }

    async fn unpin(&mut self) {
        let texts: Vec<&String> = self.live.keys().collect();
        if texts.is_empty() {
            return;
        }
        let text = texts[self.rng.random_range(0..texts.len())].clone();
        self.say(format!("unpinning {text}"));
        let at = path::Path::of(cid::parse(&text).unwrap());
        self.node.pin_rm(&[at], &PinRmOptions::default()).await.unwrap();
        self.say(format!("unpinned {text}"));
        self.live.remove(&text);
    }

    async fn collect(&mut self) {
        let mut freed = self.node.gc().await;
        while let Some(event) = freed.recv().await {
            event.unwrap();
        }
        self.say("collected".to_owned());
    }

    async fn run(mut self) {
        loop {
            let bytes: usize = self.live.values().filter_map(|made| made.size).sum();
            let most = if self.plan.full { LIVE_BYTES.1 } else { LIVE_BYTES.0 };
            match self.rng.random_range(0..100) {
                _ if bytes > most => self.unpin().await,
                0..60 => self.add().await,
                60..85 => self.get().await,
                85..97 => self.unpin().await,
                _ => self.collect().await,
            }
        }
    }
}

/// One file, or a folder of small ones.
fn source(made: &Made) -> Source {
    let file = |path: Vec<Bytes>, seed: &str, size: usize| {
        let content = Content::File(Box::new(Cursor::new(keystream(seed, size))));
        Ok(Entry { path, content })
    };
    let entries: Vec<_> = match made.size {
        Some(size) => vec![file(vec![Bytes::from_static(b"file")], &made.seed, size)],
        None => (0..20)
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
    let (node, _repo) = henge::daemon::open(&plan.root).expect("every start succeeds");
    let live = Log::read(&plan.log).live();
    let log = OpenOptions::new().create(true).append(true).open(&plan.log).unwrap();
    let key: [u8; 32] = sha2::Sha256::digest(plan.seed.as_bytes()).into();
    let rng = ChaCha8Rng::from_seed(key);
    let life = Life { node, rng, plan, log, live, made: 0 };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(life.run());
}
