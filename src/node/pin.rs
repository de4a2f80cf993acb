//! `pin`: what garbage collection keeps.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgAction;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::dag::fetch::Fetched;
use crate::dag::verify::{BadBlock, Sound};
use crate::dag::walk::WalkOptions;
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::store::pins::{Mode, Pin, PinState, Progress};
use crate::store::{Intent, StoreError};
use crate::task;

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
}

impl Default for PinAddOptions {
    fn default() -> Self {
        Self { recursive: true, name: None }
    }
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

/// Options of `pin ls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct PinLsOptions {
    /// Which pins: direct, indirect, recursive or all.
    #[arg(long, short = 't', value_name = "TYPE")]
    #[serde(rename = "type", alias = "t", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Only pins whose name contains this.
    #[arg(long, short = 'n', value_name = "NAME")]
    #[serde(alias = "n", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Show names.
    #[arg(long)]
    pub names: bool,
    /// Print pins as they are found.
    #[arg(long, short = 's')]
    #[serde(alias = "s")]
    pub stream: bool,
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

/// How a listed block is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A recursive pin of its own.
    Recursive,
    /// A direct pin of its own.
    Direct,
    /// By a recursive pin above it; which one, when that is known.
    Indirect(Option<Cid>),
}

/// One line of `pin ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRow {
    /// The block.
    pub cid: Cid,
    /// How it is kept.
    pub kept: Kept,
    /// The pin's name, if it has one.
    pub name: String,
}

/// What was found below a recursive pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinVerified {
    /// The pin.
    pub cid: Cid,
    /// Blocks that are missing or cannot be read; none when all is well.
    pub bad: Vec<BadBlock>,
}

/// Which rows a listing wants.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    recursive: bool,
    direct: bool,
    indirect: bool,
}

impl Wanted {
    fn parse(text: Option<&str>) -> Result<Self, Error> {
        let only = Self { recursive: false, direct: false, indirect: false };
        Ok(match text.unwrap_or("all") {
            "all" => Self { recursive: true, direct: true, indirect: true },
            "recursive" => Self { recursive: true, ..only },
            "direct" => Self { direct: true, ..only },
            "indirect" => Self { indirect: true, ..only },
            other => {
                let text = format!(
                    "invalid type '{}', must be one of {{direct, indirect, recursive, all}}",
                    other.escape_debug()
                );
                return Err(Error::Invalid(text));
            }
        })
    }

    fn takes(self, kept: &Kept) -> bool {
        match kept {
            Kept::Recursive => self.recursive,
            Kept::Direct => self.direct,
            Kept::Indirect(_) => self.indirect,
        }
    }
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
        let mode = if options.recursive { Mode::Recursive } else { Mode::Direct };
        let name = options.name.as_deref().unwrap_or_default();
        let mut pins = Vec::with_capacity(paths.len());
        for path in paths {
            pins.push(Pin::new(self.dag.resolve_block(path).await?, mode, name)?);
        }
        let cids: Vec<Cid> = pins.iter().map(|pin| pin.cid).collect();
        // What is fetched, and what was here, stays here until it is pinned.
        let intent = self.store.core().intend();
        for last in [false, false, true] {
            match self.pin_here(pins.clone(), intent.clone(), progress.clone()).await {
                Err(StoreError::Missing(_) | StoreError::Corrupt { .. })
                    if self.is_online() && !last => {}
                pinned => {
                    pinned.map_err(not_found)?;
                    break;
                }
            }
            for cid in &cids {
                let tell = &mut |so_far: Fetched| progress.fetched(so_far.fetched, so_far.bytes);
                self.dag.fetch(*cid, options.recursive, &intent, tell).await?;
            }
        }
        Ok(cids)
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

    /// How the named blocks are kept.
    ///
    /// # Errors
    /// A path's; [`Error::Invalid`] in Kubo's words for what is not pinned as asked.
    pub async fn pin_state(
        &self,
        paths: &[(String, Path)],
        options: &PinLsOptions,
    ) -> Result<Vec<PinRow>, Error> {
        let wanted = Wanted::parse(options.r#type.as_deref())?;
        let mut rows = Vec::with_capacity(paths.len());
        for (text, path) in paths {
            let cid = self.dag.resolve_block(path).await?;
            let state = self.store.run(move |core| core.pin_state(&cid)).await?;
            let row = state.map(|state| match state {
                PinState::Pinned(pin) => row_of(pin),
                PinState::Indirect(root) => {
                    PinRow { cid, kept: Kept::Indirect(Some(root)), name: String::new() }
                }
            });
            let pinned = row.filter(|row| wanted.takes(&row.kept));
            rows.push(
                pinned.ok_or_else(|| Error::Conflict(format!("path '{text}' is not pinned")))?,
            );
        }
        Ok(rows)
    }

    /// Streams pins: first those set by hand, then, if asked for, every block below them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown type, at once; the rest as the stream's last item.
    pub fn pin_ls(&self, options: &PinLsOptions) -> Result<Results<PinRow>, Error> {
        let wanted = Wanted::parse(options.r#type.as_deref())?;
        let part = options.name.clone();
        let indirect = wanted.indirect && part.is_none();
        let (out, rows) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            let (core, sender) = (node.store.core(), out.clone());
            let roots =
                task::blocking(move || list_own(&core, wanted, part.as_deref(), indirect, &sender));
            let listed = match roots.await {
                Ok(own) if indirect => node.list_below(own, &out).await,
                Ok(_) => Ok(()),
                Err(error) => Err(error.into()),
            };
            if let Err(error) = listed {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(rows)
    }

    /// Moves a recursive pin, with its name, from what one path leads to onto what another leads
    /// to; gives both CIDs. Durable when this returns.
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
        let update = move |core: &crate::store::Core| core.update_pin(&from, &to, unpin);
        self.store.run(update).await.map_err(not_found)?;
        Ok([from, to])
    }

    /// Streams, for every recursive pin, whether everything below it is here. Leaves are looked
    /// up, not read: `repo verify` reads.
    pub fn pin_verify(&self) -> Results<PinVerified> {
        let (out, verified) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            if let Err(error) = node.verify_pins(&out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        verified
    }

    async fn verify_pins(
        &self,
        out: &mpsc::Sender<Result<PinVerified, Error>>,
    ) -> Result<(), Error> {
        let mut roots = Vec::new();
        let listing = move |core: &crate::store::Core| {
            core.each_pin(&mut |pin| {
                if pin.mode == Mode::Recursive {
                    roots.push(pin.cid);
                }
                true
            })?;
            Ok::<_, StoreError>(roots)
        };
        let mut sound = Sound::default();
        for cid in self.store.run(listing).await? {
            let bad = self.local().verify(cid, &mut sound).await?;
            if out.send(Ok(PinVerified { cid, bad })).await.is_err() {
                break; // The reader is gone.
            }
        }
        Ok(())
    }

    /// Sends every block below recursive pins that is not pinned itself.
    async fn list_below(
        &self,
        own: Vec<Pin>,
        out: &mpsc::Sender<Result<PinRow, Error>>,
    ) -> Result<(), Error> {
        let mut seen: std::collections::HashSet<Cid> = own.iter().map(|pin| pin.cid).collect();
        let roots = own.iter().filter(|pin| pin.mode == Mode::Recursive);
        for root in roots {
            let mut steps = self.local().walk(root.cid, WalkOptions { depth: None, unique: true });
            while let Some(step) = steps.recv().await {
                let cid = step?.to;
                let row = PinRow { cid, kept: Kept::Indirect(None), name: String::new() };
                if seen.insert(cid) && out.send(Ok(row)).await.is_err() {
                    return Ok(()); // The reader is gone.
                }
            }
        }
        Ok(())
    }
}

/// Sends the pins set by hand; gives them back where what is below them is listed, too, and else
/// costs the memory of a page.
fn list_own(
    core: &crate::store::Core,
    wanted: Wanted,
    name: Option<&str>,
    keep: bool,
    out: &mpsc::Sender<Result<PinRow, Error>>,
) -> Result<Vec<Pin>, StoreError> {
    let mut own = Vec::new();
    core.each_pin(&mut |pin| {
        if keep {
            own.push(pin.clone());
        }
        let row = row_of(pin);
        let named = name.is_none_or(|part| row.name.contains(part));
        !named || !wanted.takes(&row.kept) || out.blocking_send(Ok(row)).is_ok()
    })?;
    Ok(own)
}

fn row_of(pin: Pin) -> PinRow {
    let kept = match pin.mode {
        Mode::Recursive => Kept::Recursive,
        Mode::Direct => Kept::Direct,
    };
    PinRow { cid: pin.cid, kept, name: pin.name }
}

/// A block missing while pinning is a block not found: the same words as everywhere.
pub(super) fn not_found(error: StoreError) -> Error {
    match error {
        StoreError::Missing(cid) => crate::dag::DagError::NotFound(cid).into(),
        other => other.into(),
    }
}
