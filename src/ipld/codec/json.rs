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

use super::dag_json::{float, string};
use super::value::{EncodeError, INTEGER_RANGE, MAX_DEPTH, Value};

pub use super::dag_json::decode_plain as decode;

/// Writes a value. A list or map that is the whole block ends with a newline.
///
/// # Errors
/// [`EncodeError`]: bytes and links, which JSON has not, a float that is not finite, an integer outside
/// [`INTEGER_RANGE`], or nesting deeper than [`MAX_DEPTH`].
pub fn encode(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = String::new();
    let mut open = Vec::new();
    let mut next = Some(value);
    while let Some(value) = next {
        if let Some(children) = write(&mut out, value)? {
            if open.len() >= MAX_DEPTH {
                return Err(EncodeError::Depth);
            }
            open.push(children);
        }
        next = advance(&mut out, &mut open);
    }
    if matches!(value, Value::List(_) | Value::Map(_)) {
        out.push('\n');
    }
    Ok(out.into_bytes())
}

/// What of a list or map is still to be written.
enum Children<'a> {
    List(std::slice::Iter<'a, Value>),
    Map(std::slice::Iter<'a, (String, Value)>),
}

/// The next value to write, its line begun; closes containers on the way.
fn advance<'a>(out: &mut String, open: &mut Vec<Children<'a>>) -> Option<&'a Value> {
    while let Some(children) = open.last_mut() {
        // A brace just written is this container's own: inside, a value ends in anything else.
        let first = out.ends_with(['[', '{']);
        let end = if matches!(children, Children::List(_)) { ']' } else { '}' };
        let next = match children {
            Children::List(items) => items.next().map(|value| (None, value)),
            Children::Map(entries) => entries.next().map(|(key, value)| (Some(key), value)),
        };
        if let Some((key, value)) = next {
            if !first {
                out.push(',');
            }
            line(out, open.len());
            if let Some(key) = key {
                string(out, key);
                out.push_str(": ");
            }
            return Some(value);
        }
        open.pop();
        if !first {
            line(out, open.len());
        }
        out.push(end);
    }
    None
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n('\t', depth));
}

/// Writes a scalar, or opens a container and gives its children back.
fn write<'a>(out: &mut String, value: &'a Value) -> Result<Option<Children<'a>>, EncodeError> {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Integer(value) if INTEGER_RANGE.contains(value) => out.push_str(&value.to_string()),
        Value::Integer(value) => return Err(EncodeError::IntegerRange(*value)),
        Value::Float(value) if value.is_finite() => float(out, *value),
        Value::Float(value) => return Err(EncodeError::NonFinite(value.to_string())),
        Value::String(text) => string(out, text),
        Value::Bytes(_) => return Err(EncodeError::Lacking("bytes")),
        Value::Link(_) => return Err(EncodeError::Lacking("links")),
        Value::List(items) => {
            out.push('[');
            return Ok(Some(Children::List(items.iter())));
        }
        Value::Map(entries) => {
            out.push('{');
            return Ok(Some(Children::Map(entries.iter())));
        }
    }
    Ok(None)
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
