//! Who imports whom: paths from the crate's root, and paths that climb out of a room.

use super::source::{Source, find, is_name};
use super::{PARTS, ROOMS, is_src};

/// The room of a file: the first name of its module path.
fn room(file: &Source) -> &str {
    let below = file.path.strip_prefix("src/").unwrap_or(&file.path);
    below.split('/').next().unwrap_or_default().trim_end_matches(".rs")
}

/// Every `crate::` path, in a `use` or in code, leads down the table.
pub fn directions(file: &Source) -> Vec<String> {
    if !is_src(file) {
        return Vec::new();
    }
    let from = room(file);
    let Some((_, rooms)) = ROOMS.iter().find(|(name, _)| *name == from) else {
        return vec![file.offence(0, &format!("the room {from} has no row in ROOMS"))];
    };
    let mut offences = Vec::new();
    for (at, path) in rooted(&file.live) {
        let [to, rest @ ..] = path.as_slice() else { continue };
        if to == from {
            continue;
        }
        if !rooms.contains(&to.as_str()) {
            offences.push(file.offence(at, &format!("{from} may not import {to}")));
        } else if !may_take(from, to, rest) {
            offences.push(file.offence(at, &format!("{from} may not take this from {to}")));
        }
    }
    offences
}

/// Whether the names a path leads to are among the part that is open to `from`.
fn may_take(from: &str, to: &str, path: &[String]) -> bool {
    let part = PARTS.iter().find(|(a, b, _)| (*a, *b) == (from, to));
    let fits = |name: &String, open: &&str| match open.strip_prefix('*') {
        Some(ending) => name.ends_with(ending),
        None => name == open,
    };
    part.is_none_or(|(_, _, open)| path.iter().any(|name| open.iter().any(|o| fits(name, o))))
}

/// `super::` as often as the module is deep: the crate's root by the back door.
pub fn escapes(file: &Source) -> Vec<String> {
    let names = file.path.trim_end_matches("/mod.rs").split('/');
    let depth = names.count() - 1;
    let bytes = file.live.as_bytes();
    let climbs = |at: &usize| {
        let chain = file.live[*at..].split("::").take_while(|name| name.trim() == "super");
        !bytes[..*at].ends_with(b"::") && chain.count() >= depth
    };
    let hits = find(&file.live, "super::").into_iter().filter(|_| is_src(file)).filter(climbs);
    hits.map(|at| file.offence(at, "a path out of the room begins with crate::")).collect()
}

/// Every path after `crate::` or `henge::`, groups taken apart, with the offset of its last name.
fn rooted(code: &str) -> Vec<(usize, Vec<String>)> {
    let mut paths = Vec::new();
    for root in ["crate::", "henge::"] {
        for at in find(code, root) {
            leaves(code.as_bytes(), at + root.len(), &mut Vec::new(), &mut paths);
        }
    }
    paths
}

/// Collects the paths of a use tree that begins at `at`; the answer is where it ends.
fn leaves(
    code: &[u8],
    at: usize,
    path: &mut Vec<String>,
    out: &mut Vec<(usize, Vec<String>)>,
) -> usize {
    let mut at = blanks(code, at);
    if code.get(at) == Some(&b'{') {
        while !matches!(code.get(at), Some(b'}') | None) {
            at = blanks(code, leaves(code, at + 1, path, out));
        }
        return at + 1;
    }
    let len = code[at..].iter().take_while(|byte| is_name(**byte) || **byte == b'*').count();
    let name = String::from_utf8_lossy(&code[at..at + len]).into_owned();
    if name.is_empty() {
        // After the last comma of a group, or a generic argument: no path.
        return at + usize::from(!matches!(code.get(at), Some(b'}' | b',') | None));
    }
    path.push(name);
    let end = at + len;
    let below = blanks(code, end + 2);
    let goes_on = code[end..].starts_with(b"::") && code.get(below) != Some(&b'<');
    let end = match goes_on {
        true => leaves(code, below, path, out),
        false => {
            out.push((at, path.clone()));
            alias(code, end)
        }
    };
    path.pop();
    end
}

/// Skips ` as name`.
fn alias(code: &[u8], at: usize) -> usize {
    let word = blanks(code, at);
    if word == at || !code[word..].starts_with(b"as ") {
        return at;
    }
    let name = blanks(code, word + 3);
    name + code[name..].iter().take_while(|byte| is_name(**byte)).count()
}

fn blanks(code: &[u8], at: usize) -> usize {
    let rest = code.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

#[test]
fn use_trees_are_taken_apart() {
    let text =
        "use crate::{a::{self, b as c,\n d::*},\n e,};\nlet x: crate::f::G<u8> = crate::h::<u8>();";
    let paths: Vec<String> = rooted(text).into_iter().map(|(_, path)| path.join(".")).collect();
    assert_eq!(paths, ["a.self", "a.b", "a.d.*", "e", "f.G", "h"]);
}

#[test]
fn imports_against_the_direction_are_found() {
    let lines = |path, text| super::lines(directions, path, text);
    let text = "use crate::store::Store;\nuse crate::ipld::{\n cid, block};\n// crate::cli\n\
                fn a(x: &crate::rpc::Args) {}\n#[cfg(test)]\nmod t { use crate::cli; }";
    assert_eq!(lines("src/dag/a.rs", text), [5]);
    assert_eq!(lines("src/ipld/a.rs", text), [1, 5]);
    assert_eq!(lines("src/unixfs/mod.rs", "use crate::{\n ipld,\n node::Node,\n};"), [3]);
    assert_eq!(lines("src/node/a.rs", "use crate::Error;"), [1], "an item of the crate's root");
    assert_eq!(lines("src/attic.rs", ""), [1], "a room without a row");
    assert_eq!(lines("src/main.rs", "henge::cli::main();\nhenge::node::Node::new();"), [2]);
}

#[test]
fn parts_of_a_room_that_are_closed_are_found() {
    let text = "use crate::node::Source;\nuse crate::node::add::{\n AddOptions,\n AddEvent};\nuse crate::node;";
    assert_eq!(super::lines(directions, "src/cli/a.rs", text), [4, 5]);
    assert_eq!(super::lines(directions, "src/rpc/a.rs", text), [0; 0]);
}

#[test]
fn climbing_out_of_a_room_is_found() {
    let text = "use super::a;\nuse super::super::b;\nuse super::super::super::c;";
    assert_eq!(super::lines(escapes, "src/task.rs", text), [1, 2, 3]);
    assert_eq!(super::lines(escapes, "src/dag/mod.rs", text), [1, 2, 3]);
    assert_eq!(super::lines(escapes, "src/dag/a.rs", text), [2, 3]);
    assert_eq!(super::lines(escapes, "src/ipld/codec/a.rs", text), [3]);
}
