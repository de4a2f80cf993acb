//! The header of a CAR: a small dag-cbor map, read and written without the general codec.
//!
//! That codec builds a tree of up to 48 bytes for a byte of input: with headers of up to 32 MiB,
//! which a stranger sends before any block can be checked, that would be too much. Here memory is
//! the roots themselves, of which there are at most [`ROOTS_MAX`].
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::Bytes;

use crate::ipld::cid::{self, Cid};

/// Most roots of one CAR: each may become a pin, and all of them are in memory until the end.
pub const ROOTS_MAX: u64 = 1 << 18;

/// Major types of CBOR.
mod major {
    pub const UNSIGNED: u8 = 0;
    pub const BYTES: u8 = 2;
    pub const TEXT: u8 = 3;
    pub const LIST: u8 = 4;
    pub const MAP: u8 = 5;
    pub const TAG: u8 = 6;
}
/// The tag of a CID in dag-cbor.
const LINK: u64 = 42;

/// What a header says.
#[derive(Debug)]
pub struct Header {
    pub version: u64,
    /// `None` in the pragma of a CARv2, which has no such field.
    pub roots: Option<Vec<Cid>>,
}

/// An offset in the header, and what is wrong there.
type Fault = (usize, String);

/// Reads a whole header.
pub fn parse(bytes: &[u8]) -> Result<Header, Fault> {
    let mut cursor = Cursor { bytes, at: 0 };
    let (mut version, mut roots) = (None, None);
    for _ in 0..cursor.number(major::MAP, "a map")? {
        let at = cursor.at;
        match cursor.text()? {
            b"version" if version.is_none() => {
                version = Some(cursor.number(major::UNSIGNED, "a version number")?);
            }
            b"roots" if roots.is_none() => roots = Some(cursor.roots()?),
            key => {
                let key: String = String::from_utf8_lossy(key).chars().take(40).collect();
                return Err((at, format!("unexpected or repeated field {key:?}")));
            }
        }
    }
    if cursor.at != bytes.len() {
        return Err((cursor.at, "something follows it".into()));
    }
    let version = version.ok_or_else(|| (0, "it has no version".to_owned()))?;
    Ok(Header { version, roots })
}

/// Writes the header of a CARv1, canonically.
pub fn write(roots: &[Cid]) -> Bytes {
    let mut out = Vec::new();
    put_head(&mut out, major::MAP, 2);
    put_head(&mut out, major::TEXT, 5);
    out.extend_from_slice(b"roots");
    put_head(&mut out, major::LIST, roots.len() as u64);
    for root in roots {
        let name = root.to_bytes();
        put_head(&mut out, major::TAG, LINK);
        put_head(&mut out, major::BYTES, name.len().saturating_add(1) as u64);
        out.push(0);
        out.extend_from_slice(&name);
    }
    put_head(&mut out, major::TEXT, 7);
    out.extend_from_slice(b"version");
    put_head(&mut out, major::UNSIGNED, 1);
    let mut framed = Vec::with_capacity(out.len().saturating_add(5));
    super::put_varint(&mut framed, out.len() as u64);
    framed.extend_from_slice(&out);
    framed.into()
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| (self.at, "it ends too early".to_owned()))?;
        self.at = self.at.saturating_add(count);
        Ok(taken)
    }

    /// The number in the head of an item of this major type. Wider heads than needed are taken, as
    /// everywhere in dag-cbor here; items of unknown length are not.
    fn number(&mut self, wanted: u8, what: &str) -> Result<u64, Fault> {
        let at = self.at;
        let first = self.take(1)?.first().copied().unwrap_or_default();
        if first >> 5 != wanted {
            return Err((at, format!("expected {what}")));
        }
        let width = match first & 0x1f {
            small @ 0..24 => return Ok(small.into()),
            24 => 1,
            25 => 2,
            26 => 4,
            27 => 8,
            _ => return Err((at, format!("expected {what} of known length"))),
        };
        Ok(self.take(width)?.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte)))
    }

    fn text(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.number(major::TEXT, "the name of a field")?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn roots(&mut self) -> Result<Vec<Cid>, Fault> {
        let at = self.at;
        let count = self.number(major::LIST, "a list of roots")?;
        if count > ROOTS_MAX {
            return Err((at, format!("{count} roots, at most {ROOTS_MAX} are read")));
        }
        let mut roots = Vec::new();
        for _ in 0..count {
            roots.push(self.link()?);
        }
        Ok(roots)
    }

    fn link(&mut self) -> Result<Cid, Fault> {
        let at = self.at;
        let fault = |cause: String| (at, format!("a root is not a CID: {cause}"));
        if self.number(major::TAG, "a CID as root")? != LINK {
            return Err(fault("the tag is not 42".into()));
        }
        let length = self.number(major::BYTES, "the bytes of a CID")?;
        match self.take(usize::try_from(length).unwrap_or(usize::MAX))? {
            [0, name @ ..] => cid::from_bytes(name).map_err(|e| fault(e.to_string())),
            _ => Err(fault("its bytes do not begin with 0".into())),
        }
    }
}

fn put_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let top = major << 5;
    match value {
        0..24 => out.push(top | value as u8),
        24..=0xff => out.extend_from_slice(&[top | 24, value as u8]),
        0x100..=0xffff => {
            out.push(top | 25);
            out.extend_from_slice(&(value as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(top | 26);
            out.extend_from_slice(&(value as u32).to_be_bytes());
        }
        _ => {
            out.push(top | 27);
            out.extend_from_slice(&value.to_be_bytes());
        }
    }
}
