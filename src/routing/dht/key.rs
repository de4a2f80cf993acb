//! Points of the key space: peers and content by the SHA-256 of their bytes, and how far apart
//! they are.
//!
//! Source: libp2p/specs kad-dht (keyspace, XOR distance).

use libp2p::PeerId;
use libp2p::multihash::Multihash;
use rand::Rng;
use sha2::{Digest as _, Sha256};

/// A point of the key space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key([u8; 32]);

/// How far two points are apart: their XOR, read as a number. 256 bits, big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Distance([u8; 32]);

impl Key {
    /// The point of anything that messages name: a multihash, a record's key, a binary peer ID.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Where a peer stands.
    pub fn of_peer(peer: &PeerId) -> Self {
        Self::of(&peer.to_bytes())
    }

    /// A point by its own 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The point's 32 bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// How far another point is.
    pub fn distance(&self, other: &Self) -> Distance {
        let mut xor = self.0;
        xor.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
        Distance(xor)
    }

    /// Leading bits that two points share, 0 to 256: the bucket of one seen from the other.
    pub fn common_bits(&self, other: &Self) -> u16 {
        let mut bits = 0u16;
        for byte in self.distance(other).0 {
            // Eight zero bits go on, fewer end it; 32 bytes stay below the type's end.
            bits = bits.saturating_add(u16::try_from(byte.leading_zeros()).unwrap_or(8));
            if byte != 0 {
                break;
            }
        }
        bits
    }
}

/// Deepest bucket that is refreshed by looking for a random peer in it. Finding one costs about
/// 2^(bits + 1) hashes, and deeper buckets are filled by looking for oneself.
pub const REFRESH_BITS_MAX: u16 = 15;

/// A peer ID that shares exactly `bits` leading bits with `local`; `None` above
/// [`REFRESH_BITS_MAX`], and where 2^20 tries found none, which happens less than once in 10^6.
pub fn random_peer_at(local: &Key, bits: u16, rng: &mut impl Rng) -> Option<PeerId> {
    const SHA2_256: u64 = 0x12;
    if bits > REFRESH_BITS_MAX {
        return None;
    }
    (0..1u32 << 20).find_map(|_| {
        let mut digest = [0u8; 32];
        rng.fill_bytes(&mut digest);
        let peer = PeerId::from_multihash(Multihash::wrap(SHA2_256, &digest).ok()?).ok()?;
        (Key::of_peer(&peer).common_bits(local) == bits).then_some(peer)
    })
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn bits_count_from_the_front() {
        let zero = Key([0; 32]);
        let mut far = [0; 32];
        far[0] = 0x80;
        assert_eq!(zero.common_bits(&Key(far)), 0);
        let mut near = [0; 32];
        near[31] = 1;
        assert_eq!(zero.common_bits(&Key(near)), 255);
        assert_eq!(zero.common_bits(&zero), 256);
        assert!(zero.distance(&Key(near)) < zero.distance(&Key(far)));
    }

    #[test]
    fn random_peers_fall_into_the_bucket_asked_for() {
        let mut rng = rand::rngs::StdRng::seed_from_u64(1);
        let local = Key::of(b"me");
        for bits in [0, 1, 5, 10] {
            let peer = random_peer_at(&local, bits, &mut rng).unwrap();
            assert_eq!(Key::of_peer(&peer).common_bits(&local), bits);
        }
        assert_eq!(random_peer_at(&local, 16, &mut rng), None);
    }
}
