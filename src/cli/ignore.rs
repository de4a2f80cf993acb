//! Rules that leave files out of a walk, in the language of `.gitignore`.
//!
//! A pattern without a slash, or with one at its end alone, is of names at any depth; any other is
//! of paths below the folder that is walked. `*` and `?` stop at slashes, `**` between slashes does
//! not; `!` takes back what an earlier rule left out; a slash at the end means folders alone.
//!
//! Source: gitignore(5).

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;

/// Rules in order: the last that fits decides.
#[derive(Debug, Default)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Names from the folder down, `None` for any number of them.
    parts: Vec<Option<Vec<u8>>>,
    folders_only: bool,
    takes_back: bool,
}

impl Ignore {
    /// The rules of a file, if one is given, and then these.
    ///
    /// # Errors
    /// The file's.
    pub fn new(file: Option<&Path>, rules: &[String]) -> io::Result<Self> {
        let text = file.map(fs::read).transpose()?.unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n');
        let lines = lines.chain(rules.iter().map(|rule| rule.as_bytes()));
        Ok(Self { rules: lines.filter_map(Rule::of).collect() })
    }

    /// Whether an entry is left out: its names from the walked folder down, none of which was left
    /// out before.
    pub fn leaves_out(&self, path: &[Bytes], is_folder: bool) -> bool {
        let fits = |rule: &&Rule| (is_folder || !rule.folders_only) && covers(&rule.parts, path);
        self.rules.iter().rev().find(fits).is_some_and(|rule| !rule.takes_back)
    }
}

impl Rule {
    /// `None` for a comment or an empty line.
    fn of(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut line = trimmed(line);
        if line.is_empty() || line.starts_with(b"#") {
            return None;
        }
        let takes_back = line.starts_with(b"!");
        if takes_back {
            line = &line[1..];
        }
        let folders_only = line.ends_with(b"/");
        let line = line.strip_suffix(b"/").unwrap_or(line);
        let deep = !line.contains(&b'/');
        let part = |part: &[u8]| (part != b"**").then(|| part.to_vec());
        let named = line.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).map(part);
        let mut parts: Vec<_> = deep.then_some(None).into_iter().chain(named).collect();
        // `a/**` is what stands below, not the folder itself.
        if parts.len() > 1 && parts.last() == Some(&None) {
            parts.push(Some(b"*".to_vec()));
        }
        let empty = parts.iter().all(Option::is_none) && !line.starts_with(b"**");
        (!empty).then_some(Self { parts, folders_only, takes_back })
    }
}

/// Without spaces at the end, unless one is escaped.
fn trimmed(line: &[u8]) -> &[u8] {
    let mut end = line.len();
    while end > 0 && line[end - 1] == b' ' && !(end > 1 && line[end - 2] == b'\\') {
        end -= 1;
    }
    &line[..end]
}

/// Whether the parts of a rule fit all of a path. As with [`fits`], only the last `**` is ever
/// taken up again, so this is bounded by the product of both lengths.
fn covers(parts: &[Option<Vec<u8>>], path: &[Bytes]) -> bool {
    let (mut part, mut at) = (0, 0);
    let mut again = None;
    loop {
        match (parts.get(part), path.get(at)) {
            (None, None) => return true,
            (Some(None), _) => {
                part += 1;
                again = Some((part, at));
                continue;
            }
            (Some(Some(glob)), Some(name)) if fits(glob, name) => {
                (part, at) = (part + 1, at + 1);
                continue;
            }
            _ => {}
        }
        match again {
            Some((behind, taken)) if taken < path.len() => {
                again = Some((behind, taken + 1));
                (part, at) = (behind, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Whether a pattern fits all of a name.
fn fits(glob: &[u8], name: &[u8]) -> bool {
    let (mut pattern, mut at) = (0, 0);
    let mut again = None;
    loop {
        if glob.get(pattern) == Some(&b'*') {
            pattern += 1;
            again = Some((pattern, at));
            continue;
        }
        match (glob.get(pattern), name.get(at)) {
            (None, None) => return true,
            (Some(_), Some(byte)) => {
                if let Some(next) = fits_one(glob, pattern, *byte) {
                    (pattern, at) = (next, at + 1);
                    continue;
                }
            }
            _ => {}
        }
        match again {
            Some((behind, taken)) if taken < name.len() => {
                again = Some((behind, taken + 1));
                (pattern, at) = (behind, taken + 1);
            }
            _ => return false,
        }
    }
}

/// Where the pattern goes on when what stands at `at` fits one byte.
fn fits_one(glob: &[u8], at: usize, byte: u8) -> Option<usize> {
    match glob[at] {
        b'?' => Some(at + 1),
        b'[' => match class(glob, at + 1, byte) {
            Some((true, next)) => Some(next),
            Some((false, _)) => None,
            None => (byte == b'[').then_some(at + 1),
        },
        b'\\' if at + 1 < glob.len() => (glob[at + 1] == byte).then_some(at + 2),
        plain => (plain == byte).then_some(at + 1),
    }
}

/// Whether a byte is of the class that begins at `at`, and where the class ends; `None` for a
/// bracket that none closes.
fn class(glob: &[u8], mut at: usize, byte: u8) -> Option<(bool, usize)> {
    let other = matches!(glob.get(at)?, b'!' | b'^');
    at += usize::from(other);
    let first = at;
    let mut found = false;
    loop {
        let mut low = *glob.get(at)?;
        if low == b']' && at > first {
            return Some((found != other, at + 1));
        }
        if low == b'\\' {
            at += 1;
            low = *glob.get(at)?;
        }
        at += 1;
        let mut high = low;
        if glob.get(at) == Some(&b'-') && glob.get(at + 1).is_some_and(|end| *end != b']') {
            high = glob[at + 1];
            at += 2;
        }
        found |= (low..=high).contains(&byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of paths, those that are left out; a path with a slash at its end is a folder.
    fn out<'a>(rules: &[&str], paths: &[&'a str]) -> Vec<&'a str> {
        let rules: Vec<String> = rules.iter().map(|rule| (*rule).to_owned()).collect();
        let ignore = Ignore::new(None, &rules).unwrap();
        let left_out = |path: &&&str| {
            let names = path.split('/').filter(|name| !name.is_empty());
            let names: Vec<Bytes> =
                names.map(|name| Bytes::copy_from_slice(name.as_bytes())).collect();
            ignore.leaves_out(&names, path.ends_with('/'))
        };
        paths.iter().filter(left_out).copied().collect()
    }

    #[test]
    fn names_at_any_depth_and_paths_from_the_top() {
        let paths = ["a", "d/a", "d/e/a", "b", "a/", "ab"];
        assert_eq!(out(&["a"], &paths), ["a", "d/a", "d/e/a", "a/"]);
        assert_eq!(out(&["/a"], &paths), ["a", "a/"]);
        assert_eq!(out(&["d/a"], &paths), ["d/a"]);
        assert_eq!(out(&["a/"], &paths), ["a/"]);
        assert_eq!(out(&["**/a"], &paths), ["a", "d/a", "d/e/a", "a/"]);
        assert_eq!(out(&["d/**/a"], &paths), ["d/a", "d/e/a"]);
        assert_eq!(out(&["d/**"], &["d/", "d/x", "d/e/f"]), ["d/x", "d/e/f"]);
        assert_eq!(out(&["**"], &["d/", "x"]), ["d/", "x"]);
    }

    #[test]
    fn wildcards_stop_at_slashes() {
        let paths = ["x.o", "d/x.o", ".o", "x.oo", "d/e/x.o"];
        assert_eq!(out(&["*.o"], &paths), ["x.o", "d/x.o", ".o", "d/e/x.o"]);
        assert_eq!(out(&["d/*.o"], &paths), ["d/x.o"]);
        assert_eq!(out(&["?.o"], &paths), ["x.o", "d/x.o", "d/e/x.o"]);
        assert_eq!(out(&["[w-y].o"], &paths), ["x.o", "d/x.o", "d/e/x.o"]);
        assert_eq!(out(&["[!w-y].o", "[]x]*oo"], &paths), ["x.oo"]);
        assert_eq!(out(&["[x.o", r"\*"], &["[x.o", "x", "*"]), ["[x.o", "*"]);
        assert_eq!(out(&["a*b*c*d"], &["abcd", "aXbXcXd", "abcdX", "acbd"]), ["abcd", "aXbXcXd"]);
    }

    #[test]
    fn the_last_rule_decides_and_comments_do_nothing() {
        let paths = ["keep.log", "x.log", "#x", "!x", "s "];
        assert_eq!(out(&["*.log", "!keep.log"], &paths), ["x.log"]);
        assert_eq!(out(&["!keep.log", "*.log"], &paths), ["keep.log", "x.log"]);
        assert_eq!(out(&["#x", "", "  ", "/", "!"], &paths), [""; 0]);
        assert_eq!(out(&[r"\#x", r"\!x", r"s\ "], &paths), ["#x", "!x", "s "]);
        assert_eq!(out(&["x.log   ", "s"], &paths), ["x.log"]);
    }

    #[test]
    fn a_pattern_that_could_be_tried_for_ever_is_not() {
        let name = "a".repeat(255);
        let glob = "a*".repeat(120) + "b";
        assert_eq!(out(&[&glob], &[&name]), [""; 0]);
        let deep = "**/a/".repeat(60) + "b";
        assert_eq!(out(&[&deep], &["a/".repeat(200).trim_end_matches('/')]), [""; 0]);
    }
}
