//! `kill -9` at random points of a stream of adds, gets, unpins and collections: every acknowledged
//! DAG is there afterwards, block by block, every start succeeds, and nothing leaks.
//!
//! The life that is killed is this binary again, told by a variable (`crash_life.rs`).

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use henge::config::repo::{self, InitOptions};
use henge::dag::Dag;
use henge::ipld::cid;
use henge::store::{Core, Mode, Store};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::crash_life::{LIFE, Log, Plan};
use crate::harness::{keystream, soak};
use crate::store_faults::{collect, kept, pins, present};

/// Acknowledged adds that a life must have before it may be killed.
const ADDS_A_LIFE: usize = 20;
/// How long a life may take for them before the test gives up.
const LIFE_MAX: Duration = Duration::from_secs(300);
/// Files whose content is compared after each kill.
const COMPARED: usize = 3;
/// Kills between two collections by the parent.
const KILLS_A_GC: usize = 4;

/// A life in progress; killed when dropped, so that a failing test leaves none behind.
struct Life {
    child: Child,
    stderr: PathBuf,
}

impl Life {
    fn start(plan: &Plan, stderr: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "crash_life::a_life", "--nocapture", "--test-threads=1"]);
        command.env(LIFE, plan.to_text()).stdin(Stdio::null()).stdout(Stdio::null());
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

    fn kill(mut self) {
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
struct Figures {
    kills: usize,
    kills_in_large_adds: usize,
    kills_in_starts: usize,
    adds: usize,
    gets: usize,
    unpins: usize,
    blocks_rehashed: usize,
    pins_checked: usize,
    bytes_compared: u64,
}

struct Trial {
    dir: tempfile::TempDir,
    rng: ChaCha8Rng,
    seed: u64,
    figures: Figures,
    runtime: tokio::runtime::Runtime,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let trial = Self { dir, rng, seed, figures: Figures::default(), runtime };
        repo::init(&trial.plan(0).root, &InitOptions::default()).unwrap();
        trial
    }

    fn plan(&self, life: usize) -> Plan {
        let seed = format!("{}.{life}", self.seed);
        let (root, log) = (self.dir.path().join("repo"), self.dir.path().join("log"));
        Plan { root, log, seed, full: soak() }
    }

    /// One life from its start to its kill.
    fn kill_one(&mut self, life: usize) {
        let plan = self.plan(life);
        let before = Log::read(&plan.log).count("added");
        let mut child = Life::start(&plan, &self.dir.path().join("stderr"));
        if life % 3 == 2 {
            std::thread::sleep(Duration::from_millis(self.rng.random_range(0..60)));
            child.kill();
            self.figures.kills_in_starts += 1;
            // It may have got as far as an unpin, whose outcome the next life must know.
            self.check(life);
            return self.kill_one(life + 1_000_000);
        }
        let began = Instant::now();
        while Log::read(&plan.log).count("added") < before + ADDS_A_LIFE {
            assert!(began.elapsed() < LIFE_MAX, "a life is stuck");
            child.still_runs();
            std::thread::sleep(Duration::from_millis(5));
        }
        let most = match self.rng.random_bool(0.4) && large_add_begins(&plan.log) {
            true => {
                self.figures.kills_in_large_adds += 1;
                120
            }
            false => 300,
        };
        std::thread::sleep(Duration::from_millis(self.rng.random_range(0..most)));
        child.kill();
        self.figures.kills += 1;
    }

    /// What must hold after a kill. The log is made whole again for the next life.
    fn check(&mut self, life: usize) {
        let plan = self.plan(life);
        let log = Log::read(&plan.log);
        let repo = repo::Repo::open(&plan.root, None).expect("the lock went with the process");
        let store = Store::open(&repo.store_dir()).expect("every start succeeds");
        let core = store.core();
        let undecided = log.undecided();
        for cid in log.live().keys() {
            let pin = core.pin_row(&cid::parse(cid).unwrap()).unwrap();
            let whole = pin.is_some_and(|pin| pin.mode == Mode::Recursive);
            assert!(whole || undecided.as_ref() == Some(cid), "{cid} was acknowledged: no pin");
            self.figures.pins_checked += usize::from(whole);
        }
        self.figures.blocks_rehashed += kept(&core).len();
        if let Some(cid) = &undecided {
            let pinned = core.pin_row(&cid::parse(cid).unwrap()).unwrap().is_some();
            settle(&plan.log, cid, pinned);
        }
        if life.is_multiple_of(KILLS_A_GC) {
            collect(&core).unwrap();
            core.compact().unwrap();
            assert_eq!(kept(&core), present(&core), "after gc");
        }
        self.compare(&store, &Log::read(&plan.log));
    }

    /// Compares the content of a few files with the seeds they were made of.
    fn compare(&mut self, store: &Store, log: &Log) {
        let live = log.live();
        let files: Vec<_> = live.iter().filter(|(_, made)| made.size.is_some()).collect();
        for _ in 0..COMPARED.min(files.len()) {
            let (text, made) = files[self.rng.random_range(0..files.len())];
            let wanted = keystream(&made.seed, made.size.unwrap());
            let root = cid::parse(text).unwrap();
            let dag = Dag::new(store.clone());
            let content = self.runtime.block_on(async {
                let mut pieces = dag.read(&root, 0, u64::MAX).await.unwrap();
                let mut content = Vec::with_capacity(wanted.len());
                while let Some(piece) = pieces.recv().await {
                    content.extend_from_slice(&piece.unwrap());
                }
                content
            });
            assert!(content == wanted, "{text}: not the content of seed {}", made.seed);
            self.figures.bytes_compared += content.len() as u64;
        }
    }

    /// Removes everything: nothing may be left.
    fn empty(&self) {
        let core: std::sync::Arc<Core> =
            Store::open(&self.plan(0).root.join("store")).unwrap().core();
        for pin in pins(&core) {
            core.unpin(&pin.cid, true).unwrap();
        }
        collect(&core).unwrap();
        assert_eq!(core.totals(), (0, 0), "something leaked");
    }
}

/// Waits for an add of some size to begin; false when none does in time.
fn large_add_begins(log: &Path) -> bool {
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        if Log::read(log).large_add_under_way() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// Writes down how an unpin that was cut short turned out.
fn settle(log: &Path, cid: &str, pinned: bool) {
    let verb = if pinned { "stayed" } else { "unpinned" };
    let mut file = OpenOptions::new().append(true).open(log).unwrap();
    writeln!(file, "{verb} {cid}").unwrap();
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let seed: u64 = match std::env::var("HENGE_SEED") {
        Ok(text) => text.parse().expect("HENGE_SEED is a number"),
        Err(_) => rand::random_range(0..1_000_000),
    };
    // Shown when the test fails, and with --nocapture.
    println!("HENGE_SEED={seed}");
    let kills = if soak() { 60 } else { 12 };
    let began = Instant::now();
    let mut trial = Trial::new(seed);
    for life in 1..=kills {
        trial.kill_one(life);
        trial.check(life);
    }
    let log = Log::read(&trial.plan(0).log);
    trial.figures.adds = log.count("added");
    trial.figures.gets = log.count("got");
    trial.figures.unpins = log.count("unpinned");
    trial.empty();
    println!("{:?} in {:.1} s", trial.figures, began.elapsed().as_secs_f64());
}
