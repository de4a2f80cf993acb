//! Mutates inputs, gives them to a decoder on a small stack, and keeps those with a new outcome.
//!
//! No panic, no memory beyond a multiple of the input, no stack by its depth. What an outcome is says
//! the decoder: the words of its error, the size of what it made.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::harness::soak;

/// Stack of the thread that decodes, in bytes.
pub const STACK_BYTES: usize = 128 << 10;
/// Longest input that mutation makes, in bytes.
const INPUT_MAX_BYTES: usize = 16 << 10;
/// Most inputs that are mutated further.
const KEPT_MAX: usize = 1024;
/// Longest input, and most inputs, that go into a corpus file.
const FILED_MAX: (usize, usize) = (300, 40);
/// Time for each decoder, in the small form and in the full one.
const TIMES: (Duration, Duration) = (Duration::from_millis(30), Duration::from_secs(60));
/// Longest time for one input, of 1,000,000 levels or not. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A decoder of what strangers send.
pub struct Target {
    pub name: &'static str,
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Decodes, and tells the outcome. What it only checks is kept out of the measuring.
    pub run: fn(&[u8]) -> String,
    /// Most bytes on the heap at one time for each byte of input.
    pub per_byte: u64,
    /// And beside those.
    pub beside: u64,
    /// Stack of the thread, in bytes.
    pub stack: usize,
}

/// Inputs that mutation starts from: a place for each outcome.
struct Corpus {
    inputs: Vec<Vec<u8>>,
    outcomes: BTreeMap<u64, usize>,
}

/// Mutates for the time there is. A failure tells the seed and the input.
pub fn fuzz(target: &'static Target) {
    let given = std::env::var("HENGE_SEED").ok().and_then(|text| text.parse().ok());
    let seed: u64 = given.unwrap_or_else(rand::random);
    println!("{}: HENGE_SEED={seed}", target.name);
    on_small_stack(target, move || {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut corpus = Corpus { inputs: vec![Vec::new()], outcomes: BTreeMap::new() };
        let (mut rounds, mut most, mut densest) = (0_u64, 0, 0.0);
        for input in (target.seeds)().into_iter().chain(filed(target.name)) {
            let (outcome, _) = decode(target, &input);
            corpus.keep(outcome, input);
        }
        let seeds = corpus.inputs.len();
        let time = if soak() { TIMES.1 } else { TIMES.0 };
        let until = Instant::now() + time;
        while Instant::now() < until {
            let input = corpus.mutated(&mut rng);
            let (outcome, peak) = decode(target, &input);
            rounds += 1;
            most = most.max(peak);
            densest = f64::max(densest, peak as f64 / (input.len() + 256) as f64);
            corpus.keep(outcome, input);
        }
        println!(
            "{}: {rounds} inputs, {seeds} at first, {} outcomes, at most {most} bytes of heap, {densest:.1} a byte",
            target.name,
            corpus.outcomes.len()
        );
        assert!(rounds > 0, "{} was not run", target.name);
        corpus.file(target);
    });
}

/// Inputs that are large in the way that each stranger knows: nested, or the same again.
pub fn flood(target: &'static Target, inputs: &'static [Vec<u8>]) {
    on_small_stack(target, move || {
        for input in inputs {
            let since = Instant::now();
            decode(target, input);
            let took = since.elapsed();
            let begins = String::from_utf8_lossy(&input[..input.len().min(16)]).into_owned();
            assert!(took < PATIENCE, "{}: {took:?} for {begins:?}", target.name);
        }
    });
}

fn on_small_stack(target: &Target, run: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(target.stack).spawn(run).unwrap();
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The class of the outcome, and the most heap at one time.
fn decode(target: &Target, input: &[u8]) -> (u64, u64) {
    let mut outcome = None;
    let used = allocation_counter::measure(|| {
        outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input))).ok();
    });
    let bound = target.per_byte * input.len() as u64 + target.beside;
    let told = || {
        let part = &input[..input.len().min(2000)];
        let hex = data_encoding::HEXLOWER.encode(part);
        format!("{} over {} bytes, which begin with {hex}", target.name, input.len())
    };
    let Some(outcome) = outcome else { panic!("a panic in {}", told()) };
    assert!(
        used.bytes_max <= bound,
        "{} bytes of heap, at most {bound}: {}",
        used.bytes_max,
        told()
    );
    (class(&outcome), used.bytes_max)
}

/// Outcomes that differ in numbers, quotes and names only are one.
fn class(outcome: &str) -> u64 {
    const LONGEST: usize = 14;
    let mut hasher = DefaultHasher::new();
    let plain = outcome.split('"').step_by(2).flat_map(str::split_whitespace);
    let plain = plain.map(|word| word.trim_matches(|c: char| c.is_ascii_punctuation()));
    let is_word = |word: &&str| {
        word.len() <= LONGEST && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
    };
    plain.filter(is_word).take(16).for_each(|word| word.hash(&mut hasher));
    hasher.finish()
}

impl Corpus {
    /// Keeps an input whose outcome is new, or that is shorter than the one with the same outcome.
    fn keep(&mut self, outcome: u64, input: Vec<u8>) {
        match self.outcomes.get(&outcome) {
            Some(at) if self.inputs[*at].len() <= input.len() => {}
            Some(at) => self.inputs[*at] = input,
            None if self.inputs.len() < KEPT_MAX => {
                self.outcomes.insert(outcome, self.inputs.len());
                self.inputs.push(input);
            }
            None => {}
        }
    }

    fn mutated(&self, rng: &mut StdRng) -> Vec<u8> {
        let any = |rng: &mut StdRng| &self.inputs[rng.random_range(0..self.inputs.len())];
        let mut input = any(rng).clone();
        for _ in 0..rng.random_range(1..6) {
            let other = any(rng).clone();
            mutate(&mut input, &other, rng);
            input.truncate(INPUT_MAX_BYTES);
        }
        input
    }

    /// Writes what there is to a folder, where one is asked for.
    fn file(&self, target: &Target) {
        let Some(folder) = std::env::var_os("HENGE_CORPUS") else { return };
        let short = |at: &&usize| self.inputs[**at].len() <= FILED_MAX.0;
        let mut lines: Vec<String> = self
            .outcomes
            .values()
            .filter(short)
            .map(|at| data_encoding::HEXLOWER.encode(&self.inputs[*at]))
            .filter(|line| !line.is_empty())
            .collect();
        lines.sort_by_key(String::len);
        lines.truncate(FILED_MAX.1);
        let place = PathBuf::from(folder).join(format!("{}.hex", target.name));
        std::fs::write(place, lines.join("\n") + "\n").unwrap();
    }
}

/// The inputs of a corpus file: one a line, in hex.
fn filed(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/corpus");
    let text = std::fs::read_to_string(folder.join(format!("{name}.hex"))).unwrap_or_default();
    let line = |line: &str| data_encoding::HEXLOWER.decode(line.as_bytes()).unwrap();
    text.lines().map(line).collect()
}

/// One change, of the kinds that decoders have failed over.
fn mutate(input: &mut Vec<u8>, other: &[u8], rng: &mut StdRng) {
    let at = rng.random_range(0..=input.len());
    let to = rng.random_range(at..=input.len().min(at + 64));
    match rng.random_range(0..14) {
        0 => flip(input, at, rng),
        1 => input.iter_mut().skip(at).take(1).for_each(|b| *b = rng.random()),
        2 => insert(input, at, &bytes(rng)),
        3 => drop(input.drain(at..to)),
        4 => input.truncate(at),
        // The same again, once or often.
        5 => {
            let part = input[at..to].repeat(1 << rng.random_range(0..7));
            insert(input, at, &part);
        }
        // The head of one and the tail of another.
        6 => {
            input.truncate(at);
            input.extend_from_slice(&other[rng.random_range(0..=other.len())..]);
        }
        // A part of another, put in or put over.
        7 => insert(input, at, part(other, rng)),
        8 => {
            let part = part(other, rng);
            input.iter_mut().skip(at).zip(part).for_each(|(b, with)| *b = *with);
        }
        // A length or number that is too large, put in or put over.
        9 => insert(input, at, &large(rng)),
        10 => {
            let number = large(rng);
            let end = (at + rng.random_range(0..=number.len())).min(input.len());
            input.splice(at..end, number);
        }
        // A varint of more bytes than it needs.
        11 => {
            let short = input.get(at).copied().filter(|b| *b < 0x80);
            if let Some(byte) = short {
                let mut long = vec![byte | 0x80];
                long.resize(rng.random_range(1..12), 0x80);
                long.push(0);
                input.splice(at..=at, long);
            }
        }
        // A length that is a little off.
        12 => input.iter_mut().skip(at).take(1).for_each(|b| *b = b.wrapping_add(1)),
        _ => input.iter_mut().skip(at).take(1).for_each(|b| *b = b.wrapping_sub(1)),
    }
}

fn flip(input: &mut [u8], at: usize, rng: &mut StdRng) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << rng.random_range(0..8);
    }
}

fn insert(input: &mut Vec<u8>, at: usize, part: &[u8]) {
    input.splice(at..at, part.iter().copied());
}

fn bytes(rng: &mut StdRng) -> Vec<u8> {
    (0..rng.random_range(1..9)).map(|_| rng.random::<u8>()).collect()
}

fn part<'a>(other: &'a [u8], rng: &mut StdRng) -> &'a [u8] {
    let from = rng.random_range(0..=other.len());
    &other[from..rng.random_range(from..=other.len())]
}

/// A large number as one of the formats writes it.
fn large(rng: &mut StdRng) -> Vec<u8> {
    let number = (1_u64 << rng.random_range(6..64)).wrapping_sub(rng.random_range(0..2));
    match rng.random_range(0..6) {
        0 => number.to_be_bytes().to_vec(),
        1 => number.to_le_bytes().to_vec(),
        2 => (number as u32).to_be_bytes().to_vec(),
        // The heads of CBOR's strings, lists and maps.
        3 => [&[rng.random_range(2..6) << 5 | 27_u8][..], &number.to_be_bytes()].concat(),
        4 => number.to_string().into_bytes(),
        _ => {
            let (mut out, mut rest) = (Vec::new(), number);
            while rest >= 0x80 {
                out.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            out.push(rest as u8);
            out
        }
    }
}
