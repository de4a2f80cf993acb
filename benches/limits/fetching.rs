//! Fetching from one peer over the loopback into the store: henge from henge beside Kubo 0.22 from
//! Kubo 0.22, in turn, with the processor time that both ends take.

use std::path::Path;
use std::time::{Duration, Instant};

use super::clock::{median, random};
use super::peers::{Henge, Kubo, Node, processor};

const ROUNDS: usize = 5;
const BYTES: usize = 256 << 20;
/// Time for two nodes to learn what the other speaks.
const SETTLE: Duration = Duration::from_millis(500);

/// A fetch: how long it took, and the processor seconds of who serves and of who fetches.
struct Fetch {
    taken: Duration,
    serving: f64,
    fetching: f64,
}

fn fetch<N: Node>(file: &Path, transport: &str) -> anyhow::Result<Fetch> {
    let dirs = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut has = N::start(dirs.0.path(), transport)?;
    let mut wants = N::start(dirs.1.path(), transport)?;
    let cid = has.add(file)?;
    wants.connect(&has.address()?)?;
    std::thread::sleep(SETTLE);
    let before = (processor(has.pid())?, processor(wants.pid())?);
    let since = Instant::now();
    wants.pin(&cid)?;
    let taken = since.elapsed();
    let (serving, fetching) = (processor(has.pid())?, processor(wants.pid())?);
    Ok(Fetch { taken, serving: serving - before.0, fetching: fetching - before.1 })
}

/// Both, over TCP and QUIC.
pub fn fetching() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("input");
    for (round, transport) in ["tcp", "quic"].into_iter().enumerate() {
        // Other bytes each time: nothing may be there already.
        std::fs::write(&file, random(BYTES + round))?;
        if let Err(why) = Kubo::library() {
            println!("  SKIPPED: {why}");
            return Ok(());
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(fetch::<Henge>(&file, transport)?);
            theirs.push(fetch::<Kubo>(&file, transport)?);
        }
        let pairs = ours.iter().zip(&theirs);
        let ratio =
            median(pairs.map(|(a, b)| b.taken.as_secs_f64() / a.taken.as_secs_f64()).collect());
        for (name, all) in [("henge", &ours), ("Kubo 0.22", &theirs)] {
            let middle = |part: fn(&Fetch) -> f64| median(all.iter().map(part).collect());
            println!(
                "  {transport:<5} {name:<10} {:>5.0} MiB/s   {:.2} + {:.2} cpu-s, serving + fetching",
                (BYTES >> 20) as f64 / middle(|fetch| fetch.taken.as_secs_f64()),
                middle(|fetch| fetch.serving),
                middle(|fetch| fetch.fetching),
            );
        }
        println!("  {transport:<5} ratio {ratio:.2}");
    }
    Ok(())
}
