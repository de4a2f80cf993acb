//! Unpacking a TAR stream below one path, and never beside it (CVE-2020-26279).
//!
//! The names come from whoever made the DAG. A member is written only when each of its names is a
//! plain one and no folder on its way is a symlink; a symlink is made as it is, and never followed.
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
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};

use super::output::{CliError, safe};

/// Flag of `open(2)`: fail when the last name is a symlink.
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Writes the archive's one top member to `target`; into it, when the member is a file and
/// `target` a folder.
pub fn unpack(reader: impl Read, target: &Path) -> Result<(), CliError> {
    let mut archive = tar::Archive::new(reader);
    let mut root: Option<PathBuf> = None;
    for member in archive.entries().map_err(broken)? {
        let mut member = member.map_err(broken)?;
        let name = member.path_bytes().into_owned();
        let name = Path::new(std::ffi::OsStr::from_bytes(&name)).to_owned();
        let (top, below) = split(&name)?;
        let kind = member.header().entry_type();
        let root = root.get_or_insert_with(|| match !kind.is_dir() && target.is_dir() {
            true => target.join(top),
            false => target.to_owned(),
        });
        let place = plain_way(root, &below)?;
        match kind {
            tar::EntryType::Directory => folder(&place)?,
            tar::EntryType::Regular => file(&mut member, &place)?,
            tar::EntryType::Symlink => {
                let to = member.link_name_bytes().unwrap_or_default().into_owned();
                link(Path::new(std::ffi::OsStr::from_bytes(&to)), &place)?;
            }
            other => return Err(refused(&name, &format!("unexpected kind {other:?}"))),
        }
    }
    match root {
        Some(_) => Ok(()),
        None => Err(CliError::new("the node sent an empty archive")),
    }
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

fn folder(place: &Path) -> Result<(), CliError> {
    match fs::create_dir(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let meta = fs::symlink_metadata(place).map_err(|e| failed(place, &e))?;
            if meta.is_dir() { Ok(()) } else { Err(failed(place, &error)) }
        }
        other => other.map_err(|e| failed(place, &e)),
    }
}

fn file(content: &mut impl Read, place: &Path) -> Result<(), CliError> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).custom_flags(NOFOLLOW);
    let mut file: File = options.open(place).map_err(|e| failed(place, &e))?;
    io::copy(content, &mut file).map_err(|e| failed(place, &e)).map(drop)
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
mod tests {
    use super::*;

    /// An archive of members as hostile as the caller likes: names are written as they are.
    fn archive(members: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, kind, body) in members {
            let mut header = tar::Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o644);
            let linked = *kind == tar::EntryType::Symlink;
            if linked {
                header.as_old_mut().linkname[..body.len()].copy_from_slice(body.as_bytes());
            }
            let content = if linked { "" } else { *body };
            header.set_size(content.len() as u64);
            header.set_cksum();
            out.extend_from_slice(header.as_bytes());
            out.extend_from_slice(content.as_bytes());
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.resize(out.len() + 1024, 0);
        out
    }

    #[test]
    fn cve_2020_26279_nothing_is_written_outside() {
        use tar::EntryType::{Directory, Regular, Symlink};
        for members in [
            vec![("../evil", Regular, "x")],
            vec![("/evil", Regular, "x")],
            vec![("d", Directory, ""), ("d/../../evil", Regular, "x")],
            vec![("d", Directory, ""), ("d/s", Symlink, ".."), ("d/s/evil", Regular, "x")],
            vec![("d", Directory, ""), ("d/s", Symlink, "../evil"), ("d/s", Regular, "x")],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let target = dir.path().join("out");
            let error = unpack(archive(&members).as_slice(), &target);
            assert!(error.is_err(), "{members:?}");
            assert!(!dir.path().join("evil").exists(), "{members:?}");
        }
    }

    #[test]
    fn a_tree_comes_out_under_the_target() {
        use tar::EntryType::{Directory, Regular, Symlink};
        let members = [("d", Directory, ""), ("d/f", Regular, "text"), ("d/l", Symlink, "f")];
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        for _ in 0..2 {
            unpack(archive(&members).as_slice(), &target).unwrap();
            assert_eq!(fs::read_to_string(target.join("l")).unwrap(), "text");
        }
        unpack(archive(&[("f", Regular, "x")]).as_slice(), &target).unwrap();
        assert_eq!(fs::read_to_string(target.join("f")).unwrap(), "x");
    }
}
