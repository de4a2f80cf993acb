//! Benches: how fast henge is beside what this machine can do at all.
//!
//! `cargo bench` runs all of them, `cargo bench -- add cat` some. Every line is a median, and every
//! ratio is the median of ratios of pairs that ran one after the other, so that it holds when the
//! machine's speed drifts. `HENGE_BENCH_MIB` sets the size of the file that add, cat and car move,
//! `HENGE_BENCH_FILES` the most small files.

// A bench reports on standard output.
#![allow(clippy::print_stdout)]

#[path = "limits/adding.rs"]
mod adding;
#[path = "limits/clock.rs"]
mod clock;
#[path = "limits/fetching.rs"]
mod fetching;
#[path = "limits/ground.rs"]
mod ground;
#[path = "limits/hashing.rs"]
mod hashing;
#[path = "limits/peers.rs"]
mod peers;
#[path = "limits/reading.rs"]
mod reading;
#[path = "limits/storing.rs"]
mod storing;

type Bench = fn() -> anyhow::Result<()>;

/// Every bench and its name.
const BENCHES: &[(&str, Bench)] = &[
    ("chunk", hashing::chunk),
    ("hash", hashing::hash),
    ("store", storing::put_and_get),
    ("add", adding::add),
    ("files", adding::files),
    ("size", adding::size),
    ("full", adding::full),
    ("cat", reading::cat),
    ("car", reading::car),
    ("fetch", fetching::fetching),
];

fn main() -> anyhow::Result<()> {
    // Cargo passes flags of its own harness; names have no dashes.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!("{} cores, henge {}", clock::cores(), env!("CARGO_PKG_VERSION"));
    for (name, bench) in BENCHES {
        if wanted.is_empty() || wanted.iter().any(|w| w == name) {
            println!("\n{name}");
            bench()?;
        }
    }
    Ok(())
}
