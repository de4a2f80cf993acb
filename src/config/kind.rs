//! The kinds of value a configuration key may hold.
//!
//! Owns Kubo's types (config/types.go) as far as they accept or refuse a value. Does not own which
//! key has which (`keys`).

use serde_json::{Map, Value};

use super::units::{parse_bytes, parse_duration_ns};

/// What the value of a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A text.
    Text,
    /// True or false.
    Bool,
    /// A whole number. Also for Kubo's `optionalInteger`.
    Int,
    /// Kubo's `flag`: true, false, or null for the default.
    Flag,
    /// Kubo's `priority`: a positive whole number, or false to disable.
    Priority,
    /// Kubo's `strings`: one text or a list of texts; the empty text means none. Values keep the
    /// form they were given in: Kubo, too, writes a one-element list back as a bare text only where
    /// it rewrites whole structs (init, profiles, replace), so those write the bare text and
    /// `config KEY` does not.
    Strings,
    /// A list of texts.
    List,
    /// A size text, or a number of bytes.
    Size,
    /// Go duration text; also `""`, `"default"`, `"null"` for unset.
    Span,
    /// `enabled`, `disabled`, `legacy-v1` or empty.
    AutoNatMode,
    /// A list of `{ID, Addrs}`; the elements are for the peering service to read.
    Objects,
    /// Anything, and any key below it.
    Free,
    /// Removed from Kubo: only empty objects, false and null are tolerated. The text says where it
    /// went.
    Gone(&'static str),
}

impl Kind {
    /// Whether a value is of this kind. Err is what would have been. Not asked about null, which
    /// means unset everywhere.
    pub fn check(self, value: &Value) -> Result<(), String> {
        let (fits, expected) = match self {
            Kind::Free => (true, ""),
            Kind::Text => (value.is_string(), "a string"),
            Kind::Bool => (value.is_boolean(), "a boolean"),
            Kind::Flag => (value.is_boolean(), "true, false or null"),
            Kind::Int => (value.is_i64(), "a whole number"),
            Kind::Priority => {
                let fits =
                    value.as_i64().is_some_and(|number| number > 0) || *value == Value::Bool(false);
                (fits, "a positive whole number, false or null")
            }
            Kind::Strings => {
                (value.is_string() || is_text_list(value), "a string or a list of strings")
            }
            Kind::List => (is_text_list(value), "a list of strings"),
            Kind::Objects => (
                value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
                "a list of objects",
            ),
            Kind::AutoNatMode => {
                let fits =
                    matches!(value.as_str(), Some("" | "enabled" | "disabled" | "legacy-v1"));
                (fits, "\"enabled\", \"disabled\" or \"legacy-v1\"")
            }
            Kind::Size => return check_size(value),
            Kind::Span => return check_span(value),
            Kind::Gone(advice) => {
                let empty =
                    value.as_object().is_some_and(Map::is_empty) || *value == Value::Bool(false);
                return if empty {
                    Ok(())
                } else {
                    Err(format!("nothing, for this key was removed ({advice})"))
                };
            }
        };
        if fits { Ok(()) } else { Err(expected.to_owned()) }
    }
}

fn is_text_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn check_size(value: &Value) -> Result<(), String> {
    let expected = "a size such as 2MiB, or a number of bytes";
    match value {
        Value::String(text) => {
            parse_bytes(text).map(drop).map_err(|error| format!("{expected} ({error})"))
        }
        Value::Number(number) if number.is_u64() => Ok(()),
        _ => Err(expected.to_owned()),
    }
}

fn check_span(value: &Value) -> Result<(), String> {
    let expected = "a duration such as 1h30m";
    match value {
        Value::String(text) if is_unset_span(text) => Ok(()),
        Value::String(text) => {
            parse_duration_ns(text).map(drop).map_err(|error| format!("{expected} ({error})"))
        }
        Value::Number(number) if number.as_i64() == Some(0) => Ok(()),
        _ => Err(expected.to_owned()),
    }
}

/// Texts that Kubo reads as "no duration was set".
pub fn is_unset_span(text: &str) -> bool {
    matches!(text, "" | "default" | "null")
}
