//! What decides a CID besides the bytes: the importer's settings, and the named sets of them.
//!
//! Source: IPIP-499; Kubo's defaults are `unixfs-v0-2015`.

use std::io::Read;

use super::UnixfsError;
use super::chunk::{Chunker, Chunks};
use super::directory::{self, Estimate};
use super::hamt::FANOUT_DEFAULT;
use super::layout::Layout;
use super::node::{FANOUT_MAX, Leaf, Meta};
use crate::ipld::block::Prefix;
use crate::ipld::cid::{Version, codec, hash};

/// Most links a file node may have: keeps nodes below the block limit.
pub const FILE_LINKS_MAX: usize = 8192;

/// Most bytes of a block that stands in its CID: peers refuse longer identity CIDs.
pub const INLINE_MAX_BYTES: u8 = 128;

/// Everything that decides the CID of given bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// CID version of nodes above the leaves; not set, it is 0 under sha2-256 and 1 otherwise.
    pub version: Option<Version>,
    /// Hash function of every block.
    pub hash: u64,
    /// Whether leaves are raw blocks rather than dag-pb; not set, they are in version 1.
    pub raw_leaves: Option<bool>,
    /// Where files are cut.
    pub chunker: Chunker,
    /// How leaves hang together.
    pub layout: Layout,
    /// Most links of a file node.
    pub file_links: usize,
    /// Most links of a plain folder; 0 for any number.
    pub directory_links: u64,
    /// Most bytes of a block that stands in its CID; none does where this is not set.
    pub inline: Option<u8>,
    /// Slots of a HAMT shard.
    pub hamt_fanout: u64,
    /// Bytes above which a folder becomes a HAMT; at 0 none does.
    pub hamt_threshold: u64,
    /// How those bytes are counted.
    pub hamt_estimate: Estimate,
}

impl Profile {
    /// Kubo's defaults, named `unixfs-v0-2015` by IPIP-499.
    pub const V0_2015: Self = Self {
        version: None,
        hash: hash::SHA2_256,
        raw_leaves: None,
        chunker: Chunker::Size(262_144),
        layout: Layout::Balanced,
        file_links: 174,
        directory_links: 0,
        inline: None,
        hamt_fanout: FANOUT_DEFAULT,
        hamt_threshold: 262_144,
        hamt_estimate: Estimate::Links,
    };

    /// `unixfs-v1-2025` of IPIP-499.
    pub const V1_2025: Self = Self {
        version: Some(Version::V1),
        raw_leaves: Some(true),
        chunker: Chunker::Size(1 << 20),
        file_links: 1024,
        hamt_estimate: Estimate::Block,
        ..Self::V0_2015
    };

    /// Refuses settings that would make blocks nobody can read.
    ///
    /// # Errors
    /// [`UnixfsError::Setting`] names the setting and its bounds.
    pub fn checked(self) -> Result<Self, UnixfsError> {
        let refuse = |text: String| Err(UnixfsError::Setting(text));
        if !(2..=FILE_LINKS_MAX).contains(&self.file_links) {
            return refuse(format!("max-file-links: from 2 to {FILE_LINKS_MAX}"));
        }
        if !self.hamt_fanout.is_power_of_two() || !(8..=FANOUT_MAX).contains(&self.hamt_fanout) {
            return refuse("max-hamt-fanout: a power of two from 8 to 1024".into());
        }
        if self.version == Some(Version::V0) && self.hash != hash::SHA2_256 {
            return refuse("CIDv0 only supports sha2-256".into());
        }
        Ok(self)
    }

    fn cid_version(&self) -> Version {
        let implied = if self.hash == hash::SHA2_256 { Version::V0 } else { Version::V1 };
        self.version.unwrap_or(implied)
    }

    fn has_raw_leaves(&self) -> bool {
        self.raw_leaves.unwrap_or(self.cid_version() == Version::V1)
    }

    /// Cuts a file that carries `meta`. Where a file of one chunk is that leaf alone, the leaf
    /// carries it; otherwise the root does, which the layout makes.
    pub fn chunks<R: Read>(&self, reader: R, meta: &Meta) -> Chunks<R> {
        let chunks = self.chunker.blocks(reader, self.leaf());
        match self.layout {
            Layout::Balanced => chunks.carrying(*meta),
            Layout::Trickle => chunks,
        }
    }

    /// CIDs of nodes that carry links.
    pub fn node_prefix(&self) -> Prefix {
        let Self { hash, inline, .. } = *self;
        Prefix { version: self.cid_version(), codec: codec::DAG_PB, hash, inline }
    }

    /// What leaves are.
    pub fn leaf(&self) -> Leaf {
        match (self.has_raw_leaves(), self.layout) {
            (true, _) => Leaf::Block,
            (false, Layout::Balanced) => Leaf::File,
            (false, Layout::Trickle) => Leaf::Raw,
        }
    }

    /// CIDs of leaves.
    pub fn leaf_prefix(&self) -> Prefix {
        let codec = if self.has_raw_leaves() { codec::RAW } else { codec::DAG_PB };
        self.node_prefix().with_codec(codec)
    }

    /// Settings of folders under this profile.
    pub fn directories(&self) -> directory::Settings {
        directory::Settings {
            prefix: self.node_prefix(),
            threshold: self.hamt_threshold,
            links_max: self.directory_links,
            estimate: self.hamt_estimate,
            fanout: self.hamt_fanout,
        }
    }
}
