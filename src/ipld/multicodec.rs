//! Names and numbers of codecs and hash functions, as the multicodec table has them: more than this
//! node reads and writes, since a CID may name any of them.
//!
//! Source: multiformats/multicodec table.csv, boxo `verifcid`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::cid::codec;

/// Every codec of IPLD, by number.
pub const CODECS: &[(u64, &str)] = &[
    (0x51, "cbor"),
    (0x55, "raw"),
    (0x70, "dag-pb"),
    (0x71, "dag-cbor"),
    (0x72, "libp2p-key"),
    (0x78, "git-raw"),
    (0x7b, "torrent-info"),
    (0x7c, "torrent-file"),
    (0x80, "blake3-hashseq"),
    (0x81, "leofcoin-block"),
    (0x82, "leofcoin-tx"),
    (0x83, "leofcoin-pr"),
    (0x85, "dag-jose"),
    (0x86, "dag-cose"),
    (0x90, "eth-block"),
    (0x91, "eth-block-list"),
    (0x92, "eth-tx-trie"),
    (0x93, "eth-tx"),
    (0x94, "eth-tx-receipt-trie"),
    (0x95, "eth-tx-receipt"),
    (0x96, "eth-state-trie"),
    (0x97, "eth-account-snapshot"),
    (0x98, "eth-storage-trie"),
    (0x99, "eth-receipt-log-trie"),
    (0x9a, "eth-receipt-log"),
    (0xb0, "bitcoin-block"),
    (0xb1, "bitcoin-tx"),
    (0xb2, "bitcoin-witness-commitment"),
    (0xc0, "zcash-block"),
    (0xc1, "zcash-tx"),
    (0xd0, "stellar-block"),
    (0xd1, "stellar-tx"),
    (0xe0, "decred-block"),
    (0xe1, "decred-tx"),
    (0xf0, "dash-block"),
    (0xf1, "dash-tx"),
    (0xfa, "swarm-manifest"),
    (0xfb, "swarm-feed"),
    (0xfc, "beeson"),
    (0x129, "dag-json"),
    (0x1f0, "swhid-1-snp"),
    (0x200, "json"),
    (0xb403, "rdfc-1"),
    (0xb601, "json-jcs"),
];

/// Those that commands can read or write in Kubo.
const SUPPORTED: &[u64] = &[
    codec::CBOR,
    codec::RAW,
    codec::DAG_PB,
    codec::DAG_CBOR,
    codec::LIBP2P_KEY,
    0x78,
    codec::DAG_JOSE,
    codec::DAG_JSON,
    codec::JSON,
];

/// Hash functions under which blocks are taken; the many of BLAKE2 follow by their sizes.
const HASHES: &[(u64, &str)] = &[
    (0x00, "identity"),
    (0x11, "sha1"),
    (0x12, "sha2-256"),
    (0x13, "sha2-512"),
    (0x14, "sha3-512"),
    (0x15, "sha3-384"),
    (0x16, "sha3-256"),
    (0x17, "sha3-224"),
    (0x19, "shake-256"),
    (0x1a, "keccak-224"),
    (0x1b, "keccak-256"),
    (0x1c, "keccak-384"),
    (0x1d, "keccak-512"),
    (0x1e, "blake3"),
    (0x56, "dbl-sha2-256"),
];

/// Hash functions that have a name all the same.
const REFUSED_HASHES: &[(u64, &str)] = &[
    (0x18, "shake-128"),
    (0x20, "sha2-384"),
    (0x22, "murmur3-x64-64"),
    (0xd5, "md5"),
    (0x1012, "sha2-256-trunc254-padded"),
    (0x1013, "sha2-224"),
    (0x1014, "sha2-512-224"),
    (0x1015, "sha2-512-256"),
    (0x1053, "ripemd-160"),
    (0xb401, "poseidon-bls12_381-a2-fc1"),
];

/// The smallest digest of BLAKE2 that is taken, in bytes.
const BLAKE2_MIN_BYTES: u64 = 20;

/// Whether Kubo's commands can read or write a codec.
pub fn is_supported(code: u64) -> bool {
    SUPPORTED.contains(&code)
}

/// Every hash function under which blocks are taken, by number.
pub fn hashes() -> Vec<(u64, String)> {
    let plain = HASHES.iter().map(|(code, name)| (*code, (*name).to_owned()));
    let family = |name: &'static str, base: u64, most: u64| {
        (BLAKE2_MIN_BYTES..=most).filter_map(move |bytes| {
            Some((base.checked_add(bytes)?, format!("{name}-{}", bytes.checked_mul(8)?)))
        })
    };
    plain.chain(family("blake2b", 0xb200, 64)).chain(family("blake2s", 0xb240, 32)).collect()
}

/// The name of a codec.
pub fn codec_name(code: u64) -> Option<&'static str> {
    CODECS.iter().find(|(known, _)| *known == code).map(|(_, name)| *name)
}

/// The number of a codec by its name, or of a number written `0x..` or in decimal.
pub fn codec_by_name(name: &str) -> Option<u64> {
    let known = CODECS.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
    known.or_else(|| codec::by_name(name))
}

/// The name of a hash function.
pub fn hash_name(code: u64) -> Option<String> {
    let refused = REFUSED_HASHES.iter().find(|(known, _)| *known == code);
    let named = refused.map(|(_, name)| (*name).to_owned());
    named.or_else(|| hashes().into_iter().find(|(known, _)| *known == code).map(|(_, name)| name))
}

/// The number of a hash function by its name.
pub fn hash_by_name(name: &str) -> Option<u64> {
    let refused = REFUSED_HASHES.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
    refused.or_else(|| hashes().into_iter().find(|(_, known)| known == name).map(|(code, _)| code))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes by name and tag, of the table of multiformats.
    fn table() -> Vec<(String, String, u64)> {
        let table = include_str!("../../tests/fixtures/multiformats/multicodec_table.csv");
        let row = |line: &str| {
            let mut cells = line.split(',').map(str::trim);
            let (name, tag, code) = (cells.next()?, cells.next()?, cells.next()?);
            let code = u64::from_str_radix(code.strip_prefix("0x")?, 16).ok()?;
            Some((name.to_owned(), tag.to_owned(), code))
        };
        table.lines().filter_map(row).collect()
    }

    #[test]
    fn codecs_are_those_of_the_table() {
        let mut theirs: Vec<(u64, String)> = table()
            .into_iter()
            .filter(|(_, tag, _)| tag == "ipld")
            .map(|(name, _, code)| (code, name))
            .collect();
        theirs.sort();
        let ours: Vec<(u64, String)> = CODECS.iter().map(|(c, n)| (*c, (*n).to_owned())).collect();
        assert_eq!(ours, theirs);
        assert!(SUPPORTED.iter().all(|code| codec_name(*code).is_some()));
        assert_eq!((codec_by_name("eth-tx"), codec_by_name("0x55")), (Some(0x93), Some(0x55)));
        assert_eq!((codec_by_name("nope"), codec_name(0x9999)), (None, None));
    }

    #[test]
    fn hashes_are_of_the_table_and_allowed() {
        let table = table();
        let known = |code: u64, name: &str| {
            table.iter().any(|(n, tag, c)| *c == code && n == name && tag.ends_with("hash"))
        };
        let ours = hashes();
        assert!(ours.is_sorted() && ours.len() == 73, "{}", ours.len());
        for (code, name) in &ours {
            assert!(known(*code, name), "{code:x} {name}");
            assert_eq!(hash_name(*code).as_deref(), Some(name.as_str()));
        }
        for (code, name) in REFUSED_HASHES {
            assert!(known(*code, name), "{code:x} {name}");
        }
        assert_eq!(hash_name(0x9999), None);
    }
}
