//! Hashing, under every function that Kubo takes blocks under.
//!
//! Source: boxo `verifcid`, multiformats/multihash; the digests of SHAKE have go-multihash's length.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use multihash_codetable::{Code, MultihashDigest as _};
use sha2::{Digest as _, Sha256};
use sha3::Shake256;
use sha3::digest::{ExtendableOutput as _, Update as _};

use super::cid::{CidError, DIGEST_MAX_BYTES, Multihash, hash, is_allowed};
use super::multicodec;

/// Length of a digest of SHAKE-256, in bytes.
const SHAKE_256_BYTES: usize = 64;
/// The number before that of BLAKE2b with a digest of one byte; the lengths follow each other.
const BLAKE2B: u64 = 0xb200;
/// The same of BLAKE2s.
const BLAKE2S: u64 = 0xb240;

/// Hashes `data` under the multihash function `code`.
///
/// # Errors
/// [`CidError::Hash`] for a function under which no block is taken, or an identity digest longer
/// than [`DIGEST_MAX_BYTES`].
pub fn digest(code: u64, data: &[u8]) -> Result<Multihash, CidError> {
    let refused = |why: String| CidError::Hash(why);
    let wrap = |digest: &[u8]| {
        let long = |_| refused(format!("a digest of {} bytes", digest.len()));
        Multihash::wrap(code, digest).map_err(long)
    };
    let family = |base: u64| usize::try_from(code.saturating_sub(base)).unwrap_or(0);
    match code {
        hash::SHA2_256 => wrap(&Sha256::digest(data)),
        hash::IDENTITY if data.len() > DIGEST_MAX_BYTES => Err(refused(format!(
            "digest too large: identity digest got {} bytes, maximum {DIGEST_MAX_BYTES}",
            data.len()
        ))),
        hash::IDENTITY => wrap(data),
        _ if !is_allowed(code) => {
            let name = multicodec::hash_name(code);
            Err(refused(name.unwrap_or_else(|| format!("0x{code:x} is not a known hash function"))))
        }
        hash::SHA1 => wrap(&sha1::Sha1::digest(data)),
        hash::DBL_SHA2_256 => wrap(&Sha256::digest(Sha256::digest(data))),
        hash::SHAKE_256 => {
            let mut digest = [0; SHAKE_256_BYTES];
            Shake256::default().chain(data).finalize_xof_into(&mut digest);
            wrap(&digest)
        }
        0xb201..=0xb240 => {
            wrap(blake2b_simd::Params::new().hash_length(family(BLAKE2B)).hash(data).as_bytes())
        }
        0xb241..=0xb260 => {
            wrap(blake2s_simd::Params::new().hash_length(family(BLAKE2S)).hash(data).as_bytes())
        }
        _ => {
            let unknown = |_| refused(format!("0x{code:x} is not a known hash function"));
            let function = Code::try_from(code).map_err(unknown)?;
            wrap(function.digest(data).digest())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(name: &str, data: &[u8]) -> String {
        let code = hash::by_name(name).unwrap();
        data_encoding::HEXLOWER.encode(digest(code, data).unwrap().digest())
    }

    #[test]
    fn every_function_that_is_allowed_is_computed() {
        for (code, name) in multicodec::hashes() {
            let digest = digest(code, b"henge").unwrap();
            assert_eq!((digest.code(), hash::by_name(&name)), (code, Some(code)), "{name}");
            let bits = name.rsplit('-').next().and_then(|bits| bits.parse::<usize>().ok());
            let bytes = bits.filter(|_| code != hash::SHAKE_256).map(|bits| bits / 8);
            assert_eq!(usize::from(digest.size()), bytes.unwrap_or(digest.size().into()), "{name}");
        }
    }

    #[test]
    fn digests_of_known_texts() {
        // RFC 7693, FIPS 202, and what Python's hashlib says of the others.
        let blake2b = "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d17d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923";
        assert_eq!(hex("blake2b-512", b"abc"), blake2b);
        assert_eq!(
            hex("blake2b-256", b"abc"),
            "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319"
        );
        assert_eq!(hex("blake2b-160", b"abc"), "384264f676f39536840523f284921cdc68b6846b");
        assert_eq!(
            hex("blake2s-256", b"abc"),
            "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
        );
        assert_eq!(
            hex("dbl-sha2-256", b"abc"),
            "4f8b42c22dd3729b519ba6f68d2da7cc5b2d606d05daed5ad5128cc03e6c6358"
        );
        assert_eq!(
            hex("shake-256", b""),
            "46b9dd2b0ba88d13233b3feb743eeb243fcd52ea62b81b82b50c27646ed5762fd75dc4ddd8c0f200cb05019d67b592f6fc821c49479ab48640292eacb3b7c4be"
        );
    }

    #[test]
    fn others_are_refused_by_name() {
        for name in ["md5", "shake-128", "sha2-384", "murmur3-x64-64"] {
            let error = digest(hash::by_name(name).unwrap(), b"").unwrap_err().to_string();
            assert_eq!(error, format!("potentially insecure hash functions not allowed: {name}"));
        }
        assert!(digest(0xb200, b"").is_err() && digest(0xb213, b"").is_err());
        assert!(digest(0xb253, b"").is_err() && digest(0x9999, b"").is_err());
        assert_eq!((hash::by_name("sha2_256"), hash::by_name("")), (None, None));
    }
}
