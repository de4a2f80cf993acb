//! `add`: files, folders and symlinks become pinned DAGs.

mod options;

use tokio::sync::mpsc;

pub use options::AddOptions;

use super::provide::Telling;
use super::{Error, Node, RESULTS, Results};
use crate::dag::import::{Event, ImportError, Importer, Source};
use crate::ipld::cid::Cid;
use crate::store::pins::{Mode, Pin};
use crate::task;
use crate::unixfs::node::Meta;
use crate::unixfs::profile::Profile;

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
        /// Permissions and time that it came with, whether its node carries them or not.
        meta: Meta,
    },
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
        options.check()?;
        let profile = options.profile(self.settings.import)?;
        let (out, events) = mpsc::channel(RESULTS);
        let (core, node) = (self.store.core(), self.clone());
        task::detach_blocking(move || {
            let outcome = import(&core, profile, source, &options, &out);
            match outcome {
                Ok(roots) => {
                    let AddOptions { fast_provide_root, fast_provide_wait, .. } = options;
                    let (at_once, wait) = (fast_provide_root, fast_provide_wait);
                    node.announce(roots, Telling { at_once, wait, operation: out });
                }
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
    if options.pin {
        writer = writer.to_be_pinned();
    }
    let keep = !options.only_hash;
    let importer =
        Importer::new(profile, &mut writer, keep, options.shape()).map_err(ImportError::Source)?;
    let mut last = None;
    let mut listen = |event: Event| -> Result<(), ImportError> {
        if matches!(event, Event::Progress { .. }) && !options.progress {
            // Nothing else would tell that the caller is gone while one large file is read.
            return (!out.is_closed()).then_some(()).ok_or(ImportError::Cancelled);
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
        Event::Added { path, child, meta } => {
            AddEvent::Added { name: text(path), cid: child.cid, size: child.tsize, meta: *meta }
        }
    };
    task::send(out, Ok(event)).then_some(()).ok_or(ImportError::Cancelled)
}
