//! The configuration document: JSON in Kubo's form, read and changed by dotted keys.
//!
//! Owns parsing, printing, and the invariant that every known key holds its kind. Does not own the
//! file on disk (`repo`), defaults and ranges (`settings`), or who may read which key (`command`).
//!
//! The document is kept as JSON, not as a struct: keys nobody here knows must survive a rewrite, in
//! place and in value. Numbers are the one limit: JSON beyond i64, u64 and f64 is rounded to f64.

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value};

use super::keys::{check_key, check_types};
use super::kind::is_unset_span;
use super::units::{UnitError, parse_bytes, parse_duration};

/// Bytes a configuration may have, read or given. Kubo's own are about 5 kB.
pub const MAX_CONFIG_BYTES: usize = 16 << 20;

/// Why a document or a change to it was refused. Values are never printed: they may be secrets.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Not JSON.
    #[error("failure to decode config: {0}")]
    Syntax(#[from] serde_json::Error),
    /// JSON, but not an object.
    #[error("failure to decode config: expected an object")]
    NotAnObject,
    /// More than [`MAX_CONFIG_BYTES`].
    #[error("failure to decode config: larger than {MAX_CONFIG_BYTES} bytes")]
    TooLarge,
    /// A key has a value of another kind.
    #[error("failure to decode config: {key}: expected {expected}, found {found}")]
    Kind {
        /// The key, with dots.
        key: String,
        /// The kind it takes.
        expected: String,
        /// The kind it was given.
        found: &'static str,
    },
    /// No such key, or nothing under it.
    #[error("{0} not found")]
    UnknownKey(String),
    /// The key leads through a value that has no keys.
    #[error("{0} key is not a map")]
    NotAMap(String),
    /// More segments than any key has.
    #[error("key has more than {} segments", super::keys::MAX_SEGMENTS)]
    KeyTooDeep,
    /// A size or a duration that cannot be read.
    #[error("{key}: {source}")]
    Unit {
        /// The key, with dots.
        key: String,
        /// The reason.
        source: UnitError,
    },
    /// A value of the right kind that still cannot be meant.
    #[error("{key}: {reason}")]
    Value {
        /// The key, with dots.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

/// A configuration whose known keys all have their kind. `Debug` prints no values.
#[derive(Clone, PartialEq)]
pub struct Config {
    document: Map<String, Value>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("sections", &self.document.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Config {
    /// Reads a JSON object of at most `MAX_CONFIG_BYTES`. Fails on bad JSON (with line and column),
    /// on anything after it, and on a known key of the wrong kind.
    pub fn parse(text: &str) -> Result<Config, FileError> {
        if text.len() > MAX_CONFIG_BYTES {
            return Err(FileError::TooLarge);
        }
        Config::from_value(serde_json::from_str(text)?)
    }

    /// As `parse`, for JSON that was read already.
    pub fn from_value(value: Value) -> Result<Config, FileError> {
        let Value::Object(document) = value else { return Err(FileError::NotAnObject) };
        check_types(&document)?;
        Ok(Config { document })
    }

    /// The whole document, secrets included.
    pub fn document(&self) -> &Map<String, Value> {
        &self.document
    }

    /// The text of the file: as Kubo writes it, with two spaces of indent and no newline at the
    /// end.
    pub fn to_text(&self) -> Result<String, FileError> {
        print(&self.document)
    }

    /// The value at a dotted key, compared exactly, or None. Does not ask whether the key is known.
    pub fn get(&self, key: &str) -> Option<&Value> {
        descend(&self.document, key, |name, part| name == part)
    }

    /// As `get`, but with Kubo's errors, which tell a missing part from one that is no object.
    pub fn require(&self, key: &str) -> Result<&Value, FileError> {
        let mut map = &self.document;
        let mut path = String::new();
        let mut parts = key.split('.').peekable();
        while let Some(part) = parts.next() {
            path.push_str(if path.is_empty() { "" } else { "." });
            path.push_str(part);
            let value = map.get(part).ok_or_else(|| FileError::UnknownKey(path.clone()))?;
            match value {
                value if parts.peek().is_none() => return Ok(value),
                Value::Object(below) => map = below,
                _ => return Err(FileError::NotAMap(path)),
            }
        }
        Err(FileError::UnknownKey(path))
    }

    /// Sets a known key and returns what it held. Objects on the way are made where missing or
    /// null. On any error, among them a value of the wrong kind, nothing changes.
    pub fn set(&mut self, key: &str, value: Value) -> Result<Option<Value>, FileError> {
        check_key(key)?;
        let mut changed = self.document.clone();
        let old = insert(&mut changed, key, value)?;
        // Through text and back: what is saved must be readable, also at the parser's limit on
        // nesting.
        self.document = Config::parse(&print(&changed)?)?.document;
        Ok(old)
    }

    /// Removes a key, exactly compared, and returns what it held.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let (above, last) = key.rsplit_once('.').unwrap_or(("", key));
        let mut map = &mut self.document;
        for part in above.split('.').filter(|part| !part.is_empty()) {
            map = map.get_mut(part)?.as_object_mut()?;
        }
        map.shift_remove(last)
    }

    /// A value as Go's decoder would find it: exactly spelled, else without regard to case. Null is
    /// None.
    fn find(&self, key: &str) -> Option<&Value> {
        self.get(key)
            .or_else(|| descend(&self.document, key, str::eq_ignore_ascii_case))
            .filter(|value| !value.is_null())
    }

    /// Whether a key holds anything but null.
    pub fn is_set(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// A text; None when unset. The empty text is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.find(key)?.as_str()
    }

    /// A bool or flag; None when unset.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.find(key)?.as_bool()
    }

    /// A whole number, which may be negative; None when unset.
    pub fn int(&self, key: &str) -> Option<i64> {
        self.find(key)?.as_i64()
    }

    /// The texts of a list or of Kubo's `strings`. None when unset; one empty text means none, as
    /// in Kubo.
    pub fn list(&self, key: &str) -> Option<Vec<String>> {
        match self.find(key)? {
            Value::String(text) if text.is_empty() => Some(Vec::new()),
            Value::String(text) => Some(vec![text.clone()]),
            Value::Array(items) => {
                Some(items.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => None,
        }
    }

    /// The object at a key, such as `Gateway.PublicGateways`; None when unset.
    pub fn map(&self, key: &str) -> Option<&Map<String, Value>> {
        self.find(key)?.as_object()
    }

    /// A size in bytes; None when unset or empty. Fails where the text is no size, which only keys
    /// that Kubo keeps as plain text (`Datastore.StorageMax`) can be.
    pub fn size_bytes(&self, key: &str) -> Result<Option<u64>, FileError> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => {
                parse_bytes(text).map(Some).map_err(|source| unit_error(key, source))
            }
            Some(value) => Ok(value.as_u64()),
        }
    }

    /// A duration; None when unset (also `""` and `"default"`). Fails on a negative one, and where
    /// the text of a plain-text key is no duration.
    pub fn span(&self, key: &str) -> Result<Option<Duration>, FileError> {
        match self.find(key) {
            None => Ok(None),
            Some(Value::String(text)) if is_unset_span(text) => Ok(None),
            Some(Value::String(text)) => {
                parse_duration(text).map(Some).map_err(|source| unit_error(key, source))
            }
            Some(_) => Ok(Some(Duration::ZERO)),
        }
    }
}

fn unit_error(key: &str, source: UnitError) -> FileError {
    FileError::Unit { key: key.to_owned(), source }
}

fn descend<'a>(
    map: &'a Map<String, Value>,
    key: &str,
    same: fn(&str, &str) -> bool,
) -> Option<&'a Value> {
    let (first, rest) = match key.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (key, None),
    };
    let (_, value) = map.iter().find(|(name, _)| same(name, first))?;
    match rest {
        None => Some(value),
        Some(rest) => descend(value.as_object()?, rest, same),
    }
}

fn insert(
    map: &mut Map<String, Value>,
    key: &str,
    value: Value,
) -> Result<Option<Value>, FileError> {
    let (above, last) = key.rsplit_once('.').unwrap_or(("", key));
    let mut map = map;
    let mut path = String::new();
    for part in above.split('.').filter(|_| !above.is_empty()) {
        path.push_str(if path.is_empty() { "" } else { "." });
        path.push_str(part);
        let below = map.entry(part).or_insert(Value::Null);
        if below.is_null() {
            *below = Value::Object(Map::new());
        }
        map = below.as_object_mut().ok_or_else(|| FileError::NotAMap(path.clone()))?;
    }
    Ok(map.insert(last.to_owned(), value))
}

/// JSON as Go's encoder prints it: two spaces of indent, no newline at the end, and five characters
/// escaped that HTML or JavaScript would trip over. In JSON they occur only within strings, so
/// replacing them in the text is safe.
pub fn print<T: serde::Serialize>(value: &T) -> Result<String, FileError> {
    let text = serde_json::to_string_pretty(value)?;
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return Ok(text);
    }
    let mut escaped = String::with_capacity(text.len().saturating_add(64));
    for c in text.chars() {
        match c {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn config(value: Value) -> Config {
        Config::from_value(value).unwrap()
    }

    #[test]
    fn unknown_keys_survive_in_place() {
        let text = "{\n  \"Zeta\": {\n    \"b\": 18446744073709551615,\n    \"a\": -1.5\n  },\n  \
                    \"Gateway\": {\n    \"Mine\": [],\n    \"Other\": {}\n  },\n  \
                    \"Alpha\": \"\\u003ca\\u0026\\u2028é\"\n}";
        let mut config = Config::parse(text).unwrap();
        assert_eq!(config.to_text().unwrap(), text);
        config.set("Gateway.NoFetch", json!(true)).unwrap();
        config.remove("Gateway.NoFetch");
        assert_eq!(config.to_text().unwrap(), text);
    }

    #[test]
    fn bad_documents_are_refused() {
        for text in ["", "{", "[]", "null", "{} x", "{\"Bootstrap\": 1}"] {
            assert!(Config::parse(text).is_err(), "{text}");
        }
        assert!(Config::parse(&"[".repeat(100_000)).is_err());
        assert!(matches!(
            Config::parse(&" ".repeat(MAX_CONFIG_BYTES + 1)),
            Err(FileError::TooLarge)
        ));
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let mut config = config(json!({"Gateway": {"NoFetch": false}, "Swarm": null}));
        let before = config.clone();
        assert!(config.set("Gateway.NoFetch", json!("yes")).is_err());
        assert!(config.set("Gateway.Nope", json!(1)).is_err());
        let mut deep = json!(1);
        for _ in 0..200 {
            deep = json!([deep]);
        }
        assert!(config.set("Plugins.Plugins.x.Config", deep).is_err());
        assert_eq!(config, before);
    }

    #[test]
    fn set_makes_what_is_missing_and_returns_the_old() {
        let mut config = config(json!({"Swarm": null}));
        assert_eq!(config.set("Swarm.ConnMgr.LowWater", json!(10)).unwrap(), None);
        assert_eq!(config.set("Swarm.ConnMgr.LowWater", json!(20)).unwrap(), Some(json!(10)));
        assert_eq!(config.get("Swarm.ConnMgr.LowWater"), Some(&json!(20)));
        assert_eq!(config.get("swarm.ConnMgr.LowWater"), None);
        assert_eq!(config.remove("Swarm.ConnMgr.LowWater"), Some(json!(20)));
        assert_eq!(config.remove("Swarm.ConnMgr.LowWater"), None);
    }

    #[test]
    fn a_missing_key_is_told_from_one_without_keys() {
        let config = config(json!({"Gateway": {"NoFetch": false}}));
        assert_eq!(config.require("Gateway.NoFetch").unwrap(), &json!(false));
        assert_eq!(config.require("Gateway.X.Y").unwrap_err().to_string(), "Gateway.X not found");
        assert_eq!(
            config.require("Gateway.NoFetch.Y").unwrap_err().to_string(),
            "Gateway.NoFetch key is not a map"
        );
    }

    #[test]
    fn typed_reads_fold_case_and_treat_null_as_unset() {
        let config = config(json!({
            "addresses": {"api": "/ip4/127.0.0.1/tcp/5001", "Gateway": ""},
            "Addresses2": null,
            "Swarm": {"ConnMgr": {"GracePeriod": "1m0s", "LowWater": 5, "SilencePeriod": ""}},
            "Provide": {"DHT": {"Interval": "-1s"}},
            "Import": {"UnixFSHAMTDirectorySizeThreshold": 1024, "UnixFSRawLeaves": null},
        }));
        assert_eq!(config.list("Addresses.API"), Some(vec!["/ip4/127.0.0.1/tcp/5001".to_owned()]));
        assert_eq!(config.list("Addresses.Gateway"), Some(Vec::new()));
        assert_eq!(config.list("Addresses.Swarm"), None);
        assert_eq!(
            config.span("Swarm.ConnMgr.GracePeriod").unwrap(),
            Some(Duration::from_secs(60))
        );
        assert_eq!(config.span("Swarm.ConnMgr.SilencePeriod").unwrap(), None);
        assert!(config.span("Provide.DHT.Interval").is_err());
        assert_eq!(
            config.size_bytes("Import.UnixFSHAMTDirectorySizeThreshold").unwrap(),
            Some(1024)
        );
        assert_eq!(config.flag("Import.UnixFSRawLeaves"), None);
        assert_eq!(config.int("Swarm.ConnMgr.LowWater"), Some(5));
    }

    #[test]
    fn debug_shows_no_values() {
        let config = config(json!({"Identity": {"PrivKey": "SECRET"}}));
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
