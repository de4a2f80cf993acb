//! Multibase: bytes as text whose first letter tells the base.
//!
//! Owns the names of bases, as Kubo spells and orders them. Which base a CID is printed in is
//! decided where it is printed.
//!
//! Source: multiformats/multibase, go-multibase.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub use ::multibase::Base;

/// A base that texts name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The letter that a text in this base begins with.
    pub code: char,
    /// Its name.
    pub name: &'static str,
    /// Whether Kubo lists it. The others are of the same table, and can be used all the same.
    pub listed: bool,
}

const fn row(code: char, name: &'static str) -> Row {
    Row { code, name, listed: true }
}

const fn unlisted(code: char, name: &'static str) -> Row {
    Row { code, name, listed: false }
}

/// Every base, in the order in which Kubo lists them: by letter, small before large.
pub const TABLE: &[Row] = &[
    row('\0', "identity"),
    row('0', "base2"),
    unlisted('7', "base8"),
    unlisted('9', "base10"),
    row('b', "base32"),
    row('B', "base32upper"),
    row('c', "base32pad"),
    row('C', "base32padupper"),
    row('f', "base16"),
    row('F', "base16upper"),
    unlisted('h', "base32z"),
    row('k', "base36"),
    row('K', "base36upper"),
    row('m', "base64"),
    row('M', "base64pad"),
    unlisted('R', "base45"),
    row('t', "base32hexpad"),
    row('T', "base32hexpadupper"),
    row('u', "base64url"),
    row('U', "base64urlpad"),
    row('v', "base32hex"),
    row('V', "base32hexupper"),
    row('z', "base58btc"),
    row('Z', "base58flickr"),
    row('🚀', "base256emoji"),
];

/// A base by its name or its letter. Identity is none: bytes as they are need not be text.
pub fn by_name(name: &str) -> Option<Base> {
    let named = |row: &&Row| row.name == name || name.chars().eq([row.code]);
    let base = Base::from_code(TABLE.iter().find(named)?.code).ok()?;
    (base != Base::Identity).then_some(base)
}

/// The name of a base.
pub fn name(base: Base) -> &'static str {
    TABLE.iter().find(|row| row.code == base.code()).map_or("unknown", |row| row.name)
}

/// The base that a CID is written in; `None` for a CIDv0, which has no letter. Identity counts as
/// base32: in it not every CID is text.
pub fn of_cid(text: &str) -> Option<Base> {
    let is_v0 = text.len() == 46 && text.starts_with("Qm");
    let written = if is_v0 { None } else { Base::from_code(text.chars().next()?).ok() };
    written.map(|base| if base == Base::Identity { Base::Base32Lower } else { base })
}

/// The text of bytes in a base. What is not text shows as such in the identity base.
pub fn encode(base: Base, bytes: &[u8]) -> String {
    match base {
        Base::Identity => format!("\0{}", String::from_utf8_lossy(bytes)),
        base => ::multibase::encode(base, bytes),
    }
}

/// Whether the work in a base grows with the square of the length: those that are no power of two.
pub fn is_slow(base: Base) -> bool {
    use Base::{Base10, Base36Lower, Base36Upper, Base58Btc, Base58Flickr};
    matches!(base, Base10 | Base36Lower | Base36Upper | Base58Btc | Base58Flickr)
}

/// The base and the bytes of a text.
///
/// # Errors
/// The reason in words: no such base, or letters that are not of it.
pub fn decode(text: &str) -> Result<(Base, Vec<u8>), String> {
    ::multibase::decode(text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with Python's base64 and int.from_bytes.
    const TEXTS: &[(&str, &str)] = &[
        ("base2", "0000000000000000001101000011001010110111001100111011001010010000111111111"),
        ("base32", "baaagqzlom5ssd7y"),
        ("base32upper", "BAAAGQZLOM5SSD7Y"),
        ("base32pad", "caaagqzlom5ssd7y="),
        ("base32padupper", "CAAAGQZLOM5SSD7Y="),
        ("base16", "f000068656e676521ff"),
        ("base16upper", "F000068656E676521FF"),
        ("base36", "k0081c3308mpdr"),
        ("base36upper", "K0081C3308MPDR"),
        ("base64", "mAABoZW5nZSH/"),
        ("base64pad", "MAABoZW5nZSH/"),
        ("base32hexpad", "t0006gpbectii3vo="),
        ("base32hexpadupper", "T0006GPBECTII3VO="),
        ("base64url", "uAABoZW5nZSH_"),
        ("base64urlpad", "UAABoZW5nZSH_"),
        ("base32hex", "v0006gpbectii3vo"),
        ("base32hexupper", "V0006GPBECTII3VO"),
        ("base58btc", "z114xTV5tVzDt"),
        ("base58flickr", "Z114Xsu5TuZdT"),
    ];

    #[test]
    fn texts_are_those_of_other_implementations() {
        let bytes = b"\0\0henge!\xff";
        for (name, text) in TEXTS {
            let base = by_name(name).unwrap();
            assert_eq!((encode(base, bytes).as_str(), super::name(base)), (*text, *name));
            assert_eq!(decode(text), Ok((base, bytes.to_vec())), "{name}");
        }
        for row in &TABLE[1..] {
            let base = by_name(row.name).unwrap();
            assert_eq!(decode(&encode(base, bytes)).unwrap(), (base, bytes.to_vec()), "{row:?}");
        }
    }

    #[test]
    fn the_table_is_of_one_mind_with_the_crate() {
        for row in TABLE {
            assert_eq!(Base::from_code(row.code).unwrap().code(), row.code);
        }
        assert_eq!((by_name("identity"), by_name("\0"), by_name("base7")), (None, None, None));
        assert_eq!(by_name("z"), Some(Base::Base58Btc));
        assert_eq!(of_cid("QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv"), None);
        assert_eq!(of_cid("bafkqaaa"), Some(Base::Base32Lower));
        assert_eq!(decode("\0a b"), Ok((Base::Identity, b"a b".to_vec())));
        assert!(decode("").is_err() && decode("1abc").is_err() && decode("f0g").is_err());
    }
}
