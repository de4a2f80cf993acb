//! Random trees, whose CIDs other implementations compute, too: the JavaScript importer under both
//! profiles and as a trickle, and Kubo 0.22.
//!
//! 1,000 trees each in the full form. A batch that differs tells its seed; `HENGE_SEED` repeats it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use serde_json::json;

use crate::clients;
use crate::harness::{Repo, skip, soak};
use crate::peers::Transport;
use crate::peers::kubo::Kubo;

/// Trees of a batch, which share their options; batches in the small form and in the full one.
const BATCH: usize = 25;
const BATCHES: (u64, u64) = (2, 40);
/// Bytes of files in one tree, unless one file alone is larger.
const TREE_BYTES: usize = 96 << 10;
/// Deepest folder.
const DEPTH: usize = 4;

/// Parameters of a batch.
struct Plan {
    profile: &'static str,
    trickle: bool,
    /// Bytes of a chunk.
    chunk: usize,
    /// Links that fill a node.
    width: usize,
    symlinks: bool,
}

/// Trees on the disk: paths, and for each what it is made of.
struct Trees {
    folder: tempfile::TempDir,
    names: Vec<String>,
    told: Vec<String>,
}

impl Trees {
    fn plant(rng: &mut StdRng, plan: &Plan) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..BATCH).map(|at| format!("tree{at}")).collect();
        let mut told = Vec::new();
        for name in &names {
            let mut tree = Tree { rng: &mut *rng, plan, left: TREE_BYTES, told: String::new() };
            let place = folder.path().join(name);
            match tree.rng.random_range(0..50) {
                0..20 => tree.file(&place),
                20 => tree.crowd(&place),
                _ => tree.folder(&place, 0),
            }
            told.push(tree.told);
        }
        Self { folder, names, told }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.names.iter().map(|name| self.folder.path().join(name)).collect()
    }
}

/// One tree in the making.
struct Tree<'a> {
    rng: &'a mut StdRng,
    plan: &'a Plan,
    /// Bytes that files may still have.
    left: usize,
    told: String,
}

impl Tree<'_> {
    /// A file whose size lies where layouts change, or anywhere.
    fn file(&mut self, place: &Path) {
        let (chunk, width) = (self.plan.chunk, self.plan.width);
        let whole = chunk
            * match self.rng.random_range(0..12) {
                0 => width,
                1 => width * self.rng.random_range(1..6),
                _ => self.rng.random_range(0..8),
            };
        let size = match self.rng.random_range(0..8) {
            0 => 0,
            1 => 1,
            2 => whole,
            3 => whole + 1,
            4 => whole.saturating_sub(1),
            5 => whole + self.rng.random_range(0..chunk),
            _ => self.rng.random_range(0..2000),
        };
        // A file of 45 MB once in a while, where chunks are large; small ones otherwise.
        let rare = size < 48 << 20 && self.rng.random_range(0..25) == 0;
        let size = if size <= self.left || rare { size } else { size % (2 * chunk + 1) };
        self.left = self.left.saturating_sub(size);
        let mut bytes = vec![0; size];
        self.rng.fill_bytes(&mut bytes);
        std::fs::write(place, bytes).unwrap();
        self.tell(place, &format!("{size} bytes"));
    }

    fn folder(&mut self, place: &Path, depth: usize) {
        std::fs::create_dir(place).unwrap();
        let count = self.rng.random_range(0..9);
        self.tell(place, "folder");
        let names: BTreeSet<String> = (0..count).map(|_| name(self.rng)).collect();
        for name in names {
            let place = place.join(name);
            match self.rng.random_range(0..20) {
                0..6 if depth < DEPTH => self.folder(&place, depth + 1),
                6 | 7 if self.plan.symlinks => self.symlink(&place),
                8 => {
                    std::fs::create_dir(&place).unwrap();
                    self.tell(&place, "empty folder");
                }
                _ => self.file(&place),
            }
        }
    }

    /// A folder with about as many entries as turn it into a HAMT: some are one, some not.
    fn crowd(&mut self, place: &Path) {
        const THRESHOLD: usize = 262_144;
        std::fs::create_dir(place).unwrap();
        let length = self.rng.random_range(150..230);
        let fitting = THRESHOLD / (length + 34);
        let count = self.rng.random_range(fitting * 9 / 10..fitting * 11 / 10);
        let mut size = 0;
        for at in 0..count {
            let mut name = format!("{at}-{}", name(self.rng));
            while name.len() < length {
                name.push(char::from(self.rng.random_range(b'a'..=b'z')));
            }
            // Kubo 0.22 made a HAMT of a folder of exactly that size; later ones do not.
            size += name.len() + 34;
            if size == THRESHOLD {
                break;
            }
            std::fs::write(place.join(name), &[b'x'; 3][..at % 3]).unwrap();
        }
        self.tell(place, &format!("folder of {count} names of {length} bytes"));
    }

    fn symlink(&mut self, place: &Path) {
        let target = name(self.rng);
        std::os::unix::fs::symlink(&target, place).unwrap();
        self.tell(place, &format!("symlink to {target}"));
    }

    fn tell(&mut self, place: &Path, what: &str) {
        self.told.push_str(&format!("{}: {what}\n", place.display()));
    }
}

/// A name of a file: no dot at its beginning, which commands treat in their own ways.
fn name(rng: &mut StdRng) -> String {
    const LETTERS: &[char] = &[
        'a', 'b', 'z', 'A', '0', '9', '-', '_', ' ', '+', '%', '&', '?', '#', '\'', '"', '~', ',',
        'é', 'ß', 'č', 'Ω', '水', '日', '🦀', '\u{301}', '\u{200d}', '\u{ffee}',
    ];
    let first = char::from(rng.random_range(b'a'..=b'z'));
    let rest = (0..rng.random_range(0..12)).map(|_| LETTERS[rng.random_range(0..LETTERS.len())]);
    std::iter::once(first).chain(rest).collect()
}

/// What henge says the trees are.
fn ours(repo: &Repo, plan: &Plan, trees: &Trees) -> Vec<String> {
    let mut args = vec!["add".to_owned(), "-r".into(), "-n".into()];
    args.push(format!("--chunker=size-{}", plan.chunk));
    if plan.trickle {
        args.push("--trickle".into());
    }
    args.extend(trees.paths().iter().map(|path| path.to_str().unwrap().to_owned()));
    let said = repo.ok(args);
    let root = |name: &String| {
        let wanted =
            |line: &&str| line.strip_suffix(name.as_str()).is_some_and(|l| l.ends_with(' '));
        let line = said.lines().find(|line| line.starts_with("added ") && wanted(line));
        line.and_then(|line| line.split(' ').nth(1))
            .unwrap_or_else(|| panic!("no {name}"))
            .to_owned()
    };
    trees.names.iter().map(root).collect()
}

/// Compares batches with what an oracle says, and tells how many trees there were.
fn compare(
    oracle: &str,
    profile: &'static str,
    plan: impl Fn(&mut StdRng) -> Plan,
    mut theirs: impl FnMut(&Plan, &Trees) -> Vec<String>,
) {
    let given = std::env::var("HENGE_SEED").ok().and_then(|text| text.parse().ok());
    let first: u64 = given.unwrap_or_else(|| rand::random::<u32>().into());
    let repo = Repo { dir: tempfile::tempdir().unwrap() };
    repo.ok(["init", &format!("--profile={profile}")]);
    let batches = if soak() { BATCHES.1 } else { BATCHES.0 };
    let (mut same, mut entries) = (0, 0);
    for seed in first..first + batches {
        let mut rng = StdRng::seed_from_u64(seed);
        let plan = plan(&mut rng);
        let trees = Trees::plant(&mut rng, &plan);
        let (ours, theirs) = (ours(&repo, &plan, &trees), theirs(&plan, &trees));
        assert_eq!(theirs.len(), ours.len(), "{oracle}");
        for (at, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let (chunk, tree) = (plan.chunk, &trees.told[at]);
            assert_eq!(
                ours, theirs,
                "{oracle}, HENGE_SEED={seed}, tree {at}, chunks of {chunk}:\n{tree}"
            );
            same += 1;
            entries += tree.lines().count();
        }
    }
    println!("{oracle}: {same} trees of {entries} entries, all CIDs equal, HENGE_SEED={first}");
}

/// Chunks of the profile's own size now and then, small ones otherwise: many in little content.
fn chunk(rng: &mut StdRng, own: usize) -> usize {
    if rng.random_range(0..5) == 0 { own } else { rng.random_range(16..200) }
}

fn with_importer(oracle: &str, profile: &'static str, trickle: bool) {
    let folder = match clients::importer() {
        Ok(folder) => folder,
        Err(why) => return skip(oracle, &why),
    };
    let (own, width) = match profile {
        "unixfs-v1-2025" => (1 << 20, 1024),
        _ => (262_144, 174),
    };
    let plan = |rng: &mut StdRng| {
        let chunk = chunk(rng, own);
        Plan { profile, trickle, chunk, width, symlinks: false }
    };
    compare(oracle, profile, plan, |plan, trees| {
        let options = json!({ "profile": plan.profile, "chunk": plan.chunk, "trickle": trickle });
        let mut node = Command::new("node");
        node.arg(folder.join("importer.mjs")).arg(options.to_string());
        node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut node = node.spawn().unwrap();
        let mut stdin = node.stdin.take().unwrap();
        for path in trees.paths() {
            writeln!(stdin, "{}", path.display()).unwrap();
        }
        drop(stdin);
        let said = crate::harness::said(node.wait_with_output().unwrap());
        assert_eq!(said.code, 0, "{}", said.err);
        said.text().lines().map(str::to_owned).collect()
    });
}

#[test]
fn random_trees_have_the_cids_of_the_javascript_importer_under_unixfs_v0_2015() {
    with_importer("ipfs-unixfs-importer, unixfs-v0-2015", "unixfs-v0-2015", false);
}

#[test]
fn random_trees_have_the_cids_of_the_javascript_importer_under_unixfs_v1_2025() {
    with_importer("ipfs-unixfs-importer, unixfs-v1-2025", "unixfs-v1-2025", false);
}

#[test]
fn random_trees_have_the_cids_of_the_javascript_importer_as_trickles() {
    with_importer("ipfs-unixfs-importer, trickle", "unixfs-v0-2015", true);
}

#[test]
fn random_trees_have_the_cids_of_kubo() {
    let mut kubo = match Kubo::start(&[Transport::Tcp]) {
        Ok(kubo) => kubo,
        Err(why) => return skip("random trees by Kubo", &why),
    };
    let plan = |_: &mut StdRng| Plan {
        profile: "unixfs-v0-2015",
        trickle: false,
        // The library takes no options.
        chunk: 262_144,
        width: 174,
        symlinks: true,
    };
    compare("Kubo 0.22", "unixfs-v0-2015", plan, |_, trees| {
        trees.paths().iter().map(|path| kubo.hash(path)).collect()
    });
}
