//! Data as a page for people: dag-json and dag-cbor written out, links to be followed.
//!
//! The page is cut where it gets long: a block may nest deeply, and indentation would make more of
//! it than it is. Who wants all of it asks for the block.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::Response;
use hyper::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, ETAG, HeaderValue, REFERRER_POLICY,
};

use super::Found;
use crate::gateway::error::Refusal;
use crate::gateway::reply::{self, Outgoing, POLICY, STYLE};
use crate::gateway::{escape, etag, headers};
use crate::ipld::cid::codec;
use crate::ipld::codec::{self as codecs, Value};
use crate::ipld::path::Path;

/// Longest writing-out, in bytes.
const SHOWN_MAX_BYTES: usize = 256 << 10;
/// Most bytes of a bytes value, in hexadecimal.
const BYTES_SHOWN: usize = 256;

/// The page.
pub async fn respond(found: &Found<'_>) -> Result<Response<Outgoing>, Refusal> {
    let block = found.node.block_get(&Path::of(*found.cid())).await?;
    let written = match codecs::decode(found.cid().codec(), block.data()) {
        Ok(value) => write(&value, &found.above),
        Err(error) => escape::show(format!("cannot be read: {error}").as_bytes()),
    };
    let page = page(found, &written);
    let mut map = found.headers("text/html; charset=utf-8");
    for (name, value) in [
        (ETAG, headers::value(&etag::of_data_page(found.cid()))),
        (CACHE_CONTROL, HeaderValue::from_static(headers::LISTING)),
        (CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (CONTENT_LENGTH, HeaderValue::from(page.len())),
    ] {
        map.insert(name, value);
    }
    let body = if found.request.head { Outgoing::Done } else { Outgoing::whole(page) };
    Ok(reply::of(map, body))
}

fn page(found: &Found<'_>, written: &str) -> String {
    let (shown, cid) = (escape::show(found.shown.as_bytes()), found.cid());
    let name = codec::name(cid.codec()).unwrap_or_default();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{shown}</title><style>{STYLE}</style></head><body>\
         <header><h1>{shown}</h1><p class=\"cid\">{cid}</p></header>\
         <main><p>{name}: <a href=\"?format=raw\">block</a>, <a href=\"?format={name}\">{name}</a>\
         </p><pre>{written}</pre></main></body></html>\n"
    )
}

/// A step of the writing: a value with what stands before it, or the end of a list or map.
enum Step<'a> {
    Value(Option<&'a str>, &'a Value),
    End(&'static str),
}

/// Writes a value out, one a line, without recursion.
fn write(root: &Value, above: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0usize);
    let mut steps = vec![Step::Value(None, root)];
    while let Some(step) = steps.pop() {
        if out.len() > SHOWN_MAX_BYTES {
            out.push_str("…\n");
            break;
        }
        if let Step::End(_) = step {
            depth = depth.saturating_sub(1);
        }
        out.extend(std::iter::repeat_n("  ", depth));
        let (name, value) = match step {
            Step::End(end) => {
                out.push_str(end);
                out.push('\n');
                continue;
            }
            Step::Value(name, value) => (name, value),
        };
        if let Some(name) = name {
            out.push_str(&quoted(name));
            out.push_str(": ");
        }
        match value {
            Value::List(items) if !items.is_empty() => {
                out.push('[');
                steps.push(Step::End("]"));
                steps.extend(items.iter().rev().map(|item| Step::Value(None, item)));
                depth = depth.saturating_add(1);
            }
            Value::Map(entries) if !entries.is_empty() => {
                out.push('{');
                steps.push(Step::End("}"));
                let entries = entries.iter().rev();
                steps.extend(entries.map(|(name, value)| Step::Value(Some(name), value)));
                depth = depth.saturating_add(1);
            }
            leaf => out.push_str(&one(leaf, above)),
        }
        out.push('\n');
    }
    out
}

/// A value that holds no others.
fn one(value: &Value, above: &str) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Bytes(bytes) => {
            let shown = bytes.get(..BYTES_SHOWN.min(bytes.len())).unwrap_or_default();
            let more = if shown.len() < bytes.len() { "…" } else { "" };
            let hex = data_encoding::HEXLOWER.encode(shown);
            format!("{} bytes: {hex}{more}", bytes.len())
        }
        Value::Link(cid) => format!("<a href=\"{above}/ipfs/{cid}\">{cid}</a>"),
        Value::List(_) => "[]".into(),
        Value::Map(_) => "{}".into(),
    }
}

/// A text of a stranger, cut where it would fill the page.
fn quoted(text: &str) -> String {
    let cut = text.get(..text.floor_char_boundary(SHOWN_MAX_BYTES)).unwrap_or_default();
    format!("\"{}\"", escape::show(cut.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn values_are_written_one_a_line_without_markup() {
        let dir = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let value = Value::Map(vec![
            ("<b>".into(), Value::String("</pre><script>".into())),
            ("a".into(), Value::List(vec![Value::Integer(-1), Value::Bool(true), Value::Null])),
            ("l".into(), Value::Link(Box::new(dir))),
            ("e".into(), Value::List(vec![])),
            ("x".into(), Value::Bytes(vec![255; 300].into())),
        ]);
        let written = write(&value, "//host");
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(
            lines[..3],
            ["{", "  \"&lt;b&gt;\": \"&lt;/pre&gt;&lt;script&gt;\"", "  \"a\": ["]
        );
        assert_eq!(lines[3..7], ["    -1", "    true", "    null", "  ]"]);
        let link = format!("  \"l\": <a href=\"//host/ipfs/{dir}\">{dir}</a>");
        assert_eq!(lines[7..9], [link.as_str(), "  \"e\": []"]);
        assert!(lines[9].starts_with("  \"x\": 300 bytes: ffff") && lines[9].ends_with('…'));
        assert_eq!(lines[10..], ["}"]);
    }

    #[test]
    fn what_nests_deeply_is_cut() {
        let mut value = Value::Null;
        for _ in 0..1000 {
            value = Value::List(vec![Value::Null, value]);
        }
        let written = write(&value, "");
        assert!(written.len() < SHOWN_MAX_BYTES + 4096 && written.ends_with("…\n"));
    }
}
