//! Folders: plain while they are small, a HAMT when they are not.
//!
//! Owns the decision between the two, which decides CIDs: an estimate of the plain node's size
//! against a threshold, and the number of its links against another, both compared with `>`.
//!
//! Source: IPIP-499, boxo `ipld/unixfs/io`.

use bytes::Bytes;

use super::entries::Entries;
use super::layout::{Emit, seal};
use super::node::{self, Meta};
use super::{Child, Entry, UnixfsError, hamt};
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
    /// Nothing (`disabled`): the number of links alone decides.
    Disabled,
}

/// Settings of folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// CIDs of the folder's nodes.
    pub prefix: Prefix,
    /// Bytes above which a folder becomes a HAMT; at 0 none ever does.
    pub threshold: u64,
    /// Links above which a folder becomes a HAMT; at 0 any number is plain.
    pub links_max: u64,
    /// How those bytes are counted.
    pub estimate: Estimate,
    /// Slots of a shard.
    pub fanout: u64,
}

/// A folder in the making.
#[derive(Debug, Default)]
pub struct Directory {
    entries: Entries,
    meta: Meta,
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
        if self.is_large(settings)? {
            return hamt::build(&self.entries, settings.fanout, prefix, &self.meta, emit);
        }
        let plain = self.plain()?;
        let tsizes = plain.links.iter().filter_map(|link| link.tsize);
        let below = tsizes.fold(0u64, u64::saturating_add);
        let (block, own) = seal(&plain, prefix)?;
        let cid = *block.cid();
        emit(block)?;
        Ok(Child { cid, tsize: own.saturating_add(below), size: 0 })
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What its node is to carry.
    pub fn carry(&mut self, meta: Meta) {
        self.meta = meta;
    }

    /// Whether it has more links than it may, or its size, as the settings count it, is above their
    /// threshold.
    fn is_large(&self, settings: &Settings) -> Result<bool, UnixfsError> {
        let many = settings.links_max > 0 && self.entries.len() as u64 > settings.links_max;
        if settings.threshold == 0 || many {
            return Ok(many && settings.threshold > 0);
        }
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
        Ok(Node { links, data: Some(node::with_meta(node::directory_payload(), &self.meta)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        let v0 = crate::ipld::cid::Version::V0;
        let prefix = Prefix { version: v0, ..Prefix::v1(codec::DAG_PB) };
        let estimate = Estimate::Links;
        Settings { prefix, threshold: 262_144, links_max: 0, estimate, fanout: 256 }
    }

    /// Whether a folder of `count` entries with names of `width` bytes becomes a HAMT.
    fn is_hamt(count: usize, width: usize, meta: Meta, settings: Settings) -> bool {
        let mut folder = Directory::default();
        folder.carry(meta);
        let child = Child { cid: settings.prefix.cid(b"x").unwrap(), tsize: 9, size: 1 };
        for n in 0..count {
            folder.insert(format!("{n:0width$}").as_bytes(), child).unwrap();
        }
        let mut nodes = 0;
        let mut count_up = |_| -> Result<(), UnixfsError> {
            nodes += 1;
            Ok(())
        };
        folder.finish(&settings, &mut count_up).unwrap();
        nodes > 1
    }

    #[test]
    fn thresholds_are_the_last_plain_folder() {
        // A name of 6 bytes and a CID of 34.
        let links = Settings { threshold: 40 * 300, ..settings() };
        assert!(!is_hamt(300, 6, Meta::NONE, links) && is_hamt(301, 6, Meta::NONE, links));
        // A link of 48 bytes, and 4 for the payload.
        let block = Settings { threshold: 48 * 300 + 4, estimate: Estimate::Block, ..links };
        assert!(!is_hamt(300, 6, Meta::NONE, block) && is_hamt(301, 6, Meta::NONE, block));
        // A mode makes the block larger, and the sum of the links no larger.
        let meta = Meta { mode: Some(0o755), mtime: None };
        assert!(is_hamt(300, 6, meta, block) && !is_hamt(300, 6, meta, links));
        let most = Settings { threshold: 1, links_max: 300, estimate: Estimate::Disabled, ..links };
        assert!(!is_hamt(300, 6, Meta::NONE, most) && is_hamt(301, 6, Meta::NONE, most));
        let never = Settings { threshold: 0, ..most };
        assert!(!is_hamt(301, 6, Meta::NONE, never));
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
