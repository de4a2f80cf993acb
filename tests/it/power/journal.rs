//! The journal that `shim.c` writes: what a program told the disk, in order.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One call that went well, or a sync's beginning or end. Names are relative to the folder; files
/// and folders are known by their inode numbers, which are used again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A file was made.
    Created {
        number: u64,
        name: String,
    },
    /// A file was cut to nothing when it was opened.
    Emptied {
        number: u64,
    },
    Wrote {
        number: u64,
        at: u64,
        data: Vec<u8>,
    },
    Resized {
        number: u64,
        len: u64,
    },
    /// Bytes were made zero.
    Punched {
        number: u64,
        at: u64,
        len: u64,
    },
    Renamed {
        from: String,
        to: String,
    },
    /// A file or a folder.
    Removed {
        name: String,
    },
    MadeFolder {
        number: u64,
        name: String,
    },
    Linked {
        from: String,
        to: String,
    },
    /// A sync begins; it covers what came before it.
    Syncs {
        number: u64,
        ticket: u64,
    },
    /// The sync has come back.
    Synced {
        ticket: u64,
    },
}

/// A call that had begun when the program died: whether it did anything is not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    pub number: u64,
    pub names: [String; 2],
}

#[derive(Clone, Debug, Default)]
pub struct Journal {
    pub records: Vec<Record>,
    pub open: Option<Intent>,
}

/// Bytes of a note's head: length, kind, three numbers, lengths of two names.
const HEAD: usize = 7 * 8;

impl Journal {
    pub fn read(path: &Path) -> Self {
        Self::parse(&std::fs::read(path).unwrap())
    }

    /// The last note may be cut short by the death of the program.
    fn parse(bytes: &[u8]) -> Self {
        let mut journal = Self::default();
        let mut rest = bytes;
        while rest.len() >= HEAD {
            let word = |n: usize| u64::from_ne_bytes(rest[n * 8..n * 8 + 8].try_into().unwrap());
            let len = word(0) as usize;
            if rest.len() < len {
                break;
            }
            let [a, b, c] = [word(2), word(3), word(4)];
            let (one, two) = (HEAD + word(5) as usize, HEAD + (word(5) + word(6)) as usize);
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let names = [text(&rest[HEAD..one]), text(&rest[one..two])];
            let (kind, data) = (word(1) as u8, rest[two..len].to_vec());
            journal.note(kind, [a, b, c], names, data);
            rest = &rest[len..];
        }
        journal
    }

    fn note(&mut self, kind: u8, [number, b, c]: [u64; 3], names: [String; 2], data: Vec<u8>) {
        if kind == b'I' {
            self.open = Some(Intent { number, names });
            return;
        }
        if !matches!(kind, b'S' | b'E') {
            self.open = None;
        }
        let [name, to] = names;
        self.records.push(match kind {
            b'X' => return,
            b'O' if b == 1 => Record::Created { number, name },
            b'O' => Record::Emptied { number },
            b'W' => Record::Wrote { number, at: b, data },
            b'T' => Record::Resized { number, len: b },
            b'H' => Record::Punched { number, at: b, len: c },
            b'R' => Record::Renamed { from: name, to },
            b'U' => Record::Removed { name },
            b'M' => Record::MadeFolder { number, name },
            b'L' => Record::Linked { from: name, to },
            b'S' => Record::Syncs { number, ticket: b },
            b'E' => Record::Synced { ticket: b },
            other => panic!("a note of kind {other}"),
        });
    }

    /// The same from a program, or a disk, that says it syncs and does not.
    pub fn without_syncs(mut self) -> Self {
        self.records.retain(|record| !matches!(record, Record::Synced { .. }));
        self
    }

    pub fn syncs(&self) -> usize {
        self.records.iter().filter(|record| matches!(record, Record::Synced { .. })).count()
    }
}

/// The shim, built into a folder, and the variables that a program runs under it with.
pub struct Shim {
    library: PathBuf,
    pub journal: PathBuf,
}

impl Shim {
    /// The compiler is there wherever RocksDB was built.
    pub fn build(dir: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/power/shim.c");
        let library = dir.join("shim.so");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-shared", "-fPIC", "-O1", "-o"]);
        command.arg(&library).arg(source).args(["-ldl", "-lpthread"]);
        let said = command.output().expect("a C compiler");
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Self { library, journal: dir.join("journal") }
    }

    /// A new journal is begun.
    pub fn variables<'a>(&'a self, root: &'a Path) -> [(&'static str, &'a Path); 3] {
        std::fs::write(&self.journal, "").unwrap();
        [
            ("LD_PRELOAD", &self.library),
            ("HENGE_POWER_ROOT", root),
            ("HENGE_POWER_JOURNAL", &self.journal),
        ]
    }
}
