//! The dag-json codec: JSON in one canonical form, with links as `{"/":"cid"}` and bytes as
//! `{"/":{"bytes":"base64"}}`.
//!
//! Owns the written form: keys sorted by their UTF-8 bytes, no whitespace, integers exact, floats
//! as short as they read back equal and never without a point or an exponent, strings escaped as
//! Kubo does (`"`, `\`, controls, U+2028 and U+2029; not `<`, `>`, `&`). It is written by
//! `json_text.rs` and read by `dag_json_read.rs`.
//!
//! Does not check what a link points to, nor write maps that would read back as something else.
//!
//! Source: ipld/ipld `specs/codecs/dag-json`, RFC 8259; string and float forms are refmt's, the
//! writer under go-ipld-prime, but for `1.0` (refmt writes `1`, which reads back as an integer).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use bytes::Bytes;

use super::json_text::{self, Form};
use super::value::{DecodeError, EncodeError, Value};
use crate::ipld::cid::Cid;

#[path = "dag_json_read.rs"]
mod read;

pub use read::{decode, decode_plain};

/// Calls `visit` for every link of a block, in order. Builds the tree to do so.
///
/// # Errors
/// As [`decode`]; then no link has been visited.
pub fn links(block: &Bytes, visit: &mut dyn FnMut(Cid)) -> Result<(), DecodeError> {
    decode(block)?.links().into_iter().for_each(visit);
    Ok(())
}

/// Writes a value in the canonical form.
///
/// # Errors
/// [`EncodeError`]: a float that is not finite, an integer outside [`INTEGER_RANGE`], a repeated
/// key, nesting deeper than [`MAX_DEPTH`], or a map that is reserved
/// (see [`EncodeError::Reserved`]).
///
/// [`INTEGER_RANGE`]: super::value::INTEGER_RANGE
/// [`MAX_DEPTH`]: super::value::MAX_DEPTH
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    Ok(json_text::write(value, Form::Canonical)?.into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::super::dag_cbor;
    use super::super::value::{MAX_DEPTH, samples};
    use super::*;
    use crate::ipld::cid;

    fn read(text: &str) -> Result<Value, DecodeError> {
        decode(&Bytes::copy_from_slice(text.as_bytes()))
    }

    fn written(value: &Value) -> String {
        String::from_utf8(encode(value).unwrap()).unwrap()
    }

    /// Every fixture re-encodes to itself, has the CID it is named after, and turns into its
    /// sibling in the other codec.
    #[test]
    fn fixtures_are_reproduced_in_both_codecs() {
        let fixtures = samples::fixtures();
        for (path, block) in &fixtures {
            let is_json = path.extension().unwrap() == "dag-json";
            let value = if is_json { decode(block) } else { dag_cbor::decode(block) }.unwrap();
            let (json, cbor) = (encode(&value).unwrap(), dag_cbor::encode(&value).unwrap());
            let (own, other, codec) = match is_json {
                true => (json, cbor, cid::codec::DAG_JSON),
                false => (cbor, json, cid::codec::DAG_CBOR),
            };
            assert_eq!(own, *block, "{}", path.display());
            let hash = cid::digest(cid::hash::SHA2_256, block).unwrap();
            let name = Cid::new_v1(codec, hash).to_string();
            assert_eq!(path.file_stem().unwrap(), name.as_str(), "{}", path.display());
            let folder = path.parent();
            let is_sibling =
                |(p, _): &&(std::path::PathBuf, Bytes)| p.parent() == folder && p != path;
            let (_, sibling) = fixtures.iter().find(is_sibling).unwrap();
            assert_eq!(other, *sibling, "{} in the other codec", path.display());
        }
        assert_eq!(fixtures.len(), 256);
    }

    #[test]
    fn random_values_round_trip() {
        for seed in 0..2000 {
            let value = samples::random(&mut StdRng::seed_from_u64(seed), 200);
            let block = Bytes::from(encode(&value).unwrap());
            assert_eq!(decode(&block).unwrap(), value, "seed {seed}");
            let mut seen = Vec::new();
            links(&block, &mut |cid| seen.push(cid)).unwrap();
            assert_eq!(seen, value.links(), "seed {seed}");
        }
    }

    #[test]
    fn damaged_blocks_do_not_panic() {
        samples::mutated("dag-json", |block| {
            if let Ok(value) = decode(block) {
                let _ = encode(&value);
            }
        });
    }

    #[test]
    fn what_kubo_tolerates_is_read_and_written_strictly() {
        for (loose, strict) in [
            (" { \"b\" : [ ] , \"a\" : -0 }\r\n\t", r#"{"a":0,"b":[]}"#),
            (r#""\/\b\f\u002F\uD834\udd1e<>&""#, "\"/\\u0008\\u000c/𝄞<>&\""),
            (r#""\ud834x\udd1e\ud834\u0041""#, "\"\u{fffd}x\u{fffd}\u{fffd}A\""),
            ("\"\u{2028}\u{7f}\\u2029\"", "\"\\u2028\u{7f}\\u2029\""),
            ("[1.0, 1e0, 1E+2, -0.0, 0.1e-7]", "[1.0,1.0,100.0,-0.0,1e-8]"),
            (
                "[1e20,1e21,1.5e300,1e-6,9e-7]",
                "[100000000000000000000.0,1e+21,1.5e+300,0.000001,9e-7]",
            ),
            (r#"{"/":{"bytes":"YQ=="}}"#, r#"{"/":{"bytes":"YQ"}}"#),
            (r#"{ "\u002f" : { "bytes" : "YR\n" } }"#, r#"{"/":{"bytes":"YQ"}}"#),
            (r#"{"/":1,"b":{"/":{"bytes":null}}}"#, r#"{"/":1,"b":{"/":{"bytes":null}}}"#),
            (r#"{"/":"bafkqaaa"}"#, r#"{"/":"bafkqaaa"}"#),
            (r#"{"/":"BAFKQAAA"}"#, r#"{"/":"bafkqaaa"}"#),
        ] {
            assert_eq!(read(loose).map(|v| written(&v)), Ok(strict.to_owned()), "{loose}");
        }
    }

    #[test]
    fn reserved_maps_are_read_as_kubo_does_and_never_written() {
        for text in [
            r#"{"/":"bafkqaaa","x":1}"#,
            r#"{"x":1,"/":"bafkqaaa"}"#,
            r#"{"/":{"bytes":"YQ"},"x":1}"#,
            r#"{"/":{"bytes":"YQ","x":1}}"#,
        ] {
            let value = read(text).unwrap();
            assert!(matches!(value, Value::Map(_)), "{text}");
            assert_eq!(encode(&value), Err(EncodeError::Reserved), "{text}");
        }
        assert!(read(r#"{"!":1,"/":"text"}"#).is_ok_and(|v| encode(&v).is_ok()));
    }

    #[test]
    fn malformed_blocks_are_refused_with_the_offset() {
        use DecodeError::*;
        let long = format!("{{\"/\":\"b{}\"}}", "a".repeat(5000));
        for (text, error) in [
            ("", Truncated { at: 0 }),
            ("[1", Truncated { at: 2 }),
            ("tru", Truncated { at: 0 }),
            ("nope", Syntax { at: 0, expected: "null" }),
            ("[1,]", Syntax { at: 3, expected: "a value" }),
            ("{1:1}", KeyNotString { at: 1 }),
            ("01", Trailing { at: 1 }),
            ("1.", Truncated { at: 2 }),
            ("1e400", NonFinite { at: 0 }),
            ("18446744073709551616", IntegerRange { at: 0 }),
            ("-18446744073709551617", IntegerRange { at: 0 }),
            ("1\0", Trailing { at: 1 }),
            (r#"{"a":1,"b":2,"a":3}"#, DuplicateKey { at: 0, key: "a".into() }),
            (r#"{"/":{"bytes":"!"}}"#, BadBase64 { at: 14 }),
            ("\"\n\"", Syntax { at: 1, expected: "a control character to be escaped" }),
        ] {
            assert_eq!(read(text), Err(error), "{text}");
        }
        assert_eq!(decode(&Bytes::from_static(b"\"a\xff\"")), Err(BadUtf8 { at: 2 }));
        for text in [r#"{"/":"text"}"#, r#"{"/":""}"#, &long] {
            assert!(matches!(read(text), Err(BadCid { at: 5, .. })), "{text}");
        }
    }

    #[test]
    fn nesting_is_bounded_both_ways() {
        for (open, close) in [("[", "]"), ("{\"/\":", "}")] {
            let nested = |n: usize| format!("{}0{}", open.repeat(n), close.repeat(n));
            let deepest = read(&nested(MAX_DEPTH)).unwrap();
            assert_eq!(written(&deepest), nested(MAX_DEPTH));
            assert_eq!(encode(&Value::List(vec![deepest])), Err(EncodeError::Depth));
            let at = MAX_DEPTH * open.len();
            assert_eq!(read(&nested(MAX_DEPTH + 1)), Err(DecodeError::Depth { at }));
            assert_eq!(read(&open.repeat(1_000_000)), Err(DecodeError::Depth { at }));
        }
    }
}
