//! What the codec tests share: random trees, the fixture files, and damaged copies of them.
//!
//! Owns no assertion about a codec. Compiled for tests only.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a panic here is a failed test"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{INTEGER_RANGE, Value};
use crate::ipld::cid::{self, Cid};

/// A random tree of at most `budget` values that both codecs can carry.
pub fn random(rng: &mut StdRng, budget: usize) -> Value {
    let fan = rng.random_range(0..=budget.min(6));
    let kinds = if budget > 100 { 7..9 } else { 0..9 };
    match rng.random_range(kinds) {
        0 => Value::Null,
        1 => Value::Bool(rng.random()),
        2 => Value::Integer(rng.random_range(INTEGER_RANGE) >> rng.random_range(0..64)),
        3 => Value::Float(finite(rng)),
        4 => Value::String(text(rng)),
        5 => Value::Bytes((0..rng.random_range(0..40)).map(|_| rng.random::<u8>()).collect()),
        6 => Value::Link(Box::new(link(rng))),
        7 => Value::List((0..fan).map(|_| random(rng, budget / 6)).collect()),
        _ => {
            let mut entries: Vec<(String, Value)> =
                (0..fan).map(|_| (text(rng), random(rng, budget / 6))).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            entries.dedup_by(|(a, _), (b, _)| a == b);
            Value::Map(entries)
        }
    }
}

/// The dag-cbor and dag-json files of `tests/fixtures/codec`.
pub fn fixtures() -> Vec<(PathBuf, Bytes)> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/codec");
    let list = |folder: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let folders = list(Path::new(root)).into_iter().filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| list(&folder));
    let ours = files.filter(|path| {
        path.extension().is_some_and(|codec| codec == "dag-cbor" || codec == "dag-json")
    });
    ours.map(|path| (path.clone(), std::fs::read(path).unwrap().into())).collect()
}

/// Gives `check` the small fixtures of a codec with random damage, reproducibly.
pub fn mutated(codec: &str, mut check: impl FnMut(&Bytes)) {
    let mut fixtures = fixtures();
    fixtures.retain(|(path, block)| {
        path.extension().is_some_and(|extension| extension == codec) && block.len() < 4096
    });
    fixtures.sort();
    for seed in 0..400 {
        let mut rng = StdRng::seed_from_u64(seed);
        for (path, block) in &fixtures {
            let mut damaged = block.to_vec();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..damaged.len().max(1));
                match rng.random_range(0..4) {
                    0 => damaged.truncate(at),
                    1 => damaged.insert(at.min(damaged.len()), rng.random()),
                    2 => damaged.extend_from_within(..at.min(damaged.len())),
                    _ => damaged.iter_mut().skip(at).take(1).for_each(|b| *b = rng.random()),
                }
            }
            let shown = damaged.clone();
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&damaged.into())));
            assert!(outcome.is_ok(), "seed {seed}, {}: {shown:x?}", path.display());
        }
    }
}

fn finite(rng: &mut StdRng) -> f64 {
    let any = f64::from_bits(rng.random());
    let whole = f64::from(rng.random::<i32>());
    if any.is_finite() && rng.random() { any } else { whole }
}

fn text(rng: &mut StdRng) -> String {
    let alphabet = ['a', 'b', '"', '\\', '\n', '\u{1}', '<', '\u{2028}', 'č', '水', '𐅑', '\u{7f}'];
    (0..rng.random_range(0..8)).map(|_| alphabet[rng.random_range(0..12)]).collect()
}

fn link(rng: &mut StdRng) -> Cid {
    let length = rng.random_range(0..=cid::DIGEST_MAX_BYTES);
    let digest: Vec<u8> = (0..length).map(|_| rng.random()).collect();
    Cid::new_v1(cid::codec::RAW, cid::digest(cid::hash::IDENTITY, &digest).unwrap())
}
