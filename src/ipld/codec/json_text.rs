//! JSON text: the one writer behind dag-json and plain JSON.
//!
//! Owns strings, floats and the walk over a value, which keeps its own stack. What the two codecs have
//! differently is their [`Form`].
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt::Write as _;

use data_encoding::BASE64_NOPAD;

use super::value::{self, EncodeError, INTEGER_RANGE, MAX_DEPTH, Value};

/// Most bytes of an indented text: a small block that nests deeply is indented to a thousand times its
/// size.
const INDENTED_MAX_BYTES: usize = 64 << 20;

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// dag-json's: keys sorted, no whitespace, links and bytes as maps.
    Canonical,
    /// Plain JSON's: in the order of entries, one a line, indented by tabs; no links and no bytes.
    Indented,
}

/// Writes a value.
///
/// # Errors
/// [`EncodeError`]: what the form cannot hold, and nesting deeper than [`MAX_DEPTH`].
pub fn write(value: &Value, form: Form) -> Result<String, EncodeError> {
    let mut text = Text { out: String::new(), open: Vec::new(), form };
    let mut next = Some(value);
    while let Some(value) = next {
        if let Some(children) = text.begin(value)? {
            if text.open.len() >= MAX_DEPTH {
                return Err(EncodeError::Depth);
            }
            text.open.push(children);
        }
        next = text.advance();
        if form == Form::Indented && text.out.len() > INDENTED_MAX_BYTES {
            return Err(EncodeError::TooLarge { most: INDENTED_MAX_BYTES });
        }
    }
    Ok(text.out)
}

/// What of a list or map is still to be written.
enum Children<'a> {
    List(std::slice::Iter<'a, Value>),
    Map(std::vec::IntoIter<&'a (String, Value)>),
}

/// A text in the making, and the containers that are open.
struct Text<'a> {
    out: String,
    open: Vec<Children<'a>>,
    form: Form,
}

impl<'a> Text<'a> {
    /// The next value to write, all that stands before it written; closes containers on the way.
    fn advance(&mut self) -> Option<&'a Value> {
        while let Some(children) = self.open.last_mut() {
            // A brace just written is this container's own: inside, a value ends in anything else.
            let first = self.out.ends_with(['[', '{']);
            let end = if matches!(children, Children::List(_)) { ']' } else { '}' };
            let next = match children {
                Children::List(items) => items.next().map(|value| (None, value)),
                Children::Map(entries) => entries.next().map(|(key, value)| (Some(key), value)),
            };
            if let Some((key, value)) = next {
                if !first {
                    self.out.push(',');
                }
                self.line();
                if let Some(key) = key {
                    string(&mut self.out, key);
                    self.out.push_str(if self.form == Form::Indented { ": " } else { ":" });
                }
                return Some(value);
            }
            self.open.pop();
            if !first {
                self.line();
            }
            self.out.push(end);
        }
        None
    }

    /// Begins a line, in a form that has lines.
    fn line(&mut self) {
        if self.form == Form::Indented {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n('\t', self.open.len()));
        }
    }

    /// Writes a scalar, or opens a container and gives its children back.
    fn begin(&mut self, value: &'a Value) -> Result<Option<Children<'a>>, EncodeError> {
        let (out, indented) = (&mut self.out, self.form == Form::Indented);
        match value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Integer(n) if INTEGER_RANGE.contains(n) => out.push_str(&n.to_string()),
            Value::Integer(value) => return Err(EncodeError::IntegerRange(*value)),
            Value::Float(value) if value.is_finite() => float(out, *value),
            Value::Float(value) => return Err(EncodeError::NonFinite(value.to_string())),
            Value::String(text) => string(out, text),
            Value::Bytes(_) if indented => return Err(EncodeError::Lacking("bytes")),
            Value::Link(_) if indented => return Err(EncodeError::Lacking("links")),
            Value::Bytes(bytes) => {
                out.push_str("{\"/\":{\"bytes\":\"");
                BASE64_NOPAD.encode_append(bytes, out);
                out.push_str("\"}}");
            }
            Value::Link(cid) => {
                out.push_str("{\"/\":\"");
                out.push_str(&cid.to_string());
                out.push_str("\"}");
            }
            Value::List(items) => {
                out.push('[');
                return Ok(Some(Children::List(items.iter())));
            }
            Value::Map(entries) => {
                out.push('{');
                let entries = match self.form {
                    Form::Indented => entries.iter().collect(),
                    Form::Canonical => canonical(entries)?,
                };
                return Ok(Some(Children::Map(entries.into_iter())));
            }
        }
        Ok(None)
    }
}

/// The entries of a map as dag-json has them.
fn canonical(entries: &[(String, Value)]) -> Result<Vec<&(String, Value)>, EncodeError> {
    let entries = value::sorted(entries, str::cmp)?;
    if is_reserved(&entries) { Err(EncodeError::Reserved) } else { Ok(entries) }
}

/// Whether a map's written form belongs to links and bytes: its first key is `/`, and under it is
/// a string, or a map whose first key is `bytes` with a string under that.
fn is_reserved(sorted: &[&(String, Value)]) -> bool {
    let Some((_, value)) = sorted.first().filter(|(key, _)| key == "/") else {
        return false;
    };
    match value {
        Value::String(_) => true,
        Value::Map(inner) => matches!(
            inner.iter().min_by_key(|(key, _)| key),
            Some((key, Value::String(_))) if key == "bytes"
        ),
        _ => false,
    }
}

/// The shortest digits that read back equal; with an exponent from 1e21 up and below 1e-6, as
/// ECMAScript and Go's JSON have it.
fn float(out: &mut String, value: f64) {
    let size = value.abs();
    let from = out.len();
    // Writing to a String cannot fail.
    let _ = match size != 0.0 && !(1e-6..1e21).contains(&size) {
        true if size < 1.0 => write!(out, "{value:e}"),
        true => out.write_str(&format!("{value:e}").replace('e', "e+")),
        false => write!(out, "{value}"),
    };
    if !out.get(from..).is_some_and(|text| text.contains(['.', 'e'])) {
        out.push_str(".0");
    }
}

/// A string with its quotes.
fn string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\0'..' ' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}
