//! The row of a request as bytes. What every look at a tenant needs stands first; a row is written by
//! this file alone, and whatever else is there is damage.
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

use bytes::{Buf as _, Bytes};

use super::end::Hold;
use super::request::Status;
use crate::ipld::cid::{self, Cid};

/// First byte of a row: how the rest is laid out.
const FORM: u8 = 1;
/// The same with a byte behind the tries: why the node keeps the request waiting.
const HELD: u8 = 2;
/// Longest reason that is kept, in bytes.
const REASON_MAX_BYTES: usize = 1024;

/// What is kept of a request beside when it was made, which stands in its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub status: Status,
    /// Tries that came to nothing.
    pub tries: u8,
    /// Why it waits when that is the node's doing, and no try of its own.
    pub hold: Option<Hold>,
    /// The part of its id that nobody can guess.
    pub random: u64,
    /// Not to be tried before, in seconds since 1970; 0 for at once.
    pub not_before: u64,
    /// When it is released, in seconds since 1970; 0 for never.
    pub expires: u64,
    /// Bytes and blocks of its DAG, once they are known.
    pub bytes: u64,
    pub blocks: u64,
    /// As it was written.
    pub cid: String,
    /// A DAG that is held until this one is here, or cannot be had: that of the request replaced.
    pub keeps: Option<Cid>,
    pub name: String,
    /// Why it failed, or failed last.
    pub reason: String,
    pub origins: Vec<String>,
    pub meta: BTreeMap<String, String>,
}

impl Row {
    /// The CID.
    pub fn parsed(&self) -> Option<Cid> {
        cid::parse(&self.cid).ok()
    }

    /// Says why it failed, cut where it is too long.
    pub fn because(&mut self, reason: &str) {
        self.reason = cut(reason).to_owned();
    }

    /// Waits for the node, until a time in seconds since 1970.
    pub fn held(&mut self, hold: Hold, until: u64) {
        (self.hold, self.not_before) = (Some(hold), until);
        self.because(hold.reason());
    }

    /// Form, status, tries, with the second form the hold (`u8` each), random, not before, expires, bytes, blocks (`u64` each), then
    /// texts, each behind its length `u16`: CID, what is kept (binary), name, reason; how many
    /// origins `u16`, they; how many entries of meta `u16`, each key and value.
    pub fn encode(&self) -> Bytes {
        let form = if self.hold.is_some() { HELD } else { FORM };
        let mut out = vec![form, self.status as u8, self.tries];
        out.extend(self.hold.map(|hold| hold as u8));
        for number in [self.random, self.not_before, self.expires, self.bytes, self.blocks] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        let keeps = self.keeps.map(|cid| cid.to_bytes()).unwrap_or_default();
        put(&mut out, self.cid.as_bytes());
        put(&mut out, &keeps);
        put(&mut out, self.name.as_bytes());
        put(&mut out, self.reason.as_bytes());
        out.extend_from_slice(&short(self.origins.len()).to_be_bytes());
        self.origins.iter().for_each(|origin| put(&mut out, origin.as_bytes()));
        out.extend_from_slice(&short(self.meta.len()).to_be_bytes());
        for (key, value) in &self.meta {
            put(&mut out, key.as_bytes());
            put(&mut out, value.as_bytes());
        }
        out.into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(row: &[u8]) -> Option<Self> {
        let mut rest = row;
        let mut row = head(&mut rest)?;
        row.cid = text(&mut rest)?.to_owned();
        row.keeps = match take(&mut rest)? {
            [] => None,
            bytes => Some(cid::from_bytes(bytes).ok()?),
        };
        row.name = text(&mut rest)?.to_owned();
        row.reason = text(&mut rest)?.to_owned();
        for _ in 0..rest.try_get_u16().ok()? {
            row.origins.push(text(&mut rest)?.to_owned());
        }
        for _ in 0..rest.try_get_u16().ok()? {
            let key = text(&mut rest)?.to_owned();
            row.meta.insert(key, text(&mut rest)?.to_owned());
        }
        rest.is_empty().then_some(row)
    }

    /// The part of a row that stands before its texts.
    pub fn glance(row: &[u8]) -> Option<Self> {
        head(&mut &row[..])
    }
}

/// As much of a reason as is kept.
pub(super) fn cut(reason: &str) -> &str {
    reason.get(..reason.floor_char_boundary(REASON_MAX_BYTES)).unwrap_or_default()
}

/// What stands before the texts.
fn head(rest: &mut &[u8]) -> Option<Row> {
    let (form, status) = (rest.try_get_u8().ok()?, rest.try_get_u8().ok()?);
    let tries = rest.try_get_u8().ok()?;
    let hold = match form {
        FORM => None,
        HELD => Some(Hold::of(rest.try_get_u8().ok()?)?),
        _ => return None,
    };
    Some(Row {
        status: *Status::ALL.get(usize::from(status))?,
        tries,
        hold,
        random: rest.try_get_u64().ok()?,
        not_before: rest.try_get_u64().ok()?,
        expires: rest.try_get_u64().ok()?,
        bytes: rest.try_get_u64().ok()?,
        blocks: rest.try_get_u64().ok()?,
        cid: String::new(),
        keeps: None,
        name: String::new(),
        reason: String::new(),
        origins: Vec::new(),
        meta: BTreeMap::new(),
    })
}

/// Whether a row has such a name, and a meta with all these entries, without reading the rest of it.
pub(super) fn fits(
    row: &[u8],
    named: impl FnOnce(&str) -> bool,
    wanted: &BTreeMap<String, String>,
) -> Option<bool> {
    let mut rest = row;
    head(&mut rest)?;
    let [_cid, _keeps] = [take(&mut rest)?, take(&mut rest)?];
    if !named(text(&mut rest)?) {
        return Some(false);
    }
    if wanted.is_empty() {
        return Some(true);
    }
    let _reason = take(&mut rest)?;
    for _ in 0..rest.try_get_u16().ok()? {
        take(&mut rest)?;
    }
    let mut found = 0_usize;
    for _ in 0..rest.try_get_u16().ok()? {
        let (key, value) = (text(&mut rest)?, take(&mut rest)?);
        // No key stands there twice.
        if wanted.get(key).is_some_and(|wanted| wanted.as_bytes() == value) {
            found = found.saturating_add(1);
        }
    }
    Some(found == wanted.len())
}

/// No request has more parts, nor longer ones, than this can tell.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    let bytes = bytes.get(..usize::from(u16::MAX)).unwrap_or(bytes);
    out.extend_from_slice(&short(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::from(rest.try_get_u16().ok()?);
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take(rest)?).ok()
}

#[cfg(test)]
mod tests {
    use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    fn any_text(rng: &mut StdRng, most: usize) -> String {
        (0..rng.random_range(0..=most)).map(|_| rng.random::<char>()).collect()
    }

    fn any_row(rng: &mut StdRng) -> Row {
        let cid = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let texts = |rng: &mut StdRng, most| (0..rng.random_range(0..most)).map(|_| ()).len();
        let (origins, meta) = (texts(rng, 5), texts(rng, 9));
        Row {
            status: Status::ALL[rng.random_range(0..4)],
            tries: rng.random(),
            hold: [None, Some(Hold::Full), Some(Hold::Offline)][rng.random_range(0..3)],
            random: rng.random(),
            not_before: rng.random(),
            expires: rng.random(),
            bytes: rng.random(),
            blocks: rng.random(),
            cid: cid.to_string(),
            keeps: rng.random::<bool>().then_some(cid),
            name: any_text(rng, 255),
            reason: any_text(rng, 90),
            origins: (0..origins).map(|_| any_text(rng, 60)).collect(),
            meta: (0..meta).map(|_| (any_text(rng, 9), any_text(rng, 40))).collect(),
        }
    }

    #[test]
    fn rows_read_back_and_nothing_else_does() {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..2_000 {
            let row = any_row(&mut rng);
            let bytes = row.encode();
            assert_eq!(Row::decode(&bytes).as_ref(), Some(&row));
            assert_eq!(Row::glance(&bytes).map(|row| row.random), Some(row.random));
            let mut some = row.meta.clone();
            some.retain(|_, _| rng.random());
            let has_meta = |bytes: &[u8], some: &BTreeMap<_, _>| fits(bytes, |_| true, some);
            assert_eq!(has_meta(&bytes, &some), Some(true));
            assert_eq!(fits(&bytes, |name| name == row.name, &some), Some(true));
            assert_eq!(fits(&bytes, |name| name != row.name, &some), Some(false));
            some.insert("no such key of ten".into(), String::new());
            assert_eq!(has_meta(&bytes, &some), Some(false));
            // Whatever is made of it reads as nothing, or as what is written so.
            let mut bytes = bytes.to_vec();
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..2) {
                0 => bytes.truncate(at),
                _ => bytes[at] ^= 1 << rng.random_range(0..8),
            }
            let _ = (Row::decode(&bytes), has_meta(&bytes, &some));
            let mut noise = vec![0; rng.random_range(0..90)];
            rng.fill_bytes(&mut noise);
            let _ = (Row::decode(&noise), Row::glance(&noise), has_meta(&noise, &some));
        }
    }

    #[test]
    fn a_status_has_its_number_for_good() {
        let words = ["queued", "pinning", "pinned", "failed"];
        for (number, (status, word)) in (0u8..).zip(Status::ALL.into_iter().zip(words)) {
            assert_eq!((status as u8, status.word()), (number, word));
        }
    }

    #[test]
    fn a_row_without_a_hold_is_as_it_was_before_there_were_any() {
        let row = Row { hold: None, ..any_row(&mut StdRng::seed_from_u64(1)) };
        let bytes = row.encode();
        assert_eq!((bytes[0], &bytes[3..11]), (1, &row.random.to_be_bytes()[..]));
        let held = Row { hold: Some(Hold::Offline), ..row };
        let mut bytes = held.encode().to_vec();
        assert_eq!((bytes[0], bytes[3]), (2, 2));
        assert_eq!(Row::decode(&bytes), Some(held));
        for none in [0, 3] {
            bytes[3] = none;
            assert_eq!(Row::decode(&bytes), None);
        }
    }

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let mut row = any_row(&mut StdRng::seed_from_u64(1));
        row.because(&"é".repeat(600));
        assert_eq!(row.reason.len(), 1024);
        row.because(&format!("x{}", "é".repeat(600)));
        assert_eq!(row.reason.len(), 1023);
    }
}
