//! The entries of a folder in the making, packed: a folder may have millions of them, and a tree of
//! folders keeps them until its end is known.
//!
//! An entry takes its name, its binary CID and 24 bytes.

use super::{Entry, UnixfsError};
use crate::ipld::cid::Cid;

/// Names and where they lead, in the order of names once sorted.
#[derive(Debug, Default)]
pub struct Entries {
    /// For each entry `tsize`, the lengths of name and CID, then both.
    bytes: Vec<u8>,
    starts: Vec<usize>,
    /// Whether a name came that is not above all before it.
    mixed: bool,
}

/// Bytes before a name: `tsize` in eight, the lengths of name and CID in four each.
const HEAD: usize = 16;

impl Entries {
    /// Adds an entry. That its name is there already is found by [`Self::sort`].
    pub fn push(&mut self, name: &[u8], entry: Entry) {
        let last = self.len().checked_sub(1).map(|at| self.name(at));
        self.mixed |= last.is_some_and(|last| last >= name);
        self.starts.push(self.bytes.len());
        let cid = entry.cid.to_bytes();
        self.bytes.extend_from_slice(&entry.tsize.to_le_bytes());
        self.bytes.extend_from_slice(&(name.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&(cid.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(&cid);
    }

    /// Puts entries in the order of their names, as bytes.
    ///
    /// # Errors
    /// [`UnixfsError::Twice`] tells a name that is there twice.
    pub fn sort(&mut self) -> Result<(), UnixfsError> {
        if !self.mixed {
            return Ok(());
        }
        let mut starts = std::mem::take(&mut self.starts);
        starts.sort_unstable_by_key(|start| self.name_from(*start));
        self.starts = starts;
        let twice = (1..self.len()).find(|at| self.name(at - 1) == self.name(*at));
        match twice {
            Some(at) => {
                Err(UnixfsError::Twice(String::from_utf8_lossy(self.name(at)).into_owned()))
            }
            None => {
                self.mixed = false;
                Ok(())
            }
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// The name of an entry by its place; panics past the end.
    pub fn name(&self, at: usize) -> &[u8] {
        self.name_from(self.starts[at])
    }

    /// Where an entry leads.
    ///
    /// # Errors
    /// None in practice: the CID was packed here.
    pub fn entry(&self, at: usize) -> Result<Entry, UnixfsError> {
        let start = self.starts[at];
        let tsize = u64::from_le_bytes(self.fixed(start));
        let from = start + HEAD + self.length(start + 8);
        let cid = &self.bytes[from..from + self.length(start + 12)];
        let cid = Cid::try_from(cid).map_err(|e| UnixfsError::Hash(e.to_string()))?;
        Ok(Entry { cid, tsize })
    }

    /// Every entry in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<(&[u8], Entry), UnixfsError>> {
        (0..self.len()).map(|at| Ok((self.name(at), self.entry(at)?)))
    }

    /// Lengths of all names and CIDs together, in bytes.
    pub fn names_and_cids(&self) -> u64 {
        (self.bytes.len() - self.len() * HEAD) as u64
    }

    fn name_from(&self, start: usize) -> &[u8] {
        let from = start + HEAD;
        &self.bytes[from..from + self.length(start + 8)]
    }

    fn length(&self, at: usize) -> usize {
        u32::from_le_bytes(self.fixed(at)) as usize
    }

    fn fixed<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut fixed = [0; N];
        fixed.copy_from_slice(&self.bytes[at..at + N]);
        fixed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::block::Prefix;
    use crate::ipld::cid::codec;

    fn entry(n: u64) -> Entry {
        Entry { cid: Prefix::v1(codec::RAW).cid(&n.to_be_bytes()).unwrap(), tsize: n }
    }

    #[test]
    fn entries_come_back_in_the_order_of_their_names() {
        let mut entries = Entries::default();
        for (n, name) in ["b", "", "a\u{ff}", "ab", "\u{1F600}"].iter().enumerate() {
            entries.push(name.as_bytes(), entry(n as u64));
        }
        entries.sort().unwrap();
        let names: Vec<_> = entries.iter().map(|e| e.unwrap()).collect();
        let wanted = [("", 1), ("ab", 3), ("a\u{ff}", 2), ("b", 0), ("\u{1F600}", 4)];
        assert_eq!(names, wanted.map(|(name, n)| (name.as_bytes(), entry(n))));
        assert_eq!(entries.names_and_cids(), 10 + 5 * 36);
    }

    #[test]
    fn a_name_that_is_there_twice_is_told() {
        let mut entries = Entries::default();
        for name in ["b", "a", "b"] {
            entries.push(name.as_bytes(), entry(0));
        }
        assert_eq!(entries.sort(), Err(UnixfsError::Twice("b".into())));
        let mut same = Entries::default();
        (0..2).for_each(|_| same.push(b"x", entry(1)));
        assert_eq!(same.sort(), Err(UnixfsError::Twice("x".into())));
    }
}
