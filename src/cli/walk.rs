//! Walking files and folders that are to be added, in the order of their names.
//!
//! A file is opened when its turn comes and closed when it was read, so a folder of a million files
//! takes one descriptor. What cannot be read ends the walk, by name: an incomplete copy of a folder
//! would have a CID that looks complete.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::output::safe;
use crate::node::{Content, Entry, Source};

/// How a walk goes.
#[derive(Clone, Copy, Debug)]
pub struct WalkRules {
    /// Whether folders may be walked at all.
    pub recursive: bool,
    /// Whether entries whose names begin with a dot are taken.
    pub hidden: bool,
}

/// A place to visit, and its path in the import.
struct Stop {
    at: PathBuf,
    path: Vec<Bytes>,
}

struct Walk {
    stack: Vec<VecDeque<Stop>>,
    rules: WalkRules,
}

/// The entries below `roots`. Roots that cannot be added at all are refused here, before anything
/// is added.
///
/// # Errors
/// Names the root.
pub fn files(roots: &[PathBuf], rules: WalkRules) -> io::Result<Source> {
    let mut stops = VecDeque::with_capacity(roots.len());
    for root in roots {
        let meta = fs::symlink_metadata(root).map_err(|e| named("lstat", root, &e))?;
        if meta.is_dir() && !rules.recursive {
            let text = format!(
                "'{}' is a directory, use the '-r' flag to specify directories",
                shown(root)
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let name = base_name(root)?;
        stops.push_back(Stop { at: root.clone(), path: vec![name] });
    }
    Ok(Box::new(Walk { stack: vec![stops], rules }))
}

/// Standard input as one file without a name.
pub fn stdin() -> Source {
    let file = Content::File(Box::new(io::stdin()));
    Box::new(std::iter::once(Ok(Entry { path: vec![Bytes::new()], content: file })))
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
        Ok(Entry { path, content: Content::File(Box::new(Named { file, at })) })
    };
    let files: Vec<PathBuf> = files.into();
    Ok(Box::new(files.into_iter().map(open)))
}

/// Bytes of all files below `roots`, for a progress bar: what cannot be read counts as nothing.
pub fn total_bytes(roots: &[PathBuf], rules: WalkRules) -> u64 {
    let mut total = 0;
    let mut waiting: Vec<PathBuf> = roots.to_vec();
    while let Some(at) = waiting.pop() {
        let Ok(meta) = fs::symlink_metadata(&at) else { continue };
        if meta.is_file() {
            total += meta.len();
        } else if meta.is_dir() {
            let entries = fs::read_dir(&at).into_iter().flatten().flatten();
            let taken = entries.filter(|e| rules.hidden || !is_hidden(&e.file_name()));
            waiting.extend(taken.map(|e| e.path()));
        }
    }
    total
}

impl Iterator for Walk {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.stack.last_mut()?.pop_front() {
                Some(stop) => return Some(self.visit(stop)),
                None => self.stack.pop(),
            };
        }
    }
}

impl Walk {
    fn visit(&mut self, Stop { at, path }: Stop) -> io::Result<Entry> {
        let meta = fs::symlink_metadata(&at).map_err(|e| named("lstat", &at, &e))?;
        let content = match kind(&meta) {
            Found::Folder => {
                let below = self.children(&at, &path)?;
                self.stack.push(below);
                Content::Directory
            }
            Found::Symlink => {
                let target = fs::read_link(&at).map_err(|e| named("readlink", &at, &e))?;
                Content::Symlink(Bytes::copy_from_slice(target.as_os_str().as_bytes()))
            }
            Found::File => {
                let file = File::open(&at).map_err(|e| named("open", &at, &e))?;
                Content::File(Box::new(Named { file, at }))
            }
            Found::Special => {
                let text = format!("unrecognized file type for {}", shown(&at));
                return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
            }
        };
        Ok(Entry { path, content })
    }

    /// A folder's entries, by name.
    fn children(&self, folder: &Path, path: &[Bytes]) -> io::Result<VecDeque<Stop>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(|e| named("open", folder, &e))? {
            let name = entry.map_err(|e| named("read", folder, &e))?.file_name();
            if self.rules.hidden || !is_hidden(&name) {
                names.push(name);
            }
        }
        names.sort();
        let stop = |name: std::ffi::OsString| {
            let mut below = path.to_vec();
            below.push(Bytes::copy_from_slice(name.as_bytes()));
            Stop { at: folder.join(&name), path: below }
        };
        Ok(names.into_iter().map(stop).collect())
    }
}

enum Found {
    File,
    Folder,
    Symlink,
    Special,
}

fn kind(meta: &Metadata) -> Found {
    match meta.file_type() {
        t if t.is_file() => Found::File,
        t if t.is_dir() => Found::Folder,
        t if t.is_symlink() => Found::Symlink,
        _ => Found::Special,
    }
}

/// A file whose errors tell its name.
struct Named {
    file: File,
    at: PathBuf,
}

impl Read for Named {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.file.read(buf).map_err(|e| named("read", &self.at, &e))
    }
}

/// An error as Go prints it: what was tried, on what, and why it failed.
fn named(verb: &str, at: &Path, error: &io::Error) -> io::Error {
    let why = match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::Interrupted => return io::ErrorKind::Interrupted.into(),
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
