//! Cuts by a Rabin fingerprint of the last 16 bytes: where its low bits are zero.
//!
//! A fingerprint is a function of its window alone, so several stretches of a chunk are looked
//! through at once, each in a lane of its own: one lane would wait for its last table look-up.
//!
//! Source: whyrusleeping/chunker, whose polynomial and rounding decide CIDs.

/// Bytes that a fingerprint looks at.
pub const WINDOW: usize = 16;
/// Irreducible over GF(2).
const POLYNOMIAL: u64 = 17_437_180_132_763_653;
const DEGREE: u32 = 63 - POLYNOMIAL.leading_zeros();
/// Stretches that are looked through side by side.
const LANES: usize = 4;
/// Longest stretch of one lane, in bytes: what is looked through in vain behind a cut.
const STRETCH: usize = 2048;

/// Bounds of the chunks, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rabin {
    /// No chunk but the last is smaller; at least [`WINDOW`].
    pub min: usize,
    /// Cuts are this far apart on the average, rounded down to a power of two.
    pub avg: usize,
    /// No chunk is larger.
    pub max: usize,
}

impl Rabin {
    /// A third and one and a half times around `avg`.
    pub const fn around(avg: usize) -> Self {
        Self { min: avg / 3, avg, max: avg + avg / 2 }
    }

    /// Length of the first chunk of `data`, which holds `max` bytes, or fewer where the file ends.
    pub fn cut(&self, data: &[u8]) -> usize {
        let end = data.len().min(self.max);
        let mask = (1u64 << self.avg.max(1).ilog2()) - 1;
        let stretch = (self.avg / 16).clamp(WINDOW, STRETCH);
        let mut at = self.min;
        while at + LANES * stretch < end {
            let lanes: [&[u8]; LANES] = std::array::from_fn(|lane| {
                let begin = at + lane * stretch;
                &data[begin - WINDOW..begin + stretch]
            });
            if let Some(hit) = side_by_side(lanes, stretch, mask) {
                return at + hit;
            }
            at += LANES * stretch;
        }
        match at < end {
            true => at + first_zero(&data[at - WINDOW..end], mask).unwrap_or(end - at),
            false => end,
        }
    }
}

/// Where the fingerprint of the window that ends there is zero under the mask: the first such
/// place behind the first window of `bytes`, but not at their end.
fn first_zero(bytes: &[u8], mask: u64) -> Option<usize> {
    let mut print = whole(&bytes[..WINDOW]);
    for (at, (old, new)) in bytes.iter().zip(&bytes[WINDOW..]).enumerate() {
        if print & mask == 0 {
            return Some(at);
        }
        print = step(print, *old, *new);
    }
    None
}

/// [`first_zero`] over lanes that follow each other: each holds a window and then `stretch` bytes.
fn side_by_side(lanes: [&[u8]; LANES], stretch: usize, mask: u64) -> Option<usize> {
    let mut prints = lanes.map(|lane| whole(&lane[..WINDOW]));
    let old: [&[u8]; LANES] = lanes.map(|lane| &lane[..stretch]);
    let new: [&[u8]; LANES] = lanes.map(|lane| &lane[WINDOW..WINDOW + stretch]);
    let mut hits = [stretch; LANES];
    for at in 0..stretch {
        for lane in 0..LANES {
            if prints[lane] & mask == 0 {
                hits[lane] = hits[lane].min(at);
            }
            prints[lane] = step(prints[lane], old[lane][at], new[lane][at]);
        }
        if hits[0] <= at {
            break;
        }
    }
    let first = hits.iter().position(|hit| *hit < stretch)?;
    Some(first * stretch + hits[first])
}

/// The fingerprint of one window.
fn whole(window: &[u8]) -> u64 {
    window.iter().fold(0, |print, byte| push(print, *byte))
}

/// Moves a window on by a byte.
#[inline(always)]
fn step(print: u64, old: u8, new: u8) -> u64 {
    push(print ^ OUT[usize::from(old)], new)
}

/// Takes a byte in.
#[inline(always)]
const fn push(print: u64, byte: u8) -> u64 {
    let above = (print >> (DEGREE - 8)) as u8;
    (print << 8 | byte as u64) ^ MOD[above as usize]
}

/// What reduces a print whose highest byte is this, once it has moved up: those bits themselves,
/// which vanish, and their remainder.
static MOD: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let above = (byte as u64) << DEGREE;
        table[byte] = above | remainder(above);
        byte += 1;
    }
    table
};

/// What a byte adds to the fingerprint of a window that it is the first of.
static OUT: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut print = byte as u64;
        let mut behind = 1;
        while behind < WINDOW {
            print = remainder(print << 8);
            behind += 1;
        }
        table[byte] = print;
        byte += 1;
    }
    table
};

/// Modulo the polynomial.
const fn remainder(mut value: u64) -> u64 {
    let mut bit = 63;
    while bit >= DEGREE {
        if value >> bit & 1 == 1 {
            value ^= POLYNOMIAL << (bit - DEGREE);
        }
        bit -= 1;
    }
    value
}
