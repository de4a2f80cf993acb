//! `pin`: what garbage collection keeps, and for how long.

mod ls;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgAction;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::dag::fetch::Fetched;
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::store::pin::now;
use crate::store::pins::{Mode, Pin, Progress};
use crate::store::{Core, Intent, StoreError};
use crate::task;
pub use ls::{Kept, PinLsOptions, PinRow, PinVerified};

/// Time between two reports of progress.
const REPORT_TIME: Duration = Duration::from_millis(500);

/// Options of `pin add`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct PinAddOptions {
    /// Pin everything below, too.
    #[arg(long, short = 'r', num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[serde(alias = "r")]
    pub recursive: bool,
    /// Name of the pin.
    #[arg(long, short = 'n', value_name = "NAME")]
    #[serde(alias = "n", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// A label of the pin; may be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label: Vec<String>,
    /// Keep it for so long from now on: 90s, 12h. GC releases it then, or the daemon, which looks
    /// each hour.
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expire_in: Option<String>,
    /// The same, read by whoever knows how durations are spelled. Counts in place of the text.
    #[arg(skip)]
    #[serde(skip)]
    pub keep_for: Option<Duration>,
}

impl Default for PinAddOptions {
    fn default() -> Self {
        Self { recursive: true, name: None, label: Vec::new(), expire_in: None, keep_for: None }
    }
}

impl PinAddOptions {
    /// A pin as the options say, made now.
    fn pin(&self, cid: Cid) -> Result<Pin, Error> {
        let mode = if self.recursive { Mode::Recursive } else { Mode::Direct };
        let labels = self.label.iter().map(|text| label_of(text));
        let labels = labels.collect::<Result<BTreeMap<_, _>, Error>>()?;
        if self.expire_in.is_some() && self.keep_for.is_none() {
            return Err(Error::Invalid("expire-in was given and not read".into()));
        }
        // To the second, and not shorter than asked for.
        let seconds = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        let expires = self.keep_for.map(|time| now().saturating_add(seconds(time)));
        let pin = Pin::new(cid, mode, self.name.as_deref().unwrap_or_default())?;
        Ok(pin.labelled(labels)?.expiring(expires)?)
    }
}

/// A label as it is typed.
fn label_of(text: &str) -> Result<(String, String), Error> {
    let parts = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let none = || Error::Invalid(format!("invalid label {text:?}: expected key=value"));
    parts.map(|(key, value)| (key.to_owned(), value.to_owned())).ok_or_else(none)
}

/// Options of `pin rm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct PinRmOptions {
    /// Remove recursive pins, too.
    #[arg(long, short = 'r', num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    #[serde(alias = "r")]
    pub recursive: bool,
}

impl Default for PinRmOptions {
    fn default() -> Self {
        Self { recursive: true }
    }
}

/// Options of `pin update`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct PinUpdateOptions {
    /// Remove the old pin.
    #[arg(long, num_args = 0..=1, default_value = "true", default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub unpin: bool,
}

impl Default for PinUpdateOptions {
    fn default() -> Self {
        Self { unpin: true }
    }
}

/// What `pin add` tells on its way, and at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinAddEvent {
    /// So much was looked at.
    Progress {
        /// Blocks.
        blocks: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// All is pinned, and on the disk.
    Pinned(Vec<Cid>),
}

impl Node {
    /// Pins what paths lead to; durable when this returns. All of them or none.
    ///
    /// # Errors
    /// A path's; a block that is not here.
    pub async fn pin_add(
        &self,
        paths: &[Path],
        options: &PinAddOptions,
    ) -> Result<Vec<Cid>, Error> {
        self.pin_counted(paths, options, Arc::default()).await
    }

    /// The same, telling twice a second how far it has come. It ends when nobody listens any more,
    /// except for what is being written.
    pub fn pin_add_telling(
        &self,
        paths: Vec<Path>,
        options: PinAddOptions,
    ) -> Results<PinAddEvent> {
        let (out, events) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            let progress = Arc::<Progress>::default();
            let so_far = || {
                let (blocks, bytes) = progress.so_far();
                Ok(PinAddEvent::Progress { blocks, bytes })
            };
            let mut work = pin!(node.pin_counted(&paths, &options, progress.clone()));
            let pinned = loop {
                match tokio::time::timeout(REPORT_TIME, work.as_mut()).await {
                    Ok(pinned) => break pinned,
                    Err(_) if out.send(so_far()).await.is_err() => return,
                    Err(_) => {}
                }
            };
            // A reader that is gone wants neither. An error comes first where it can: it then decides
            // the status.
            if pinned.is_ok() {
                let _ = out.send(so_far()).await;
            }
            let _ = out.send(pinned.map(PinAddEvent::Pinned)).await;
        });
        events
    }

    async fn pin_counted(
        &self,
        paths: &[Path],
        options: &PinAddOptions,
        progress: Arc<Progress>,
    ) -> Result<Vec<Cid>, Error> {
        let mut cids = Vec::with_capacity(paths.len());
        for path in paths {
            cids.push(self.dag.resolve_block(path).await?);
        }
        // Made anew each time: what is fetched for hours is kept from then on.
        let pins = || cids.iter().map(|cid| options.pin(*cid)).collect();
        self.pin_fetching(&pins, progress).await?;
        Ok(cids)
    }

    /// Fetches what is missing below a pin that was kept without it.
    ///
    /// # Errors
    /// That nobody has it, or the store's.
    pub(super) async fn make_whole(&self, pin: &Pin) -> Result<(), Error> {
        let core = self.store.core();
        // Unless it was removed or replaced meanwhile.
        let still = || {
            let now = core.incomplete_pins(usize::MAX)?;
            Ok(now.into_iter().filter(|now| now == pin).collect())
        };
        self.pin_fetching(&still, Arc::default()).await
    }

    async fn pin_fetching(
        &self,
        pins: &(dyn Fn() -> Result<Vec<Pin>, Error> + Sync),
        progress: Arc<Progress>,
    ) -> Result<(), Error> {
        // What is fetched, and what was here, stays here until it is pinned.
        let intent = self.store.core().intend();
        for last in [false, false, true] {
            let wanted = pins()?;
            let fetched: Vec<(Cid, bool)> =
                wanted.iter().map(|pin| (pin.cid, pin.mode == Mode::Recursive)).collect();
            match self.pin_here(wanted, intent.clone(), progress.clone()).await {
                Err(StoreError::Missing(_) | StoreError::Corrupt { .. })
                    if self.is_online() && !last => {}
                pinned => {
                    pinned.map_err(not_found)?;
                    break;
                }
            }
            for (cid, recursive) in fetched {
                let tell = &mut |so_far: Fetched| progress.fetched(so_far.fetched, so_far.bytes);
                self.dag.fetch(cid, recursive, &intent, tell).await?;
            }
        }
        Ok(())
    }

    /// Pins what is here, all of it.
    async fn pin_here(
        &self,
        pins: Vec<Pin>,
        intent: Intent,
        progress: Arc<Progress>,
    ) -> Result<(), StoreError> {
        progress.again();
        self.store.run(move |core| core.pin_telling(&pins, &intent, &progress)).await
    }

    /// Removes pins: all of them or none.
    ///
    /// # Errors
    /// A path's; that there is no such pin.
    pub async fn pin_rm(&self, paths: &[Path], options: &PinRmOptions) -> Result<Vec<Cid>, Error> {
        let mut cids = Vec::with_capacity(paths.len());
        for path in paths {
            cids.push(self.dag.resolve_block(path).await?);
        }
        let (recursive, pinned) = (options.recursive, cids.clone());
        self.store.run(move |core| core.unpin_all(&pinned, recursive)).await?;
        Ok(cids)
    }

    /// Moves a recursive pin, with its name, labels and expiry, from what one path leads to onto
    /// what another leads to; gives both CIDs. Durable when this returns.
    ///
    /// # Errors
    /// A path's; a block that is not here; in Kubo's words that the first is not pinned, or the
    /// second is already.
    pub async fn pin_update(
        &self,
        from: &Path,
        to: &Path,
        options: &PinUpdateOptions,
    ) -> Result<[Cid; 2], Error> {
        let [from, to] = [self.dag.resolve_block(from).await?, self.dag.resolve_block(to).await?];
        let unpin = options.unpin;
        let update = move |core: &Core| core.update_pin(&from, &to, unpin);
        self.store.run(update).await.map_err(not_found)?;
        Ok([from, to])
    }

    /// Releases the node's own pins that have expired; gives how many. Until then they count as
    /// pins. Keeps adding and pinning away while it releases a batch: one of the pins may be about
    /// to be made again. Whoever adds is not to wait for it for long, so it stops short where adds
    /// in progress do not end within a second; GC waits for them, and releases what is left.
    ///
    /// # Errors
    /// The store's; what was released by then is.
    pub async fn release_expired(&self) -> Result<u64, Error> {
        Ok(self.store.run(|core| core.release_expired(now())).await?)
    }
}

/// A block missing while pinning is a block not found: the same words as everywhere.
pub(super) fn not_found(error: StoreError) -> Error {
    match error {
        StoreError::Missing(cid) => crate::dag::DagError::NotFound(cid).into(),
        other => other.into(),
    }
}
