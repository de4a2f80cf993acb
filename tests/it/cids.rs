//! The CIDs that other implementations computed, made again by the binary: every row of
//! `fixtures/cids.json` that the command line can express, and content that comes back.
//!
//! What the codecs do with each vector is the affair of their unit tests; here a few of them go
//! through the store and the command line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;

use crate::harness::{Repo, keystream, skip, soak};

/// Bytes that fill one node of 174 chunks of 256 KiB.
const FULL_NODE: usize = 174 * 262_144;

fn fixtures() -> &'static Value {
    static PARSED: OnceLock<Value> = OnceLock::new();
    PARSED.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cids.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    })
}

fn rows(section: &str) -> &'static [Value] {
    fixtures()[section].as_array().unwrap()
}

fn str_of<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no text {key} in {value}"))
}

fn size_of(value: &Value, key: &str) -> usize {
    usize::try_from(value[key].as_u64().unwrap_or_else(|| panic!("no {key} in {value}"))).unwrap()
}

/// A repository made under a profile of its own.
fn repo_with(profile: &str) -> Repo {
    let repo = Repo { dir: tempfile::tempdir().unwrap() };
    repo.ok(["init", &format!("--profile={profile}")]);
    repo
}

/// One repository for each profile that rows ask for, and input that is made once for all of them.
struct Bench {
    plain: Repo,
    profiles: HashMap<String, Repo>,
    input: tempfile::TempDir,
    made: HashMap<String, PathBuf>,
}

impl Bench {
    fn new() -> Self {
        let input = tempfile::tempdir().unwrap();
        Self { plain: Repo::new(), profiles: HashMap::new(), input, made: HashMap::new() }
    }

    /// The CID that the binary gives to `input`; nothing is stored.
    fn hash(&mut self, input: &Path, options: &Value) -> String {
        let mut args = vec!["add".to_owned(), "-Q".into(), "-n".into(), "-r".into(), "-H".into()];
        args.extend(flags(options));
        args.push(input.to_str().unwrap().to_owned());
        let profile = options.get("profile").and_then(Value::as_str);
        let repo = match profile {
            None => &self.plain,
            Some(name) => self.profiles.entry(name.to_owned()).or_insert_with(|| repo_with(name)),
        };
        repo.ok(args)
    }

    /// A file or folder made from a recipe; the same recipe is made once.
    fn make(&mut self, recipe: &Value) -> PathBuf {
        let count = self.made.len();
        let root = self.input.path().to_owned();
        let make = || {
            let path = root.join(format!("input-{count}"));
            build(recipe, &path);
            path
        };
        self.made.entry(recipe.to_string()).or_insert_with(make).clone()
    }
}

/// The command line of a row's options. An option that is not known here must not pass unseen.
fn flags(options: &Value) -> Vec<String> {
    let mut flags = Vec::new();
    for (name, value) in options.as_object().unwrap() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match name.as_str() {
            "cid_version" => flags.push(format!("--cid-version={text}")),
            "raw_leaves" => flags.push(format!("--raw-leaves={text}")),
            "chunker" => flags.push(format!("--chunker={text}")),
            "trickle" => flags.push("--trickle".into()),
            "profile" => {} // What the repository was made with.
            other => panic!("no flag for the option {other}"),
        }
    }
    flags
}

/// Puts a recipe on the disk; its kinds are told in the fixture's `conventions`.
fn build(recipe: &Value, path: &Path) {
    match str_of(recipe, "kind") {
        "file" => std::fs::write(path, content(recipe)).unwrap(),
        "tree" => {
            std::fs::create_dir(path).unwrap();
            recipe["entries"].as_array().unwrap().iter().for_each(|entry| plant(entry, path));
        }
        "names" => {
            std::fs::create_dir(path).unwrap();
            for index in 0..size_of(recipe, "count") {
                let name = printf(str_of(recipe, "format"), index);
                let text = match str_of(recipe, "content") {
                    "name" => name.as_str(),
                    "text" => str_of(recipe, "text"),
                    other => panic!("unknown content {other}"),
                };
                std::fs::write(path.join(&name), text).unwrap();
            }
        }
        "keystream-names" => {
            std::fs::create_dir(path).unwrap();
            for name in keystream_names(recipe) {
                std::fs::write(path.join(name), str_of(recipe, "text")).unwrap();
            }
        }
        other => panic!("unknown kind {other}"),
    }
}

fn plant(entry: &Value, root: &Path) {
    let path = root.join(str_of(entry, "path"));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    if entry.get("dir").is_some() {
        std::fs::create_dir_all(path).unwrap();
    } else if let Some(target) = entry.get("symlink") {
        std::os::unix::fs::symlink(target.as_str().unwrap(), path).unwrap();
    } else {
        std::fs::write(path, content(entry)).unwrap();
    }
}

fn content(value: &Value) -> Vec<u8> {
    match value.get("text") {
        Some(text) => text.as_str().unwrap().into(),
        None => keystream(str_of(value, "seed"), size_of(value, "size")),
    }
}

/// The formats that the fixture uses: one `%d` or `%0Nd`.
fn printf(format: &str, index: usize) -> String {
    let (before, rest) = format.split_once('%').unwrap();
    let (width, after) = rest.split_once('d').unwrap();
    let width: usize = if width.is_empty() { 0 } else { width.parse().unwrap() };
    format!("{before}{index:0width$}{after}")
}

fn keystream_names(recipe: &Value) -> Vec<String> {
    let alphabet = str_of(recipe, "alphabet").as_bytes();
    let mut stream =
        keystream(str_of(recipe, "seed"), size_of(recipe, "keystream_size")).into_iter();
    let count = size_of(recipe, "count");
    let mut name = |len: usize| -> String {
        let bytes = stream.by_ref().take(len);
        bytes.map(|b| char::from(alphabet[usize::from(b) % alphabet.len()])).collect()
    };
    let lens = (1..=count).map(|n| size_of(recipe, if n < count { "len" } else { "last_len" }));
    lens.map(&mut name).collect()
}

/// Runs the rows of a section, each over its recipe; gives how many ran.
fn check(section: &str, recipe: impl Fn(&Value) -> Value) -> usize {
    let mut bench = Bench::new();
    let mut ran = 0;
    for row in rows(section).iter() {
        if row.get("large").is_some() && !soak() {
            skip(str_of(row, "cid"), "a file of 1 GiB, made only with HENGE_SOAK=1");
            continue;
        }
        let input = bench.make(&recipe(row));
        let found = bench.hash(&input, &row["options"]);
        assert_eq!(found, str_of(row, "cid"), "{section}: {row}");
        ran += 1;
    }
    ran
}

#[test]
fn files_have_the_cids_of_kubo() {
    let recipe = |row: &Value| serde_json::json!({ "kind": "file", "seed": row["seed"], "size": row["size"] });
    assert_eq!(check("files", recipe), 57);
}

#[test]
fn folders_have_the_cids_of_kubo() {
    assert_eq!(check("dirs", |row| row["recipe"].clone()), 33);
}

#[test]
fn the_published_vectors_of_ipip_499_hold() {
    // Three rows are large.
    let expected = if soak() { 17 } else { 14 };
    assert_eq!(check("ipip499", |row| row["recipe"].clone()), expected);
}

#[test]
fn every_block_of_a_folder_is_the_byte_for_byte_block_of_kubo() {
    let repo = Repo::new();
    let mut compared = 0;
    for case in rows("blocks") {
        let name = str_of(case, "name");
        let same = |row: &&Value| row["name"] == name && row["options"] == case["options"];
        let recipe = &rows("dirs").iter().find(same).unwrap()["recipe"];
        build(recipe, &repo.path(name));
        let root = repo.ok(["add", "-r", "-Q", name]);
        assert_eq!(root, str_of(case, "root"));
        let blocks = case["blocks"].as_array().unwrap();
        let mut expected: Vec<&str> = blocks.iter().map(|block| str_of(block, "cid")).collect();
        let below = repo.ok(["refs", "-r", "-u", &root]);
        let found: Vec<&str> = [root.as_str()].into_iter().chain(below.lines()).collect();
        if str_of(case, "order").starts_with("depth first") {
            assert_eq!(found, expected, "the order of {name}");
        }
        expected.sort_unstable();
        let mut sorted = found;
        sorted.sort_unstable();
        assert_eq!(sorted, expected, "{name}");
        for block in blocks {
            let said = repo.run(["block", "get", str_of(block, "cid")]);
            assert_eq!((said.code, said.err.as_str()), (0, ""));
            assert_eq!(said.out.len(), size_of(block, "size"));
            let hex = data_encoding::HEXLOWER.encode(&said.out);
            match block.get("hex") {
                Some(expected) => assert_eq!(hex, expected.as_str().unwrap()),
                // Large blocks stand in the fixture by their hash alone.
                None => {
                    let again = repo.feed(["block", "put", "--format=v0"], &said.out);
                    assert_eq!(again.text(), str_of(block, "cid"));
                }
            }
            compared += 1;
        }
    }
    assert_eq!(compared, 21);
}

#[test]
fn content_of_every_shape_comes_back() {
    let repo = Repo::new();
    let plain = serde_json::json!({});
    let trickle = serde_json::json!({ "trickle": true });
    let sizes = [0, 1, 262_144, 262_145, FULL_NODE, FULL_NODE + 1];
    for (size, options) in sizes.iter().flat_map(|size| [(*size, &plain), (*size, &trickle)]) {
        let bytes = keystream(&format!("henge-{size}"), size);
        repo.file("input", &bytes);
        let mut args = vec!["add".to_owned(), "-Q".into(), "input".into()];
        args.extend(flags(options));
        let cid = repo.ok(args);
        let fits = |row: &&Value| row["size"] == size && row["options"] == *options;
        let row = rows("files").iter().find(fits).unwrap();
        assert_eq!(cid, str_of(row, "cid"));
        let said = repo.run(["cat", &cid]);
        assert_eq!((said.code, said.err.as_str()), (0, ""));
        assert!(said.out == bytes, "{size} bytes came back changed");
        // Across the border of the last chunk, where a wrong offset shows.
        let start = size.saturating_sub(300_000);
        let part = repo.run(["cat", &cid, "-o", &start.to_string(), "-l", "290000"]);
        assert!(part.out == bytes[start..size.min(start + 290_000)], "a part of {size}");
    }
}

#[test]
fn a_fed_file_and_a_file_on_the_disk_are_the_same() {
    let repo = Repo::new();
    let bytes = keystream("henge-262145", 262_145);
    let said = repo.feed(["add", "-Q"], &bytes);
    let row = &rows("files")[4];
    assert_eq!((said.text().as_str(), size_of(row, "size")), (str_of(row, "cid"), bytes.len()));
}

/// The two files of a codec vector: the one whose name ends in `ext`, and the dag-json one.
fn vector(name: &str, ext: &str) -> Option<(PathBuf, PathBuf)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/codec").join(name);
    let files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let find = |ext: &str| {
        files.iter().find(|path| path.extension().is_some_and(|found| found == ext)).cloned()
    };
    Some((find(ext)?, find("dag-json")?))
}

#[test]
fn codec_vectors_go_through_the_command_line() {
    let repo = Repo::new();
    let vectors = [
        ("array-mixed", "dag-cbor"),
        ("map-nested", "dag-cbor"),
        ("string-水", "dag-cbor"),
        ("int--9223372036854775808", "dag-cbor"),
        ("float-array_of_specials", "dag-cbor"),
        ("bytes-long-8bit", "dag-cbor"),
        ("cid-mapof", "dag-cbor"),
        ("garbage-07", "dag-cbor"),
        ("dagpb_empty", "dag-pb"),
        ("dagpb_4namedlinks+data", "dag-pb"),
        ("dagpb_Data_zero", "dag-pb"),
    ];
    for (name, codec) in vectors {
        let (binary, json) = vector(name, codec).unwrap_or_else(|| panic!("{name}"));
        let cid = repo.ok(["block", "put", "--cid-codec", codec, binary.to_str().unwrap()]);
        assert_eq!(cid, binary.file_stem().unwrap().to_str().unwrap(), "{name}");
        let said = repo.run(["dag", "get", &cid]);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{name}");
        assert_eq!(said.out, std::fs::read(json).unwrap(), "{name}");
        let back = repo.run(["dag", "get", "--output-codec", codec, &cid]);
        assert_eq!(back.out, std::fs::read(binary).unwrap(), "{name}");
    }
}
