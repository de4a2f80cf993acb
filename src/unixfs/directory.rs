//! Folders: plain while they are small, a HAMT when they are not.
//!
//! Owns the decision between the two, which decides CIDs: an estimate of the plain node's size
//! against a threshold, compared with `>`.
//!
//! Source: IPIP-499, boxo `ipld/unixfs/io`.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::layout::{Emit, seal};
use super::{Child, Entry, UnixfsError, hamt, node};
use crate::ipld::block::Prefix;
use crate::ipld::cid::codec;
use crate::ipld::codec::dag_pb::{Link, Node};

/// How a folder's size is estimated for the switch to a HAMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimate {
    /// Sum of name and CID lengths (Kubo's default, `links`).
    Links,
    /// Serialized size of the plain node (`block`).
    Block,
    /// Never switch (`disabled`).
    Disabled,
}

/// Settings of folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// CIDs of the folder's nodes.
    pub prefix: Prefix,
    /// Bytes above which a folder becomes a HAMT.
    pub threshold: u64,
    /// How those bytes are counted.
    pub estimate: Estimate,
    /// Slots of a shard.
    pub fanout: u64,
}

/// A folder in the making.
#[derive(Debug, Default)]
pub struct Directory {
    entries: BTreeMap<Bytes, Entry>,
}

impl Directory {
    /// Adds or replaces an entry.
    ///
    /// # Errors
    /// [`UnixfsError::Name`] for names that no path can spell: empty, `.`, `..`, or with `/`.
    pub fn insert(&mut self, name: &[u8], child: Child) -> Result<(), UnixfsError> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(UnixfsError::Name(String::from_utf8_lossy(name).into_owned()));
        }
        let entry = Entry { cid: child.cid, tsize: child.tsize };
        self.entries.insert(Bytes::copy_from_slice(name), entry);
        Ok(())
    }

    /// Writes the folder, children before parents, and gives its root.
    ///
    /// # Errors
    /// `emit`'s, or the HAMT's.
    pub fn finish<E: From<UnixfsError>>(
        self,
        settings: &Settings,
        emit: Emit<'_, E>,
    ) -> Result<Child, E> {
        let prefix = settings.prefix.with_codec(codec::DAG_PB);
        if self.estimated(settings.estimate) > settings.threshold {
            let entries: Vec<(Bytes, Entry)> = self.entries.into_iter().collect();
            return hamt::build(&entries, settings.fanout, prefix, emit);
        }
        let below = self.entries.values().fold(0u64, |sum, e| sum.saturating_add(e.tsize));
        let (block, own) = seal(&self.plain(), prefix)?;
        let cid = *block.cid();
        emit(block)?;
        Ok(Child { cid, tsize: own.saturating_add(below), size: 0 })
    }

    fn estimated(&self, how: Estimate) -> u64 {
        match how {
            Estimate::Disabled => 0,
            Estimate::Block => self.plain().encode().len() as u64,
            Estimate::Links => {
                let row = |(name, e): (&Bytes, &Entry)| name.len() + e.cid.encoded_len();
                self.entries.iter().map(row).fold(0, |sum, n| sum + n as u64)
            }
        }
    }

    fn plain(&self) -> Node {
        let link = |(name, e): (&Bytes, &Entry)| Link {
            cid: e.cid,
            name: Some(name.clone()),
            tsize: Some(e.tsize),
        };
        let links = self.entries.iter().map(link).collect();
        Node { links, data: Some(node::directory_payload()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let prefix = Prefix {
            version: crate::ipld::cid::Version::V0,
            codec: codec::DAG_PB,
            hash: crate::ipld::cid::hash::SHA2_256,
        };
        Settings { prefix, threshold: 262_144, estimate: Estimate::Links, fanout: 256 }
    }

    #[test]
    fn the_empty_folder_has_its_famous_cid() {
        let root =
            Directory::default().finish::<UnixfsError>(&settings(), &mut |_| Ok(())).unwrap();
        assert_eq!(root.cid.to_string(), "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn");
        assert_eq!(root.tsize, 4);
    }

    #[test]
    fn names_that_no_path_can_spell_are_refused() {
        let child = Child { cid: settings().prefix.cid(b"").unwrap(), tsize: 0, size: 0 };
        for name in ["", ".", "..", "a/b"] {
            assert!(Directory::default().insert(name.as_bytes(), child).is_err(), "{name:?}");
        }
    }
}
