//! Chunkers: where a file is cut. Named as on the command line (`size-262144`).

pub mod fixed;

use std::fmt;
use std::str::FromStr;

use super::UnixfsError;

/// Largest chunk, in bytes: a leaf must stay below the 2 MiB that peers accept.
pub const CHUNK_MAX_BYTES: usize = (2 << 20) - 256;

/// A chunker and its setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chunker {
    /// Every chunk has this size in bytes but the last.
    Size(usize),
}

impl FromStr for Chunker {
    type Err = UnixfsError;

    fn from_str(text: &str) -> Result<Self, UnixfsError> {
        let refuse = |why: &str| Err(UnixfsError::Setting(format!("chunker {text:?}: {why}")));
        match text {
            "" | "default" => return Ok(Self::Size(262_144)),
            "rabin" | "buzhash" => return refuse("not supported yet, use size-N"),
            _ if text.starts_with("rabin-") => return refuse("not supported yet, use size-N"),
            _ => {}
        }
        let Some(number) = text.strip_prefix("size-") else {
            return refuse("unrecognized, use size-N");
        };
        match number.parse::<usize>() {
            Ok(0) => refuse("a chunk has at least 1 byte"),
            Ok(size) if size > CHUNK_MAX_BYTES => {
                refuse(&format!("a chunk has at most {CHUNK_MAX_BYTES} bytes"))
            }
            Ok(size) => Ok(Self::Size(size)),
            Err(_) => refuse("N is a number of bytes"),
        }
    }
}

impl fmt::Display for Chunker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size(size) => write!(f, "size-{size}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_print() {
        assert_eq!("size-1000".parse::<Chunker>().unwrap().to_string(), "size-1000");
        assert_eq!("default".parse::<Chunker>().unwrap(), Chunker::Size(262_144));
        for bad in ["size-0", "size-", "size--1", "size-2097152", "size-99999999999999999999", "x"]
        {
            let error = bad.parse::<Chunker>().unwrap_err().to_string();
            assert!(error.contains(bad), "{error}");
        }
    }
}
