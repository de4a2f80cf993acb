//! `kill -9` at random points of several operations at once: every acknowledged DAG is there
//! afterwards, block by block, every start succeeds, and nothing leaks.
//!
//! The life that is killed is this binary again, told by a variable (`crash_life.rs`).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use henge::config::repo::{self, InitOptions};
use henge::dag::Dag;
use henge::ipld::block::Block;
use henge::ipld::cid::{self, Cid};
use henge::ipld::codec as codecs;
use henge::ipld::path;
use henge::node::Node;
use henge::node::pin::PinRmOptions;
use henge::store::Core;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::crash_life::{LIFE, Plan};
use crate::crash_log::{Log, Made, Reader, Shape};
use crate::harness::{closed, keystream, open_here, soak};
use crate::store_faults::{kept, pins, present};

/// Acknowledgements that a life must have before it may be killed.
const ACKNOWLEDGED_A_LIFE: usize = 20;
/// How long a life may take for them before the test gives up.
const LIFE_MAX: Duration = Duration::from_secs(300);
/// Files whose content is compared after each kill.
const COMPARED: usize = 3;
/// Kills between two collections by the parent.
const KILLS_A_GC: usize = 4;

/// A life in progress; killed when dropped, so that a failing test leaves none behind.
pub struct Life {
    child: Child,
    stderr: PathBuf,
}

impl Life {
    /// Starts one, with variables beside its plan.
    pub fn start(plan: &Plan, stderr: &Path, variables: &[(&str, &Path)]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash_life::a_life", "--nocapture", "--test-threads=1"]);
        command.env(LIFE, plan.to_text()).stdin(Stdio::null()).stdout(Stdio::null());
        command.envs(variables.iter().copied());
        command.stderr(std::fs::File::create(stderr).unwrap());
        Self { child: command.spawn().unwrap(), stderr: stderr.to_owned() }
    }

    /// Fails the test if the life ended by itself: it never does unless something went wrong.
    fn still_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let said = std::fs::read_to_string(&self.stderr).unwrap_or_default();
            panic!("the life ended by itself, {status}: {said}");
        }
    }

    pub fn kill(mut self) {
        self.still_runs();
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        // Both fail only for a life that has been waited for already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Default)]
pub struct Figures {
    pub kills: usize,
    kills_in_large_adds: usize,
    kills_in_starts: usize,
    kills_in_collections: usize,
    fewest_acknowledged: Option<usize>,
    blocks_rehashed: usize,
    pins_checked: usize,
    loose_checked: usize,
    unknown_pins: usize,
    collections: usize,
    bytes_compared: u64,
    slowest_start_ms: u128,
}

/// A repository, its log, and what was found so far.
pub struct Trial {
    pub dir: tempfile::TempDir,
    pub rng: ChaCha8Rng,
    pub figures: Figures,
    seed: u64,
    full: bool,
    log: RefCell<Reader>,
    runtime: tokio::runtime::Runtime,
}

impl Trial {
    pub fn new(seed: u64, full: bool) -> Self {
        let mut dir = tempfile::tempdir().unwrap();
        dir.disable_cleanup(std::env::var_os("HENGE_KEEP").is_some());
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let (figures, log) = Default::default();
        let mut trial = Self { dir, rng, figures, seed, full, log, runtime };
        let plan = trial.plan(0);
        repo::init(&plan.root, &InitOptions::default()).unwrap();
        std::fs::write(&plan.log, "").unwrap();
        trial.log = RefCell::new(Reader::new(plan.log));
        trial
    }

    pub fn plan(&self, life: usize) -> Plan {
        let seed = format!("{}.{life}", self.seed);
        let dir = self.dir.path().canonicalize().unwrap();
        Plan { root: dir.join("repo"), log: dir.join("log"), seed, full: self.full }
    }

    pub fn log(&self) -> Log {
        self.log.borrow_mut().now().clone()
    }

    fn acknowledged(&self) -> usize {
        self.log.borrow_mut().now().acknowledged()
    }

    /// Writes a line as a life does.
    fn say(&self, line: &str) {
        let mut file = OpenOptions::new().append(true).open(self.plan(0).log).unwrap();
        writeln!(file, "{line}").unwrap();
    }

    /// One life from its start to its kill.
    pub fn live_and_die(&mut self, life: usize, variables: &[(&str, &Path)]) {
        let plan = self.plan(life);
        let before = self.acknowledged();
        let mut child = Life::start(&plan, &self.dir.path().join("stderr"), variables);
        let began = Instant::now();
        while self.acknowledged() < before + ACKNOWLEDGED_A_LIFE {
            assert!(began.elapsed() < LIFE_MAX, "a life is stuck");
            child.still_runs();
            std::thread::sleep(Duration::from_millis(5));
        }
        let most = match self.rng.random_bool(0.2) && self.large_add_begins() {
            true => {
                self.figures.kills_in_large_adds += 1;
                if self.full { 120 } else { 30 }
            }
            false if self.full => 300,
            false => 60,
        };
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..most)));
        child.kill();
        let told = self.acknowledged() - before;
        let fewest = self.figures.fewest_acknowledged.unwrap_or(told).min(told);
        self.figures.fewest_acknowledged = Some(fewest);
        self.figures.kills += 1;
    }

    /// Waits for an add of some size to begin; false when none does in time.
    fn large_add_begins(&self) -> bool {
        let until = Instant::now() + Duration::from_millis(if self.full { 10_000 } else { 200 });
        while Instant::now() < until {
            if self.log.borrow_mut().now().large_add_under_way() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    }

    /// A life killed while it starts.
    pub fn die_early(&mut self, life: usize, variables: &[(&str, &Path)]) {
        let child = Life::start(&self.plan(life), &self.dir.path().join("stderr"), variables);
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..60)));
        child.kill();
        self.figures.kills_in_starts += 1;
    }

    /// Opens the repository for as long as `work` takes, and waits until it is closed.
    pub fn with_node<T>(&self, root: &Path, work: impl FnOnce(&Node, &Core) -> T) -> T {
        let (node, repo) = open_here(root).expect("every start succeeds");
        let core = node.store().core();
        let done = work(&node, &core);
        drop(node);
        drop(core);
        drop(repo);
        closed(root);
        done
    }

    /// What must hold after a kill. The log is made whole again for the next life.
    pub fn check(&mut self, life: usize) {
        let log = self.log();
        let (began, mut starting) = (Instant::now(), 0);
        let (mut figures, mut rng) = (std::mem::take(&mut self.figures), self.rng.clone());
        self.with_node(&self.plan(life).root, |node, core| {
            starting = began.elapsed().as_millis();
            figures.blocks_rehashed += sound(core, &log);
            figures.kills_in_collections += usize::from(log.collecting);
            figures.pins_checked += log.live.len();
            figures.loose_checked += log.loose.len();
            figures.unknown_pins += self.settle(node, core, &log);
            if life.is_multiple_of(KILLS_A_GC) {
                figures.collections += 1;
                self.collect(node);
                assert_eq!(kept(core), present(core), "after gc");
            }
            figures.bytes_compared += self.compare(node, &mut rng);
        });
        figures.slowest_start_ms = figures.slowest_start_ms.max(starting);
        (self.figures, self.rng) = (figures, rng);
    }

    /// Writes down how unpins that were cut short turned out, and removes pins that nobody was told
    /// of; gives how many those were.
    fn settle(&self, node: &Node, core: &Core, log: &Log) -> usize {
        for text in &log.unpinning {
            let pinned = core.pin_row(&cid::parse(text).unwrap()).unwrap().is_some();
            self.say(&format!("{} {text}", if pinned { "stayed" } else { "unpinned" }));
        }
        let told = |pin: &Cid| log.live.contains_key(&pin.to_string());
        let unknown = pins(core).into_iter().map(|pin| pin.cid).filter(|cid| !told(cid));
        let paths: Vec<_> = unknown.map(path::Path::of).collect();
        self.runtime.block_on(node.pin_rm(&paths, &PinRmOptions::default())).unwrap();
        paths.len()
    }

    fn collect(&self, node: &Node) {
        self.say("collecting");
        self.collect_aside(node);
        self.say("collected");
    }

    fn collect_aside(&self, node: &Node) {
        self.runtime.block_on(async {
            let mut freed = node.gc().await;
            while let Some(event) = freed.recv().await {
                event.unwrap();
            }
        });
    }

    /// Compares the content of a few files with the seeds they were made of; gives its size.
    fn compare(&self, node: &Node, rng: &mut ChaCha8Rng) -> u64 {
        let log = self.log();
        let file = |made: &Made| matches!(made.shape, Shape::File(_));
        let files: Vec<_> = log.live.iter().filter(|(_, (made, _))| file(made)).collect();
        let mut compared = 0;
        for _ in 0..COMPARED.min(files.len()) {
            let (text, (made, _)) = files[rng.random_range(0..files.len())];
            let wanted = keystream(&made.seed, made.size());
            let root = cid::parse(text).unwrap();
            let dag = Dag::new(node.store().clone());
            let content = self.runtime.block_on(async {
                let mut pieces = dag.read(&root, 0, u64::MAX).await.unwrap();
                let mut content = Vec::with_capacity(wanted.len());
                while let Some(piece) = pieces.recv().await {
                    content.extend_from_slice(&piece.unwrap());
                }
                content
            });
            assert!(content == wanted, "{text}: not the content of seed {}", made.seed);
            compared += content.len() as u64;
        }
        compared
    }

    /// Checks a repository as it stands, removes every pin, and collects once: nothing may be left.
    pub fn empties(&self, root: &Path) {
        self.with_node(root, |node, core| {
            sound(core, &self.log());
            let paths: Vec<_> = pins(core).iter().map(|pin| path::Path::of(pin.cid)).collect();
            self.runtime.block_on(node.pin_rm(&paths, &PinRmOptions::default())).unwrap();
            self.collect_aside(node);
            assert_eq!(core.totals(), (0, 0), "something leaked");
            core.compact().unwrap();
            assert_eq!(core.usage().unwrap().garbage, 0, "bytes are left in segments");
        });
    }
}

/// Checks that everything acknowledged is there, and everything that is there is right; gives the
/// number of blocks.
fn sound(core: &Core, log: &Log) -> usize {
    let lost = lost(core, log);
    assert!(lost.is_empty(), "acknowledged and lost: {lost:#?}");
    kept(core);
    rehashed(core)
}

/// What was acknowledged and is not so, each with the reason.
pub fn lost(core: &Core, log: &Log) -> Vec<String> {
    let mut lost = Vec::new();
    for (text, (made, mode)) in &log.live {
        let pin = core.pin_row(&cid::parse(text).unwrap()).unwrap();
        let open = log.unpinning.contains(text);
        match pin.map(|pin| pin.mode) {
            Some(found) if found == *mode => {}
            None if open => {}
            found => lost.push(format!("{text} of {made:?}: pinned {mode:?}, is {found:?}")),
        }
    }
    for pin in pins(core) {
        let text = pin.cid.to_string();
        if log.gone.contains_key(&text) {
            lost.push(format!("{text}: its unpin was acknowledged, and the pin is back"));
        }
    }
    for (text, made) in &log.loose {
        if let Err(missing) = whole(core, text) {
            lost.push(format!("{text} of {made:?}, not pinned: {missing} is missing"));
        }
    }
    lost
}

/// Whether all of a DAG is there and right.
fn whole(core: &Core, text: &str) -> Result<(), String> {
    let (mut seen, mut stack) = (BTreeSet::new(), vec![cid::parse(text).unwrap()]);
    while let Some(cid) = stack.pop() {
        if seen.insert(cid.to_bytes()) {
            let block = core.get(&cid).unwrap().ok_or_else(|| cid.to_string())?;
            Block::verified(cid, block.data().clone()).unwrap();
            codecs::links(cid.codec(), block.data(), &mut |cid| stack.push(cid)).unwrap();
        }
    }
    Ok(())
}

/// Reads and hashes every block that is there, pinned or not; gives their number.
fn rehashed(core: &Core) -> usize {
    let mut hashes = Vec::new();
    core.each_block(&mut |hash, _| {
        hashes.push(cid::of_hash(hash));
        true
    })
    .unwrap();
    for cid in &hashes {
        let block =
            core.get(cid).unwrap().unwrap_or_else(|| panic!("{cid} has a row and no bytes"));
        Block::verified(*cid, block.data().clone()).unwrap();
    }
    hashes.len()
}

/// The seed of a trial: given, or at random.
pub fn seed() -> u64 {
    let seed = match std::env::var("HENGE_SEED") {
        Ok(text) => text.parse().expect("HENGE_SEED is a number"),
        Err(_) => rand::random_range(0..1_000_000),
    };
    // Shown when the test fails, and with --nocapture.
    println!("HENGE_SEED={seed}");
    seed
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let kills = if soak() { 1000 } else { 60 };
    let began = Instant::now();
    let mut trial = Trial::new(seed(), soak());
    for life in 1..=kills {
        if life % 6 == 2 {
            // It may have got as far as an unpin, whose outcome the next life must know.
            trial.die_early(life + 1_000_001, &[]);
            trial.check(life + 1_000_001);
        }
        trial.live_and_die(life, &[]);
        trial.check(life);
    }
    trial.empties(&trial.plan(0).root);
    let log = trial.log();
    let verbs = ["added", "loose", "pinned", "unpinned", "missed", "got", "collected"];
    let counts = verbs.map(|verb| format!("{verb} {}", log.count(verb)));
    println!("{:?} {} in {:.1} s", trial.figures, counts.join(", "), began.elapsed().as_secs_f64());
}
