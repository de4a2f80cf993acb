//! CAR: blocks in a row, behind a header that names their roots. Reads versions 1 and 2, writes 1.
//!
//! Owns the framing. Does not hash: whether bytes are what their CID says is for `Block::verified`
//! and `Block::verified_many` to tell, and nothing from a CAR may go anywhere without it.
//!
//! Reads over [`std::io::Read`], one section at a time and never seeking: an import runs on a
//! thread of its own, and an upload or a pipe cannot go back. A section is read into memory of its
//! own, which its block then keeps, so bytes are not copied again.
//!
//! Source: ipld/ipld specs/transport/car (v1, v2); the length limits are go-car's
//! (GHSA-9x4h-8wgm-8xfg).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod header;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader, Read};

use bytes::Bytes;

use super::cid::{self, Cid};
use super::codec::dag_pb::put_varint;
use header::Header;
pub use header::ROOTS_MAX;

/// Longest header that is read, in bytes (go-car's default).
pub const HEADER_MAX_BYTES: u64 = 32 << 20;
/// Longest section that is read, CID included, in bytes (go-car's default).
pub const SECTION_MAX_BYTES: u64 = 8 << 20;
/// Bytes reserved on the word of a length alone; more is reserved as bytes arrive.
const RESERVED_MAX_BYTES: usize = 2 << 20;
/// Longest varint, in bytes (multiformats/unsigned-varint).
const VARINT_MAX_BYTES: usize = 9;
/// The fixed part of CARv2 behind its pragma, in bytes.
const V2_HEADER_BYTES: usize = 40;

/// Why bytes are not a CAR. `at` is always a byte offset from the beginning of the file.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are `at` and what the message quotes")]
pub enum CarError {
    /// The file's own trouble.
    #[error("byte {at}: {cause}")]
    Read { at: u64, cause: io::Error },
    /// The file, or the data of a CARv2, ends inside something.
    #[error("byte {at}: the data ends inside {what}")]
    Truncated { at: u64, what: &'static str },
    /// A length that is no minimal varint of at most 9 bytes.
    #[error("byte {at}: invalid length")]
    Varint { at: u64 },
    /// A header longer than [`HEADER_MAX_BYTES`].
    #[error("byte {at}: a header of {length} bytes, at most {HEADER_MAX_BYTES} are read")]
    HeaderLength { at: u64, length: u64 },
    /// A header that is not `{roots, version}` in dag-cbor.
    #[error("byte {at}: invalid header: {cause}")]
    Header { at: u64, cause: String },
    /// A version other than 1 and 2.
    #[error("byte {at}: CAR version {found} is not supported, 1 and 2 are")]
    Version { at: u64, found: u64 },
    /// A CARv2 whose data cannot be where its header says.
    #[error("byte {at}: CARv2 data of {size} bytes cannot begin at byte {offset}")]
    Data { at: u64, offset: u64, size: u64 },
    /// A section longer than [`SECTION_MAX_BYTES`].
    #[error("byte {at}: a section of {length} bytes, at most {SECTION_MAX_BYTES} are read")]
    SectionLength { at: u64, length: u64 },
    /// A section without anything in it, not even a CID: padding, or a file that was cut and filled.
    #[error("byte {at}: a section of zero bytes")]
    EmptySection { at: u64 },
    /// A section that does not begin with a CID.
    #[error("byte {at}: {cause}")]
    Cid { at: u64, cause: String },
}

impl CarError {
    /// Where it was met, in bytes from the beginning of the file.
    pub fn at(&self) -> u64 {
        match self {
            Self::Read { at, .. }
            | Self::Truncated { at, .. }
            | Self::Varint { at }
            | Self::HeaderLength { at, .. }
            | Self::Header { at, .. }
            | Self::Version { at, .. }
            | Self::Data { at, .. }
            | Self::SectionLength { at, .. }
            | Self::EmptySection { at }
            | Self::Cid { at, .. } => *at,
        }
    }
}

/// A block as it stands in a CAR. Nobody has hashed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What the CAR calls it.
    pub cid: Cid,
    /// Its bytes.
    pub data: Bytes,
    /// Where the section begins, in bytes from the beginning of the file.
    pub at: u64,
}

/// A CAR being read.
#[derive(Debug)]
pub struct CarReader<R> {
    input: BufReader<R>,
    /// Bytes taken from the input so far.
    at: u64,
    /// Where the data of a CARv2 ends; `None` for a CARv1, which ends with its file.
    end: Option<u64>,
    roots: Vec<Cid>,
    version: u64,
}

impl<R: Read> CarReader<R> {
    /// Reads up to the first section.
    ///
    /// # Errors
    /// [`CarError`], naming the offset.
    pub fn open(input: R) -> Result<Self, CarError> {
        let input = BufReader::with_capacity(64 << 10, input);
        let mut reader = Self { input, at: 0, end: None, roots: Vec::new(), version: 1 };
        let first = reader.header()?;
        if first.version == 2 && first.roots.is_none() {
            reader.version = 2;
            reader.enter_data()?;
            let at = reader.at;
            let inner = reader.header()?;
            if inner.version != 1 {
                return Err(CarError::Version { at, found: inner.version });
            }
            reader.roots = roots_of(inner, at)?;
            return Ok(reader);
        }
        if first.version != 1 {
            return Err(CarError::Version { at: 0, found: first.version });
        }
        reader.roots = roots_of(first, 0)?;
        Ok(reader)
    }

    /// The roots that the header names, in its order. None of them need be in the CAR.
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// 1 or 2.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The next section, or `None` at the end of the data. What follows the data of a CARv2 (its
    /// index) is not read.
    ///
    /// # Errors
    /// [`CarError`], naming the offset. Nothing after it can be found: do not ask again.
    pub fn next_section(&mut self) -> Result<Option<Section>, CarError> {
        if self.is_done()? {
            return Ok(None);
        }
        let at = self.at;
        let length = self.varint("the length of a section")?;
        match length {
            0 => return Err(CarError::EmptySection { at }),
            1..=SECTION_MAX_BYTES => {}
            _ => return Err(CarError::SectionLength { at, length }),
        }
        let body = self.at;
        let bytes = self.bytes(length, "a section")?;
        let malformed = |e: cid::CidError| CarError::Cid { at: body, cause: e.to_string() };
        let (cid, used) = cid::split(&bytes).map_err(malformed)?;
        Ok(Some(Section { cid, data: bytes.slice(used..), at }))
    }

    /// A header with its length.
    fn header(&mut self) -> Result<Header, CarError> {
        let at = self.at;
        let length = self.varint("the length of the header")?;
        if length > HEADER_MAX_BYTES {
            return Err(CarError::HeaderLength { at, length });
        }
        let body = self.at;
        let bytes = self.bytes(length, "the header")?;
        header::parse(&bytes).map_err(|(inside, cause)| {
            let at = body.saturating_add(inside as u64);
            CarError::Header { at, cause }
        })
    }

    /// Reads the fixed header of a CARv2 and goes to where its data begins.
    fn enter_data(&mut self) -> Result<(), CarError> {
        let at = self.at;
        let fixed = self.bytes(V2_HEADER_BYTES as u64, "the header of a CARv2")?;
        let number = |from: usize| {
            let eight = fixed.get(from..).and_then(|rest| rest.first_chunk::<8>());
            eight.map_or(0, |bytes| u64::from_le_bytes(*bytes))
        };
        // 16 bytes of characteristics come first; none of them changes how data is read.
        let (offset, size) = (number(16), number(24));
        let impossible = CarError::Data { at, offset, size };
        let Some(end) = offset.checked_add(size) else { return Err(impossible) };
        let Some(padding) = offset.checked_sub(self.at) else { return Err(impossible) };
        let mut skipped = self.input.by_ref().take(padding);
        let count = io::copy(&mut skipped, &mut io::sink());
        let count = count.map_err(|cause| CarError::Read { at: self.at, cause })?;
        self.advance(count);
        if count < padding {
            return Err(CarError::Truncated { at: self.at, what: "the padding before the data" });
        }
        self.end = Some(end);
        Ok(())
    }

    /// Whether the data ends here.
    fn is_done(&mut self) -> Result<bool, CarError> {
        match self.end {
            Some(end) => Ok(self.at >= end),
            None => Ok(self.peek()?.is_none()),
        }
    }

    /// The next byte, left where it is.
    fn peek(&mut self) -> Result<Option<u8>, CarError> {
        loop {
            match self.input.fill_buf() {
                Ok(waiting) => return Ok(waiting.first().copied()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(CarError::Read { at: self.at, cause }),
            }
        }
    }

    fn varint(&mut self, what: &'static str) -> Result<u64, CarError> {
        let at = self.at;
        let mut value = 0;
        for nth in 0..VARINT_MAX_BYTES as u32 {
            let inside = self.end.is_none_or(|end| self.at < end);
            let next = if inside { self.peek()? } else { None };
            let byte = next.ok_or(CarError::Truncated { at: self.at, what })?;
            self.input.consume(1);
            self.advance(1);
            // At most 9 groups of 7 bits: they fit in 63.
            value |= u64::from(byte & 0x7f) << nth.saturating_mul(7);
            if byte & 0x80 == 0 {
                let minimal = byte != 0 || nth == 0;
                return if minimal { Ok(value) } else { Err(CarError::Varint { at }) };
            }
        }
        Err(CarError::Varint { at })
    }

    /// Exactly `length` bytes. Memory grows with what arrives, not with what was declared.
    fn bytes(&mut self, length: u64, what: &'static str) -> Result<Bytes, CarError> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.at));
        if length > left {
            return Err(CarError::Truncated { at: self.at, what });
        }
        let reserved = usize::try_from(length).unwrap_or(usize::MAX).min(RESERVED_MAX_BYTES);
        let mut bytes = Vec::with_capacity(reserved);
        let read = self.input.by_ref().take(length).read_to_end(&mut bytes);
        self.advance(bytes.len() as u64);
        read.map_err(|cause| CarError::Read { at: self.at, cause })?;
        if (bytes.len() as u64) < length {
            return Err(CarError::Truncated { at: self.at, what });
        }
        Ok(bytes.into())
    }

    fn advance(&mut self, count: u64) {
        self.at = self.at.saturating_add(count);
    }
}

/// The roots of a CARv1 header, which must list them, even if there are none.
fn roots_of(header: Header, at: u64) -> Result<Vec<Cid>, CarError> {
    header.roots.ok_or_else(|| CarError::Header { at, cause: "it has no roots".into() })
}

/// The bytes with which a CARv1 begins.
pub fn header(roots: &[Cid]) -> Bytes {
    header::write(roots)
}

/// A section as two pieces: its head, and the data, which is not copied.
pub fn section(cid: &Cid, data: Bytes) -> [Bytes; 2] {
    let name = cid.to_bytes();
    let mut head = Vec::with_capacity(name.len().saturating_add(VARINT_MAX_BYTES));
    put_varint(&mut head, name.len().saturating_add(data.len()) as u64);
    head.extend_from_slice(&name);
    [head.into(), data]
}
