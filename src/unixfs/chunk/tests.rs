//! Every chunker against the sizes that boxo's cut, and the names of chunkers.

use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use serde_json::Value;
use sha2::Digest as _;

use super::*;

/// Gives a few bytes a call, as pipes do.
struct Trickling<'a>(&'a [u8], usize);

impl Read for Trickling<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = buf.len().min(self.1).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

/// Sizes of the chunks; the blocks joined must be the content again.
fn sizes(chunker: Chunker, content: &[u8], step: usize) -> Vec<usize> {
    let mut chunks = chunker.blocks(Trickling(content, step), Leaf::Block);
    let (mut sizes, mut at) = (Vec::new(), 0);
    while let Some(Framed { block, content: size }) = chunks.next_block().unwrap() {
        assert!(block == content[at..at + size], "{chunker} at {at}");
        at += size;
        sizes.push(size);
    }
    assert_eq!(at, content.len(), "{chunker}");
    sizes
}

fn stream() -> Vec<u8> {
    let key: [u8; 32] = sha2::Sha256::digest(b"henge-chunkers").into();
    let mut bytes = vec![0; 20_000_003];
    rand_chacha::ChaCha20Rng::from_seed(key).fill_bytes(&mut bytes);
    bytes
}

fn against(vectors: &str, content: &[u8]) {
    let vectors: Value = serde_json::from_str(vectors).unwrap();
    let rows = vectors["vectors"].as_array().unwrap();
    assert!(rows.len() >= 4);
    for row in rows {
        let name = row["chunker"].as_str().unwrap().split(' ').next().unwrap();
        let chunker: Chunker = name.parse().unwrap();
        let theirs: Vec<usize> = serde_json::from_value(row["sizes"].clone()).unwrap();
        assert!(sizes(chunker, content, usize::MAX) == theirs, "{name}");
        assert!(sizes(chunker, content, 70_001) == theirs, "{name}, in short reads");
    }
}

#[test]
fn random_bytes_are_cut_as_by_boxo() {
    against(include_str!("../../../tests/fixtures/chunkers/random.json"), &stream());
}

#[test]
fn a_run_of_zeros_is_cut_as_by_boxo() {
    let stream = stream();
    let tail = &stream[stream.len() - 3_000_000..];
    let mixed = [&stream[..3_000_000], &vec![0; 4_000_000], tail].concat();
    against(include_str!("../../../tests/fixtures/chunkers/mixed.json"), &mixed);
}

/// The fingerprint as it is defined, a byte at a time.
fn slowly(rabin: Rabin, data: &[u8]) -> usize {
    let end = data.len().min(rabin.max);
    let mask = (1u64 << rabin.avg.ilog2()) - 1;
    let cuts = |at: &usize| {
        let window = &data[at - rabin::WINDOW..*at];
        let polynomial = 17_437_180_132_763_653u128;
        let mut rest = window.iter().fold(0u128, |value, byte| value << 8 | u128::from(*byte));
        for bit in (53..128).rev() {
            if rest >> bit & 1 == 1 {
                rest ^= polynomial << (bit - 53);
            }
        }
        rest as u64 & mask == 0
    };
    (rabin.min..end).find(cuts).unwrap_or(end)
}

#[test]
fn lanes_find_what_one_look_at_a_time_finds() {
    let stream = stream();
    for rabin in [
        Rabin { min: 16, avg: 17, max: 18 },
        Rabin { min: 16, avg: 64, max: 300 },
        Rabin { min: 100, avg: 1000, max: 9000 },
        Rabin { min: 20_000, avg: 40_000, max: 60_000 },
    ] {
        let mut at = 0;
        for _ in 0..300 {
            let data = &stream[at..at + rabin.max];
            let cut = rabin.cut(data);
            assert_eq!(cut, slowly(rabin, data), "{rabin:?} at {at}");
            at += cut;
        }
        for len in [0, 1, rabin.min, rabin.min + 1, rabin.max - 1] {
            assert_eq!(rabin.cut(&stream[..len]), slowly(rabin, &stream[..len]), "{rabin:?} {len}");
        }
    }
}

#[test]
fn an_empty_file_is_one_empty_chunk() {
    for name in ["size-10", "rabin", "buzhash"] {
        assert_eq!(sizes(name.parse().unwrap(), b"", 1), [0], "{name}");
        assert_eq!(sizes(name.parse().unwrap(), b"abc", 1), [3], "{name}");
    }
}

#[test]
fn names_parse_and_print() {
    let printed = |text: &str| text.parse::<Chunker>().unwrap().to_string();
    for (name, full) in [
        ("size-1000", "size-1000"),
        ("default", "size-262144"),
        ("", "size-262144"),
        ("rabin", "rabin-87381-262144-393216"),
        ("rabin-65536", "rabin-21845-65536-98304"),
        ("rabin-1397931", "rabin-465977-1397931-2096896"),
        ("rabin-16-17-18", "rabin-16-17-18"),
        ("rabin-min:16-avg:32-max:2096896", "rabin-16-32-2096896"),
        ("size-2096896", "size-2096896"),
        ("buzhash", "buzhash"),
    ] {
        assert_eq!(printed(name), full);
        assert_eq!(printed(full), full);
    }
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    for bad in [
        "size-0",
        "size-",
        "size--1",
        "size-2096897",
        "size-99999999999999999999",
        "size-1-2",
        "x",
        "rabin-",
        "rabin-47",
        "rabin-1397932",
        "rabin-18446744073709551615",
        "rabin-1-2",
        "rabin-12-512-1024",
        "rabin-15-16-17",
        "rabin-32-32-64",
        "rabin-32-64-64",
        "rabin-16-32-2096897",
        "rabin-a-b-c",
        "rabin-avg:16-32-64",
        "buzhash-1",
        "Rabin",
    ] {
        let error = bad.parse::<Chunker>().unwrap_err().to_string();
        assert!(error.contains(&format!("chunker {bad:?}: ")), "{error}");
    }
}
