//! Power cuts at random points of several operations at once: every acknowledged DAG is there
//! afterwards, block by block, every start succeeds, and nothing leaks.
//!
//! The machine keeps its power. A life is killed under a shim that has noted what it told the disk
//! (`shim.c`, `journal.rs`); out of the notes comes what a disk may hold that forgot whatever was
//! not synced (`disk.rs`), and the next life goes on from there.

mod disk;
mod disk_tests;
mod journal;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::disk::{Disk, Law};
use self::journal::{Journal, Shim};
use crate::crash::{Trial, lost, seed};
use crate::harness::{open_here, soak};

/// The variable that turns the test `a_program` into one.
const PROGRAM: &str = "HENGE_POWER_PROGRAM";
/// Cuts at the same moment, each with other luck, among which a liar is found.
const CUTS_A_LIAR: u64 = 200;

/// Lives of which one is killed while it starts.
const LIVES_A_START: usize = 6;
/// Outcomes of the first cut, under each law.
const OUTCOMES_OF_THE_FIRST: usize = 4;

#[derive(Debug, Default)]
struct Notes {
    cuts: usize,
    outcomes: usize,
    records: usize,
    syncs: usize,
}

/// One life under the shim; gives the disk and what it was told since.
fn noted_life(trial: &mut Trial, shim: &Shim, life: usize) -> (Disk, Journal) {
    let root = trial.plan(life).root;
    let before = Disk::of(&root);
    match life.is_multiple_of(LIVES_A_START) {
        true => trial.die_early(life, &shim.variables(&root)),
        false => trial.live_and_die(life, &shim.variables(&root)),
    }
    let journal = Journal::read(&shim.journal);
    let strays = before.clone().follow(&journal).strays(&root, journal.open.as_ref());
    assert!(strays.is_empty(), "changed past the notes: {strays:?}, {:?}", journal.open);
    (before, journal)
}

/// Each kill is a cut with several outcomes: the next life goes on from one, the others are emptied.
#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let cuts = if soak() { 200 } else { 10 };
    let lives = cuts * LIVES_A_START / (LIVES_A_START - 1);
    let began = Instant::now();
    let mut trial = Trial::new(seed(), false);
    let shim = Shim::build(trial.dir.path());
    let (root, aside) = (trial.plan(0).root, trial.dir.path().join("aside"));
    let mut notes = Notes::default();
    for life in 1..=lives {
        let (before, journal) = noted_life(&mut trial, &shim, life);
        println!("life {life}, {} records", journal.records.len());
        notes.records += journal.records.len();
        notes.syncs += journal.syncs();
        let disk = before.follow(&journal);
        // The first life makes the store, and everything in it is new.
        for _ in 0..if life == 1 { OUTCOMES_OF_THE_FIRST } else { 1 } {
            for law in [Law::Strict, Law::Logged] {
                disk.cut(law, &mut trial.rng).write(&aside);
                trial.empties(&aside);
                fs::remove_dir_all(&aside).unwrap();
                notes.outcomes += 1;
            }
        }
        let law = if trial.rng.random_bool(0.5) { Law::Strict } else { Law::Logged };
        fs::remove_dir_all(&root).unwrap();
        disk.cut(law, &mut trial.rng).write(&root);
        trial.check(life);
        notes.outcomes += 1;
        notes.cuts += 1;
    }
    trial.empties(&root);
    let (told, time) = (trial.log().acknowledged(), began.elapsed().as_secs_f64());
    println!("{notes:?} {:?} acknowledged {told}, in {time:.1} s", trial.figures);
}

/// A store whose syncs do nothing is found out: or the test above could not fail.
#[test]
fn a_store_that_does_not_sync_is_caught() {
    let mut trial = Trial::new(seed(), false);
    let shim = Shim::build(trial.dir.path());
    let (before, journal) = noted_life(&mut trial, &shim, 1);
    assert!(journal.syncs() > 0);
    let disk = before.follow(&journal.without_syncs());
    let root = trial.plan(1).root;
    let caught = (0..CUTS_A_LIAR).any(|luck| {
        fs::remove_dir_all(&root).unwrap();
        disk.cut(Law::Logged, &mut ChaCha8Rng::seed_from_u64(luck)).write(&root);
        let Ok((node, _repo)) = open_here(&root) else { return true };
        !lost(&node.store().core(), &trial.log()).is_empty()
    });
    assert!(caught, "nothing was synced, and nothing was lost");
}

/// Replaces a file as it should be done, or leaves out one thing.
#[test]
fn a_program() {
    let Ok(text) = std::env::var(PROGRAM) else { return };
    let (lie, root) = text.split_once('\n').unwrap();
    let root = Path::new(root);
    let file = fs::File::create(root.join("new")).unwrap();
    (&file).write_all(&[1; 3000]).unwrap();
    if lie == "early sync" {
        file.sync_data().unwrap();
    }
    file.write_all_at(&[2; 1000], 2500).unwrap();
    if !matches!(lie, "early sync" | "no sync") {
        file.sync_all().unwrap();
    }
    fs::rename(root.join("new"), root.join("name")).unwrap();
    if lie != "no folder sync" {
        fs::File::open(root).unwrap().sync_all().unwrap();
    }
}

/// How often the file is lost or wrong, under each law.
fn losses(lie: &str) -> [u64; 2] {
    let dir = tempfile::tempdir().unwrap();
    let shim = Shim::build(dir.path());
    let root: PathBuf = dir.path().canonicalize().unwrap().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("name"), "old").unwrap();
    let before = Disk::of(&root);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "power::a_program", "--nocapture", "--test-threads=1"]);
    command.env(PROGRAM, format!("{lie}\n{}", root.display())).stdout(Stdio::null());
    assert!(command.envs(shim.variables(&root)).status().unwrap().success());
    let journal = Journal::read(&shim.journal);
    let disk = before.follow(&journal);
    assert_eq!(disk.strays(&root, journal.open.as_ref()), [""; 0]);
    let wanted = [[1; 2500].as_slice(), &[2; 1000]].concat();
    [Law::Strict, Law::Logged].map(|law| {
        let wrong = |luck: &u64| {
            let image = disk.cut(law, &mut ChaCha8Rng::seed_from_u64(*luck));
            image.paths().get("name") != Some(&Some(wanted.as_slice()))
        };
        (0..CUTS_A_LIAR).filter(wrong).count() as u64
    })
}

#[test]
fn programs_that_forget_a_sync_are_caught_and_others_are_not() {
    assert_eq!(losses("nothing"), [0, 0]);
    for lie in ["no sync", "early sync", "no folder sync"] {
        let [strict, logged] = losses(lie);
        assert!(strict > CUTS_A_LIAR / 10, "{lie}: {strict} of {CUTS_A_LIAR}");
        assert!(logged > CUTS_A_LIAR / 10, "{lie}: {logged} of {CUTS_A_LIAR}");
    }
}
