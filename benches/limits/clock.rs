//! Timing, medians, and lines of the report.

use std::time::{Duration, Instant};

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How long `work` takes.
pub fn time<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(Duration, T)> {
    let start = Instant::now();
    let value = work()?;
    Ok((start.elapsed(), value))
}

/// The middle of a few numbers.
pub fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Runs ours and the machine's limit in turn and prints both rates and their ratio.
pub fn pair(
    what: &str,
    limit: &str,
    bytes: u64,
    rounds: usize,
    mut ours: impl FnMut() -> anyhow::Result<Duration>,
    mut machine: impl FnMut() -> anyhow::Result<Duration>,
) -> anyhow::Result<()> {
    let (mut a, mut b, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (mine, theirs) = (rate(bytes, ours()?), rate(bytes, machine()?));
        ratios.push(mine / theirs);
        a.push(mine);
        b.push(theirs);
    }
    println!(
        "  {what:<34} {:>7.0} MB/s   {limit:<34} {:>7.0} MB/s   ratio {:.2}",
        median(a),
        median(b),
        median(ratios)
    );
    Ok(())
}

/// Megabytes (10^6) a second.
pub fn rate(bytes: u64, taken: Duration) -> f64 {
    bytes as f64 / 1e6 / taken.as_secs_f64().max(1e-9)
}

/// Bytes that neither compress nor repeat, the same every time.
pub fn random(len: usize) -> Vec<u8> {
    use rand::{Rng as _, SeedableRng as _};
    let mut bytes = vec![0; len];
    rand_chacha::ChaCha8Rng::seed_from_u64(len as u64).fill_bytes(&mut bytes);
    bytes
}
