//! The plain JSON codec: the data model without links and bytes.
//!
//! Owns the written form, which is for people: entries in the order in which they were read, one a line,
//! indented by tabs. Reading is dag-json's, but `/` means nothing.
//!
//! Source: go-ipld-prime `codec/json`, which Kubo registers under 0x0200.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::json_text::{self, Form};
use super::value::{EncodeError, Value};

pub use super::dag_json::decode_plain as decode;

/// Writes a value. A list or map that is the whole block ends with a newline.
///
/// # Errors
/// [`EncodeError`]: bytes and links, which JSON has not, a float that is not finite, an integer out of
/// range, nesting too deep, or a text of more than 64 MiB.
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = json_text::write(value, Form::Indented)?;
    if matches!(value, Value::List(_) | Value::Map(_)) {
        out.push('\n');
    }
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::dag_cbor;
    use super::super::value::DecodeError;
    use super::*;

    fn read(text: &str) -> Value {
        decode(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    #[test]
    fn it_is_written_as_kubo_does() {
        let text = r#"{"b":[1,{"c":[],"a":{}}],"a":"x","/":"bafkqaaa"}"#;
        let told = "{\n\t\"b\": [\n\t\t1,\n\t\t{\n\t\t\t\"c\": [],\n\t\t\t\"a\": {}\n\t\t}\n\t],\n\
                    \t\"a\": \"x\",\n\t\"/\": \"bafkqaaa\"\n}\n";
        assert_eq!(String::from_utf8(encode(&read(text)).unwrap()).unwrap(), told);
        assert_eq!(read(told), read(text));
        for (text, told) in [("[]", "[]\n"), ("{}", "{}\n"), (" 1", "1"), ("null", "null")] {
            assert_eq!(encode(&read(text)).unwrap(), told.as_bytes(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_not_indented_without_end() {
        let mut value = Value::List(vec![Value::Integer(1); 1 << 20]);
        for _ in 0..200 {
            value = Value::List(vec![value]);
        }
        assert_eq!(encode(&value), Err(EncodeError::TooLarge { most: 64 << 20 }));
    }

    #[test]
    fn links_and_bytes_are_neither_read_nor_written() {
        for text in [r#"{"/":"bafkqaaa"}"#, r#"{"/":{"bytes":"AA"}}"#, r#"{"/":"no CID"}"#] {
            assert!(matches!(read(text), Value::Map(_)), "{text}");
        }
        let bytes = Value::List(vec![Value::Bytes(Bytes::new())]);
        assert_eq!(encode(&bytes), Err(EncodeError::Lacking("bytes")));
        let link = dag_cbor::decode(&Bytes::from_static(b"\xd8\x2a\x45\0\x01\x55\0\0")).unwrap();
        assert_eq!(encode(&link), Err(EncodeError::Lacking("links")));
        assert_eq!(dag_cbor::encode_plain(&link), Err(EncodeError::Lacking("links")));
        let linked = Bytes::from_static(b"\x82\x01\xd8\x2a\x45\0\x01\x55\0\0");
        let refused = DecodeError::UnsupportedTag { at: 2, tag: 42 };
        assert_eq!(dag_cbor::decode_plain(&linked), Err(refused));
    }

    #[test]
    fn plain_cbor_keeps_the_order_of_entries() {
        let block = Bytes::from_static(b"\xa2\x62bb\x01\x61a\x41\xff");
        let value = dag_cbor::decode_plain(&block).unwrap();
        assert_eq!(dag_cbor::encode_plain(&value).unwrap(), block);
        assert_ne!(dag_cbor::encode(&value).unwrap(), block);
    }
}
