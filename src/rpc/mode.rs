//! Permissions and times of uploaded entries, as Kubo's clients write them: into the name of a part
//! of the upload, `file?mode=0644&mtime=1604320482&mtime-nsecs=5`, with the mode in Go's bits.
//!
//! Source: boxo `files` (multifilereader.go, multipartfile.go, util.go); Go's `io/fs` FileMode.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use serde::Deserialize;

use super::query;
use crate::node::{Meta, Mtime};

/// Go's bit of a folder.
pub const FOLDER: u32 = 1 << 31;
/// Go's bit of a symlink.
pub const SYMLINK: u32 = 1 << 27;
/// Go's bits for set-user-ID, set-group-ID and sticky, and Unix's.
const SPECIAL: [(u32, u32); 3] = [(1 << 23, 0o4000), (1 << 22, 0o2000), (1 << 20, 0o1000)];
/// The same bits for both.
const PERMISSIONS: u32 = 0o777;

/// The parameters of an upload's entry as the end of its part's name; `kind` is Go's bit of what it
/// is, or 0 for a file.
pub fn write(meta: &Meta, kind: u32) -> String {
    let mut params = Vec::new();
    if let Some(mode) = meta.mode {
        let special = SPECIAL.iter().filter(|(_, unix)| mode & unix != 0).map(|(go, _)| go);
        let mode = special.fold(kind | mode & PERMISSIONS, |mode, bit| mode | bit);
        params.push(format!("mode=0{mode:o}"));
    }
    if let Some(Mtime { seconds, nanos }) = meta.mtime {
        params.push(format!("mtime={seconds}"));
        if nanos > 0 {
            params.push(format!("mtime-nsecs={nanos}"));
        }
    }
    match params.is_empty() {
        true => String::new(),
        false => format!("?{}", params.join("&")),
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Params {
    mode: Option<String>,
    mtime: Option<i64>,
    mtime_nsecs: Option<u32>,
}

/// What the name of a part tells.
///
/// # Errors
/// What cannot be meant, in one line.
pub fn read(part_name: &str) -> Result<Meta, String> {
    let Some((_, query)) = part_name.split_once('?') else { return Ok(Meta::NONE) };
    let refused = |why: String| format!("invalid name of a part: {part_name:?}: {why}");
    let pairs: Vec<(String, String)> =
        serde_html_form::from_str(query).map_err(|e| refused(e.to_string()))?;
    let params: Params = query::options(&pairs).map_err(|e| refused(e.to_string()))?;
    let mode = params.mode.map(|text| u32::from_str_radix(&text, 8)).transpose();
    let mode = mode.map_err(|_| refused("the mode is an octal number".into()))?;
    let nanos = params.mtime_nsecs.unwrap_or(0);
    if nanos > 999_999_999 {
        return Err(refused("mtime-nsecs: from 0 to 999999999".into()));
    }
    let mtime = params.mtime.map(|seconds| Mtime { seconds, nanos });
    // 0 is how a mode is said not to be known.
    Ok(Meta { mode: mode.filter(|mode| *mode != 0).map(unix), mtime })
}

/// Go's bits as Unix has them; those that are no permissions fall away.
fn unix(go: u32) -> u32 {
    let special = SPECIAL.iter().filter(|(bit, _)| go & bit != 0).map(|(_, unix)| unix);
    special.fold(go & PERMISSIONS, |mode, bit| mode | bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for mode in [None, Some(0o644), Some(0o7777), Some(0o1777), Some(0o4000)] {
            for mtime in [None, Some((0, 0)), Some((-5, 7)), Some((1_604_320_482, 999_999_999))] {
                let mtime = mtime.map(|(seconds, nanos)| Mtime { seconds, nanos });
                let meta = Meta { mode, mtime };
                for kind in [0, FOLDER, SYMLINK] {
                    assert_eq!(read(&format!("file{}", write(&meta, kind))), Ok(meta));
                }
            }
        }
        let meta = Meta { mode: Some(0o755), mtime: Some(Mtime { seconds: 9, nanos: 8 }) };
        assert_eq!(write(&meta, FOLDER), "?mode=020000000755&mtime=9&mtime-nsecs=8");
        assert_eq!(write(&Meta::NONE, FOLDER), "");
    }

    #[test]
    fn what_is_not_there_or_not_meant_is_told_apart() {
        let folder = Meta { mode: Some(0), mtime: None };
        assert_eq!(read("file?mode=020000000000"), Ok(folder), "a folder nobody may enter");
        for none in ["", "file", "file?", "file?mode=0", "file-1?other=2", "?"] {
            assert_eq!(read(none), Ok(Meta::NONE), "{none}");
        }
        for bad in [
            "f?mode=9",
            "f?mode=77777777777",
            "f?mode=",
            "f?mode=-1",
            "f?mtime=x",
            "f?mtime=",
            "f?mtime=9223372036854775808",
            "f?mtime=1&mtime-nsecs=1000000000",
            "f?mtime-nsecs=-1",
            "f?mode=1&mode=2",
        ] {
            assert!(read(bad).unwrap_err().contains(bad), "{bad}");
        }
    }
}
