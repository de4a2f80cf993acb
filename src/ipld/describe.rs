//! CIDs in other words: converted, spelled out by a format string, or taken apart.
//!
//! Source: go-cidutil `Format`, Kubo `cid format` and `cid inspect`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::cid::{self, Cid, Multihash, Version, codec, hash};
use super::multibase::{self, Base};
use super::multicodec;

/// How CIDs are to be converted and printed.
#[derive(Clone, Debug)]
pub struct Conversion {
    shape: Vec<Piece>,
    version: Option<Version>,
    codec: Option<u64>,
    base: Option<Base>,
}

/// A part of a format string.
#[derive(Clone, Debug)]
enum Piece {
    Text(char),
    Field(char),
}

/// What may stand behind a `%`.
const FIELDS: &str = "bBvVcChHLmMdDsSP";

impl Conversion {
    /// Takes the options of `cid format`; empty ones are as if not given.
    ///
    /// # Errors
    /// The reason, in a line.
    pub fn new(shape: &str, version: &str, codec: &str, base: &str) -> Result<Self, String> {
        if !shape.contains('%') {
            return Err(format!("invalid format string: {shape:?}"));
        }
        let codec = match codec {
            "" => None,
            name => {
                let unknown = || format!("unknown multicodec: {name:?}");
                Some(multicodec::codec_by_name(name).ok_or_else(unknown)?)
            }
        };
        let converted = match version {
            "" if base.is_empty() => None,
            "" | "1" => Some(Version::V1),
            "0" if codec.is_some_and(|code| code != codec::DAG_PB) => {
                let text = "cannot convert to CIDv0 with any codec other than dag-pb";
                return Err(text.into());
            }
            "0" if !matches!(base, "" | "base58btc") => {
                let text = "cannot convert to CIDv0 with any multibase other than the implicit \
                            base58btc";
                return Err(text.into());
            }
            "0" => Some(Version::V0),
            other => return Err(format!("invalid cid version: {other:?}")),
        };
        let base = match base {
            "" => None,
            name => {
                let unknown = || format!("unsupported multibase encoding: {name:?}");
                Some(multibase::by_name(name).ok_or_else(unknown)?)
            }
        };
        Ok(Self { shape: pieces(shape)?, version: converted, codec, base })
    }

    /// A CID as it is asked for.
    ///
    /// # Errors
    /// The reason, in a line: it is no CID, or cannot be converted so.
    pub fn apply(&self, text: &str) -> Result<String, String> {
        let mut cid = cid::parse_any(text).map_err(|e| e.to_string())?;
        if let Some(code) = self.codec.filter(|code| *code != cid.codec()) {
            cid = Cid::new_v1(code, *cid.hash());
        }
        cid = match self.version {
            None => cid,
            Some(Version::V1) => Cid::new_v1(cid.codec(), *cid.hash()),
            Some(Version::V0) if cid.codec() != codec::DAG_PB => {
                return Err("can't convert non-dag-pb nodes to cidv0".into());
            }
            Some(Version::V0) => Cid::new_v0(*cid.hash()).map_err(|e| e.to_string())?,
        };
        let base = match (self.base, cid.version()) {
            (Some(base), _) => base,
            (None, Version::V0) => Base::Base58Btc,
            (None, Version::V1) => multibase::of_cid(text).unwrap_or(Base::Base58Btc),
        };
        let mut out = String::new();
        for piece in &self.shape {
            match piece {
                Piece::Text(letter) => out.push(*letter),
                Piece::Field(field) => out.push_str(&field_of(*field, &cid, base)),
            }
        }
        Ok(out)
    }
}

fn pieces(shape: &str) -> Result<Vec<Piece>, String> {
    let mut letters = shape.chars();
    let mut pieces = Vec::new();
    while let Some(letter) = letters.next() {
        pieces.push(match letter {
            '%' => match letters.next() {
                None => return Err("premature end of format string".into()),
                Some('%') => Piece::Text('%'),
                Some(field) if FIELDS.contains(field) => Piece::Field(field),
                Some(other) => {
                    return Err(format!("unrecognized specifier in format string: %{other}"));
                }
            },
            letter => Piece::Text(letter),
        });
    }
    Ok(pieces)
}

fn field_of(field: char, cid: &Cid, base: Base) -> String {
    let version = u64::from(cid.version());
    let codec = multicodec::codec_name(cid.codec());
    let codec = codec.map_or_else(|| format!("codec?{}", cid.codec()), str::to_owned);
    let code = cid.hash().code();
    let hash = multicodec::hash_name(code).unwrap_or_else(|| format!("hash?{code}"));
    let size = cid.hash().size();
    let bare = |bytes: &[u8]| multibase::encode(base, bytes).chars().skip(1).collect();
    match field {
        'b' => multibase::name(base).to_owned(),
        'B' => base.code().to_string(),
        'v' => format!("cidv{version}"),
        'V' => version.to_string(),
        'c' => codec,
        'C' => cid.codec().to_string(),
        'h' => hash,
        'H' => code.to_string(),
        'L' => size.to_string(),
        'm' => multibase::encode(base, &cid.hash().to_bytes()),
        'M' => bare(&cid.hash().to_bytes()),
        'd' => multibase::encode(base, cid.hash().digest()),
        'D' => bare(cid.hash().digest()),
        'S' => bare(&cid.to_bytes()),
        'P' => format!("cidv{version}-{codec}-{hash}-{size}"),
        _ => cid::print(cid, base, false),
    }
}

/// A CID taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// 0 or 1.
    pub version: u64,
    /// The base that it is written in; v0 implies base58btc.
    pub base: Base,
    /// The number of its codec.
    pub codec: u64,
    /// The codec's name.
    pub codec_name: &'static str,
    /// Hash function, and digest.
    pub hash: Multihash,
    /// The hash function's name.
    pub hash_name: String,
    /// The same as CIDv0, where there is one.
    pub v0: Option<String>,
    /// The same as CIDv1: keys in base36, the rest in base32.
    pub v1: String,
}

/// Takes a CID apart.
///
/// # Errors
/// The reason, and for a peer's name of the old kind the CID that is the same.
pub fn inspect(text: &str) -> Result<Parts, String> {
    let cid = cid::parse_any(text).map_err(|error| match peer(text) {
        None => error.to_string(),
        Some(key) => format!(
            "{error}\nNote: the value is a PeerID; inspect its CID representation instead:\n  {key}"
        ),
    })?;
    let (codec, hash) = (cid.codec(), *cid.hash());
    let v0 = codec == codec::DAG_PB && hash.code() == hash::SHA2_256 && hash.size() == 32;
    let v1_base = if codec == codec::LIBP2P_KEY { Base::Base36Lower } else { Base::Base32Lower };
    Ok(Parts {
        version: cid.version().into(),
        base: multibase::of_cid(text).unwrap_or(Base::Base58Btc),
        codec,
        codec_name: multicodec::codec_name(codec).unwrap_or("unknown"),
        hash,
        hash_name: multicodec::hash_name(hash.code()).unwrap_or_else(|| "unknown".into()),
        v0: v0.then(|| Cid::new_v0(hash).ok()).flatten().map(|cid| cid.to_string()),
        v1: cid::print(&Cid::new_v1(codec, hash), v1_base, false),
    })
}

/// The CID of a peer that is named by its multihash in base58, if that is what the text is.
fn peer(text: &str) -> Option<String> {
    if text.len() > cid::CID_MAX_BYTES {
        return None;
    }
    let (_, bytes) = multibase::decode(&format!("z{text}")).ok()?;
    let hash = Multihash::from_bytes(&bytes).ok()?;
    let key = matches!(hash.code(), hash::IDENTITY | hash::SHA2_256);
    let cid = key.then(|| Cid::new_v1(codec::LIBP2P_KEY, hash))?;
    Some(cid::print(&cid, Base::Base36Lower, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmS4ustL54uo8FzR9455qaxZwuMiUhyvMcX9Ba8nUH4uVv";
    const V1: &str = "zdj7WZAAFKPvYPPzyJLso2hhxo8a7ZACFQ4DvvfrNXTHidofr";
    const B32: &str = "bafybeibxm2nsadl3fnxv2sxcxmxaco2jl53wpeorjdzidjwf5aqdg7wa6u";

    fn say(shape: &str, version: &str, codec: &str, base: &str, cid: &str) -> String {
        Conversion::new(shape, version, codec, base).and_then(|how| how.apply(cid)).unwrap()
    }

    #[test]
    fn conversions_are_kubos() {
        for (version, codec, base, cid, expected) in [
            ("1", "", "base58btc", V0, V1),
            ("1", "", "base58btc", B32, V1),
            ("1", "", "", V0, V1),
            ("0", "", "", B32, V0),
            ("", "", "", V1, V1),
            ("", "", "base32", V0, B32),
            ("", "dag-pb", "b", V1, B32),
        ] {
            assert_eq!(say("%s", version, codec, base, cid), expected, "{version} {codec} {base}");
        }
        let raw = say("%s", "", "raw", "base32", V0);
        assert!(raw.starts_with("bafkrei"), "{raw}");
        assert_eq!(say("%s", "0", "dag-pb", "", &raw), V0);
        let error = |version, codec, base| {
            let how = Conversion::new("%s", version, codec, base);
            how.and_then(|how| how.apply(&raw)).unwrap_err()
        };
        assert_eq!(error("0", "", ""), "can't convert non-dag-pb nodes to cidv0");
        assert!(error("0", "raw", "").contains("other than dag-pb"));
        assert!(error("0", "", "base32").contains("implicit base58btc"));
        assert!(error("2", "", "").contains("invalid cid version"));
        assert!(error("", "odd", "").contains("unknown multicodec"));
        assert!(error("", "", "identity").contains("unsupported multibase"));
    }

    #[test]
    fn every_field_says_its_part() {
        let digest = "37669b200d7b2b6f5d4ae2bb2e013b495f776791d148f281a6c5e820337ec0f5";
        let shape = "%b %B %v %V %c %C %h %H %L %P %% %D";
        let said = say(shape, "", "", "base16", V0);
        let facts = "base16 f cidv1 1 dag-pb 112 sha2-256 18 32 cidv1-dag-pb-sha2-256-32 %";
        assert_eq!(said, format!("{facts} {digest}"));
        assert_eq!(say("%M|%d", "", "", "f", V0), format!("1220{digest}|f{digest}"));
        assert_eq!(say("%m", "", "", "f", V0), format!("f1220{digest}"));
        assert_eq!(say("%S", "", "", "", V0), V0);
        assert_eq!(format!("z{}", say("%S", "", "", "", V1)), V1);
        for (shape, told) in [
            ("none", "invalid format string: \"none\""),
            ("%", "premature end of format string"),
            ("%x", "unrecognized specifier in format string: %x"),
        ] {
            assert_eq!(Conversion::new(shape, "", "", "").unwrap_err(), told);
        }
    }

    #[test]
    fn parts_are_told_also_of_what_no_block_may_have() {
        let parts = inspect("bafkqabdumvzxi").unwrap();
        assert_eq!((parts.hash.digest(), parts.hash_name.as_str()), (&b"test"[..], "identity"));
        let odd = Cid::new_v1(0x9999, Multihash::wrap(0xd5, &[7; 16]).unwrap());
        let parts = inspect(&odd.to_string()).unwrap();
        assert_eq!(
            (parts.codec_name, parts.hash_name.as_str(), parts.v0),
            ("unknown", "md5", None)
        );
        let error = inspect("12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA").unwrap_err();
        assert!(error.contains("PeerID") && error.contains("\n  k51"), "{error}");
        assert!(inspect("garbage").unwrap_err().contains("invalid CID"));
    }

    #[test]
    fn a_cid_in_the_identity_base_is_printed_in_another() {
        // As it is, it would not be text.
        let said = say("%s", "1", "dag-json", "", "\0\u{1}\u{55}\0\u{4}test");
        assert!(said.starts_with('b'), "{said}");
    }
}
