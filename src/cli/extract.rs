//! Unpacking a TAR stream below one path, and never beside it (CVE-2020-26279).
//!
//! The names come from whoever made the DAG. A member is written only when each of its names is a
//! plain one and no folder on its way is a symlink; a symlink is made as it is, and never followed.
//! A file stands under its name when it is whole, not before: until then it grows beside it under a
//! name that nothing in the archive can have, and the next unpacking goes on with it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps};

use super::output::{CliError, safe};
use super::resume::Note;
use crate::ipld::cid;
use crate::rpc::SKIPPED;

/// Flag of `open(2)`: fail when the last name is a symlink.
pub const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
/// Type bits of a mode. A header that has them tells what the node told; one without may tell what
/// is usual.
const TYPE_BITS: u32 = 0o170_000;
/// Nanoseconds of a second.
const NANOS: i128 = 1_000_000_000;

/// An archive on its way to the disk.
pub struct Unpacking {
    target: PathBuf,
    /// What is unpacked, by which unfinished files are named.
    what: String,
    note: Option<Note>,
    /// Whether the next unpacking may go on with what this one leaves unfinished.
    lasting: bool,
    /// The member that an earlier process stopped at, and how much of its content is there.
    found: Option<(Vec<u8>, u64)>,
    /// Folders on the way to the last member. What is told of them is restored behind their content.
    open: Vec<(PathBuf, Told)>,
}

/// What a header tells beside name and content.
#[derive(Clone, Copy, Default)]
struct Told {
    /// Permissions (0777), unless they are the usual ones. Bits that lend the owner's rights to
    /// others are not taken from strangers.
    mode: Option<u32>,
    mtime: Option<Timespec>,
    /// Bytes of the content that were left out.
    skipped: u64,
}

impl Unpacking {
    /// Writes the archive's one top member to `target`; into it, when the member is no folder and
    /// `target` is one. `what` names the content for good; without it nobody can go on.
    pub fn to(target: &Path, what: Option<&str>) -> Self {
        // Of this process alone: what it overwrites makes an older note void all the same.
        let own = format!("{} {}", std::process::id(), what.unwrap_or_default());
        let (note, member) = Note::of(target, what.unwrap_or(&own)).unzip();
        // Without a note, and its lock, the unfinished belong to this process, too.
        let lasting = note.is_some() && what.is_some();
        let what = what.filter(|_| lasting).map_or(own, str::to_owned);
        let target = target.to_owned();
        let mut this = Self { target, what, note, lasting, found: None, open: Vec::new() };
        this.found = member.flatten().and_then(|member| this.look_for(member));
        this
    }

    /// The member to go on with, and how much of its content is here.
    pub fn found(&self) -> Option<(&[u8], u64)> {
        self.found.as_ref().map(|(member, length)| (member.as_slice(), *length))
    }

    fn look_for(&self, member: Vec<u8>) -> Option<(Vec<u8>, u64)> {
        let (top, below) = split(&as_path(&member)).ok()?;
        let root = self.root(below.as_os_str().is_empty(), &top);
        let place = plain_way(&root, &below).ok()?;
        match fs::symlink_metadata(self.unfinished(&place, &member)) {
            Ok(meta) if meta.is_file() => Some((member, meta.len())),
            // What is not there at all went away with all that was done before it.
            _ => fs::symlink_metadata(&place).is_ok().then_some((member, 0)),
        }
    }

    /// Where the top member goes.
    fn root(&self, alone: bool, top: &Path) -> PathBuf {
        let into = alone && self.target.is_dir();
        if into { self.target.join(top) } else { self.target.clone() }
    }

    /// Where a file grows: in the folder that it belongs to, so that it can be renamed. Nobody can
    /// give an entry this name, which is made from the CID above it.
    fn unfinished(&self, place: &Path, member: &[u8]) -> PathBuf {
        let name = [self.what.as_bytes(), b"\0", member].concat();
        let digest = cid::digest(cid::hash::SHA2_256, &name);
        let digest = digest.map(|digest| digest.digest().to_vec()).unwrap_or_default();
        let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        place.with_file_name(format!(".{hex}.unfinished"))
    }

    /// Unpacks all of it.
    ///
    /// # Errors
    /// The stream's; that a member cannot or must not be written, by its name.
    pub fn run(mut self, reader: impl Read) -> Result<(), CliError> {
        let mut archive = tar::Archive::new(reader);
        let mut root: Option<PathBuf> = None;
        for member in archive.entries().map_err(broken)? {
            let mut member = member.map_err(broken)?;
            let name = member.path_bytes().into_owned();
            let (top, below) = split(&as_path(&name))?;
            let kind = member.header().entry_type();
            let root = root.get_or_insert_with(|| self.root(!kind.is_dir(), &top));
            let place = plain_way(root, &below)?;
            let told = told(&mut member)?;
            self.leave(Some(&place))?;
            match kind {
                tar::EntryType::Directory => {
                    folder(&place)?;
                    self.open.push((place, told));
                    continue;
                }
                tar::EntryType::Regular => {
                    let alone = below.as_os_str().is_empty();
                    self.file(&mut member, &name, (&place, alone), told)?;
                }
                tar::EntryType::Symlink => {
                    self.begin(&name);
                    let to = member.link_name_bytes().unwrap_or_default().into_owned();
                    link(&as_path(&to), &place)?;
                    date(&place, told.mtime).map_err(|e| failed(&place, &e))?;
                }
                other => {
                    return Err(refused(&as_path(&name), &format!("unexpected kind {other:?}")));
                }
            }
        }
        self.leave(None)?;
        if root.is_none() {
            return Err(CliError::new("the node sent an empty archive"));
        }
        // Two empty records end an archive, of which one is read: it may break off between members.
        if io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)? == 0 {
            return Err(CliError::new("the archive ends before its end"));
        }
        if let Some(note) = self.note {
            note.done();
        }
        Ok(())
    }

    fn begin(&mut self, member: &[u8]) {
        match &mut self.note {
            Some(note) if self.lasting => note.begin(member),
            Some(note) => note.void(),
            None => {}
        }
    }

    /// Leaves the folders that the next member is not in.
    fn leave(&mut self, next: Option<&Path>) -> Result<(), CliError> {
        while let Some((place, _)) = self.open.last()
            && !next.is_some_and(|next| next.starts_with(place))
        {
            let Some((place, told)) = self.open.pop() else { break };
            restore(&place, told).map_err(|e| failed(&place, &e))?;
        }
        Ok(())
    }

    fn file(
        &mut self,
        member: &mut tar::Entry<'_, impl Read>,
        name: &[u8],
        (place, alone): (&Path, bool),
        told: Told,
    ) -> Result<(), CliError> {
        if alone && place == self.target && is_written_through(place) {
            let out = written_through(place);
            return copy(member, &mut out.map_err(|e| failed(place, &e))?, place);
        }
        let unfinished = self.unfinished(place, name);
        let mut unpack = || {
            let mut file = grow(&unfinished, told).map_err(|e| failed(place, &e))?;
            // Not before: what an earlier boot left under this name is gone now.
            self.begin(name);
            copy(member, &mut file, place)?;
            Ok(file)
        };
        let whole: Result<File, CliError> = unpack();
        let mut of_use = self.lasting;
        let placed = whole.and_then(|file| {
            finish(&file, &unfinished, place, told).map_err(|error| {
                // Where a folder stands there is no place for it the next time either.
                of_use &= error.kind() != io::ErrorKind::IsADirectory;
                failed(place, &error)
            })
        });
        if placed.is_err() && !of_use {
            let _ = fs::remove_file(&unfinished);
        }
        placed
    }
}

/// Gives a file that is whole what is told of it, and its name.
fn finish(file: &File, unfinished: &Path, place: &Path, told: Told) -> io::Result<()> {
    if let Some(mode) = told.mode.or_else(|| mode_of(place)) {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    date(unfinished, told.mtime)?;
    fs::rename(unfinished, place)
}

/// Whether a target that somebody named is a device, a pipe, or a symlink: that is written, and not
/// replaced.
fn is_written_through(target: &Path) -> bool {
    let plain = |meta: &fs::Metadata| meta.is_file() || meta.is_dir();
    fs::symlink_metadata(target).is_ok_and(|meta| !plain(&meta))
}

fn written_through(target: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).open(target)
}

/// Permissions of the file that is about to be replaced.
fn mode_of(place: &Path) -> Option<u32> {
    let meta = fs::symlink_metadata(place).ok().filter(fs::Metadata::is_file)?;
    Some(meta.permissions().mode() & 0o777)
}

fn as_path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

/// What a member's headers tell.
fn told(member: &mut tar::Entry<'_, impl Read>) -> Result<Told, CliError> {
    let header = member.header();
    let usual = if header.entry_type().is_dir() { 0o755 } else { 0o644 };
    let mode = header.mode().map_err(broken)?;
    let plain = mode & 0o777;
    let explicit = mode & TYPE_BITS != 0 || (plain != usual && plain != 0);
    let seconds = header.mtime().map_err(broken)?;
    let at = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX), tv_nsec: 0 };
    let mut told = Told {
        mode: explicit.then_some(plain),
        mtime: (seconds != 0).then_some(at),
        ..Told::default()
    };
    for record in member.pax_extensions().map_err(broken)?.into_iter().flatten() {
        let record = record.map_err(broken)?;
        match (record.key(), record.value()) {
            (Ok("mtime"), Ok(value)) => told.mtime = time(value),
            (Ok(SKIPPED), Ok(value)) => told.skipped = value.parse().unwrap_or(0),
            _ => {}
        }
    }
    Ok(told)
}

/// A decimal number of seconds; `None` for any other text.
fn time(text: &str) -> Option<Timespec> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // Numbers in Rust may have a sign, too.
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction = format!("{fraction:0<9}");
    let nanos: i128 = fraction.get(..9)?.parse().ok()?;
    let seconds: i128 = whole.parse::<u64>().ok()?.into();
    let total = seconds.checked_mul(NANOS)?.checked_add(nanos)?.checked_mul(sign)?;
    Some(Timespec {
        tv_sec: i64::try_from(total.checked_div_euclid(NANOS)?).ok()?,
        tv_nsec: i64::try_from(total.checked_rem_euclid(NANOS)?).ok()?,
    })
}

/// Opens an unfinished file behind what is not sent again; a new one, when all is.
fn grow(unfinished: &Path, told: Told) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).custom_flags(NOFOLLOW);
    // Not for more eyes than the whole file.
    options.mode(told.mode.map_or(0o666, |mode| mode | 0o600));
    let mut file = options.open(unfinished)?;
    if file.metadata()?.len() < told.skipped {
        return Err(io::Error::other("less of it is here than the node has left out"));
    }
    file.set_len(told.skipped)?;
    file.seek(SeekFrom::Start(told.skipped))?;
    Ok(file)
}

/// A member's content, all of it.
fn copy(
    member: &mut tar::Entry<'_, impl Read>,
    out: &mut File,
    place: &Path,
) -> Result<(), CliError> {
    let size = member.size();
    let copied = io::copy(member, out).map_err(|e| failed(place, &e))?;
    match copied == size {
        true => Ok(()),
        false => Err(failed(place, &io::Error::other("the archive ends in the middle of it"))),
    }
}

/// Gives a folder what is told of it, once all is in it.
fn restore(place: &Path, told: Told) -> io::Result<()> {
    if let Some(mode) = told.mode {
        let mut options = OpenOptions::new();
        let folder = options.read(true).custom_flags(NOFOLLOW).open(place)?;
        folder.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    date(place, told.mtime)
}

/// Sets the time of the last change; a symlink's own.
fn date(place: &Path, mtime: Option<Timespec>) -> io::Result<()> {
    let Some(mtime) = mtime else { return Ok(()) };
    let times = Timestamps { last_access: mtime, last_modification: mtime };
    Ok(rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Saves a stream as it is, under its name when it is whole.
pub fn save(mut reader: impl Read, target: &Path) -> Result<(), CliError> {
    let failed = |e: io::Error| failed(target, &e);
    if is_written_through(target) {
        let mut out = written_through(target).map_err(failed)?;
        return io::copy(&mut reader, &mut out).map_err(failed).map(drop);
    }
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.unfinished", std::process::id()));
    let unfinished = target.with_file_name(name);
    let mut write = || {
        let mut out = File::create(&unfinished)?;
        io::copy(&mut reader, &mut out)?;
        if let Some(mode) = mode_of(target) {
            out.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        fs::rename(&unfinished, target)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        failed(error)
    })
}

/// The top name, and the names below it.
fn split(name: &Path) -> Result<(PathBuf, PathBuf), CliError> {
    let mut parts = name.components();
    let plain = |part: Component<'_>| match part {
        Component::Normal(name) => Ok(PathBuf::from(name)),
        _ => Err(refused(name, "it leads outside")),
    };
    let top = plain(parts.next().ok_or_else(|| refused(name, "it has no name"))?)?;
    let mut below = PathBuf::new();
    for part in parts {
        below.push(plain(part)?);
    }
    Ok((top, below))
}

/// The place of a member, after making sure that no symlink stands on the way to it.
fn plain_way(root: &Path, below: &Path) -> Result<PathBuf, CliError> {
    let mut place = root.to_owned();
    for part in below.components() {
        let linked = fs::symlink_metadata(&place).is_ok_and(|meta| meta.is_symlink());
        if linked {
            return Err(refused(&place, "a symlink stands in its way"));
        }
        place.push(part);
    }
    Ok(place)
}

/// Makes a folder, or takes the one that is there; an earlier unpacking may have closed it.
fn folder(place: &Path) -> Result<(), CliError> {
    let make = || match fs::create_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(place)?;
            if !meta.is_dir() {
                return Err(error);
            }
            let mode = meta.permissions().mode();
            match mode & 0o300 == 0o300 {
                true => Ok(()),
                false => fs::set_permissions(place, fs::Permissions::from_mode(mode | 0o700)),
            }
        }
        other => other,
    };
    make().map_err(|e| failed(place, &e))
}

/// Makes a symlink, in the place of an older symlink or file.
fn link(to: &Path, place: &Path) -> Result<(), CliError> {
    match symlink(to, place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(place).map_err(|e| failed(place, &e))?;
            symlink(to, place).map_err(|e| failed(place, &e))
        }
        other => other.map_err(|e| failed(place, &e)),
    }
}

/// What the stream itself says: the node's error, or a cut archive.
fn broken(error: io::Error) -> CliError {
    CliError::new(error.to_string())
}

fn failed(place: &Path, error: &io::Error) -> CliError {
    CliError::new(format!("{}: {error}", safe(&place.to_string_lossy())))
}

fn refused(name: &Path, why: &str) -> CliError {
    CliError::new(format!("refused to unpack {:?}: {why}", safe(&name.to_string_lossy())))
}

#[cfg(test)]
mod tests;
