//! What a life that is there to be killed was told: its log of acknowledgements, and what follows
//! from it.
//!
//! Several operations go on at once, so a line says what begins, and another how it ended. No two
//! operations at the same time are about the same root or the same content (`crash_life.rs`), so the
//! lines of one root are in order.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use henge::store::Mode;

/// Content from which an add goes past the log, in bytes.
pub const LARGE_BYTES: usize = 4 << 20;

/// What a root is the root of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A file of so many bytes.
    File(usize),
    /// A folder of small files.
    Folder,
    /// dag-cbor over raw blocks.
    Cbor,
    /// Something below one of the others.
    Part,
}

/// What an acknowledged DAG was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub seed: String,
    pub shape: Shape,
}

impl Made {
    pub fn to_text(&self) -> String {
        let shape = match self.shape {
            Shape::File(size) => size.to_string(),
            Shape::Folder => "folder".to_owned(),
            Shape::Cbor => "cbor".to_owned(),
            Shape::Part => "part".to_owned(),
        };
        format!("{} {shape}", self.seed)
    }

    fn parse(seed: &str, shape: &str) -> Self {
        let shape = match shape {
            "folder" => Shape::Folder,
            "cbor" => Shape::Cbor,
            "part" => Shape::Part,
            size => Shape::File(size.parse().unwrap()),
        };
        Self { seed: seed.to_owned(), shape }
    }

    /// Bytes of content; those of folders and the like are few.
    pub fn size(&self) -> usize {
        match self.shape {
            Shape::File(size) => size,
            _ => 0,
        }
    }
}

/// The state that the lines so far tell of.
#[derive(Clone, Debug, Default)]
pub struct Log {
    /// What is acknowledged as pinned, and not as unpinned.
    pub live: BTreeMap<String, (Made, Mode)>,
    /// What is acknowledged as added without a pin, and has met no collection since.
    pub loose: BTreeMap<String, Made>,
    /// Every root that was ever added; adding one again may pin it at any time.
    pub roots: BTreeSet<String>,
    /// What is acknowledged as unpinned, with its seed; nothing that could pin it was begun since.
    pub gone: BTreeMap<String, String>,
    /// The same by seed: thousands of lines ask for one.
    gone_of: BTreeMap<String, BTreeSet<String>>,
    /// Roots whose unpin was begun: nobody was told of its end.
    pub unpinning: BTreeSet<String>,
    /// Seeds whose add was begun, with the size.
    adding: BTreeMap<String, usize>,
    /// Collections that were begun.
    pub collections: usize,
    pub collecting: bool,
    counts: BTreeMap<String, usize>,
}

impl Log {
    /// A line without its end was never acknowledged.
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let mut log = Self::default();
        text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')).for_each(|l| log.apply(l));
        log
    }

    pub fn apply(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            // What was under way in the life before goes on no more.
            ["born"] => {
                self.adding.clear();
                self.collecting = false;
            }
            ["adding", seed, size] => {
                for cid in self.gone_of.remove(seed).unwrap_or_default() {
                    self.gone.remove(&cid);
                }
                self.adding.insert(seed.to_owned(), size.parse().unwrap());
            }
            ["added", cid, seed, shape] => {
                self.hold(cid, Mode::Recursive, Made::parse(seed, shape))
            }
            ["loose", cid, seed, shape] => {
                self.adding.remove(seed);
                self.roots.insert(cid.to_owned());
                if !self.collecting && !self.live.contains_key(cid) {
                    self.loose.insert(cid.to_owned(), Made::parse(seed, shape));
                }
            }
            ["pinned", cid, "direct", seed] => {
                self.hold(cid, Mode::Direct, Made::parse(seed, "part"));
            }
            ["pinned", cid, "recursive", seed] => {
                self.hold(cid, Mode::Recursive, Made::parse(seed, "part"));
            }
            ["unpinning", cid] => {
                self.unpinning.insert(cid.to_owned());
            }
            ["unpinned", cid] => {
                self.unpinning.remove(cid);
                let (made, _) = self.live.remove(cid).expect("it was pinned");
                self.gone_of.entry(made.seed.clone()).or_default().insert(cid.to_owned());
                self.gone.insert(cid.to_owned(), made.seed);
            }
            ["pinning", cid] => self.may_return(cid),
            ["stayed", cid] => {
                self.unpinning.remove(cid);
            }
            ["collecting"] => {
                self.loose.clear();
                self.collecting = true;
                self.collections += 1;
            }
            ["collected"] => self.collecting = false,
            ["got", _] | ["missed"] => {}
            _ => panic!("not a line of the log: {line:?}"),
        }
        *self.counts.entry(words[0].to_owned()).or_default() += 1;
    }

    fn hold(&mut self, cid: &str, mode: Mode, made: Made) {
        self.adding.remove(&made.seed);
        self.loose.remove(cid);
        self.may_return(cid);
        if made.shape != Shape::Part {
            self.roots.insert(cid.to_owned());
        }
        self.live.insert(cid.to_owned(), (made, mode));
    }

    fn may_return(&mut self, cid: &str) {
        let seed = self.gone.remove(cid);
        if let Some(of) = seed.and_then(|seed| self.gone_of.get_mut(&seed)) {
            of.remove(cid);
        }
    }

    pub fn count(&self, verb: &str) -> usize {
        self.counts.get(verb).copied().unwrap_or(0)
    }

    /// Changes that the node acknowledged.
    pub fn acknowledged(&self) -> usize {
        ["added", "loose", "pinned", "unpinned"].iter().map(|verb| self.count(verb)).sum()
    }

    pub fn large_add_under_way(&self) -> bool {
        self.adding.values().any(|size| *size >= LARGE_BYTES)
    }

    /// Bytes of content that pins hold, about.
    pub fn live_bytes(&self) -> usize {
        self.live.values().map(|(made, _)| made.size()).sum()
    }
}

/// A log that grows, read on from where it was left.
#[derive(Default)]
pub struct Reader {
    path: PathBuf,
    read: u64,
    log: Log,
}

impl Reader {
    pub fn new(path: PathBuf) -> Self {
        Self { path, ..Self::default() }
    }

    /// What it tells by now.
    pub fn now(&mut self) -> &Log {
        let mut text = String::new();
        let mut file = File::open(&self.path).unwrap();
        file.seek(SeekFrom::Start(self.read)).unwrap();
        file.read_to_string(&mut text).unwrap();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        for line in whole {
            self.log.apply(line.trim_end());
            self.read += line.len() as u64;
        }
        &self.log
    }
}

#[test]
fn a_log_tells_what_must_be_there() {
    let mut log = Log::default();
    let lines = ["born", "adding s 5000000", "loose l s0 10", "added c s 5000000", "unpinning c"];
    lines.iter().for_each(|line| log.apply(line));
    assert_eq!(log.acknowledged(), 2);
    assert!(log.live.contains_key("c") && log.unpinning.contains("c"));
    assert!(log.loose.contains_key("l") && !log.large_add_under_way());
    for line in ["collecting", "loose m s1 10", "collected", "loose n s2 folder", "unpinned c"] {
        log.apply(line);
    }
    assert!(log.live.is_empty() && log.unpinning.is_empty());
    assert_eq!(log.loose.keys().collect::<Vec<_>>(), ["n"]);
    assert_eq!(log.gone["c"], "s");
    log.apply("adding s 5000000");
    assert!(log.gone.is_empty(), "it may be pinned again at any time");
    log.apply("pinned n direct s2");
    assert!(log.loose.is_empty());
    assert_eq!(log.live["n"].1, Mode::Direct);
}
