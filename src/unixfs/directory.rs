//! Folders: plain while they are small, a HAMT when they are not.
//!
//! Owns the decision between the two, which decides CIDs: an estimate of the plain node's size
//! against a threshold, compared with `>`.
//!
//! Source: IPIP-499, boxo `ipld/unixfs/io`.

use bytes::Bytes;

use super::entries::Entries;
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
    entries: Entries,
}

impl Directory {
    /// Adds an entry. That its name is there already is found by [`Self::finish`].
    ///
    /// # Errors
    /// [`UnixfsError::Name`] for names that no path can spell: empty, `.`, `..`, or with `/`.
    pub fn insert(&mut self, name: &[u8], child: Child) -> Result<(), UnixfsError> {
        if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
            return Err(UnixfsError::Name(String::from_utf8_lossy(name).into_owned()));
        }
        let entry = Entry { cid: child.cid, tsize: child.tsize };
        self.entries.push(name, entry);
        Ok(())
    }

    /// Writes the folder, children before parents, and gives its root.
    ///
    /// # Errors
    /// [`UnixfsError::Twice`]; `emit`'s, or the HAMT's.
    pub fn finish<E: From<UnixfsError>>(
        mut self,
        settings: &Settings,
        emit: Emit<'_, E>,
    ) -> Result<Child, E> {
        self.entries.sort()?;
        let prefix = settings.prefix.with_codec(codec::DAG_PB);
        if self.is_above(settings)? {
            return hamt::build(&self.entries, settings.fanout, prefix, emit);
        }
        let plain = self.plain()?;
        let tsizes = plain.links.iter().filter_map(|link| link.tsize);
        let below = tsizes.fold(0u64, u64::saturating_add);
        let (block, own) = seal(&plain, prefix)?;
        let cid = *block.cid();
        emit(block)?;
        Ok(Child { cid, tsize: own.saturating_add(below), size: 0 })
    }

    /// Whether the folder's size, as the settings count it, is above their threshold.
    fn is_above(&self, settings: &Settings) -> Result<bool, UnixfsError> {
        let links = self.entries.names_and_cids();
        Ok(match settings.estimate {
            Estimate::Disabled => false,
            Estimate::Links => links > settings.threshold,
            // The node holds them all: a folder of a million entries is not written to be measured.
            Estimate::Block => {
                links > settings.threshold
                    || self.plain()?.encode().len() as u64 > settings.threshold
            }
        })
    }

    fn plain(&self) -> Result<Node, UnixfsError> {
        let link = |found: Result<(&[u8], Entry), UnixfsError>| {
            let (name, Entry { cid, tsize }) = found?;
            Ok(Link { cid, name: Some(Bytes::copy_from_slice(name)), tsize: Some(tsize) })
        };
        let links = self.entries.iter().map(link).collect::<Result<_, UnixfsError>>()?;
        Ok(Node { links, data: Some(node::directory_payload()) })
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
