//! One pin, and its row's value as bytes.
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
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{StoreError, damaged, keys};
use crate::ipld::cid::Cid;

/// Longest name of a pin, in bytes (Kubo's limit).
pub const NAME_MAX_BYTES: usize = 255;
/// Longest owner of a pin, in bytes.
pub const OWNER_MAX_BYTES: usize = 64;
/// Labels of one pin.
pub const LABELS_MAX: usize = 32;
/// Longest key of a label, in bytes; none is empty.
pub const LABEL_KEY_MAX_BYTES: usize = 64;
/// Longest value of a label, in bytes.
pub const LABEL_VALUE_MAX_BYTES: usize = 256;
/// All labels of one pin, keys and values together, in bytes.
pub const LABELS_MAX_BYTES: usize = 4096;
/// Latest time at which a pin can expire, in seconds since 1970: the last second of the year 9999,
/// beyond which times have no text.
pub const EXPIRES_MAX: u64 = 253_402_300_799;

/// First byte of a row's value: how the rest is laid out.
const FORM: u8 = 1;
/// Flag: the block alone is kept.
const DIRECT: u8 = 1;
/// Flag: the time of expiry follows that of making.
const EXPIRES: u8 = 2;
/// Flag: labels follow the name.
const LABELS: u8 = 4;

/// How far a pin reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The block and everything below it.
    Recursive,
    /// The block alone.
    Direct,
}

/// One pin. A CID has at most one of each owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// What is kept.
    pub cid: Cid,
    /// How far.
    pub mode: Mode,
    /// What somebody calls it; empty for none.
    pub name: String,
    /// For whom it is kept; empty for the node's own user. At most [`OWNER_MAX_BYTES`], no zero
    /// byte.
    pub owner: String,
    /// What else somebody says of it. See [`Self::labelled`].
    pub labels: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// From when on it may be released, in seconds since 1970; `None` for never. Until it is
    /// released it holds what it holds.
    pub expires: Option<u64>,
}

impl Pin {
    /// A pin made now, the node's own, without labels, for good.
    ///
    /// # Errors
    /// [`StoreError::Pin`] for a name that is too long or holds a zero byte.
    pub fn new(cid: Cid, mode: Mode, name: &str) -> Result<Self, StoreError> {
        Self::check_name(name)?;
        let (owner, labels) = (String::new(), BTreeMap::new());
        let name = name.to_owned();
        Ok(Self { cid, mode, name, owner, labels, created: now(), expires: None })
    }

    /// Whether a pin may be called this.
    ///
    /// # Errors
    /// [`StoreError::Pin`] for a name that is too long or holds a zero byte.
    pub fn check_name(name: &str) -> Result<(), StoreError> {
        match is_name(name) {
            true => Ok(()),
            false => Err(refuse("name", name, NAME_MAX_BYTES)),
        }
    }

    /// The same for somebody else.
    ///
    /// # Errors
    /// [`StoreError::Pin`] for an owner that is too long or holds a zero byte.
    pub fn owned_by(self, owner: &str) -> Result<Self, StoreError> {
        match is_owner(owner) {
            true => Ok(Self { owner: owner.to_owned(), ..self }),
            false => Err(refuse("owner", owner, OWNER_MAX_BYTES)),
        }
    }

    /// The same with these labels, and no others.
    ///
    /// # Errors
    /// [`StoreError::Pin`] for more than [`LABELS_MAX`] or [`LABELS_MAX_BYTES`], a key that is empty
    /// or longer than [`LABEL_KEY_MAX_BYTES`], a value longer than [`LABEL_VALUE_MAX_BYTES`].
    pub fn labelled(self, labels: BTreeMap<String, String>) -> Result<Self, StoreError> {
        for (key, value) in &labels {
            if !is_label(key, value) {
                let shown: String = key.chars().take(40).collect();
                return Err(StoreError::Pin(format!(
                    "invalid label {shown:?}: a key has 1 to {LABEL_KEY_MAX_BYTES} bytes, a value \
                     at most {LABEL_VALUE_MAX_BYTES}"
                )));
            }
        }
        if !are_few(&labels) {
            return Err(StoreError::Pin(format!(
                "too many labels: at most {LABELS_MAX}, together at most {LABELS_MAX_BYTES} bytes"
            )));
        }
        Ok(Self { labels, ..self })
    }

    /// The same until then, in seconds since 1970; for good with `None`.
    ///
    /// # Errors
    /// [`StoreError::Pin`] for a time after [`EXPIRES_MAX`].
    pub fn expiring(self, expires: Option<u64>) -> Result<Self, StoreError> {
        match expires.is_none_or(|time| time <= EXPIRES_MAX) {
            true => Ok(Self { expires, ..self }),
            false => Err(StoreError::Pin("a pin cannot outlast the year 9999".into())),
        }
    }

    /// What this pin says, said of another CID from now on.
    #[must_use]
    pub fn moved_to(&self, cid: Cid) -> Self {
        Self { cid, created: now(), ..self.clone() }
    }

    /// The row's value; CID and owner stand in its key. Numbers big-endian: form `u8`, flags `u8`,
    /// created `u64`, with its flag the expiry `u64`, the name behind its length `u8`, and with
    /// their flag the labels: how many `u8`, then each key behind its length `u8` and value behind
    /// its length `u16`, ascending by key. One pin has one encoding.
    pub(super) fn encode(&self) -> Bytes {
        let direct = if self.mode == Mode::Direct { DIRECT } else { 0 };
        let expires = if self.expires.is_some() { EXPIRES } else { 0 };
        let labels = if self.labels.is_empty() { 0 } else { LABELS };
        let mut out = vec![FORM, direct | expires | labels];
        out.extend_from_slice(&self.created.to_be_bytes());
        out.extend(self.expires.into_iter().flat_map(u64::to_be_bytes));
        short(&mut out, &self.name);
        if !self.labels.is_empty() {
            out.push(u8::try_from(self.labels.len()).unwrap_or(u8::MAX));
        }
        for (key, value) in &self.labels {
            short(&mut out, key);
            let length = u16::try_from(value.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
        }
        out.into()
    }

    /// Reads a row.
    ///
    /// # Errors
    /// For a key or a value that [`Self::encode`] does not write.
    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        Self::parse(key, value).ok_or_else(|| damaged("pins", key))
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Self> {
        let (cid, owner) = keys::split_pin(key)?;
        let owner = text(owner).filter(|owner| is_owner(owner))?;
        let mut rest = value;
        let [form, flags] = take(&mut rest)?;
        if form != FORM || flags & !(DIRECT | EXPIRES | LABELS) != 0 {
            return None;
        }
        let mode = if flags & DIRECT == 0 { Mode::Recursive } else { Mode::Direct };
        let created = u64::from_be_bytes(take(&mut rest)?);
        let expires = match flags & EXPIRES {
            0 => None,
            _ => Some(u64::from_be_bytes(take(&mut rest)?)).filter(|time| *time <= EXPIRES_MAX),
        };
        if expires.is_none() && flags & EXPIRES != 0 {
            return None;
        }
        let name = take_short(&mut rest).filter(|name| is_name(name))?;
        let labels = match flags & LABELS {
            0 => BTreeMap::new(),
            _ => take_labels(&mut rest)?,
        };
        rest.is_empty().then_some(Self { cid, mode, name, owner, labels, created, expires })
    }
}

/// The time, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn refuse(what: &str, text: &str, most: usize) -> StoreError {
    let shown: String = text.chars().take(40).collect();
    StoreError::Pin(format!("invalid pin {what} {shown:?}: at most {most} bytes, none zero"))
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_MAX_BYTES && !name.contains('\0')
}

fn is_owner(owner: &str) -> bool {
    owner.len() <= OWNER_MAX_BYTES && !owner.contains('\0')
}

fn is_label(key: &str, value: &str) -> bool {
    let keyed = (1..=LABEL_KEY_MAX_BYTES).contains(&key.len());
    keyed && value.len() <= LABEL_VALUE_MAX_BYTES
}

fn are_few(labels: &BTreeMap<String, String>) -> bool {
    let bytes = labels.iter().flat_map(|(key, value)| [key.len(), value.len()]);
    labels.len() <= LABELS_MAX && bytes.sum::<usize>() <= LABELS_MAX_BYTES
}

/// Adds a text of at most 255 bytes behind its length.
fn short(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*taken)
}

fn take_text(rest: &mut &[u8], length: usize) -> Option<String> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    text(taken)
}

fn take_short(rest: &mut &[u8]) -> Option<String> {
    let [length] = take(rest)?;
    take_text(rest, usize::from(length))
}

/// Labels as they are written: some, within the bounds, each key after the one before.
fn take_labels(rest: &mut &[u8]) -> Option<BTreeMap<String, String>> {
    let [count] = take(rest)?;
    let mut labels = BTreeMap::new();
    for _ in 0..count {
        let key = take_short(rest)?;
        let length = u16::from_be_bytes(take(rest)?);
        let value = take_text(rest, usize::from(length))?;
        let follows = labels.last_key_value().is_none_or(|(last, _)| *last < key);
        if !follows || !is_label(&key, &value) {
            return None;
        }
        labels.insert(key, value);
    }
    (!labels.is_empty() && are_few(&labels)).then_some(labels)
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::ipld::cid::{self, codec};

    fn any_text(rng: &mut StdRng, least: usize, most: usize) -> String {
        let length = rng.random_range(least..=most);
        (0..length).map(|_| char::from(rng.random_range(1..=127u8))).collect()
    }

    fn any_pin(rng: &mut StdRng) -> Pin {
        let mut bytes = [0; 32];
        rng.fill_bytes(&mut bytes);
        let hash = cid::digest(0x12, &bytes).unwrap();
        let cid = match rng.random_range(0..3) {
            0 => Cid::new_v0(hash).unwrap(),
            1 => Cid::new_v1(codec::DAG_PB, hash),
            _ => Cid::new_v1(rng.random(), hash),
        };
        let mode = if rng.random() { Mode::Recursive } else { Mode::Direct };
        let (most, labels) = (rng.random_range(0..=NAME_MAX_BYTES), rng.random_range(0..=12));
        let name = any_text(rng, 0, most);
        let labels = (0..labels).map(|_| (any_text(rng, 1, 64), any_text(rng, 0, 256)));
        let labels = labels.collect();
        let expires = rng.random::<bool>().then(|| rng.random_range(0..=EXPIRES_MAX));
        let pin = Pin::new(cid, mode, &name).unwrap().labelled(labels).unwrap();
        let owner = if rng.random() { any_text(rng, 0, OWNER_MAX_BYTES) } else { String::new() };
        let pin = pin.owned_by(&owner).unwrap().expiring(expires).unwrap();
        Pin { created: rng.random(), ..pin }
    }

    #[test]
    fn every_pin_reads_back_and_has_one_encoding() {
        let mut rng = StdRng::seed_from_u64(4);
        for _ in 0..2_000 {
            let pin = any_pin(&mut rng);
            let (key, value) = (keys::pin_of(&pin.cid, &pin.owner), pin.encode());
            assert_eq!(Pin::decode(&key, &value).unwrap(), pin);
            // Whatever is made of it is refused, or is the encoding of what it reads as.
            for _ in 0..20 {
                let mut value = value.to_vec();
                let at = rng.random_range(0..value.len());
                match rng.random_range(0..3) {
                    0 => value.truncate(at),
                    1 => value[at] ^= 1 << rng.random_range(0..8),
                    _ => value.insert(at, rng.random()),
                }
                if let Ok(read) = Pin::decode(&key, &value) {
                    assert_eq!(read.encode(), value);
                }
            }
        }
    }

    #[test]
    fn bytes_that_are_no_row_are_refused() {
        let mut rng = StdRng::seed_from_u64(5);
        let pin = any_pin(&mut rng);
        let key = keys::pin_of(&pin.cid, &pin.owner);
        for _ in 0..20_000 {
            let mut bytes = vec![0; rng.random_range(0..80)];
            rng.fill_bytes(&mut bytes);
            if let Some(form) = bytes.first_mut() {
                *form = rng.random_range(0..3);
            }
            if let Ok(read) = Pin::decode(&key, &bytes) {
                assert_eq!(read.encode(), bytes);
            }
            if let Ok(read) = Pin::decode(&bytes, &pin.encode()) {
                assert_eq!(keys::pin_of(&read.cid, &read.owner), bytes);
            }
            let mut cut = key.to_vec();
            cut.truncate(rng.random_range(0..=key.len()));
            if let Ok(read) = Pin::decode(&cut, &pin.encode()) {
                assert_eq!(keys::pin_of(&read.cid, &read.owner), cut);
            }
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let cid = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let pin = || Pin::new(cid, Mode::Recursive, "").unwrap();
        assert!(Pin::new(cid, Mode::Direct, &"n".repeat(255)).is_ok());
        assert!(Pin::new(cid, Mode::Direct, &"n".repeat(256)).is_err());
        assert!(Pin::new(cid, Mode::Direct, "a\0b").is_err());
        assert!(pin().owned_by(&"o".repeat(64)).is_ok());
        assert!(pin().owned_by(&"o".repeat(65)).is_err() && pin().owned_by("\0").is_err());
        assert!(pin().expiring(Some(EXPIRES_MAX)).is_ok());
        assert!(pin().expiring(Some(EXPIRES_MAX + 1)).is_err());
        let labels = |count: usize, key: usize, value: usize| {
            let label = |n| (format!("{n:0>key$}"), "v".repeat(value));
            pin().labelled((0..count).map(label).collect())
        };
        assert!(
            labels(32, 2, 0).is_ok() && labels(16, 64, 192).is_ok() && labels(1, 64, 256).is_ok()
        );
        assert!(labels(33, 2, 0).is_err() && labels(16, 64, 193).is_err());
        assert!(labels(1, 65, 0).is_err() && labels(1, 1, 257).is_err());
        assert!(pin().labelled([(String::new(), String::new())].into()).is_err());
    }
}
