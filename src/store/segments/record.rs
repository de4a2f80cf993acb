//! One record of a segment: a block's bytes behind their multihash and a checksum of both.
//!
//! A record tells its own length, so a segment is read from its head without an index; and whose
//! bytes it holds, so an index can be made again from segments alone.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::{Buf as _, Bytes};

use crate::ipld::cid::Multihash;

/// Bytes before the multihash: CRC32C of all that follows it, and the size of the data.
const FIXED: usize = 8;
/// Longest head, in bytes: two varints of a multihash and its digest.
pub const HEAD_MAX: usize = FIXED + 2 * 10 + 64;

/// A block's bytes as they lie in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What names them.
    pub hash: Multihash,
    /// They.
    pub data: Bytes,
}

/// What stands before a record's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whose bytes follow.
    pub hash: Multihash,
    /// How many.
    pub size: u32,
    /// Length of the head itself.
    pub length: usize,
}

/// The head of a record; the data is to follow it.
pub fn head(hash: &Multihash, data: &[u8]) -> Vec<u8> {
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    let hash = hash.to_bytes();
    let sum = [&size[..], &hash, data].iter().fold(0, |sum, part| crc32c::crc32c_append(sum, part));
    [&sum.to_be_bytes()[..], &size, &hash].concat()
}

/// Length of a whole record in bytes.
pub fn length(hash: &Multihash, size: u32) -> u64 {
    (hash.encoded_len() as u64).saturating_add(FIXED as u64).saturating_add(size.into())
}

/// Reads the head of a record; `None` for bytes that begin none.
pub fn read_head(bytes: &[u8]) -> Option<Head> {
    let mut rest = bytes.get(4..)?;
    let size = rest.try_get_u32().ok()?;
    let before = rest.len();
    let hash = Multihash::read(&mut rest).ok()?;
    let length = before.checked_sub(rest.len())?.checked_add(FIXED)?;
    Some(Head { hash, size, length })
}

/// Reads a whole record; says what is wrong with it.
///
/// # Errors
/// The cause, in a few words.
pub fn read(bytes: &Bytes) -> Result<Record, String> {
    let head = read_head(bytes).ok_or("no record begins there")?;
    let end = head.length.saturating_add(usize::try_from(head.size).unwrap_or(usize::MAX));
    if end != bytes.len() {
        return Err(format!("its record has {} bytes and says {end}", bytes.len()));
    }
    let sum = bytes.as_ref().get_u32();
    if crc32c::crc32c(bytes.get(4..).unwrap_or_default()) != sum {
        return Err("its checksum is wrong".into());
    }
    Ok(Record { hash: head.hash, data: bytes.slice(head.length..) })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::ipld::cid::{digest, hash};

    #[test]
    fn a_record_reads_back_and_tells_every_change() {
        let seed: u64 = rand::random();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..200 {
            let mut data = vec![0u8; rng.random_range(0..300)];
            rng.fill(&mut data[..]);
            let hash = digest(hash::SHA2_256, &data).unwrap();
            let bytes = [head(&hash, &data), data.clone()].concat();
            assert_eq!(bytes.len() as u64, length(&hash, data.len() as u32));
            let record = read(&bytes.clone().into()).unwrap();
            assert_eq!((record.hash, &record.data[..]), (hash, &data[..]), "seed {seed}");
            let mut changed = bytes.clone();
            let at = rng.random_range(0..bytes.len());
            changed[at] ^= 1 << rng.random_range(0..8);
            assert!(read(&changed.into()).is_err(), "seed {seed}: byte {at} of {}", bytes.len());
            let cut = rng.random_range(0..bytes.len());
            assert!(
                read(&Bytes::copy_from_slice(&bytes[..cut])).is_err(),
                "seed {seed}: cut at {cut}"
            );
        }
        for _ in 0..2000 {
            let mut noise = vec![0u8; rng.random_range(0..100)];
            rng.fill(&mut noise[..]);
            let _ = (read_head(&noise), read(&noise.into()));
        }
    }
}
