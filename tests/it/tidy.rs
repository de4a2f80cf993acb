//! The house rules that the compiler and clippy do not know, as a test over the source files.
//!
//! Every rule is a small function from a file to its offences, and has a test of its own over a text
//! that offends. The rules' data stands first: a new room gets its row in [`ROOMS`].

mod imports;
mod source;

use std::path::Path;

use source::{Source, find, is_name, item_end};

/// Each room of `src/` and the rooms it may import. Only downwards; docs/architecture.md says why.
const ROOMS: &[(&str, &[&str])] = &[
    ("proto", &[]),
    ("ipld", &[]),
    ("unixfs", &["ipld", "proto"]),
    ("clock", &[]),
    ("size", &[]),
    ("machine", &[]),
    ("log", &["clock"]),
    ("metrics", &["machine"]),
    ("task", &[]),
    ("store", &["ipld", "task"]),
    ("net", &["task"]),
    ("exchange", &["store", "net", "ipld", "task"]),
    ("ipns", &["ipld", "proto"]),
    ("routing", &["store", "net", "ipns", "ipld", "proto", "task"]),
    ("dag", &["exchange", "store", "ipld", "unixfs", "task"]),
    ("remote", &["task"]),
    (
        "node",
        &[
            "dag", "exchange", "routing", "remote", "store", "net", "ipld", "unixfs", "clock",
            "size", "task",
        ],
    ),
    ("config", &[]),
    ("http", &["task"]),
    (
        "rpc",
        &[
            "node", "remote", "config", "http", "task", "ipld", "unixfs", "clock", "log",
            "machine", "metrics",
        ],
    ),
    ("pinning", &["node", "http", "metrics", "ipld", "clock", "task"]),
    ("gateway", &["node", "http", "task", "ipld", "unixfs", "metrics", "size"]),
    (
        "daemon",
        &[
            "gateway", "pinning", "rpc", "node", "config", "http", "dag", "exchange", "routing",
            "net", "store", "ipld", "unixfs", "task", "metrics",
        ],
    ),
    (
        "cli",
        &[
            "rpc", "gateway", "node", "config", "daemon", "http", "ipld", "task", "clock", "log",
            "machine", "size",
        ],
    ),
    ("lib", &[]),
    ("main", &["cli"]),
];

/// What one room may take of another when that is not all of it: names, or endings after a `*`.
const PARTS: &[(&str, &str, &[&str])] =
    &[("cli", "node", &["*Options", "Source", "Entry", "Content", "Meta", "Mtime", "Opened"])];

/// Files that read bytes from strangers: a panic in them is a remote crash.
const STRANGERS: &[&str] = &[
    "src/ipld/",
    "src/unixfs/node.rs",
    "src/unixfs/hamt.rs",
    "src/unixfs/seek.rs",
    "src/ipns/record.rs",
    "src/ipns/time.rs",
    "src/store/keys.rs",
    "src/store/keys/tenants.rs",
    "src/store/pin.rs",
    "src/routing/dht/lookup.rs",
    "src/routing/dht/server.rs",
    "src/routing/dht/table.rs",
    "src/routing/dht/validate.rs",
    "src/routing/dht/wire.rs",
    "src/routing/records",
    "src/dag/part.rs",
    "src/dag/read.rs",
    "src/dag/resolve.rs",
    "src/dag/tree.rs",
    "src/dag/walk.rs",
    "src/dag/weigh.rs",
    "src/node/service/request.rs",
    "src/node/service/row.rs",
    "src/config/",
    "src/exchange/",
    "src/gateway/",
    "src/http/bearer.rs",
    "src/http/trailers.rs",
    "src/pinning/",
    "src/remote/",
    "src/rpc/args.rs",
    "src/rpc/mode.rs",
    "src/rpc/peer.rs",
    "src/rpc/query.rs",
    "src/rpc/remote.rs",
    "src/rpc/http/",
    "src/cli/extract.rs",
];

/// Code that is banned below `src/`, in all of it or where `only` says, and the places without the ban.
struct Ban {
    words: &'static [&'static str],
    only: &'static [&'static str],
    except: &'static [&'static str],
    why: &'static str,
}

const BANS: &[Ban] = &[
    Ban {
        words: &["todo!", "unimplemented!", "dbg!"],
        only: &[],
        except: &[],
        why: "what is not done is not there",
    },
    Ban {
        words: &[".unwrap()", ".expect("],
        only: STRANGERS,
        except: &[],
        why: "no panic over bytes from strangers",
    },
    Ban {
        words: &["tokio::spawn", "spawn_blocking", "thread::spawn", "thread::Builder"],
        only: &[],
        except: &["src/task.rs"],
        why: "tasks and threads start in src/task.rs",
    },
    Ban {
        words: &["rocksdb"],
        only: &[],
        except: &["src/store/rocks.rs"],
        why: "RocksDB stays behind the Backend trait",
    },
    Ban {
        words: &["StatusCode", "hyper", "axum"],
        only: &[],
        except: &[
            "src/http/",
            "src/rpc/",
            "src/gateway/",
            "src/pinning/",
            "src/remote/",
            "src/cli/socket.rs",
        ],
        why: "the core knows no HTTP",
    },
    Ban {
        words: &["println!", "print!", "eprintln!", "eprint!"],
        only: &[],
        except: &["src/cli/"],
        why: "only the command line talks to a terminal",
    },
    Ban {
        words: &["anyhow"],
        only: &[],
        except: &["src/main.rs"],
        why: "errors are enums whose variants name the cause",
    },
];

/// Endings of type names that say nothing. Generated types are not below `src/`.
const HOLLOW: &[&str] = &["Manager", "Helper", "Util", "Utils", "Impl", "Data"];

/// Files that may say `unsafe` once: they hand out the processor's own instructions.
const UNSAFE: &[&str] = &["src/ipld/sha256/lanes.rs", "src/ipld/sha256/woven.rs"];

const FUNCTION_MAX_LINES: usize = 70;
const FILE_MAX_LINES: usize = 500;

#[test]
fn the_tree_is_tidy() {
    let files = source::tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "no sources were found");
    let rules = [
        imports::directions,
        imports::escapes,
        banned,
        marks,
        unsafety,
        ignored_tests,
        hollow_names,
        long_functions,
        long_file,
        header,
        guard,
    ];
    let mut offences: Vec<String> = Vec::new();
    for rule in rules {
        offences.extend(files.iter().flat_map(rule));
    }
    offences.extend(stale(&files));
    assert!(offences.is_empty(), "{} offences:\n{}", offences.len(), offences.join("\n"));
}

/// The text of every source file.
pub fn texts() -> Vec<String> {
    let files = source::tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    files.into_iter().map(|file| file.raw).collect()
}

fn is_src(file: &Source) -> bool {
    file.path.starts_with("src/")
}

fn within(file: &Source, places: &[&str]) -> bool {
    places.iter().any(|place| file.path.starts_with(place))
}

fn banned(file: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    for ban in BANS.iter().filter(|_| is_src(file)) {
        if within(file, ban.except) || !(ban.only.is_empty() || within(file, ban.only)) {
            continue;
        }
        let hits = ban.words.iter().flat_map(|word| find(&file.live, word));
        offences.extend(hits.map(|at| file.offence(at, ban.why)));
    }
    offences
}

/// Comments that put work off.
fn marks(file: &Source) -> Vec<String> {
    let hits = ["FIXME", "XXX", "TODO"].into_iter().flat_map(|word| find(&file.comments, word));
    hits.map(|at| file.offence(at, "do it, or say why it is not done")).collect()
}

/// What the compiler cannot check, and leave to say it, beyond once in the files of [`UNSAFE`].
fn unsafety(file: &Source) -> Vec<String> {
    let most = usize::from(UNSAFE.contains(&file.path.as_str()));
    let beyond = |word| find(&file.code, word).into_iter().skip(most);
    let hits = ["unsafe", "unsafe_code"].into_iter().flat_map(beyond);
    hits.map(|at| file.offence(at, "nothing is gained here that makes up for `unsafe`")).collect()
}

fn ignored_tests(file: &Source) -> Vec<String> {
    let hits = find(&file.code, "#[ignore");
    hits.into_iter().map(|at| file.offence(at, "a test runs or is not there")).collect()
}

fn hollow_names(file: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    for keyword in ["struct", "enum", "trait", "type", "union"] {
        for at in find(&file.code, keyword) {
            let rest = file.code[at + keyword.len()..].trim_start();
            let len = rest.bytes().take_while(|byte| is_name(*byte)).count();
            // The associated type of a body is named by its trait, not by us.
            let indented = file.code[..at].ends_with("    ");
            let foreign = indented && keyword == "type" && &rest[..len] == "Data";
            let hollow = HOLLOW.iter().any(|ending| rest[..len].ends_with(ending));
            if is_src(file) && hollow && !foreign {
                offences.push(file.offence(at, "a name for what it is, from the spec"));
            }
        }
    }
    offences
}

fn long_functions(file: &Source) -> Vec<String> {
    let mut offences = Vec::new();
    for at in find(&file.code, "fn") {
        // A pointer type has no name.
        if !file.code[at + 2..].trim_start().starts_with(|c: char| c == '_' || c.is_alphabetic()) {
            continue;
        }
        let lines = file.code[at..item_end(&file.code, at)].lines().count();
        if lines > FUNCTION_MAX_LINES {
            let why = format!("{lines} lines, at most {FUNCTION_MAX_LINES}");
            offences.push(file.offence(at, &why));
        }
    }
    offences
}

fn long_file(file: &Source) -> Vec<String> {
    let lines = file.raw.lines().count();
    let why = format!("{lines} lines, at most {FILE_MAX_LINES}");
    (lines > FILE_MAX_LINES).then(|| file.offence(0, &why)).into_iter().collect()
}

/// A file says what it owns: its first paragraph is there and ends as a sentence does.
fn header(file: &Source) -> Vec<String> {
    let lines = file.raw.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let last = lines.take_while(|line| !line.is_empty()).last();
    match last.is_some_and(|line| line.ends_with(['.', '!', '?'])) {
        true => Vec::new(),
        false => vec![file.offence(0, "opens with a `//!` sentence on what the file owns")],
    }
}

/// A file that reads bytes from strangers has the lint against indexing, or its room has it.
fn guard(file: &Source) -> Vec<String> {
    const LINT: &str = "clippy::indexing_slicing";
    let by_room = ["src/config/"];
    let here = within(file, STRANGERS) && !within(file, &by_room) && !file.live.trim().is_empty();
    // A file that is only a list of modules reads nothing.
    let reads = find(&file.live, "fn").len() + find(&file.live, "const").len() > 0;
    match here && reads && !file.live.contains(LINT) {
        true => vec![file.offence(0, "reads strangers' bytes without denying indexing")],
        false => Vec::new(),
    }
}

/// Rows about places that are gone.
fn stale(files: &[Source]) -> Vec<String> {
    let gone = |place: &&&str| !files.iter().any(|file| file.path.starts_with(**place));
    STRANGERS.iter().filter(gone).map(|place| format!("STRANGERS: {place} is gone")).collect()
}

/// Lines of a text at which a rule finds an offence.
#[cfg(test)]
fn lines(rule: fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<usize> {
    let offences = rule(&Source::new(path, text));
    let line = |offence: &String| offence[path.len() + 1..].split(':').next().unwrap().parse();
    let mut lines: Vec<usize> = offences.iter().map(|offence| line(offence).unwrap()).collect();
    lines.sort_unstable();
    lines
}

#[test]
fn banned_code_is_found() {
    let text = "todo!(\"x\");\nlet a = b.unwrap();\ntokio::spawn(x);\nuse rocksdb::DB;\nlet s = \"axum\";\n\
                axum::serve();\neprintln!();\nanyhow::bail!();\n#[cfg(test)]\nmod t { x.unwrap(); }";
    assert_eq!(lines(banned, "src/node/a.rs", text), [1, 3, 4, 6, 7, 8]);
    assert_eq!(lines(banned, "src/ipld/a.rs", text), [1, 2, 3, 4, 6, 7, 8]);
    assert_eq!(lines(banned, "src/task.rs", text), [1, 4, 6, 7, 8]);
    assert_eq!(lines(banned, "tests/it/a.rs", text), [0; 0]);
}

#[test]
fn marks_are_found_in_comments_only() {
    let text = "// FIXME later\nlet a = \"XXX\";\n/* XXX */\n// XXXL";
    assert_eq!(lines(marks, "src/a.rs", text), [1, 3]);
}

#[test]
fn unsafe_code_is_found_beyond_what_is_allowed() {
    let text =
        "#[allow(unsafe_code)]\nfn a() { unsafe { b() } }\n#[allow(unsafe_code)]\nunsafe fn c() {}";
    assert_eq!(lines(unsafety, "tests/it/a.rs", text), [1, 2, 3, 4]);
    assert_eq!(lines(unsafety, "src/ipld/sha256/lanes.rs", text), [3, 4]);
}

#[test]
fn ignored_tests_are_found() {
    let text = "#[test]\n#[ignore]\nfn a() {}\n// #[ignore]\n#[ignore = \"slow\"]\nfn b() {}";
    assert_eq!(lines(ignored_tests, "tests/it/a.rs", text), [2, 5]);
}

#[test]
fn hollow_names_are_found() {
    let text = "pub struct PinManager;\nstruct DataSet;\ntype Data = u8;\nenum Implied {}";
    assert_eq!(lines(hollow_names, "src/a.rs", text), [1, 3]);
}

#[test]
fn long_functions_and_files_are_found() {
    let body = |lines| format!("fn a(f: fn([u8; 2])) {{\n{}}}\n", "x();\n".repeat(lines));
    assert_eq!(lines(long_functions, "src/a.rs", &body(FUNCTION_MAX_LINES - 2)), [0; 0]);
    let text = format!("mod m {{\n{}}}", body(FUNCTION_MAX_LINES - 1));
    assert_eq!(lines(long_functions, "src/a.rs", &text), [2]);
    assert_eq!(lines(long_file, "src/a.rs", &"\n".repeat(FILE_MAX_LINES)), [0; 0]);
    assert_eq!(lines(long_file, "src/a.rs", &"\n".repeat(FILE_MAX_LINES + 1)), [1]);
}

#[test]
fn headers_are_sentences() {
    for good in ["//! One thing.\n\nfn a() {}", "//! One thing,\n//! told.\n//!\n//! - more"] {
        assert_eq!(lines(header, "src/a.rs", good), [0; 0], "{good}");
    }
    for bad in ["fn a() {}", "//!\n//! Late.", "// No doc.", "//! a heading\n", ""] {
        assert_eq!(lines(header, "src/a.rs", bad), [1], "{bad}");
    }
}

#[test]
fn unguarded_files_are_found() {
    let guarded = "#![deny(clippy::indexing_slicing)]\nfn a() {}";
    assert_eq!(lines(guard, "src/ipld/a.rs", "fn a() {}"), [1]);
    assert_eq!(lines(guard, "src/ipld/a.rs", "// clippy::indexing_slicing\nfn a() {}"), [1]);
    assert_eq!(lines(guard, "src/ipld/a.rs", guarded), [0; 0]);
    assert_eq!(lines(guard, "src/ipld/mod.rs", "pub mod a;"), [0; 0]);
    assert_eq!(lines(guard, "src/node/a.rs", "fn a() {}"), [0; 0]);
}

#[test]
fn stale_rows_are_found() {
    let files: Vec<Source> =
        STRANGERS[1..].iter().map(|place| Source::new(&format!("{place}x"), "")).collect();
    assert_eq!(stale(&files), [format!("STRANGERS: {} is gone", STRANGERS[0])]);
}
