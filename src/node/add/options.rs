//! Options of `add`, and what they mean together.
//!
//! Source: ipfs/kubo `core/commands/add.go`, `core/coreiface/options`.

use std::str::FromStr;

use clap::ArgAction;
use serde::{Deserialize, Serialize};

use crate::dag::import::{Shape, Stamp, Take};
use crate::ipld::cid::{Version, hash};
use crate::node::Error;
use crate::store::pins::Pin;
use crate::unixfs::layout::Layout;
use crate::unixfs::node::Mtime;
use crate::unixfs::profile::{INLINE_MAX_BYTES, Profile};

/// Size of the largest block in its CID where none is given, in bytes.
const INLINE_DEFAULT_BYTES: u32 = 32;

/// Options of `add`. What is not given comes from the configuration (`Import.*`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct AddOptions {
    /// Only chunk and hash: nothing is stored.
    #[arg(long, short = 'n')]
    #[serde(alias = "n")]
    pub only_hash: bool,
    /// Wrap the added files in a folder.
    #[arg(long, short = 'w')]
    #[serde(alias = "w")]
    pub wrap_with_directory: bool,
    /// Take folders in which there is nothing, too; =false skips them.
    #[arg(long, short = 'E', num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[serde(alias = "E")]
    pub empty_dirs: bool,
    /// Lay files out for reading from the beginning: leaves near the root first.
    #[arg(long, short = 't', num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(alias = "t", skip_serializing_if = "Option::is_none")]
    pub trickle: Option<bool>,
    /// Where files are cut: size-<bytes>, rabin, rabin-<avg>, rabin-<min>-<avg>-<max> or buzhash.
    /// At most 2096896 bytes.
    #[arg(long, short = 's', value_name = "CHUNKER")]
    #[serde(alias = "s", skip_serializing_if = "Option::is_none")]
    pub chunker: Option<String>,
    /// Keep file content in raw blocks. Implied by --cid-version=1.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_leaves: Option<bool>,
    /// CID version, 0 or 1. A hash function other than sha2-256 implies 1.
    #[arg(long, value_name = "VERSION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid_version: Option<u8>,
    /// Hash function: sha2-256, sha2-512, sha3-256, blake2b-256, blake3 and others (`cid hashes`).
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Keep small blocks in their CIDs, which are then of version 1.
    #[arg(long)]
    pub inline: bool,
    /// Size of the largest such block, in bytes; at most 128.
    #[arg(long, value_name = "BYTES", default_value_t = INLINE_DEFAULT_BYTES)]
    pub inline_limit: u32,
    /// Most links of a file node.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_links: Option<usize>,
    /// Most entries of a folder in one block; a larger one becomes a HAMT. 0 for any number.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_directory_links: Option<u64>,
    /// Slots of a shard of a large folder: a power of two from 8 to 1024.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hamt_fanout: Option<u64>,
    /// Keep the permissions of files and folders. Content is not in raw blocks then, which have no
    /// place for them; so with the four below.
    #[arg(long)]
    pub preserve_mode: bool,
    /// Keep the modification times of files, folders and symlinks.
    #[arg(long)]
    pub preserve_mtime: bool,
    /// Permissions that all files and folders get: octal with a leading 0, decimal without.
    #[arg(long, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Permissions>,
    /// Modification time that everything gets: seconds since 1970.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime: Option<i64>,
    /// Its fraction of a second.
    #[arg(long, value_name = "NANOSECONDS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtime_nsecs: Option<u32>,
    /// Pin what was added, so that garbage collection keeps it.
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub pin: bool,
    /// Whether bytes read are made known on the way. The command line has its own option for it.
    #[arg(skip)]
    #[serde(alias = "p")]
    pub progress: bool,
    /// Name of the pin.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_name: Option<String>,
    /// Tell the network of the root at once; =false lets it wait its turn. Import.FastProvideRoot.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast_provide_root: Option<bool>,
    /// Tell the network of every block soon. That is done anyway, as Provide.Strategy says.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast_provide_dag: Option<bool>,
    /// Wait until the network was told of the root. Import.FastProvideWait.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fast_provide_wait: Option<bool>,
    /// Not supported: henge keeps every block itself.
    #[arg(long, hide = true)]
    pub nocopy: bool,
    /// Not supported: see --nocopy.
    #[arg(long, hide = true)]
    pub fscache: bool,
    /// Not supported yet.
    #[arg(long, hide = true, value_name = "PATH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to_files: Option<String>,
}

impl Default for AddOptions {
    fn default() -> Self {
        Self {
            only_hash: false,
            wrap_with_directory: false,
            empty_dirs: true,
            trickle: None,
            chunker: None,
            raw_leaves: None,
            cid_version: None,
            hash: None,
            inline: false,
            inline_limit: INLINE_DEFAULT_BYTES,
            max_file_links: None,
            max_directory_links: None,
            max_hamt_fanout: None,
            preserve_mode: false,
            preserve_mtime: false,
            mode: None,
            mtime: None,
            mtime_nsecs: None,
            pin: true,
            progress: false,
            pin_name: None,
            fast_provide_root: None,
            fast_provide_dag: None,
            fast_provide_wait: None,
            nocopy: false,
            fscache: false,
            to_files: None,
        }
    }
}

/// Permission bits as Kubo's options are written: in Go's notation of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Permissions(u32);

impl FromStr for Permissions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (digits, base) = match lower.as_bytes() {
            [b'0', b'x', ..] => (&lower[2..], 16),
            [b'0', b'o', ..] => (&lower[2..], 8),
            [b'0', b'b', ..] => (&lower[2..], 2),
            [b'0', _, ..] => (&lower[1..], 8),
            _ => (lower.as_str(), 10),
        };
        let refused =
            |_| format!("could not convert value {text:?} to type \"uint\" (for option \"-mode\")");
        // What Rust would take beyond that is a sign.
        let digits = if digits.starts_with('+') { "" } else { digits };
        u32::from_str_radix(digits, base).map(Self).map_err(refused)
    }
}

impl TryFrom<String> for Permissions {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Permissions> for String {
    fn from(mode: Permissions) -> Self {
        format!("{:#o}", mode.0)
    }
}

impl AddOptions {
    /// What cannot be done at all, whatever is added.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Unsupported`] name the option.
    pub(super) fn check(&self) -> Result<(), Error> {
        let unsupported = |text: &str| Err(Error::Unsupported(text.into()));
        let refuse = |text: &str| Err(Error::Invalid(text.into()));
        match self {
            Self { nocopy: true, .. } => unsupported(
                "nocopy: the filestore is not supported, blocks are kept by henge alone",
            ),
            Self { fscache: true, .. } => unsupported("fscache: the filestore is not supported"),
            Self { to_files: Some(_), .. } => {
                unsupported("to-files: the files API (MFS) is not supported yet")
            }
            Self { pin_name: Some(_), pin, only_hash, .. } if !pin || *only_hash => {
                refuse("pin-name option requires pin to be set")
            }
            Self { mtime: None | Some(0), mtime_nsecs: Some(1..), .. } => {
                refuse("option \"mtime-nsecs\" requires \"mtime\" to be provided as well")
            }
            Self { mtime_nsecs: Some(1_000_000_000..), .. } => {
                refuse("mtime-nsecs: from 0 to 999999999")
            }
            Self { pin_name: Some(name), .. } => {
                // A name that is too long would be refused after all the work.
                Ok(Pin::check_name(name)?)
            }
            _ => Ok(()),
        }
    }

    /// The profile these options ask for, over the node's own.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Unixfs`] name the option.
    pub fn profile(&self, defaults: Profile) -> Result<Profile, Error> {
        let mut profile = defaults;
        if let Some(name) = &self.hash {
            let unknown = || Error::Invalid(format!("unrecognized hash function: {name:?}"));
            profile.hash = hash::by_name(&name.to_ascii_lowercase()).ok_or_else(unknown)?;
        }
        profile.version = match self.cid_version {
            Some(0) => Some(Version::V0),
            Some(1) => Some(Version::V1),
            Some(other) => return Err(Error::Invalid(format!("unknown CID version: {other}"))),
            None => defaults.version,
        };
        profile.raw_leaves = self.raw_leaves.or(defaults.raw_leaves);
        if self.carries_meta() {
            if profile.raw_leaves == Some(true) {
                let text = "raw-leaves can't be used with UnixFS metadata like mode or \
                    modification time";
                return Err(Error::Invalid(text.into()));
            }
            profile.raw_leaves = Some(false);
        }
        if let Some(chunker) = &self.chunker {
            profile.chunker = chunker.parse()?;
        }
        profile.layout = match self.trickle {
            Some(true) => Layout::Trickle,
            Some(false) => Layout::Balanced,
            None => defaults.layout,
        };
        if self.inline && self.inline_limit > u32::from(INLINE_MAX_BYTES) {
            let text = format!(
                "inline-limit {} exceeds maximum allowed size of {INLINE_MAX_BYTES} bytes",
                self.inline_limit
            );
            return Err(Error::Invalid(text));
        }
        if self.inline {
            profile.inline = Some(u8::try_from(self.inline_limit).unwrap_or(INLINE_MAX_BYTES));
        }
        profile.file_links = self.max_file_links.unwrap_or(defaults.file_links);
        profile.directory_links = self.max_directory_links.unwrap_or(defaults.directory_links);
        profile.hamt_fanout = self.max_hamt_fanout.unwrap_or(defaults.hamt_fanout);
        Ok(profile.checked()?)
    }

    fn carries_meta(&self) -> bool {
        let Stamp { mode, mtime } = self.stamp();
        mode != Take::Nothing || mtime != Take::Nothing
    }

    /// What nodes carry. 0 is Kubo's way to say nothing of a mode or a time.
    fn stamp(&self) -> Stamp {
        let mode = self.mode.map(|mode| mode.0).filter(|mode| *mode != 0);
        let mtime = self.mtime.filter(|seconds| *seconds != 0);
        let nanos = self.mtime_nsecs.unwrap_or(0);
        let mtime = mtime.map(|seconds| Mtime { seconds, nanos });
        // Only these of the bits are permissions where Kubo reads this number.
        let mode = mode.map(|mode| mode & 0o777);
        Stamp {
            mode: Take::of(mode, self.preserve_mode),
            mtime: Take::of(mtime, self.preserve_mtime),
        }
    }

    /// What becomes of the entries.
    pub(super) fn shape(&self) -> Shape {
        Shape { wrap: self.wrap_with_directory, empty_dirs: self.empty_dirs, stamp: self.stamp() }
    }
}
