//! Source files as the rules see them: code apart from comments, literals and tests.
//!
//! This is a lexer for layout, not a parser: bytes that do not belong to a view are blanks in it, so
//! that an offset means the same line in every view.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// One file in four views of equal length.
pub struct Source {
    /// Path from the crate's root, with `/`.
    pub path: String,
    /// As written.
    pub raw: String,
    /// Without comments and literals.
    pub code: String,
    /// Comments alone.
    pub comments: String,
    /// Code without items under `#[cfg(test)]`; blank in a file that is such an item.
    pub live: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Part {
    Code,
    Comment,
    Literal,
}

impl Source {
    /// Takes a text apart.
    pub fn new(path: &str, raw: &str) -> Self {
        let parts = classify(raw.as_bytes());
        let code = view(raw, |at| parts[at] == Part::Code);
        let comments = view(raw, |at| parts[at] == Part::Comment);
        let tests = test_items(&code);
        let live = view(&code, |at| !tests.iter().any(|item| item.contains(&at)));
        Self { path: path.to_owned(), raw: raw.to_owned(), code, comments, live }
    }

    /// An offence at an offset: the line as written, and what is wrong with it.
    pub fn offence(&self, at: usize, why: &str) -> String {
        let before = &self.raw.as_bytes()[..at];
        let line = before.iter().filter(|byte| **byte == b'\n').count();
        let text = self.raw.lines().nth(line).unwrap_or_default().trim();
        format!("{}:{}: {text}  <- {why}", self.path, line + 1)
    }

    /// The files that are this file's `#[cfg(test)] mod name;`.
    fn test_files(&self) -> Vec<String> {
        let (folder, file) = self.path.rsplit_once('/').unwrap_or(("", &self.path));
        let stem = file.trim_end_matches(".rs");
        let own = match stem {
            "mod" | "lib" | "main" => folder.to_owned(),
            _ => format!("{folder}/{stem}"),
        };
        let mut files = Vec::new();
        for item in test_items(&self.code) {
            let Some(name) = self.code[item.clone()].trim_end().strip_suffix(';') else { continue };
            let Some((_, name)) = name.rsplit_once("mod ") else { continue };
            match self.raw[item].split_once("#[path = \"").and_then(|(_, p)| p.split_once('"')) {
                Some((path, _)) => files.push(format!("{folder}/{path}")),
                None => files.extend([format!("{own}/{name}.rs"), format!("{own}/{name}/mod.rs")]),
            }
        }
        files
    }
}

/// Every Rust file of the crate that people write.
pub fn tree(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "proto"] {
        walk(root, folder, &mut files);
    }
    let tests: BTreeSet<String> = files.iter().flat_map(Source::test_files).collect();
    for file in files.iter_mut().filter(|file| is_among(&tests, &file.path)) {
        file.live = view(&file.raw, |_| false);
    }
    files
}

/// Whether a file is one of these, or belongs to one: `a/tests/b.rs` to `a/tests.rs`.
fn is_among(files: &BTreeSet<String>, path: &str) -> bool {
    let above = |path: &Path| files.contains(&format!("{}.rs", path.display()));
    files.contains(path) || Path::new(path).ancestors().any(above)
}

fn walk(root: &Path, folder: &str, files: &mut Vec<Source>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    for name in names {
        let path = format!("{folder}/{}", name.to_string_lossy());
        if root.join(&path).is_dir() {
            walk(root, &path, files);
        } else if path.ends_with(".rs") {
            files.push(Source::new(&path, &fs::read_to_string(root.join(&path)).unwrap()));
        }
    }
}

/// Offsets of a word; where the word begins or ends as a name does, the name ends there too.
pub fn find(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let inner = |at: usize| bytes.get(at).is_some_and(|byte| is_name(*byte));
    let whole = |at: &usize| {
        let end = at + word.len();
        let begun = inner(*at) && *at > 0 && inner(at - 1);
        let goes_on = inner(end - 1) && inner(end);
        !begun && !goes_on
    };
    text.match_indices(word).map(|(at, _)| at).filter(whole).collect()
}

/// Whether a byte can be part of a name.
pub fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// Where the block or item that begins at `from` ends: after its `;`, or after the brace that closes
/// its first one. Brackets before that are skipped whole.
pub fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' if depth <= 1 => return at + 1,
            b'}' => depth -= 1,
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// The items under `#[cfg(test)]`, each with its attribute.
fn test_items(code: &str) -> Vec<std::ops::Range<usize>> {
    let attribute = "#[cfg(test)]";
    let range = |(at, _)| at..item_end(code, at + attribute.len());
    code.match_indices(attribute).map(range).collect()
}

/// The text with a blank for each byte that is not kept; line ends stay.
fn view(raw: &str, keep: impl Fn(usize) -> bool) -> String {
    let blank = |(at, byte): (usize, u8)| match keep(at) || byte == b'\n' {
        true => byte,
        false => b' ',
    };
    String::from_utf8(raw.bytes().enumerate().map(blank).collect()).unwrap()
}

/// What each byte belongs to. A literal goes with its quotes.
fn classify(text: &[u8]) -> Vec<Part> {
    let mut parts = vec![Part::Code; text.len()];
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let (part, end) = match rest {
            [b'/', b'/', ..] => (Part::Comment, at + until(rest, b"\n")),
            [b'/', b'*', ..] => (Part::Comment, at + block_comment(rest)),
            [b'"', ..] => (Part::Literal, at + quoted(rest, b'"')),
            [b'r', b'"' | b'#', ..] if raw_hashes(rest).is_some() && !after_name(text, at) => {
                let hashes = raw_hashes(rest).unwrap();
                let close = [b"\"".as_slice(), &b"#".repeat(hashes)].concat();
                let open = hashes + 2;
                (Part::Literal, at + open + until(&rest[open..], &close) + close.len())
            }
            [b'\'', b'\\', ..] => (Part::Literal, at + quoted(rest, b'\'')),
            [b'\'', ..] if char_len(rest).is_some() => {
                (Part::Literal, at + char_len(rest).unwrap())
            }
            _ => (Part::Code, at + 1),
        };
        let end = end.min(text.len());
        parts[at..end].fill(part);
        at = end;
    }
    parts
}

/// Whether a raw string's `r` is the end of a name; `br` and `cr` are not names here.
fn after_name(text: &[u8], at: usize) -> bool {
    match text[..at] {
        [.., before, b'b' | b'c'] => is_name(before),
        [b'b' | b'c'] | [] => false,
        [.., before] => is_name(before),
    }
}

fn until(text: &[u8], end: &[u8]) -> usize {
    text.windows(end.len()).position(|window| window == end).unwrap_or(text.len())
}

fn block_comment(text: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        match &text[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted(text: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

fn raw_hashes(text: &[u8]) -> Option<usize> {
    let hashes = text[1..].iter().take_while(|byte| **byte == b'#').count();
    (text.get(hashes + 1) == Some(&b'"')).then_some(hashes)
}

/// The length of a character literal; `None` for a lifetime.
fn char_len(text: &[u8]) -> Option<usize> {
    let width = match text.get(1)? {
        0x00..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0.. => 4,
    };
    (text.get(width + 1) == Some(&b'\'')).then_some(width + 2)
}

#[test]
fn comments_literals_and_tests_are_apart() {
    let text = "fn a<'x>() { f('{', \"/* no \\\" \", br#\"// \"no\" \"#); } // yes\n/* a /* b */ c */ b();\n\
                #[cfg(test)]\n#[allow(dead_code)]\nmod tests { fn t([u8; 2]) {} }\nfn c() {}";
    let source = Source::new("src/a.rs", text);
    assert_eq!(source.code.len(), text.len());
    let squeezed = |view: &str| view.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&source.live), "fn a<'x>() { f( , , b ); } b(); fn c() {}");
    assert_eq!(squeezed(&source.comments), "// yes /* a /* b */ c */");
    assert!(source.code.contains("fn t"));
    assert!(source.offence(text.len() - 9, "why").starts_with("src/a.rs:6: fn c() {}"));
}

#[test]
fn files_that_are_tests_are_known() {
    let text =
        "#[cfg(test)]\nmod samples;\n#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nmod live;";
    let files = Source::new("src/a/b.rs", text).test_files();
    assert_eq!(files, ["src/a/b/samples.rs", "src/a/b/samples/mod.rs", "src/a/x.rs"]);
    assert_eq!(Source::new("src/a/mod.rs", text).test_files()[0], "src/a/samples.rs");
}

#[test]
fn files_below_a_test_are_tests() {
    let tests = BTreeSet::from(["src/a/tests.rs".to_owned()]);
    for (path, is) in [
        ("src/a/tests.rs", true),
        ("src/a/tests/b.rs", true),
        ("src/a/tests/b/c.rs", true),
        ("src/a/testsuite.rs", false),
        ("src/a/b.rs", false),
    ] {
        assert_eq!(is_among(&tests, path), is, "{path}");
    }
}

#[test]
fn a_word_is_found_whole() {
    assert_eq!(find("fn fnord() { x.fn() }", "fn"), [0, 15]);
    assert_eq!(find("a.unwrap() b.unwrap_or(c)", ".unwrap()"), [1]);
}
