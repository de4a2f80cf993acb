//! Walking files and folders that are to be added, in the order of their names.
//!
//! A file is opened when its turn comes and closed when it was read, so a folder of a million files
//! takes one descriptor. What cannot be read ends the walk, by name: an incomplete copy of a folder
//! would have a CID that looks complete.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::ignore::Ignore;
use super::output::safe;
use crate::node::{Content, Entry, Meta, Mtime, Opened, Source};

/// How a walk goes.
#[derive(Clone, Debug, Default)]
pub struct WalkRules {
    /// Whether folders may be walked at all.
    pub recursive: bool,
    /// Whether entries whose names begin with a dot are taken.
    pub hidden: bool,
    /// Which entries are left out. A root is always taken.
    pub ignore: Arc<Ignore>,
    /// Which symlinks are followed.
    pub follow: Follow,
    /// What `-`, standard input, is called; nothing for its CID.
    pub stdin_name: String,
}

/// Which symlinks are followed; others are taken as symlinks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Follow {
    /// None.
    #[default]
    Never,
    /// Roots that are symlinks, which are then called as what they lead to.
    Roots,
    /// All of them.
    Always,
}

/// A place to visit, and its path in the import.
struct Stop {
    at: PathBuf,
    path: Vec<Bytes>,
}

impl Stop {
    fn is_root(&self) -> bool {
        self.path.len() == 1
    }
}

struct Walk {
    stack: Vec<Open>,
    rules: WalkRules,
}

/// A folder whose entries are being visited.
struct Open {
    /// Device and number: a symlink may lead back to it.
    id: Option<(u64, u64)>,
    rest: VecDeque<Stop>,
}

/// The entries below `roots`, which are taken in the order of their names, each once. Roots that
/// cannot be added at all are refused here, before anything is added.
///
/// # Errors
/// Names the root.
pub fn files(roots: &[PathBuf], rules: WalkRules) -> io::Result<Source> {
    Ok(Box::new(Walk::over(roots, rules)?.map(|found| open(found?))))
}

/// Standard input as one file without a name.
pub fn stdin() -> Source {
    let entry = Entry { path: vec![Bytes::new()], content: piped(), meta: Meta::NONE };
    Box::new(std::iter::once(Ok(entry)))
}

fn piped() -> Content {
    Content::File(Box::new(io::stdin()))
}

/// Files to be read from end to end, whatever they are: pipes, too. `-` or none is standard input.
/// What is not there is refused here, before anything is sent.
///
/// # Errors
/// Names the file.
pub fn streams(files: &[PathBuf]) -> io::Result<Source> {
    if files.is_empty() || files == [PathBuf::from("-")] {
        return Ok(stdin());
    }
    for file in files {
        if fs::metadata(file).map_err(|e| named("lstat", file, &e))?.is_dir() {
            let text = format!("'{}' is a directory, a file is expected", file.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    }
    let open = |at: PathBuf| {
        let file = File::open(&at).map_err(|e| named("open", &at, &e))?;
        let path = vec![Bytes::copy_from_slice(at.as_os_str().as_bytes())];
        let content = Content::Open(Opened { file, at, gone: None });
        Ok(Entry { path, content, meta: Meta::NONE })
    };
    let files: Vec<PathBuf> = files.into();
    Ok(Box::new(files.into_iter().map(open)))
}

/// Bytes of all files below `roots`, for a progress bar: what cannot be read counts as nothing.
pub fn total_bytes(roots: &[PathBuf], rules: WalkRules) -> u64 {
    let Ok(walk) = Walk::over(roots, rules) else { return 0 };
    let size = |found: io::Result<Found>| found.map_or(0, |found| found.size_bytes);
    walk.map(size).fold(0, u64::saturating_add)
}

/// What stands at a stop; not opened yet.
struct Found {
    at: PathBuf,
    path: Vec<Bytes>,
    kind: Kind,
    meta: Meta,
    /// Content of a file.
    size_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Folder,
    Symlink,
    Stdin,
}

fn open(found: Found) -> io::Result<Entry> {
    let Found { at, path, kind, meta, .. } = found;
    let content = match kind {
        Kind::Folder => Content::Directory,
        Kind::Stdin => piped(),
        Kind::Symlink => {
            let target = fs::read_link(&at).map_err(|e| named("readlink", &at, &e))?;
            Content::Symlink(Bytes::copy_from_slice(target.as_os_str().as_bytes()))
        }
        Kind::File => {
            let file = File::open(&at).map_err(|e| named("open", &at, &e))?;
            Content::Open(Opened { file, at, gone: None })
        }
    };
    Ok(Entry { path, content, meta })
}

impl Iterator for Walk {
    type Item = io::Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.stack.last_mut()?.rest.pop_front() {
                Some(stop) => return Some(self.visit(stop)),
                None => self.stack.pop(),
            };
        }
    }
}

impl Walk {
    fn over(roots: &[PathBuf], rules: WalkRules) -> io::Result<Self> {
        let mut stops = Vec::with_capacity(roots.len());
        for root in roots {
            if is_stdin(root) {
                let name = Bytes::copy_from_slice(rules.stdin_name.as_bytes());
                stops.push(Stop { at: root.clone(), path: vec![name] });
                continue;
            }
            let root = plain(root);
            let at = match rules.follow {
                Follow::Never => root.to_owned(),
                _ => root.canonicalize().map_err(|e| named("lstat", root, &e))?,
            };
            let meta = fs::symlink_metadata(&at).map_err(|e| named("lstat", root, &e))?;
            if meta.is_dir() && !rules.recursive {
                let text = format!(
                    "'{}' is a directory, use the '-r' flag to specify directories",
                    shown(root)
                );
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
            let name = base_name(&at)?;
            stops.push(Stop { at, path: vec![name] });
        }
        stops.sort_by(|a, b| a.path.cmp(&b.path));
        stops.dedup_by(|a, b| a.path == b.path && a.at == b.at);
        Ok(Self { stack: vec![Open { id: None, rest: stops.into() }], rules })
    }

    fn visit(&mut self, stop: Stop) -> io::Result<Found> {
        if stop.is_root() && is_stdin(&stop.at) {
            let Stop { at, path } = stop;
            return Ok(Found { at, path, kind: Kind::Stdin, meta: Meta::NONE, size_bytes: 0 });
        }
        let meta = self.look(&stop.at)?;
        let kind = kind(&meta, &stop)?;
        if kind == Kind::Folder {
            let open = self.enter(&stop, &meta)?;
            self.stack.push(open);
        }
        let size_bytes = if kind == Kind::File { meta.len() } else { 0 };
        Ok(Found { at: stop.at, path: stop.path, kind, meta: carried(&meta), size_bytes })
    }

    fn look(&self, at: &Path) -> io::Result<Metadata> {
        match self.rules.follow {
            Follow::Always => fs::metadata(at).map_err(|e| named("stat", at, &e)),
            _ => fs::symlink_metadata(at).map_err(|e| named("lstat", at, &e)),
        }
    }

    /// A folder's entries, by name.
    fn enter(&self, folder: &Stop, meta: &Metadata) -> io::Result<Open> {
        let at = &folder.at;
        let id = Some((meta.dev(), meta.ino()));
        if self.rules.follow == Follow::Always && self.stack.iter().any(|open| open.id == id) {
            let text = format!("symlinks lead from {} to a folder above it", shown(at));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut names: Vec<OsString> = Vec::new();
        for entry in fs::read_dir(at).map_err(|e| named("open", at, &e))? {
            let entry = entry.map_err(|e| named("read", at, &e))?;
            if self.takes(&entry, folder)? {
                names.push(entry.file_name());
            }
        }
        names.sort();
        let stop = |name: OsString| Stop { path: below(&folder.path, &name), at: at.join(&name) };
        Ok(Open { id, rest: names.into_iter().map(stop).collect() })
    }

    /// Whether an entry of a folder is taken. Rules of folders are of what stands there itself: a
    /// symlink is none.
    fn takes(&self, entry: &fs::DirEntry, folder: &Stop) -> io::Result<bool> {
        let name = entry.file_name();
        if !self.rules.hidden && is_hidden(&name) {
            return Ok(false);
        }
        let at = entry.path();
        let kind = entry.file_type().map_err(|e| named("lstat", &at, &e))?;
        let path = below(&folder.path, &name);
        Ok(!self.rules.ignore.leaves_out(path.get(1..).unwrap_or_default(), kind.is_dir()))
    }
}

/// Without the `./` in front, so that one place is met under one name.
fn plain(root: &Path) -> &Path {
    root.strip_prefix(".").ok().filter(|rest| !rest.as_os_str().is_empty()).unwrap_or(root)
}

fn below(path: &[Bytes], name: &OsStr) -> Vec<Bytes> {
    let mut below = path.to_vec();
    below.push(Bytes::copy_from_slice(name.as_bytes()));
    below
}

/// What is to be done with what stands there. A pipe is read where it was named itself.
fn kind(meta: &Metadata, stop: &Stop) -> io::Result<Kind> {
    match meta.file_type() {
        t if t.is_file() => Ok(Kind::File),
        t if t.is_dir() => Ok(Kind::Folder),
        t if t.is_symlink() => Ok(Kind::Symlink),
        t if t.is_fifo() && stop.is_root() => Ok(Kind::File),
        _ => {
            let text = format!("unrecognized file type for {}", shown(&stop.at));
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        }
    }
}

/// What an entry comes with; of what stands in a pipe nothing is known.
fn carried(meta: &Metadata) -> Meta {
    if meta.file_type().is_fifo() {
        return Meta::NONE;
    }
    let nanos = u32::try_from(meta.mtime_nsec()).unwrap_or(0);
    let mtime = Mtime { seconds: meta.mtime(), nanos };
    Meta { mode: Some(meta.mode() & 0o7777), mtime: Some(mtime) }
}

fn is_stdin(root: &Path) -> bool {
    root == Path::new("-")
}

/// An error as Go prints it: what was tried, on what, and why it failed.
fn named(verb: &str, at: &Path, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    io::Error::new(error.kind(), format!("{verb} {}: {why}", shown(at)))
}

/// A path on one line: names may hold anything.
fn shown(path: &Path) -> String {
    safe(&path.to_string_lossy())
}

fn is_hidden(name: &OsStr) -> bool {
    name.as_bytes().first() == Some(&b'.')
}

/// What a root is called in the import: its last name, found on the disk for `.` and the like.
fn base_name(root: &Path) -> io::Result<Bytes> {
    let name = match root.file_name() {
        Some(name) => Some(name.to_owned()),
        None => {
            let full = root.canonicalize().map_err(|e| named("lstat", root, &e))?;
            full.file_name().map(OsStr::to_owned)
        }
    };
    let nameless =
        || io::Error::new(io::ErrorKind::InvalidInput, format!("{} has no name", shown(root)));
    Ok(Bytes::copy_from_slice(name.ok_or_else(nameless)?.as_bytes()))
}
