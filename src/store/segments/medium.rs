//! Where segments lie: a folder of files, or memory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// How names of segment files end.
const SUFFIX: &str = ".seg";

/// Keeps segments by number.
pub trait Medium: Send + Sync + 'static {
    /// Number and length in bytes of every segment that is there.
    ///
    /// # Errors
    /// The system's, as for all of these.
    fn list(&self) -> io::Result<Vec<(u32, u64)>>;
    /// A new, empty segment.
    ///
    /// # Errors
    /// That there is one of that number.
    fn create(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>>;
    /// One that is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    fn open(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>>;
    /// Deletes one; readers that hold it read on.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`].
    fn remove(&self, id: u32) -> io::Result<()>;
    /// Puts what was created and removed so far on the disk.
    ///
    /// # Errors
    /// The system's.
    fn sync_names(&self) -> io::Result<()>;
    /// Bytes that may still be written to the device beneath.
    ///
    /// # Errors
    /// The system's.
    fn free(&self) -> io::Result<u64>;
}

/// A segment's bytes.
pub trait SegmentFile: Send + Sync {
    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the segment ends before.
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes the parts one after the other from `offset` on.
    ///
    /// # Errors
    /// The system's; any part of them may then be written.
    fn write_all_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Puts all that was written on the disk.
    ///
    /// # Errors
    /// The system's. What was written before may then be lost, and nobody can tell.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the segment to `length` bytes.
    ///
    /// # Errors
    /// The system's.
    fn cut(&self, length: u64) -> io::Result<()>;
}

/// A folder with a file a segment.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// The system's.
    pub fn open(path: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let folder = Self { path: path.to_owned() };
        let above = path.parent().unwrap_or(path);
        File::open(above)?.sync_all()?;
        Ok(folder)
    }

    /// Size of the disk beneath, in bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn size(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_blocks.saturating_mul(stat.f_frsize))
    }

    fn file(&self, id: u32) -> PathBuf {
        self.path.join(format!("{id:010}{SUFFIX}"))
    }
}

impl Medium for Folder {
    fn list(&self) -> io::Result<Vec<(u32, u64)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            if let Some(id) = number.and_then(|number| number.parse().ok()) {
                found.push((id, entry.metadata()?.len()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn create(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let options =
            OpenOptions::new().read(true).write(true).create_new(true).open(self.file(id));
        Ok(Arc::new(options?))
    }

    fn open(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(Arc::new(OpenOptions::new().read(true).write(true).open(self.file(id))?))
    }

    fn remove(&self, id: u32) -> io::Result<()> {
        std::fs::remove_file(self.file(id))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn free(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl SegmentFile for File {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, out, offset)
    }

    fn write_all_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let (mut rest, mut at) = (&mut slices[..], offset);
        while !rest.is_empty() {
            // At most as many as the system takes at a time.
            let now = rest.len().min(1024);
            match rustix::io::pwritev(self, &rest[..now], at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    at += written as u64;
                    IoSlice::advance_slices(&mut rest, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            // Parts without bytes at the head of what is left would be written for ever.
            while rest.first().is_some_and(|part| part.is_empty()) {
                rest = &mut rest[1..];
            }
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }
}

/// Segments that live as long as the process.
#[derive(Default)]
pub struct InMemory {
    segments: Mutex<BTreeMap<u32, Arc<RwLock<Vec<u8>>>>>,
}

impl Medium for InMemory {
    fn list(&self) -> io::Result<Vec<(u32, u64)>> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        let length = |bytes: &RwLock<Vec<u8>>| {
            bytes.read().unwrap_or_else(PoisonError::into_inner).len() as u64
        };
        Ok(segments.iter().map(|(id, bytes)| (*id, length(bytes))).collect())
    }

    fn create(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let bytes = Arc::<RwLock<Vec<u8>>>::default();
        self.segments.lock().unwrap_or_else(PoisonError::into_inner).insert(id, bytes.clone());
        Ok(bytes)
    }

    fn open(&self, id: u32) -> io::Result<Arc<dyn SegmentFile>> {
        let segments = self.segments.lock().unwrap_or_else(PoisonError::into_inner);
        match segments.get(&id) {
            Some(bytes) => Ok(bytes.clone()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn remove(&self, id: u32) -> io::Result<()> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(())
    }

    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }

    fn free(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl SegmentFile for RwLock<Vec<u8>> {
    fn read_exact_at(&self, out: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self.read().unwrap_or_else(PoisonError::into_inner);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = bytes.get(from..from.saturating_add(out.len()));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_all_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut bytes = self.write().unwrap_or_else(PoisonError::into_inner);
        let mut at = usize::try_from(offset).unwrap_or(usize::MAX);
        for part in parts {
            let end = at.saturating_add(part.len());
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(part);
            at = end;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn cut(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        self.write().unwrap_or_else(PoisonError::into_inner).truncate(length);
        Ok(())
    }
}
