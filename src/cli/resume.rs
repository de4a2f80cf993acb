//! Where an unpacking stopped: a note beside its target, by which the next `get` goes on.
//!
//! The note names what is unpacked, the member that was begun last, and the boot: what stood in the
//! page cache when a machine went down may be lost, so no note outlives that. Why: `adr/0009`.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::extract::NOFOLLOW;
use crate::ipld::multibase::{self, Base};

/// First line of a note; the number is its form's.
const FORM: &str = "henge get 1";
/// Last line of a note. What an older, longer one left behind it does not count.
const END: &str = "end";
/// Most bytes of a note that are read: names of members are short.
const NOTE_MAX_BYTES: u64 = 64 << 10;

/// A note, locked by this process as long as it lives.
pub struct Note {
    path: PathBuf,
    file: File,
    /// What is unpacked, and the boot.
    head: String,
    /// Whether it says where somebody stopped, and so stays when it is dropped.
    telling: bool,
}

/// A note, and the member at which an earlier process stopped.
pub type Found = (Note, Option<Vec<u8>>);

impl Note {
    /// The note of what is unpacked to `target`, and the member at which an earlier process stopped.
    /// `None` where nothing can be noted: nobody tells the boot, the folder is not to be written in,
    /// or another process unpacks to the same place.
    pub fn of(target: &Path, what: &str) -> Option<Found> {
        let (path, boot) = place(target).zip(boot())?;
        let head = format!("{FORM}\n{}\n{boot}\n", encode(what.as_bytes()));
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600).custom_flags(NOFOLLOW);
        let mut file = options.open(&path).ok()?;
        lock(&path, &file)?;
        let mut text = String::new();
        // One that cannot be read is none: it is written anew.
        let read = Read::by_ref(&mut file).take(NOTE_MAX_BYTES).read_to_string(&mut text);
        let telling = !text.is_empty();
        let note = Self { path, file, head, telling };
        let member = read.ok().and_then(|_| note.member(&text));
        Some((note, member))
    }

    /// The member that a note names, if it is of the same content and boot.
    fn member(&self, text: &str) -> Option<Vec<u8>> {
        let mut lines = text.strip_prefix(&self.head)?.lines();
        let (member, end) = (lines.next()?, lines.next()?);
        let (_, member) = multibase::decode(member).ok().filter(|_| end == END)?;
        Some(member)
    }

    /// Notes that everything before `member` is in its place. A note that cannot be written says so
    /// to nobody: whoever goes on by it does something twice.
    pub fn begin(&mut self, member: &[u8]) {
        let text = format!("{}{}\n{END}\n", self.head, encode(member));
        self.telling = true;
        let _ = self.file.write_all_at(text.as_bytes(), 0);
    }

    /// Forgets where anybody stopped: what was there is being written over.
    pub fn void(&mut self) {
        self.telling = false;
        let _ = self.file.set_len(0);
    }

    /// Removes the note: all is in its place.
    pub fn done(mut self) {
        self.telling = false;
    }
}

impl Drop for Note {
    fn drop(&mut self) {
        if !self.telling {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Locks a note's file; `None` when another process has it, or locks are not to be had.
fn lock(path: &Path, file: &File) -> Option<()> {
    rustix::fs::flock(file, rustix::fs::FlockOperation::NonBlockingLockExclusive).ok()?;
    // Whoever held it until now may have removed it.
    let same = fs::metadata(path).and_then(|now| Ok(now.ino() == file.metadata()?.ino()));
    same.unwrap_or(false).then_some(())
}

/// The note's path: hidden, beside the target.
fn place(target: &Path) -> Option<PathBuf> {
    let named = match target.file_name() {
        Some(_) => target.to_owned(),
        None => fs::canonicalize(target).ok()?,
    };
    let mut name = std::ffi::OsString::from(".");
    name.push(named.file_name()?);
    name.push(".henge-get");
    Some(named.with_file_name(name))
}

/// What differs after each start of the machine; `None` where nobody tells.
fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

fn encode(bytes: &[u8]) -> String {
    multibase::encode(Base::Base64Url, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_tells_the_last_member_of_the_same_content_only() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let (mut note, found) = Note::of(&target, "/ipfs/x").unwrap();
        assert_eq!(found, None);
        note.begin(b"out/a longer name than the next");
        note.begin(b"out/\xff\n");
        assert!(Note::of(&target, "/ipfs/x").is_none(), "two at a time");
        drop(note);
        assert_eq!(Note::of(&target, "/ipfs/y").unwrap().1, None);
        let (note, found) = Note::of(&target, "/ipfs/x").unwrap();
        assert_eq!(found.as_deref(), Some(&b"out/\xff\n"[..]));
        note.done();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(Note::of(&target, "/ipfs/x").unwrap());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing was begun");
    }

    #[test]
    fn a_torn_note_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let (mut note, _) = Note::of(&target, "/ipfs/x").unwrap();
        note.begin(b"out/member");
        drop(note);
        let path = dir.path().join(".out.henge-get");
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() - 1 {
            fs::write(&path, &whole[..cut]).unwrap();
            assert_eq!(Note::of(&target, "/ipfs/x").unwrap().1, None, "{cut}");
        }
    }
}
