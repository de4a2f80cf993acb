//! Sixteen messages, a lane of a vector each: for processors with AVX-512.
//!
//! A vector holds the same word of sixteen messages, so that one instruction does for all of them
//! what the function asks for one.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::arch::is_x86_feature_detected;
use std::arch::x86_64::*;

use super::{Chunk, Chunks, Compress, ROUNDS, START, State, highest_first, unpacked};

/// A word of each message.
type Words = __m512i;

/// What a round works on: eight words of state, and sixteen of the chunk, the next one first.
#[derive(Clone, Copy)]
struct Work {
    state: [Words; 8],
    chunk: [Words; 16],
}

/// Taking sixteen messages through the chunks that all of them have, where the processor can.
#[allow(unsafe_code)]
pub(super) fn way() -> Option<Compress<16>> {
    let here = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
    // SAFETY: given away only where the processor has all that `compress` is compiled for.
    here.then_some(|messages| unsafe { compress(messages) })
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(mut messages: [Chunks<'_>; 16]) -> (usize, [State; 16]) {
    let mut state = START.map(|word| _mm512_set1_epi32(word.cast_signed()));
    let mut rows = [_mm512_setzero_si512(); 16];
    let mut done = 0_usize;
    loop {
        for (row, rest) in rows.iter_mut().zip(&mut messages) {
            let Some(chunk) = rest.next() else { return (done, states(state)) };
            *row = read(chunk);
        }
        let work = Work { state, chunk: transposed(rows) };
        let [first, second, third, last] = &ROUNDS;
        let work = pass::<true>(pass::<true>(pass::<true>(work, first), second), third);
        // These want no words beyond those that are there.
        let work = pass::<false>(work, last);
        for (sum, words) in state.iter_mut().zip(work.state) {
            *sum = _mm512_add_epi32(*sum, words);
        }
        done = done.saturating_add(1);
    }
}

/// As many rounds as there are words of a chunk: every word is back at its place, and the compiler
/// need not move any.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn pass<const MORE: bool>(work: Work, [a, b, c, d]: &[[u32; 4]; 4]) -> Work {
    quad::<MORE>(quad::<MORE>(quad::<MORE>(quad::<MORE>(work, a), b), c), d)
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn quad<const MORE: bool>(work: Work, &[a, b, c, d]: &[u32; 4]) -> Work {
    round::<MORE>(round::<MORE>(round::<MORE>(round::<MORE>(work, a), b), c), d)
}

/// A round (section 6.2.2, step 3), and, where `MORE` are wanted, the word of the one that is sixteen
/// from now (step 1).
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn round<const MORE: bool>(Work { state, chunk }: Work, constant: u32) -> Work {
    let add = |a, b| _mm512_add_epi32(a, b);
    let [a, b, c, d, e, f, g, h] = state;
    let [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15] = chunk;

    let given = add(w0, _mm512_set1_epi32(constant.cast_signed()));
    let choice = _mm512_ternarylogic_epi32::<0xca>(e, f, g);
    let rolled =
        xor(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
    let first = add(add(add(h, given), choice), rolled);
    let majority = _mm512_ternarylogic_epi32::<0xe8>(a, b, c);
    let rolled =
        xor(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
    let second = add(rolled, majority);

    let next = if MORE {
        let low =
            xor(_mm512_ror_epi32::<7>(w1), _mm512_ror_epi32::<18>(w1), _mm512_srli_epi32::<3>(w1));
        let (turned, shifted) = (_mm512_ror_epi32::<17>(w14), _mm512_srli_epi32::<10>(w14));
        let high = xor(turned, _mm512_ror_epi32::<19>(w14), shifted);
        add(add(w0, low), add(w9, high))
    } else {
        w0
    };
    Work {
        state: [add(first, second), a, b, c, add(d, first), e, f, g],
        chunk: [w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15, next],
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn xor(a: Words, b: Words, c: Words) -> Words {
    _mm512_ternarylogic_epi32::<0x96>(a, b, c)
}

/// A chunk of one message.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn read(chunk: &Chunk) -> Words {
    let [a, b, c, d, e, f, g, h] = chunk.map(i64::from_le_bytes);
    let bytes = _mm512_set_epi64(h, g, f, e, d, c, b, a);
    _mm512_shuffle_epi8(bytes, _mm512_broadcast_i32x4(highest_first()))
}

/// From a chunk of a message a vector to a word of all messages a vector.
///
/// First within each four messages, where vectors are cut into quarters of four words, then the
/// quarters among the fours.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn transposed(rows: [Words; 16]) -> [Words; 16] {
    let [r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, r10, r11, r12, r13, r14, r15] = rows;
    let [a0, a1, a2, a3] = within([r0, r1, r2, r3]);
    let [b0, b1, b2, b3] = within([r4, r5, r6, r7]);
    let [c0, c1, c2, c3] = within([r8, r9, r10, r11]);
    let [d0, d1, d2, d3] = within([r12, r13, r14, r15]);
    let [w0, w4, w8, w12] = among([a0, b0, c0, d0]);
    let [w1, w5, w9, w13] = among([a1, b1, c1, d1]);
    let [w2, w6, w10, w14] = among([a2, b2, c2, d2]);
    let [w3, w7, w11, w15] = among([a3, b3, c3, d3]);
    [w0, w1, w2, w3, w4, w5, w6, w7, w8, w9, w10, w11, w12, w13, w14, w15]
}

/// Of four messages: in vector j, quarter q, the words 4q + j.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn within([a, b, c, d]: [Words; 4]) -> [Words; 4] {
    let (ab_low, ab_high) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let (cd_low, cd_high) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab_low, cd_low),
        _mm512_unpackhi_epi64(ab_low, cd_low),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}

/// The first quarters of four vectors in one, and so on.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn among([a, b, c, d]: [Words; 4]) -> [Words; 4] {
    const EVEN: i32 = 0x88;
    const ODD: i32 = 0xdd;
    let (ab_even, ab_odd) = (_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<ODD>(a, b));
    let (cd_even, cd_odd) = (_mm512_shuffle_i32x4::<EVEN>(c, d), _mm512_shuffle_i32x4::<ODD>(c, d));
    [
        _mm512_shuffle_i32x4::<EVEN>(ab_even, cd_even),
        _mm512_shuffle_i32x4::<EVEN>(ab_odd, cd_odd),
        _mm512_shuffle_i32x4::<ODD>(ab_even, cd_even),
        _mm512_shuffle_i32x4::<ODD>(ab_odd, cd_odd),
    ]
}

/// The state of each message.
#[target_feature(enable = "avx512f,avx512bw")]
fn states(words: [Words; 8]) -> [State; 16] {
    let mut states = [[0; 8]; 16];
    for (n, words) in words.into_iter().enumerate() {
        let quarters = [
            _mm512_extracti32x4_epi32::<0>(words),
            _mm512_extracti32x4_epi32::<1>(words),
            _mm512_extracti32x4_epi32::<2>(words),
            _mm512_extracti32x4_epi32::<3>(words),
        ];
        let lanes = quarters.into_iter().flat_map(|quarter| unpacked(quarter));
        for (to, word) in states.iter_mut().filter_map(|state| state.get_mut(n)).zip(lanes) {
            *to = word;
        }
    }
    states
}
