//! What a disk may hold after a power cut, out of the journal of what it was told.
//!
//! Content of a file is there as far as a sync of that file covers it. What was written after that
//! is, file by file and at random: gone, there, there up to some write, or there in some sectors and
//! not in others, each sector as it was at some moment since the sync. The size goes its own way: a
//! file may be longer than its content, and ends in zeros then.
//!
//! What happened to names is, after the last step that must be there, a random beginning of what was
//! done, in order, or nothing. Which steps must be there is a matter of the [`Law`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;

use super::journal::{Intent, Journal, Record};

/// What a disk writes in one piece, in bytes.
const SECTOR: usize = 512;

/// What makes a change of a name durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// POSIX: a sync of the folder it happened in, and nothing else.
    Strict,
    /// ext4 and XFS: all changes of names are in one log, and a sync of a folder, or of a file whose
    /// name changed, takes the log to the disk as far as it concerns it.
    Logged,
}

/// Files and folders as they lie there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    File(Vec<u8>),
    Folder(BTreeMap<String, Image>),
}

/// A change of a file's content.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Zero { at: usize, len: usize },
    Resize(usize),
}

#[derive(Clone, Debug)]
enum Body {
    File { base: Vec<u8>, changes: Vec<(usize, Change)> },
    Folder { base: BTreeMap<String, usize>, now: BTreeMap<String, usize> },
}

/// A file or folder. Changes before the moment `synced` are durable.
#[derive(Clone, Debug)]
struct Node {
    body: Body,
    synced: usize,
}

/// A change of names in one folder, in one piece.
#[derive(Clone, Debug)]
struct Step {
    moment: usize,
    folder: usize,
    names: Vec<(String, Option<usize>)>,
    /// Whose name it is.
    about: usize,
}

/// A folder on a disk, as it lay there at first, and everything that was done to it since.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    numbers: HashMap<u64, usize>,
    steps: Vec<Step>,
    tickets: HashMap<u64, (usize, usize)>,
    moment: usize,
}

/// What is read of a file, out of what it held at first, what was done to it, and the last sync.
type Content<'a> = dyn FnMut(&[u8], &[(usize, Change)], usize) -> Vec<u8> + 'a;

const ROOT: usize = 0;

impl Disk {
    /// A folder as it lies there now, all of it durable.
    pub fn of(folder: &Path) -> Self {
        let (numbers, tickets) = (HashMap::new(), HashMap::new());
        let mut disk = Self { nodes: Vec::new(), numbers, steps: Vec::new(), tickets, moment: 0 };
        disk.load(folder);
        disk
    }

    fn load(&mut self, path: &Path) -> usize {
        let meta = fs::symlink_metadata(path).unwrap();
        let body = match meta.is_dir() {
            true => Body::Folder { base: BTreeMap::new(), now: BTreeMap::new() },
            false => Body::File { base: fs::read(path).unwrap(), changes: Vec::new() },
        };
        let node = self.make(meta.ino(), body);
        if meta.is_dir() {
            let mut found = BTreeMap::new();
            for entry in fs::read_dir(path).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                found.insert(name, self.load(&entry.path()));
            }
            self.nodes[node].body = Body::Folder { base: found.clone(), now: found };
        }
        node
    }

    fn make(&mut self, number: u64, body: Body) -> usize {
        self.nodes.push(Node { body, synced: 0 });
        self.numbers.insert(number, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn number(&self, number: u64) -> usize {
        *self.numbers.get(&number).unwrap_or_else(|| panic!("inode {number} was never seen"))
    }

    fn now(&self, folder: usize) -> &BTreeMap<String, usize> {
        match &self.nodes[folder].body {
            Body::Folder { now, .. } => now,
            Body::File { .. } => panic!("a file where a folder was expected"),
        }
    }

    /// The folder that a name stands in, and the last part of it.
    fn place(&self, name: &str) -> (usize, String) {
        let (above, last) = name.rsplit_once('/').unwrap_or(("", name));
        let parts = above.split('/').filter(|part| !part.is_empty());
        (parts.fold(ROOT, |folder, part| self.now(folder)[part]), last.to_owned())
    }

    fn found(&self, name: &str) -> usize {
        let (folder, last) = self.place(name);
        self.now(folder)[&last]
    }

    /// Applies everything that the disk was told.
    pub fn follow(mut self, journal: &Journal) -> Self {
        journal.records.iter().for_each(|record| self.apply(record));
        self
    }

    fn apply(&mut self, record: &Record) {
        self.moment += 1;
        let file = || Body::File { base: Vec::new(), changes: Vec::new() };
        match record {
            Record::Created { number, name } => {
                let node = self.make(*number, file());
                self.name(name, Some(node));
            }
            Record::MadeFolder { number, name } => {
                let body = Body::Folder { base: BTreeMap::new(), now: BTreeMap::new() };
                let node = self.make(*number, body);
                self.name(name, Some(node));
            }
            Record::Removed { name } => self.name(name, None),
            Record::Linked { from, to } => self.name(to, Some(self.found(from))),
            Record::Renamed { from, to } => self.rename(from, to),
            Record::Emptied { number } => self.change(*number, Change::Resize(0)),
            Record::Resized { number, len } => {
                self.change(*number, Change::Resize(*len as usize));
            }
            Record::Punched { number, at, len } => {
                let change = Change::Zero { at: *at as usize, len: *len as usize };
                self.change(*number, change);
            }
            Record::Wrote { number, at, data } => {
                let change = Change::Write { at: *at as usize, data: data.clone() };
                self.change(*number, change);
            }
            Record::Syncs { number, ticket } => {
                self.tickets.insert(*ticket, (self.number(*number), self.moment));
            }
            Record::Synced { ticket } => {
                let (node, moment) = self.tickets[ticket];
                let node = &mut self.nodes[node];
                node.synced = node.synced.max(moment);
            }
        }
    }

    fn change(&mut self, number: u64, change: Change) {
        let node = self.number(number);
        match &mut self.nodes[node].body {
            Body::File { changes, .. } => changes.push((self.moment, change)),
            Body::Folder { .. } => panic!("a folder was written to"),
        }
    }

    fn name(&mut self, name: &str, node: Option<usize>) {
        let (folder, last) = self.place(name);
        let about = node.unwrap_or_else(|| self.now(folder)[&last]);
        self.step(folder, vec![(last, node)], about);
    }

    fn rename(&mut self, from: &str, to: &str) {
        let ((folder, old), (other, new)) = (self.place(from), self.place(to));
        assert_eq!(folder, other, "{from} to {to}: renames between folders are not modelled");
        let about = self.now(folder)[&old];
        if old != new {
            self.step(folder, vec![(old, None), (new, Some(about))], about);
        }
    }

    fn step(&mut self, folder: usize, names: Vec<(String, Option<usize>)>, about: usize) {
        if let Body::Folder { now, .. } = &mut self.nodes[folder].body {
            set(now, &names);
        }
        self.steps.push(Step { moment: self.moment, folder, names, about });
    }

    /// What the machine sees while it has power.
    pub fn whole(&self) -> Image {
        self.image(ROOT, &|folder| self.now(folder).clone(), &mut |base, changes, _| {
            let mut bytes = base.to_vec();
            changes.iter().for_each(|(_, change)| change.apply(&mut bytes, |_| true));
            bytes
        })
    }

    /// What the disk may hold when the power goes now.
    pub fn cut(&self, law: Law, rng: &mut ChaCha8Rng) -> Image {
        let before = |step: &Step, node: usize| step.moment < self.nodes[node].synced;
        let reached = |step: &Step| before(step, step.folder) || before(step, step.about);
        let floor = match law {
            Law::Strict => 0,
            Law::Logged => self.steps.iter().rposition(reached).map_or(0, |last| last + 1),
        };
        let kept = match rng.random_range(0..3) {
            0 => floor,
            1 => self.steps.len(),
            _ => rng.random_range(floor..=self.steps.len()),
        };
        let mut folders: Vec<_> = self.nodes.iter().map(Node::base).collect();
        for (n, step) in self.steps.iter().enumerate() {
            if n < kept || law == Law::Strict && before(step, step.folder) {
                set(&mut folders[step.folder], &step.names);
            }
        }
        self.image(ROOT, &|folder| folders[folder].clone(), &mut |base, changes, synced| {
            after_cut(base, changes, synced, rng)
        })
    }

    fn image(
        &self,
        node: usize,
        entries: &dyn Fn(usize) -> BTreeMap<String, usize>,
        content: &mut Content<'_>,
    ) -> Image {
        match &self.nodes[node].body {
            Body::File { base, changes } => {
                Image::File(content(base, changes, self.nodes[node].synced))
            }
            Body::Folder { .. } => {
                let below = entries(node).into_iter();
                Image::Folder(below.map(|(k, v)| (k, self.image(v, entries, content))).collect())
            }
        }
    }

    /// Where the folder differs from what was noted: something went past the notes. The call that had
    /// begun may have been made.
    pub fn strays(&self, folder: &Path, open: Option<&Intent>) -> Vec<String> {
        let (noted, real) = (self.whole(), Self::of(folder).whole());
        let (noted, real) = (noted.paths(), real.paths());
        let mut free = BTreeSet::new();
        if let Some(open) = open {
            free.extend(open.names.iter().cloned());
            // A file that is written to is known by its number; one that is made has none yet.
            let touched = self.numbers.get(&open.number).copied();
            free.extend(self.names_of(ROOT, "", &|node| Some(node) == touched));
        }
        let names: BTreeSet<&String> = noted.keys().chain(real.keys()).collect();
        let differ = |name: &&&String| noted.get(**name) != real.get(**name);
        let wrong = names.iter().filter(differ).filter(|name| !free.contains(**name));
        wrong.map(|name| (*name).clone()).collect()
    }

    fn names_of(&self, folder: usize, above: &str, wanted: &dyn Fn(usize) -> bool) -> Vec<String> {
        let mut names = Vec::new();
        for (name, node) in self.now(folder) {
            let name = format!("{above}{name}");
            if let Body::Folder { .. } = self.nodes[*node].body {
                names.extend(self.names_of(*node, &format!("{name}/"), wanted));
            } else if wanted(*node) {
                names.push(name);
            }
        }
        names
    }
}

fn set(entries: &mut BTreeMap<String, usize>, names: &[(String, Option<usize>)]) {
    for (name, node) in names {
        match node {
            Some(node) => entries.insert(name.clone(), *node),
            None => entries.remove(name),
        };
    }
}

impl Node {
    fn base(&self) -> BTreeMap<String, usize> {
        match &self.body {
            Body::Folder { base, .. } => base.clone(),
            Body::File { .. } => BTreeMap::new(),
        }
    }
}

impl Change {
    /// The file's size after this.
    fn size(&self, before: usize) -> usize {
        match self {
            Self::Write { at, data } => before.max(at + data.len()),
            Self::Zero { .. } => before,
            Self::Resize(len) => *len,
        }
    }

    /// The sectors that it touches in a file of so many bytes.
    fn sectors(&self, size: usize) -> std::ops::Range<usize> {
        let (from, to) = match self {
            Self::Write { at, data } => (*at, at + data.len()),
            Self::Zero { at, len } => (*at, (at + len).min(size)),
            Self::Resize(len) => (*len, size),
        };
        from / SECTOR..to.max(from).div_ceil(SECTOR)
    }

    /// Makes it, in the sectors that `there` says, and sets the size.
    fn apply(&self, bytes: &mut Vec<u8>, mut there: impl FnMut(usize) -> bool) {
        let size = self.size(bytes.len());
        let room = bytes.len().max(size);
        let sectors = self.sectors(bytes.len());
        bytes.resize(room, 0);
        for sector in sectors {
            let piece = sector * SECTOR..((sector + 1) * SECTOR).min(room);
            if !there(sector) {
                continue;
            }
            match self {
                Self::Write { at, data } => {
                    let (from, to) = (piece.start.max(*at), piece.end.min(at + data.len()));
                    bytes[from..to].copy_from_slice(&data[from - at..to - at]);
                }
                Self::Zero { at, len } => {
                    bytes[piece.start.max(*at)..piece.end.min(at + len)].fill(0);
                }
                Self::Resize(len) => bytes[piece.start.max(*len)..piece.end].fill(0),
            }
        }
        bytes.truncate(size);
    }
}

/// What is left of a file: all that is synced, and of the rest what chance has it.
fn after_cut(
    base: &[u8],
    changes: &[(usize, Change)],
    synced: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<u8> {
    let mut bytes = base.to_vec();
    let (safe, open) = changes.split_at(changes.partition_point(|(moment, _)| *moment < synced));
    safe.iter().for_each(|(_, change)| change.apply(&mut bytes, |_| true));
    let last = rng.random_range(0..=open.len());
    match rng.random_range(0..4) {
        0 => {}
        1 => open.iter().for_each(|(_, change)| change.apply(&mut bytes, |_| true)),
        2 => {
            open[..last].iter().for_each(|(_, change)| change.apply(&mut bytes, |_| true));
            if let Some((_, torn)) = open.get(last) {
                torn.apply(&mut bytes, |_| rng.random_bool(0.5));
            }
        }
        _ => scatter(&mut bytes, open, rng),
    }
    bytes
}

/// Each sector as it was after some change, the size as it was after some other. A file that was made
/// shorter has its old blocks or new ones: what was written after that is there only if it is shorter.
fn scatter(bytes: &mut Vec<u8>, open: &[(usize, Change)], rng: &mut ChaCha8Rng) {
    let mut sizes = vec![bytes.len()];
    for (_, change) in open {
        sizes.push(change.size(sizes[sizes.len() - 1]));
    }
    let shorter: Vec<usize> = (0..open.len()).filter(|n| sizes[n + 1] < sizes[*n]).collect();
    let happened = rng.random_range(0..=shorter.len());
    let end = shorter.get(happened).copied().unwrap_or(open.len());
    let begin = shorter[..happened].last().map_or(0, |n| n + 1);
    // From here on, nothing is as it was before the file was made shorter.
    let new = if begin == 0 { usize::MAX } else { sizes[begin] / SECTOR };
    let likely = [0.1, 0.5, 0.9][rng.random_range(0..3)];
    let mut chosen: HashMap<usize, usize> = HashMap::new();
    for (n, (_, change)) in open[..end].iter().enumerate() {
        change.apply(bytes, |sector| {
            let from = if sector >= new { begin } else { 0 };
            let until = *chosen.entry(sector).or_insert_with(|| match rng.random_bool(likely) {
                true => end,
                false => rng.random_range(from..=end),
            });
            n < until
        });
    }
    bytes.resize(sizes[rng.random_range(begin..=end)], 0);
}

impl Image {
    /// Lays it down as a new file or folder.
    pub fn write(&self, path: &Path) {
        match self {
            Self::File(bytes) => fs::write(path, bytes).unwrap(),
            Self::Folder(below) => {
                fs::create_dir(path).unwrap();
                below.iter().for_each(|(name, image)| image.write(&path.join(name)));
            }
        }
    }

    /// Everything below, by its whole name; folders have no bytes.
    pub fn paths(&self) -> BTreeMap<String, Option<&[u8]>> {
        let mut paths = BTreeMap::new();
        if let Self::Folder(below) = self {
            for (name, image) in below {
                let bytes = match image {
                    Self::File(bytes) => Some(bytes.as_slice()),
                    Self::Folder(_) => None,
                };
                paths.insert(name.clone(), bytes);
                let deeper = image.paths().into_iter();
                paths.extend(deeper.map(|(below, bytes)| (format!("{name}/{below}"), bytes)));
            }
        }
        paths
    }
}
