//! A few messages woven into each other: for processors with instructions for SHA-256.
//!
//! Such an instruction takes several cycles, and the next one of its message waits for it; those of
//! others need not.
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

/// One message under way.
#[derive(Clone, Copy)]
struct Work {
    /// Words a, b, e and f of the state, the first of them highest, as the instructions want it.
    abef: __m128i,
    /// The other four.
    cdgh: __m128i,
    /// Sixteen words of the chunk, four a vector, the next ones first.
    chunk: [__m128i; 4],
}

/// Taking so many messages through the chunks that all of them have, where the processor can.
#[allow(unsafe_code)]
pub(super) fn way<const N: usize>() -> Option<Compress<N>> {
    let here = is_x86_feature_detected!("sha")
        && is_x86_feature_detected!("ssse3")
        && is_x86_feature_detected!("sse4.1");
    // SAFETY: given away only where the processor has all that `compress` is compiled for.
    here.then_some(|messages| unsafe { compress(messages) })
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress<const N: usize>(mut messages: [Chunks<'_>; N]) -> (usize, [State; N]) {
    let [a, b, c, d, e, f, g, h] = START.map(u32::cast_signed);
    let chunk = [_mm_setzero_si128(); 4];
    let start = Work { abef: _mm_set_epi32(a, b, e, f), cdgh: _mm_set_epi32(c, d, g, h), chunk };
    let mut sums = [start; N];
    let mut done = 0_usize;
    loop {
        let mut work = sums;
        for (work, rest) in work.iter_mut().zip(&mut messages) {
            let Some(chunk) = rest.next() else { return (done, sums.map(|sum| sum.state())) };
            work.chunk = read(chunk);
        }
        let [first, second, third, last] = &ROUNDS;
        pass::<N, true>(&mut work, first);
        pass::<N, true>(&mut work, second);
        pass::<N, true>(&mut work, third);
        // These want no words beyond those that are there.
        pass::<N, false>(&mut work, last);
        for (sum, work) in sums.iter_mut().zip(work) {
            sum.abef = _mm_add_epi32(sum.abef, work.abef);
            sum.cdgh = _mm_add_epi32(sum.cdgh, work.cdgh);
        }
        done = done.saturating_add(1);
    }
}

/// As many rounds as there are words of a chunk, as in [`super::lanes`].
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn pass<const N: usize, const MORE: bool>(work: &mut [Work; N], [a, b, c, d]: &[[u32; 4]; 4]) {
    quad::<N, MORE>(work, a);
    quad::<N, MORE>(work, b);
    quad::<N, MORE>(work, c);
    quad::<N, MORE>(work, d);
}

#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn quad<const N: usize, const MORE: bool>(work: &mut [Work; N], constants: &[u32; 4]) {
    for work in work {
        *work = work.quad::<MORE>(constants);
    }
}

impl Work {
    /// Four rounds (section 6.2.2, step 3), and, where `MORE` are wanted, the words of those that are
    /// sixteen from now (step 1).
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[inline]
    fn quad<const MORE: bool>(self, constants: &[u32; 4]) -> Self {
        let [a, b, c, d] = constants.map(u32::cast_signed);
        let [w0, w1, w2, w3] = self.chunk;
        let given = _mm_add_epi32(w0, _mm_set_epi32(d, c, b, a));
        // Two rounds each; what was the one half of the state is the other one then.
        let cdgh = _mm_sha256rnds2_epu32(self.cdgh, self.abef, given);
        let abef = _mm_sha256rnds2_epu32(self.abef, cdgh, _mm_shuffle_epi32::<0x0e>(given));
        let next = if MORE {
            let low = _mm_sha256msg1_epu32(w0, w1);
            let sum = _mm_add_epi32(low, _mm_alignr_epi8::<4>(w3, w2));
            _mm_sha256msg2_epu32(sum, w3)
        } else {
            w0
        };
        Self { abef, cdgh, chunk: [w1, w2, w3, next] }
    }

    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn state(self) -> State {
        let [f, e, b, a] = unpacked(self.abef);
        let [h, g, d, c] = unpacked(self.cdgh);
        [a, b, c, d, e, f, g, h]
    }
}

/// A chunk of a message.
#[target_feature(enable = "sha,ssse3,sse4.1")]
#[inline]
fn read(chunk: &Chunk) -> [__m128i; 4] {
    let [a, b, c, d, e, f, g, h] = chunk.map(i64::from_le_bytes);
    let read = |low, high| _mm_shuffle_epi8(_mm_set_epi64x(high, low), highest_first());
    [read(a, b), read(c, d), read(e, f), read(g, h)]
}
