//! `repo stat`: how much there is.

use std::fs;
use std::path::Path;

use super::{Error, Node};

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

impl Node {
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
