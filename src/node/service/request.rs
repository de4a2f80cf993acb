//! One request of a tenant to pin a DAG: what was asked, and how far it is.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::BTreeMap;

use super::super::Error;
use crate::clock;
use crate::ipld::cid::{self, Cid, CidError};
pub use crate::remote::{NAME_MAX_CHARS, ORIGINS_MAX, Status};
use crate::store::pin::EXPIRES_MAX;

/// Entries of one request's meta.
pub const META_MAX: usize = 1000;

/// Longest origin, in bytes: the longest address in use, a relayed one with certificates, has a third.
pub const ORIGIN_MAX_BYTES: usize = 1024;
/// Longest key of meta, in bytes.
pub const META_KEY_MAX_BYTES: usize = 1024;
/// Longest value of meta, in bytes.
pub const META_VALUE_MAX_BYTES: usize = 16 << 10;
/// Name, origins and meta of one request together, in bytes.
pub const TEXT_MAX_BYTES: usize = 64 << 10;

/// What a tenant asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinAsk {
    /// The root of the DAG.
    pub cid: Cid,
    /// The same as it was written.
    pub written: String,
    /// What the tenant calls it; empty for none.
    pub name: String,
    /// Multiaddrs of peers that may have it.
    pub origins: Vec<String>,
    /// What else the tenant says of it. `priority` (-100 to 100), `expires` (RFC 3339) and
    /// `expire-in` (`90s`, `12h`, `30d`) mean something here.
    pub meta: BTreeMap<String, String>,
}

impl PinAsk {
    /// An ask for a DAG and nothing else.
    ///
    /// # Errors
    /// [`CidError`] when the text is no CID of a block that could be fetched.
    pub fn new(text: &str) -> Result<Self, CidError> {
        let cid = cid::parse(text)?;
        Ok(Self {
            cid,
            written: text.to_owned(),
            name: String::new(),
            origins: Vec::new(),
            meta: BTreeMap::new(),
        })
    }

    /// Whether all of it lies within the bounds of this file, and what means something here can be
    /// read.
    ///
    /// # Errors
    /// [`Error::Invalid`] names the first part that does not.
    pub fn check(&self) -> Result<(), Error> {
        let refuse = |text: String| Err(Error::Invalid(text));
        if self.name.chars().count() > NAME_MAX_CHARS {
            return refuse(format!("name: more than {NAME_MAX_CHARS} characters"));
        }
        if self.origins.len() > ORIGINS_MAX {
            return refuse(format!("origins: more than {ORIGINS_MAX}"));
        }
        if self.origins.iter().any(|origin| origin.len() > ORIGIN_MAX_BYTES) {
            return refuse(format!("origins: one has more than {ORIGIN_MAX_BYTES} bytes"));
        }
        if self.meta.len() > META_MAX {
            return refuse(format!("meta: more than {META_MAX} entries"));
        }
        for (key, value) in &self.meta {
            if key.len() > META_KEY_MAX_BYTES || value.len() > META_VALUE_MAX_BYTES {
                let shown: String = key.chars().take(40).collect();
                return refuse(format!(
                    "meta: {shown:?}: a key has at most {META_KEY_MAX_BYTES} bytes, a value at most \
                     {META_VALUE_MAX_BYTES}"
                ));
            }
        }
        let meta = self.meta.iter().flat_map(|(key, value)| [key.len(), value.len()]);
        let texts = self.origins.iter().map(String::len).chain(meta).sum::<usize>();
        if texts.saturating_add(self.name.len()) > TEXT_MAX_BYTES {
            return refuse(format!("name, origins and meta: more than {TEXT_MAX_BYTES} bytes"));
        }
        self.expires(0).and(self.priority().map(drop))
    }

    /// Where it stands among the tenant's own: higher ones are fetched first.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything but -100 to 100.
    pub fn priority(&self) -> Result<i8, Error> {
        priority_of(&self.meta)
            .ok_or_else(|| Error::Invalid("meta: priority: not a number of -100 to 100".into()))
    }

    /// From when on it may be released, in seconds since 1970, when it is made at `now`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for texts that are no time or span of time, or for both of them.
    pub fn expires(&self, now: u64) -> Result<Option<u64>, Error> {
        let bad = |text: &str| Error::Invalid(format!("meta: {text}"));
        let time = match (self.meta.get("expires"), self.meta.get("expire-in")) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => return Err(bad("expires and expire-in: one of them, not both")),
            (Some(text), None) => clock::moment(text)
                .and_then(|(seconds, _)| u64::try_from(seconds).ok())
                .ok_or_else(|| bad("expires: not a time as 2030-01-31T12:00:00Z"))?,
            (None, Some(text)) => {
                let span = clock::span(text);
                span.ok_or_else(|| bad("expire-in: not a span of time as 90s, 12h or 30d"))?
                    .as_secs()
                    .saturating_add(now)
            }
        };
        match time <= EXPIRES_MAX {
            true => Ok(Some(time)),
            false => Err(bad("a pin cannot outlast the year 9999")),
        }
    }
}

/// The priority that meta tells, 0 without one; `None` for what is no priority.
pub(super) fn priority_of(meta: &BTreeMap<String, String>) -> Option<i8> {
    let Some(text) = meta.get("priority") else { return Some(0) };
    text.parse().ok().filter(|priority| (-100..=100).contains(priority))
}

/// A request as a tenant sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it is called from now on; nobody can guess another's.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// When it was made, in microseconds since 1970: no two requests of a tenant have the same, and
    /// all are whole milliseconds, for there are clients that know no finer time and page by it.
    pub created: u64,
    /// The CID as it was written.
    pub cid: String,
    /// As asked.
    pub name: String,
    /// As asked.
    pub origins: Vec<String>,
    /// As asked.
    pub meta: BTreeMap<String, String>,
    /// What this node says of it.
    pub info: BTreeMap<String, String>,
}

/// The name of a request: its time and a random number, in the form of a UUID.
pub(super) fn id(created: u64, random: u64) -> String {
    let hex = format!("{created:016x}{random:016x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    [part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32)].join("-")
}

/// Time and number of such a name; `None` for any other text.
pub(super) fn split_id(text: &str) -> Option<(u64, u64)> {
    let hex: String = text.split('-').collect();
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    let number = |part: &str| u64::from_str_radix(part, 16).ok();
    let (created, random) = (number(hex.get(..16)?)?, number(hex.get(16..)?)?);
    // One name each: no other case, no other places of hyphens.
    (id(created, random) == text).then_some((created, random))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask() -> PinAsk {
        PinAsk::new("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku").unwrap()
    }

    fn with(meta: &[(&str, &str)]) -> PinAsk {
        let meta = meta.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        PinAsk { meta, ..ask() }
    }

    #[test]
    fn an_id_has_one_spelling() {
        for (created, random) in [(0, 0), (1_800_000_000_000_000, u64::MAX), (u64::MAX, 1)] {
            let text = id(created, random);
            assert_eq!((text.len(), split_id(&text)), (36, Some((created, random))));
            assert!(text == text.to_uppercase() || split_id(&text.to_uppercase()).is_none());
            assert_eq!(split_id(&text.replace('-', "")), None);
        }
        for text in ["", "-", "é", "x", &"é".repeat(16), &"+".repeat(32), &"0".repeat(33)] {
            assert_eq!(split_id(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        assert!(ask().check().is_ok());
        let named = |ask: PinAsk| ask.check().unwrap_err().to_string();
        assert!(PinAsk { name: "é".repeat(255), ..ask() }.check().is_ok());
        assert!(named(PinAsk { name: "é".repeat(256), ..ask() }).starts_with("name: "));
        assert!(
            named(PinAsk { origins: vec![String::new(); 21], ..ask() }).starts_with("origins: ")
        );
        assert!(
            named(PinAsk { origins: vec!["o".repeat(1025)], ..ask() }).starts_with("origins: ")
        );
        assert!(named(with(&[("k", &"v".repeat((16 << 10) + 1))])).starts_with("meta: \"k\""));
        let many = (0..1001).map(|n| (n.to_string(), String::new())).collect();
        assert!(named(PinAsk { meta: many, ..ask() }).starts_with("meta: "));
        let long = (0..5).map(|n| (n.to_string(), "v".repeat(16 << 10))).collect();
        assert!(named(PinAsk { meta: long, ..ask() }).contains("65536 bytes"));
    }

    #[test]
    fn priorities_and_expiries_are_read() {
        assert_eq!(with(&[("priority", "-100")]).priority().unwrap(), -100);
        assert_eq!(ask().priority().unwrap(), 0);
        for bad in ["101", "-101", "1.5", "", "high"] {
            assert!(with(&[("priority", bad)]).check().is_err(), "{bad}");
        }
        assert_eq!(with(&[("expire-in", "90s")]).expires(10).unwrap(), Some(100));
        assert_eq!(with(&[("expire-in", "2d")]).expires(0).unwrap(), Some(172_800));
        let until = with(&[("expires", "2030-01-31T12:00:00Z")]);
        assert_eq!(until.expires(7).unwrap(), Some(1_896_091_200));
        let both = with(&[("expires", "2030-01-31T12:00:00Z"), ("expire-in", "1h")]);
        assert!(both.check().is_err());
        for bad in ["", "s", "-1s", "+1s", "1", "1w", "1.5h", "99999999999999999999d", "é"] {
            assert!(with(&[("expire-in", bad)]).check().is_err(), "{bad}");
        }
        for bad in ["", "tomorrow", "1969-01-01T00:00:00Z", "2030-01-31"] {
            assert!(with(&[("expires", bad)]).check().is_err(), "{bad}");
        }
        assert!(with(&[("expire-in", "9000000d")]).check().is_err());
    }
}
