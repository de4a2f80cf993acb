//! `add`: files, folders and symlinks become pinned DAGs.

use clap::ArgAction;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::dag::import::{Event, ImportError, Importer, Source};
use crate::ipld::cid::{Cid, Version, hash};
use crate::store::pins::{Mode, Pin};
use crate::task;
use crate::unixfs::layout::Layout;
use crate::unixfs::profile::Profile;

/// Options of `add`. What is not given comes from the configuration (`Import.*`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
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
    /// Lay files out for reading from the beginning: leaves near the root first.
    #[arg(long, short = 't')]
    #[serde(alias = "t")]
    pub trickle: bool,
    /// Where files are cut: size-<bytes>.
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
    /// Hash function: sha2-256, sha2-512, sha3-256, blake2b-256, blake3 and others.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash: Option<String>,
    /// Most links of a file node.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_links: Option<usize>,
    /// Slots of a shard of a large folder: a power of two from 8 to 1024.
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_hamt_fanout: Option<u64>,
    /// Pin what was added, so that garbage collection keeps it.
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[serde(default = "yes")]
    pub pin: bool,
    /// Whether bytes read are made known on the way. The command line has its own option for it.
    #[arg(skip)]
    #[serde(alias = "p")]
    pub progress: bool,
    /// Name of the pin.
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_name: Option<String>,
}

fn yes() -> bool {
    true
}

/// Something made known while adding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddEvent {
    /// Bytes of one file read so far.
    Progress {
        /// The file's name as it was given.
        name: String,
        /// Bytes.
        bytes: u64,
    },
    /// An entry has its CID; durable once the stream has ended without an error.
    Added {
        /// Its name; the CID itself for what has none.
        name: String,
        /// Its root.
        cid: Cid,
        /// Cumulative size of its blocks, in bytes.
        size: u64,
    },
}

impl AddOptions {
    /// The profile these options ask for, over the node's own.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Unixfs`] name the option.
    pub fn profile(&self, defaults: Profile) -> Result<Profile, Error> {
        let mut profile = defaults;
        if let Some(name) = &self.hash {
            let unknown = || Error::Invalid(format!("unrecognized hash function: {name:?}"));
            profile.hash = hash::by_name(name).ok_or_else(unknown)?;
        }
        let foreign = profile.hash != hash::SHA2_256;
        profile.version = match self.cid_version {
            Some(0) => Version::V0,
            Some(1) => Version::V1,
            Some(other) => return Err(Error::Invalid(format!("unknown CID version: {other}"))),
            None if foreign => Version::V1,
            None => defaults.version,
        };
        // Kubo's rule: v1 brings raw leaves unless somebody said otherwise.
        let raised = profile.version == Version::V1 && defaults.version == Version::V0;
        profile.raw_leaves = self.raw_leaves.unwrap_or(defaults.raw_leaves || raised);
        if let Some(chunker) = &self.chunker {
            profile.chunker = chunker.parse()?;
        }
        if self.trickle {
            profile.layout = Layout::Trickle;
        }
        profile.file_links = self.max_file_links.unwrap_or(defaults.file_links);
        profile.hamt_fanout = self.max_hamt_fanout.unwrap_or(defaults.hamt_fanout);
        Ok(profile.checked()?)
    }
}

impl Node {
    /// Adds everything of `source`. The stream ends without an error only when all of it, and its
    /// pin, survives any crash; dropping the stream cancels the rest.
    ///
    /// # Errors
    /// Options that cannot be meant, at once; whatever else comes as the stream's last item.
    pub async fn add(
        &self,
        source: Source,
        options: AddOptions,
    ) -> Result<Results<AddEvent>, Error> {
        let profile = options.profile(self.settings.import)?;
        let (out, events) = mpsc::channel(RESULTS);
        let (core, node) = (self.store.core(), self.clone());
        task::detach_blocking(move || {
            let outcome = import(&core, profile, source, &options, &out);
            match outcome {
                Ok(roots) => node.announce(roots),
                // A caller that is gone wants no error either.
                Err(error) => drop(out.blocking_send(Err(error))),
            }
        });
        Ok(events)
    }
}

/// The whole operation: import, then one durable commit with the pins. Gives the roots that are
/// here now.
fn import(
    core: &crate::store::Core,
    profile: Profile,
    source: Source,
    options: &AddOptions,
    out: &mpsc::Sender<Result<AddEvent, Error>>,
) -> Result<Vec<Cid>, Error> {
    let mut writer = core.writer();
    let keep = !options.only_hash;
    let importer = Importer::new(profile, &mut writer, keep, options.wrap_with_directory)
        .map_err(ImportError::Source)?;
    let mut last = None;
    let mut listen = |event: Event| -> Result<(), ImportError> {
        if matches!(event, Event::Progress { .. }) && !options.progress {
            return Ok(());
        }
        // The last event tells the root: it is held back until the root is durable.
        match last.replace(event) {
            Some(earlier) => send(out, &earlier),
            None => Ok(()),
        }
    };
    let roots = importer.run(source, &mut listen)?;
    if keep {
        let name = options.pin_name.as_deref().unwrap_or_default();
        let pin = |root: &crate::unixfs::Child| Pin::new(root.cid, Mode::Recursive, name);
        let wanted = roots.iter().filter(|_| options.pin);
        let pins = wanted.map(pin).collect::<Result<Vec<_>, _>>()?;
        writer.commit(&pins)?;
    }
    if let Some(event) = last {
        send(out, &event)?;
    }
    Ok(if keep { roots.iter().map(|root| root.cid).collect() } else { Vec::new() })
}

fn send(out: &mpsc::Sender<Result<AddEvent, Error>>, event: &Event) -> Result<(), ImportError> {
    let text = |path: &[bytes::Bytes]| {
        let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
        names.join("/")
    };
    let event = match event {
        Event::Progress { path, bytes } => AddEvent::Progress { name: text(path), bytes: *bytes },
        Event::Added { path, child } => {
            AddEvent::Added { name: text(path), cid: child.cid, size: child.tsize }
        }
    };
    task::send(out, Ok(event)).then_some(()).ok_or(ImportError::Cancelled)
}
