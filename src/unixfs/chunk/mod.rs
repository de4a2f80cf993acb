//! Chunkers: where a file is cut. Named as on the command line (`size-262144`).

pub mod buzhash;
pub mod defined;
pub mod fixed;
pub mod rabin;

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use super::UnixfsError;
use super::node::{Leaf, Meta, leaf_with_meta};
use defined::Defined;
use fixed::{Fixed, Framed};
use rabin::Rabin;

/// Largest chunk, in bytes: a leaf must stay below the 2 MiB that peers accept.
pub const CHUNK_MAX_BYTES: usize = (2 << 20) - 256;
/// Size of a chunk where none is given, in bytes: all of them, or the average.
const CHUNK_DEFAULT_BYTES: usize = 256 << 10;

/// A chunker and its settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunker {
    /// Every chunk has this size in bytes but the last.
    Size(usize),
    /// See [`rabin`].
    Rabin(Rabin),
    /// See [`buzhash`].
    Buzhash,
}

impl Chunker {
    /// Cuts a reader into blocks.
    pub fn blocks<R: Read>(self, reader: R, leaf: Leaf) -> Chunks<R> {
        let cutter = match self {
            Self::Size(size) => Cutter::Fixed(Fixed::new(reader, size, leaf)),
            _ => Cutter::Defined(Defined::new(reader, self, leaf)),
        };
        Chunks { cutter, meta: Meta::NONE, ahead: None }
    }

    /// Size of the largest chunk, in bytes.
    pub const fn max(self) -> usize {
        match self {
            Self::Size(size) => size,
            Self::Rabin(rabin) => rabin.max,
            Self::Buzhash => buzhash::MAX,
        }
    }

    /// Length of the first chunk of `data`, which holds [`Self::max`] bytes, or fewer where the
    /// file ends.
    fn cut(self, data: &[u8]) -> usize {
        match self {
            Self::Size(size) => data.len().min(size),
            Self::Rabin(rabin) => rabin.cut(data),
            Self::Buzhash => buzhash::cut(data),
        }
    }
}

/// A reader that is cut into the blocks of leaves.
pub struct Chunks<R> {
    cutter: Cutter<R>,
    /// What the leaf carries if it is the only one; asked for once.
    meta: Meta,
    ahead: Option<Framed>,
}

enum Cutter<R> {
    /// Into equal parts.
    Fixed(Fixed<R>),
    /// Where the content says.
    Defined(Defined<R>),
}

impl<R: Read> Chunks<R> {
    /// The same, but a leaf that holds all of a file carries `meta`. To see that it does, the next
    /// chunk is read ahead of it.
    pub fn carrying(self, meta: Meta) -> Self {
        Self { meta, ..self }
    }

    /// The next block, or `None` after the last. An empty reader gives one empty block.
    ///
    /// # Errors
    /// The reader's.
    pub fn next_block(&mut self) -> io::Result<Option<Framed>> {
        if let Some(framed) = self.ahead.take() {
            return Ok(Some(framed));
        }
        let next = self.cutter.next_block()?;
        let meta = std::mem::take(&mut self.meta);
        match next {
            Some(framed) if !meta.is_none() => {
                self.ahead = self.cutter.next_block()?;
                let only = self.ahead.is_none();
                let block = if only { leaf_with_meta(framed.block, &meta) } else { framed.block };
                Ok(Some(Framed { block, ..framed }))
            }
            other => Ok(other),
        }
    }
}

impl<R: Read> Cutter<R> {
    fn next_block(&mut self) -> io::Result<Option<Framed>> {
        match self {
            Self::Fixed(chunks) => chunks.next_block(),
            Self::Defined(chunks) => chunks.next_block(),
        }
    }
}

/// Kubo's rules, and its bounds; `rabin-min:16-avg:32-max:64` is its older spelling.
impl FromStr for Chunker {
    type Err = UnixfsError;

    fn from_str(text: &str) -> Result<Self, UnixfsError> {
        let refuse = |why: String| UnixfsError::Setting(format!("chunker {text:?}: {why}"));
        let parts: Vec<&str> = text.split('-').collect();
        match parts.as_slice() {
            [""] | ["default"] => Ok(Self::Size(CHUNK_DEFAULT_BYTES)),
            ["size", size] => sized(size).map_err(refuse),
            ["rabin"] => Ok(Self::Rabin(Rabin::around(CHUNK_DEFAULT_BYTES))),
            ["rabin", avg] => {
                let avg = number("avg", avg).map_err(refuse)?.min(CHUNK_MAX_BYTES + 1);
                bounded(Rabin::around(avg)).map_err(refuse)
            }
            ["rabin", min, avg, max] => {
                let read = |label, text| number(label, text).map_err(refuse);
                let (min, avg, max) = (read("min", min)?, read("avg", avg)?, read("max", max)?);
                bounded(Rabin { min, avg, max }).map_err(refuse)
            }
            ["buzhash"] => Ok(Self::Buzhash),
            _ => Err(refuse(
                "unrecognized, use size-N, rabin, rabin-AVG, rabin-MIN-AVG-MAX or buzhash".into(),
            )),
        }
    }
}

fn sized(text: &str) -> Result<Chunker, String> {
    match number("N", text)? {
        0 => Err("a chunk has at least 1 byte".into()),
        size if size > CHUNK_MAX_BYTES => Err(too_large()),
        size => Ok(Chunker::Size(size)),
    }
}

fn bounded(rabin: Rabin) -> Result<Chunker, String> {
    let Rabin { min, avg, max } = rabin;
    if min < rabin::WINDOW {
        return Err(format!(
            "the smallest chunk has {min} bytes, at least {} are needed",
            rabin::WINDOW
        ));
    }
    if min >= avg || avg >= max {
        return Err("MIN is smaller than AVG, and AVG smaller than MAX".into());
    }
    if max > CHUNK_MAX_BYTES {
        return Err(too_large());
    }
    Ok(Chunker::Rabin(rabin))
}

fn too_large() -> String {
    format!("a chunk has at most {CHUNK_MAX_BYTES} bytes")
}

/// A number of bytes, with its label before it or without.
fn number(label: &str, text: &str) -> Result<usize, String> {
    let digits = match text.split_once(':') {
        Some((given, digits)) if given == label => digits,
        Some((given, _)) => return Err(format!("{given:?} stands where {label:?} belongs")),
        None => text,
    };
    digits.parse().map_err(|_| format!("{digits:?} is no number of bytes"))
}

impl fmt::Display for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "size-{size}"),
            Self::Rabin(Rabin { min, avg, max }) => write!(f, "rabin-{min}-{avg}-{max}"),
            Self::Buzhash => f.write_str("buzhash"),
        }
    }
}

#[cfg(test)]
mod tests;
