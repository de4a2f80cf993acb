//! CIDs and multihashes: parsing as strict as Kubo's, printing in any base, hashing.
//!
//! Owns the allow-list of hash functions and the size bounds of digests. Does not own blocks
//! (`block.rs`) nor the codecs behind the codec numbers (`codec/`).
//!
//! Source: multiformats/cid, boxo `verifcid`, IPIP-512.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::str::FromStr;

pub use super::digest::digest;

/// Largest digest held inline, in bytes: identity CIDs may carry up to 128 (IPIP-512).
pub const DIGEST_MAX_BYTES: usize = 128;
/// Smallest digest of a real hash function, in bytes (boxo `verifcid`).
pub const DIGEST_MIN_BYTES: usize = 20;
/// Longest CID in binary form that is accepted anywhere, in bytes (boxo's Bitswap limit).
pub const CID_MAX_BYTES: usize = 168;

/// A content identifier whose digest may be as long as IPIP-512 allows.
pub type Cid = ::cid::CidGeneric<DIGEST_MAX_BYTES>;
/// The hash of a block: what the store is keyed by.
pub type Multihash = ::multihash::Multihash<DIGEST_MAX_BYTES>;
pub use ::cid::Version;
pub use multibase::Base;

/// Multicodec numbers of the codecs that henge reads and writes.
pub mod codec {
    /// Opaque bytes.
    pub const RAW: u64 = 0x55;
    /// Merkle DAG protobuf, the codec of UnixFS.
    pub const DAG_PB: u64 = 0x70;
    /// Canonical CBOR with links.
    pub const DAG_CBOR: u64 = 0x71;
    /// Canonical JSON with links.
    pub const DAG_JSON: u64 = 0x0129;
    /// Plain CBOR.
    pub const CBOR: u64 = 0x51;
    /// Plain JSON.
    pub const JSON: u64 = 0x0200;
    /// A libp2p public key: the codec of IPNS names.
    pub const LIBP2P_KEY: u64 = 0x72;
    /// Signed or encrypted JOSE objects.
    pub const DAG_JOSE: u64 = 0x85;

    /// Names as the multicodec table spells them.
    const NAMES: &[(u64, &str)] = &[
        (RAW, "raw"),
        (DAG_PB, "dag-pb"),
        (DAG_CBOR, "dag-cbor"),
        (DAG_JSON, "dag-json"),
        (CBOR, "cbor"),
        (JSON, "json"),
        (LIBP2P_KEY, "libp2p-key"),
        (DAG_JOSE, "dag-jose"),
        (0x78, "git-raw"),
    ];

    /// The codec's name, or `None` for a number henge does not know.
    pub fn name(code: u64) -> Option<&'static str> {
        NAMES.iter().find(|(c, _)| *c == code).map(|(_, n)| *n)
    }

    /// The number of a codec by its name, or of a number written `0x..` or in decimal.
    pub fn by_name(name: &str) -> Option<u64> {
        let known = NAMES.iter().find(|(_, n)| *n == name).map(|(c, _)| *c);
        known.or_else(|| match name.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => name.parse().ok(),
        })
    }
}

/// Multihash numbers that henge treats specially.
pub mod hash {
    /// The digest is the data.
    pub const IDENTITY: u64 = 0x00;
    /// Kubo's default.
    pub const SHA2_256: u64 = 0x12;
    /// BLAKE3 with a 32-byte digest.
    pub const BLAKE3: u64 = 0x1e;

    /// Git's.
    pub const SHA1: u64 = 0x11;
    /// SHAKE-256 with a 64-byte digest.
    pub const SHAKE_256: u64 = 0x19;
    /// Bitcoin's: sha2-256 of the sha2-256.
    pub const DBL_SHA2_256: u64 = 0x56;

    /// The number of a function by its name. It may be one under which no block is taken.
    pub fn by_name(name: &str) -> Option<u64> {
        crate::ipld::multicodec::hash_by_name(name)
    }
}

/// Why a text or byte string is not an acceptable CID.
#[derive(Debug, thiserror::Error)]
pub enum CidError {
    /// The text or bytes do not parse.
    #[error("invalid CID {text:?}: {cause}")]
    Malformed {
        /// What was given (bytes are shown in hex).
        text: String,
        /// The parser's reason.
        cause: String,
    },
    /// The hash function is not on the allow-list, or the digest is too short or too long.
    #[error("potentially insecure hash functions not allowed: {0}")]
    Hash(String),
}

/// Parses a CID as people write it: v0 (`Qm…`), or multibase v1 in any case and base.
///
/// # Errors
/// [`CidError::Malformed`] names the text; [`CidError::Hash`] a digest outside the bounds.
pub fn parse(text: &str) -> Result<Cid, CidError> {
    let cid = parse_any(text)?;
    check(&cid)?;
    Ok(cid)
}

/// As [`parse`], for commands that only look at the CID: under any hash function.
///
/// # Errors
/// [`CidError::Malformed`].
pub fn parse_any(text: &str) -> Result<Cid, CidError> {
    let malformed = |cause: String| CidError::Malformed { text: clip(text), cause };
    if text.len() > 2 * CID_MAX_BYTES {
        return Err(malformed(format!("{} characters are too many", text.len())));
    }
    let cid = Cid::from_str(text).map_err(|e| malformed(e.to_string()))?;
    if cid.version() == Version::V0 && !Version::is_v0_str(text) {
        return Err(malformed("CIDv0 is written in base58btc, without a prefix".into()));
    }
    Ok(cid)
}

/// Reads a binary CID that must fill `bytes` exactly.
///
/// # Errors
/// As [`parse`].
pub fn from_bytes(bytes: &[u8]) -> Result<Cid, CidError> {
    let malformed = |cause: String| CidError::Malformed {
        text: data_encoding::HEXLOWER.encode(bytes.get(..CID_MAX_BYTES).unwrap_or(bytes)),
        cause,
    };
    if bytes.len() > CID_MAX_BYTES {
        return Err(malformed(format!("{} bytes are too many", bytes.len())));
    }
    let mut rest = bytes;
    let cid = Cid::read_bytes(&mut rest).map_err(|e| malformed(e.to_string()))?;
    match rest.len() {
        0 => Ok(cid),
        n => Err(malformed(format!("{n} bytes follow it"))),
    }
}

/// Reads the binary CID at the head of `bytes`, and tells how many of them it takes.
///
/// # Errors
/// As [`parse`].
pub fn split(bytes: &[u8]) -> Result<(Cid, usize), CidError> {
    let head = bytes.get(..CID_MAX_BYTES).unwrap_or(bytes);
    let mut rest = head;
    let cid = Cid::read_bytes(&mut rest).map_err(|e| CidError::Malformed {
        text: data_encoding::HEXLOWER.encode(head.get(..40).unwrap_or(head)),
        cause: e.to_string(),
    })?;
    Ok((cid, head.len().saturating_sub(rest.len())))
}

/// Refuses hash functions and digest lengths that Kubo refuses on every block.
///
/// # Errors
/// [`CidError::Hash`].
pub fn check(cid: &Cid) -> Result<(), CidError> {
    let (code, size) = (cid.hash().code(), usize::from(cid.hash().size()));
    if code == hash::IDENTITY {
        return Ok(()); // The type itself bounds the digest at 128 bytes.
    }
    if !is_allowed(code) {
        return Err(CidError::Hash(format!("0x{code:x} in {cid}")));
    }
    if size < DIGEST_MIN_BYTES {
        return Err(CidError::Hash(format!("digest of {size} bytes in {cid}")));
    }
    Ok(())
}

/// Whether Kubo accepts blocks under this hash function (boxo `verifcid`).
pub(super) fn is_allowed(code: u64) -> bool {
    matches!(code,
        0x00 | 0x11..=0x17 | 0x19..=0x1e | 0x56 | 0xb214..=0xb240 | 0xb254..=0xb260)
}

/// Prints `cid` in `base`; v0 stays base58btc unless `upgrade` turns it into v1.
pub fn print(cid: &Cid, base: Base, upgrade: bool) -> String {
    let cid = match cid.version() {
        Version::V0 if upgrade => Cid::new_v1(codec::DAG_PB, *cid.hash()),
        _ => *cid,
    };
    cid.to_string_of_base(base).unwrap_or_else(|_| cid.to_string())
}

/// A multibase by its name or its one-letter code.
pub fn base_by_name(name: &str) -> Option<Base> {
    super::multibase::by_name(name)
}

/// The CID that Kubo prints for a block known by its hash alone: CIDv1 of raw bytes.
pub fn of_hash(hash: &Multihash) -> Cid {
    Cid::new_v1(codec::RAW, *hash)
}

/// At most 100 characters of what somebody typed, so that an error stays one line.
fn clip(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v0_and_v1_texts_round_trip() {
        for text in [
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        ] {
            let cid = parse(text).unwrap();
            assert_eq!(cid.to_string(), text);
            assert_eq!(from_bytes(&cid.to_bytes()).unwrap(), cid);
        }
    }

    #[test]
    fn garbage_is_refused_and_named() {
        let long = "z".repeat(5000);
        for text in
            ["", "Qm", "hello", "bafy", "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3N0", &long]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("nonsense").unwrap_err().to_string().contains("nonsense"));
    }

    #[test]
    fn v0_in_another_base_is_refused() {
        let v0 = parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        for base in [Base::Base32Lower, Base::Base58Btc, Base::Base16Lower] {
            assert!(parse(&multibase::encode(base, v0.to_bytes())).is_err(), "{base:?}");
        }
    }

    #[test]
    fn identity_holds_128_bytes_and_no_more() {
        assert!(digest(hash::IDENTITY, &[7; 128]).is_ok());
        assert!(digest(hash::IDENTITY, &[7; 129]).is_err());
    }
}
