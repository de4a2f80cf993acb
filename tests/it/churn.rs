//! Files come and go: what is written for it, and what the disk still holds once it is over. 200 MiB
//! in, half of it out, 100 MiB in; 10 GiB, 5 and 5 with `HENGE_SOAK=1`.

use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::harness::{Daemon, Repo, skip, soak};
use crate::http_client::post;
use crate::weigh::{self, KIB, Kept, MIB, ratio};

struct Plan {
    /// Bytes that come first. Half of them goes, and half as much comes again.
    first: u64,
    /// Time to come to rest.
    rest: Duration,
    /// Most bytes written for each that came.
    written: f64,
    /// Most bytes on the disk for each that lives.
    taken: f64,
}

impl Plan {
    fn new() -> Self {
        let secs = Duration::from_secs;
        match soak() {
            true => Self { first: 10240 * MIB, rest: secs(300), written: 2.5, taken: 1.3 },
            // The log and what else does not grow with content weighs more.
            false => Self { first: 200 * MIB, rest: secs(60), written: 3.0, taken: 1.5 },
        }
    }
}

/// Adds files of random sizes up to so many bytes.
fn fill(api: &str, name: &str, bytes: u64, rng: &mut ChaCha8Rng) -> Vec<Kept> {
    let (mut kept, mut left) = (Vec::new(), bytes);
    while left > 0 {
        let size = rng.random_range(64 * KIB..=16 * MIB).min(left);
        let seed = format!("churn-{name}-{}", kept.len());
        let (answer, added) = weigh::add(api, &seed, usize::try_from(size).unwrap());
        kept.push(added.unwrap_or_else(|| panic!("{}", answer.text())));
        left -= size;
    }
    kept
}

/// Unpins a random half, and collects it.
fn halve(api: &str, kept: &mut Vec<Kept>, bytes: u64, rng: &mut ChaCha8Rng) {
    let mut gone = 0;
    while gone < bytes / 2 {
        let one = kept.swap_remove(rng.random_range(0..kept.len()));
        one.unpin(api);
        gone += one.size as u64;
    }
    let answer = post(api, "/api/v0/repo/gc?silent=true");
    assert_eq!((answer.status, answer.stream_error()), (200, None), "{}", answer.text());
}

/// Waits until the disk holds little more than what lives, or for the time to come to rest; the full
/// form waits for all of it. Gives bytes on the disk and bytes that live.
fn rest(plan: &Plan, repo: &Repo, api: &str) -> (u64, u64) {
    let since = Instant::now();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let (taken, live) = (weigh::du(&repo.root()), weigh::live(api));
        let enough = !soak() && ratio(taken, live) <= plan.taken;
        if enough || since.elapsed() >= plan.rest {
            return (taken, live);
        }
    }
}

#[test]
fn what_comes_and_goes_is_neither_written_often_nor_left() {
    let (plan, repo) = (Plan::new(), Repo::for_daemon());
    if weigh::free(repo.dir.path()) < plan.first * 2 {
        return skip("churn", "too little room on the disk");
    }
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let daemon = Daemon::offline(&repo);
    let (api, since) = (daemon.api(), Instant::now());
    let mut kept = fill(&api, "first", plan.first, &mut rng);
    println!("{} files in after {:?}", kept.len(), since.elapsed());
    halve(&api, &mut kept, plan.first, &mut rng);
    println!("half of them out after {:?}", since.elapsed());
    kept.extend(fill(&api, "again", plan.first / 2, &mut rng));
    println!("{} files after {:?}", kept.len(), since.elapsed());
    let (taken, live) = rest(&plan, &repo, &api);
    let (written, came) = (weigh::written(daemon.pid()), plan.first / 2 * 3);
    let (per_byte, left) = (ratio(written, came), ratio(taken, live));
    println!("{written} bytes written for {came} that came: {per_byte:.2}");
    println!("{:.2} for each that lives", ratio(written, live));
    println!("{taken} bytes on the disk for {live} that live: {left:.3}");
    assert!(left <= plan.taken, "{left:.3}");
    match weigh::in_memory(repo.dir.path()) {
        true => skip("churn", "what is written is not counted in memory"),
        false => assert!(per_byte <= plan.written, "{per_byte:.2}"),
    }
    // A tenth of them: the rest went the same way.
    kept.iter().step_by(10).for_each(|kept| kept.reads_back(&api));
    daemon.stop();
}
