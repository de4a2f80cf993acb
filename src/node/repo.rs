//! `repo`: how much there is, and whether it is what it was.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{Error, Node, RESULTS, Results};
use crate::ipld::cid::{self, Cid};
use crate::store::Core;
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
}

/// Options of `repo verify`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct RepoVerifyOptions {
    /// Delete corrupt blocks: not supported yet.
    #[arg(long)]
    pub drop: bool,
    /// Delete corrupt blocks and fetch them again: not supported yet.
    #[arg(long)]
    pub heal: bool,
    /// How long to fetch one block.
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
    },
    /// So many blocks have been read.
    Progress(u64),
    /// Every block is right.
    Sound,
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

    /// Reads every block and hashes it again. Ends with [`RepoVerified::Sound`], or with
    /// [`Error::Corrupt`] when any block is damaged.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for options that change the store, at once.
    pub fn repo_verify(&self, options: &RepoVerifyOptions) -> Result<Results<RepoVerified>, Error> {
        if options.drop || options.heal {
            let name = if options.drop { "drop" } else { "heal" };
            return Err(Error::Unsupported(format!("--{name} is not supported yet")));
        }
        let (out, told) = mpsc::channel(RESULTS);
        let core = self.store.core();
        task::detach_blocking(move || {
            if let Err(error) = verify(&core, &out) {
                // A reader that is gone wants no error either.
                let _ = out.blocking_send(Err(error));
            }
        });
        Ok(told)
    }

    /// Counts blocks and bytes on the disk.
    ///
    /// # Errors
    /// The store's, or a folder that cannot be read.
    pub async fn repo_stat(&self) -> Result<RepoStat, Error> {
        let settings = self.settings.clone();
        self.store
            .run(move |core| {
                let (objects, _) = core.totals()?;
                let size = on_disk(&settings.repo_root)?;
                Ok(RepoStat { size, storage_max: settings.storage_max, objects })
            })
            .await
    }
}

/// Tells of every block that is not as it was.
fn verify(core: &Core, out: &mpsc::Sender<Result<RepoVerified, Error>>) -> Result<(), Error> {
    let (mut read, mut corrupt, mut heard) = (0_u64, 0_u64, true);
    core.verify_each(&mut |hash, wrong| {
        read += 1;
        if let Some(cause) = wrong {
            corrupt += 1;
            let event = RepoVerified::Corrupt { cid: cid::of_hash(hash), cause };
            heard &= out.blocking_send(Ok(event)).is_ok();
        }
        if read.is_multiple_of(REPORT_BLOCKS) {
            heard &= out.blocking_send(Ok(RepoVerified::Progress(read))).is_ok();
        }
        heard
    })?;
    if corrupt > 0 {
        return Err(Error::Corrupt(format!("verify complete, {corrupt} blocks corrupt")));
    }
    for event in [RepoVerified::Progress(read), RepoVerified::Sound] {
        // A reader that is gone is not waited for.
        let _ = out.blocking_send(Ok(event));
    }
    Ok(())
}

/// Bytes of all files below a folder. RocksDB deletes files at any time: one that vanishes while
/// it is counted counts as nothing.
fn on_disk(root: &Path) -> Result<u64, Error> {
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
