//! SHA-256 of many messages at a time.
//!
//! One message leaves most of a core idle: each round waits for the one before. Messages that do not
//! know of each other fill the gaps. Where the processor has neither of the two ways below, and for the
//! odd one out, the crate `sha2` does it. docs/adr/0010-own-sha256.md has the figures.
//!
//! Source: FIPS 180-4, sections 5 and 6.2.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod woven;

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

/// A digest, in bytes.
pub type Digest = [u8; 32];

/// What the function works on at a time, in eights of bytes.
type Chunk = [[u8; 8]; 8];
/// Bytes of one.
const CHUNK_BYTES: usize = 64;
/// Bytes of a chunk before the length of the message, which is in the last one.
const ROOM: usize = 56;
/// What is kept between two chunks of a message.
type State = [u32; 8];
/// Chunks of a message from the front.
type Chunks<'m> = std::slice::Iter<'m, Chunk>;

/// Before the first chunk: square roots of the first primes (FIPS 180-4, section 5.3.3).
#[cfg(target_arch = "x86_64")]
const START: State = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// A constant for each round, in rows of four: cube roots of the first primes (section 4.2.2).
#[cfg(target_arch = "x86_64")]
const ROUNDS: [[[u32; 4]; 4]; 4] = [
    [
        [0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5],
        [0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5],
        [0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3],
        [0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174],
    ],
    [
        [0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc],
        [0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da],
        [0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7],
        [0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967],
    ],
    [
        [0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13],
        [0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85],
        [0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3],
        [0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070],
    ],
    [
        [0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5],
        [0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3],
        [0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208],
        [0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2],
    ],
];

/// Takes messages through the chunks that all of them have, together; tells how many that were.
type Compress<const N: usize> = fn([Chunks<'_>; N]) -> (usize, [State; N]);
/// Messages whose digests are yet to be written, the shortest first.
type Waiting<'w, 'm> = &'w mut [(&'m [u8], &'m mut Digest)];

/// What this processor can do for several messages at a time.
#[derive(Clone, Copy)]
struct Ways {
    sixteen: Option<Compress<16>>,
    four: Option<Compress<4>>,
    two: Option<Compress<2>>,
}

/// The digests of messages, in their order.
pub fn digests(messages: &[&[u8]]) -> Vec<Digest> {
    Ways::here().digests(messages)
}

/// Messages that this processor hashes best at a time; one where it gains nothing by more.
pub fn together() -> usize {
    match Ways::here() {
        Ways { sixteen: Some(_), .. } => 16,
        Ways { four: Some(_), .. } => 4,
        _ => 1,
    }
}

impl Ways {
    /// Those of this processor. It was asked once; to look that up costs nothing beside a chunk.
    #[cfg(target_arch = "x86_64")]
    fn here() -> Self {
        Self { sixteen: lanes::way(), four: woven::way(), two: woven::way() }
    }

    /// None: `sha2` uses what other processors have.
    #[cfg(not(target_arch = "x86_64"))]
    fn here() -> Self {
        Self { sixteen: None, four: None, two: None }
    }

    fn digests(self, messages: &[&[u8]]) -> Vec<Digest> {
        let mut digests = vec![[0; 32]; messages.len()];
        let mut all: Vec<_> = messages.iter().copied().zip(&mut digests).collect();
        all.sort_by_key(|(message, _)| message.len());
        let mut waiting = all.as_mut_slice();
        while !waiting.is_empty() {
            waiting = as_one(self.sixteen, waiting)
                .or_else(|waiting| as_one(self.four, waiting))
                .or_else(|waiting| as_one(self.two, waiting))
                .unwrap_or_else(alone);
        }
        digests
    }
}

/// Hashes the first N together and gives the others; gives all where there is no way to, or where
/// they are too different in length for it to pay.
fn as_one<'w, 'm, const N: usize>(
    way: Option<Compress<N>>,
    waiting: Waiting<'w, 'm>,
) -> Result<Waiting<'w, 'm>, Waiting<'w, 'm>> {
    let pays = waiting.first_chunk::<N>().is_some_and(|group| {
        let length = |at: Option<&(&[u8], _)>| at.map_or(0, |(message, _)| message.len());
        let (shortest, longest) = (length(group.first()), length(group.last()));
        shortest >= CHUNK_BYTES && longest.abs_diff(shortest) <= shortest / 4
    });
    let Some(compress) = way.filter(|_| pays) else { return Err(waiting) };
    let Some((group, rest)) = waiting.split_first_chunk_mut::<N>() else { return Ok(&mut []) };
    let messages = group.each_ref().map(|(message, _)| message.as_chunks().0.as_chunks().0.iter());
    let (done, states) = compress(messages);
    for ((message, digest), state) in group.iter_mut().zip(states) {
        **digest = finish(message, done, state);
    }
    Ok(rest)
}

/// Hashes the first and gives the others.
fn alone<'w, 'm>(waiting: Waiting<'w, 'm>) -> Waiting<'w, 'm> {
    let Some(((message, digest), rest)) = waiting.split_first_mut() else { return &mut [] };
    **digest = Sha256::digest(message).into();
    rest
}

/// The digest of a message of which so many chunks went into a state.
fn finish(message: &[u8], done: usize, mut state: State) -> Digest {
    let (chunks, tail) = message.as_chunks::<CHUNK_BYTES>();
    compress256(&mut state, chunks.get(done..).unwrap_or_default());
    // A bit that is set, zeros, and the length in bits at the end of a chunk (section 5.1.1).
    let mut last = [[0; CHUNK_BYTES]; 2];
    for (to, from) in last.as_flattened_mut().iter_mut().zip(tail.iter().chain(&[0x80])) {
        *to = *from;
    }
    let used = if tail.len() < ROOM { 1 } else { 2 };
    let last = last.get_mut(..used).unwrap_or_default();
    if let Some(bits) = last.as_flattened_mut().last_chunk_mut() {
        *bits = (message.len() as u64).wrapping_mul(8).to_be_bytes();
    }
    compress256(&mut state, last);
    let mut digest = [0; 32];
    for (to, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *to = word.to_be_bytes();
    }
    digest
}

/// The order in which the bytes of four words are read: the first of each is its highest.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse2")]
#[inline]
fn highest_first() -> std::arch::x86_64::__m128i {
    std::arch::x86_64::_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3)
}

/// The words of a vector of four.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.1")]
fn unpacked(words: std::arch::x86_64::__m128i) -> [u32; 4] {
    use std::arch::x86_64::_mm_extract_epi32;
    [
        _mm_extract_epi32::<0>(words),
        _mm_extract_epi32::<1>(words),
        _mm_extract_epi32::<2>(words),
        _mm_extract_epi32::<3>(words),
    ]
    .map(i32::cast_unsigned)
}

#[cfg(test)]
mod tests;
