//! The few ways this room touches a disk: whole files replaced at once, a lock taken, free space
//! asked.
//!
//! Owns that each is durable when it returns. Does not own what the files mean (`repo`).

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

/// Time between two tries for a lock. Short beside the second a daemon takes to stop.
const LOCK_POLL: Duration = Duration::from_millis(50);
/// Time between two log lines while waiting for one.
const LOCK_REPORT: Duration = Duration::from_secs(1);

/// Replaces `dir/name` with a file of mode 0600: whole or not at all, and still there after power
/// loss.
///
/// The temporary name is fixed, so that a crash leaves at most one; the repository's lock keeps two
/// writers apart.
pub fn replace_file(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let staged = dir.join(format!(".{name}.tmp"));
    let result = write_new(&staged, bytes).and_then(|()| fs::rename(&staged, dir.join(name)));
    if result.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&staged);
    }
    result.and_then(|()| sync_dir(dir))
}

/// Writes a file of mode 0600 in place of any there, and syncs it, but not its directory.
pub fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Never through an old file: it might have another mode, or be a link to elsewhere.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes renames and new files in a directory durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The bytes of a file, or an error of kind FileTooLarge beyond `most` bytes.
pub fn read_bounded(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX);
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > most { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(bytes) }
}

/// Makes one directory as Kubo does (0775 less the umask) unless it is there. Its parent must
/// exist: a missing one is more likely a disk that was not mounted than a wish for a path.
pub fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o775).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
            _ => sync_dir(Path::new(".")),
        },
    }
}

/// Bytes that this user may still write to the filesystem of a path.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Takes an exclusive lock that ends with the returned file, also when the process is killed. None
/// when another holds it and `wait` (None: not at all) has passed. Blocks the thread while it
/// waits.
pub fn lock(path: &Path, wait: Option<Duration>) -> io::Result<Option<File>> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .open(path)?;
    let start = Instant::now();
    let mut reported = Duration::ZERO;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) => {}
        }
        let waited = start.elapsed();
        let Some(left) =
            wait.and_then(|wait| wait.checked_sub(waited)).filter(|left| !left.is_zero())
        else {
            return Ok(None);
        };
        if waited.saturating_sub(reported) >= LOCK_REPORT {
            tracing::warn!(path = %path.display(), "someone else has the lock, waiting");
            reported = waited;
        }
        std::thread::sleep(left.min(LOCK_POLL));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn replaced_files_are_private_and_leave_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(".config.tmp"), "left by a crash").unwrap();
        fs::write(dir.path().join("config"), "old").unwrap();
        replace_file(dir.path(), "config", b"new").unwrap();
        assert_eq!(fs::read(dir.path().join("config")).unwrap(), b"new");
        let mode = fs::metadata(dir.path().join("config")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn reading_stops_at_its_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read_bounded(&path, 5).unwrap(), b"12345");
        assert_eq!(read_bounded(&path, 4).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn a_lock_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo.lock");
        let held = lock(&path, None).unwrap();
        assert!(lock(&path, None).unwrap().is_none());
        assert!(lock(&path, Some(Duration::from_millis(60))).unwrap().is_none());
        #[allow(clippy::disallowed_methods, reason = "the test holds its own thread")]
        let letting_go = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        assert!(lock(&path, Some(Duration::MAX)).unwrap().is_some());
        letting_go.join().unwrap();
    }

    #[test]
    fn a_directory_needs_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        assert!(make_dir(&dir.path().join("a/b")).is_err());
        make_dir(&dir.path().join("a")).unwrap();
        make_dir(&dir.path().join("a")).unwrap();
        assert!(free_bytes(dir.path()).unwrap() > 0);
    }
}
