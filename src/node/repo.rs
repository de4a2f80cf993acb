//! `repo`: how much there is, and whether it is what it was.

use std::fmt;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::network::Patience;
use super::{Error, Node, RESULTS, Results};
use crate::dag::Dag;
use crate::ipld::cid::{self, Cid, Multihash};
use crate::store::scrub::Scrub;
use crate::store::tend::Figures as StoreFigures;
use crate::store::{Core, StoreError};
use crate::task;

/// Blocks between two reports of progress.
const REPORT_BLOCKS: u64 = 256;
/// The empty folder: what Kubo asks itself for to know that it is well.
const PROBE: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";

/// What the repository holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RepoStat {
    /// Bytes on the disk, everything counted.
    pub size: u64,
    /// The limit, in bytes.
    pub storage_max: u64,
    /// Number of blocks.
    pub objects: u64,
    /// Bytes of blocks, with what names them beside them.
    pub logical: u64,
    /// Bytes of content that no block needs any more, and that come back.
    pub garbage: u64,
}

/// Options of `repo verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct RepoVerifyOptions {
    /// Delete corrupt blocks, pinned or not.
    #[arg(long)]
    pub drop: bool,
    /// Fetch corrupt blocks again; those that nobody sends stay as they are.
    #[arg(long)]
    pub heal: bool,
    /// How long to fetch one block: 30s unless told otherwise, 0 for as long as it takes.
    #[arg(long, value_name = "DURATION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heal_timeout: Option<String>,
}

/// What `repo verify` tells on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepoVerified {
    /// A block that is not what its hash says, or cannot be read.
    Corrupt {
        /// Which, as CIDv1 of raw bytes: the store knows hashes, not codecs.
        cid: Cid,
        /// Why, in a line.
        cause: String,
        /// What became of it.
        fate: Fate,
    },
    /// So many blocks have been read.
    Progress(u64),
    /// Every block is right.
    Sound,
    /// What was corrupt was dealt with: says how, in a line.
    Mended(String),
}

/// What became of a corrupt block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lies where it lay, and counts as absent.
    Left,
    /// It was deleted.
    Removed,
    /// It was fetched and written anew.
    Healed,
    /// It could not be fetched: says why.
    Unhealed(String),
}

/// What is done about corrupt blocks.
#[derive(Clone)]
enum Remedy {
    Nothing,
    Drop,
    Heal(Dag),
}

impl Node {
    /// Whether blocks can be looked up and read, by the smallest that anybody has: the empty folder.
    /// It need not be here.
    ///
    /// # Errors
    /// The store's.
    pub async fn probe(&self) -> Result<(), Error> {
        let empty = cid::parse(PROBE)?;
        self.store.get(&empty).await?;
        Ok(())
    }

    /// Reads every block and hashes it again. Ends with [`RepoVerified::Sound`], with
    /// [`RepoVerified::Mended`], or with [`Error::Corrupt`] when any block is still damaged. One
    /// block is fetched no longer than `patience`.
    ///
    /// # Errors
    /// [`Error::Offline`] when blocks are to be fetched and there is no network, at once.
    pub fn repo_verify(
        &self,
        options: &RepoVerifyOptions,
        patience: Option<Duration>,
    ) -> Result<Results<RepoVerified>, Error> {
        let remedy = match (options.heal, options.drop) {
            (true, _) => {
                self.network()?;
                let patience = patience.map_or(Patience::Endless, Patience::Each);
                Remedy::Heal(self.session(patience).dag)
            }
            (false, true) => Remedy::Drop,
            (false, false) => Remedy::Nothing,
        };
        let (out, told) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach_blocking(move || {
            if let Err(error) = node.verify(&remedy, &out) {
                // A reader that is gone wants no error either.
                let _ = out.blocking_send(Err(error));
            }
        });
        Ok(told)
    }

    /// What the store takes and did, and how far scrubbing has come.
    ///
    /// # Errors
    /// The store's.
    pub async fn store_figures(&self) -> Result<(StoreFigures, Scrub), Error> {
        Ok(self
            .store
            .run(|core| Ok::<_, StoreError>((core.figures()?, core.scrub_state()?)))
            .await?)
    }

    /// Counts blocks and bytes on the disk.
    ///
    /// # Errors
    /// The store's, or a folder that cannot be read.
    pub async fn repo_stat(&self) -> Result<RepoStat, Error> {
        let settings = self.settings.clone();
        self.store
            .run(move |core| {
                let usage = core.usage()?;
                Ok(RepoStat {
                    size: on_disk(&settings.repo_root)?,
                    storage_max: settings.storage_max,
                    objects: usage.blocks,
                    logical: usage.logical,
                    garbage: usage.garbage,
                })
            })
            .await
    }
}

impl Node {
    /// Tells of every block that is not as it was, and does something about it.
    fn verify(
        &self,
        remedy: &Remedy,
        out: &mpsc::Sender<Result<RepoVerified, Error>>,
    ) -> Result<(), Error> {
        let core = self.store.core();
        let (mut read, mut tally, mut heard) = (0_u64, Tally::default(), true);
        core.check_rows()?;
        core.verify_each(&mut |hash, wrong| {
            read += 1;
            if let Some(cause) = wrong {
                let fate = self.mend(&core, hash, remedy);
                tally.count(&fate);
                let event = RepoVerified::Corrupt { cid: cid::of_hash(hash), cause, fate };
                heard &= out.blocking_send(Ok(event)).is_ok();
            }
            if read.is_multiple_of(REPORT_BLOCKS) {
                heard &= out.blocking_send(Ok(RepoVerified::Progress(read))).is_ok();
            }
            heard
        })?;
        if let Remedy::Drop = remedy {
            core.accept_lost_pins()?;
        }
        self.mend_pins(remedy, &mut tally, &mut |event| {
            heard = heard && out.blocking_send(Ok(event)).is_ok();
        })?;
        let last = match tally {
            Tally { corrupt: 0, .. } => RepoVerified::Sound,
            Tally { left: 0, unhealed: 0, .. } => RepoVerified::Mended(tally.to_string()),
            _ => return Err(Error::Corrupt(tally.to_string())),
        };
        for event in [RepoVerified::Progress(read), last] {
            // A reader that is gone is not waited for.
            let _ = out.blocking_send(Ok(event));
        }
        Ok(())
    }

    /// Tells of pins below which blocks were lost with their rows, and fetches those.
    fn mend_pins(
        &self,
        remedy: &Remedy,
        tally: &mut Tally,
        tell: &mut dyn FnMut(RepoVerified),
    ) -> Result<(), Error> {
        for pin in self.store.core().incomplete_pins(usize::MAX)? {
            let fate = match remedy {
                Remedy::Heal(dag) => {
                    let node = Self { dag: dag.clone(), ..self.clone() };
                    match task::wait(node.make_whole(&pin)) {
                        Ok(()) => Fate::Healed,
                        Err(error) => Fate::Unhealed(error.to_string()),
                    }
                }
                _ => Fate::Left,
            };
            tally.count(&fate);
            let cause = "blocks below this pin are missing".to_owned();
            tell(RepoVerified::Corrupt { cid: pin.cid, cause, fate });
        }
        Ok(())
    }

    fn mend(&self, core: &Core, hash: &Multihash, remedy: &Remedy) -> Fate {
        match remedy {
            Remedy::Nothing => Fate::Left,
            Remedy::Drop => match core.drop_damaged(hash) {
                Ok(_) => Fate::Removed,
                Err(error) => {
                    tracing::warn!("cannot delete a damaged block: {error}");
                    Fate::Left
                }
            },
            Remedy::Heal(dag) => match task::wait(dag.block(&cid::of_hash(hash))) {
                Ok(_) => Fate::Healed,
                Err(error) => Fate::Unhealed(error.to_string()),
            },
        }
    }
}

/// Corrupt blocks, and what became of them.
#[derive(Default)]
struct Tally {
    corrupt: u64,
    left: u64,
    removed: u64,
    healed: u64,
    unhealed: u64,
}

impl Tally {
    fn count(&mut self, fate: &Fate) {
        self.corrupt += 1;
        *match fate {
            Fate::Left => &mut self.left,
            Fate::Removed => &mut self.removed,
            Fate::Healed => &mut self.healed,
            Fate::Unhealed(_) => &mut self.unhealed,
        } += 1;
    }
}

/// Kubo's summary.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "verify complete, {} blocks corrupt", self.corrupt)?;
        let counts =
            [(self.removed, "removed"), (self.healed, "healed"), (self.unhealed, "failed to heal")];
        counts.iter().filter(|(n, _)| *n > 0).try_for_each(|(n, what)| write!(f, ", {n} {what}"))
    }
}

/// Bytes of all files below a folder. RocksDB deletes files at any time: one that vanishes while
/// it is counted counts as nothing.
pub fn on_disk(root: &Path) -> Result<u64, Error> {
    let failed = |path: &Path, cause: std::io::Error| Error::Io {
        path: path.display().to_string(),
        cause: cause.to_string(),
    };
    let mut total = 0;
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(|e| failed(&folder, e))? {
            let entry = entry.map_err(|e| failed(&folder, e))?;
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => total += meta.len(),
                Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(failed(&entry.path(), error)),
            }
        }
    }
    Ok(total)
}
