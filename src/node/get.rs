//! `get`: a file or folder as a TAR stream, the way it travels to whoever unpacks it.
//!
//! Nothing is buffered but one piece of content: the size stands in the root of each file, before
//! its content. The same DAG makes the same archive, byte for byte: what tells no time carries none.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Error, Node, Results};
use crate::dag::tree::{About, Entries, What};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::task;
use crate::unixfs::node::Mtime;

/// Pieces of the archive waiting for the mouth.
const PIECES: usize = 8;
/// Size of a TAR record in bytes; content is padded to it.
const RECORD: usize = 512;
/// Deepest folder that is packed: a DAG cannot be a cycle, but it can be made very deep.
const DEPTH_MAX: usize = 256;
/// Last second that a TAR header has digits for; others stand in an extended header.
const SECONDS_MAX: i64 = 0o77_777_777_777;

/// Key of the extended header that tells how many bytes of a member's content were left out.
pub const SKIPPED: &str = "HENGE.skipped";

/// Where an archive goes on that was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The member to begin with, by its whole name in the archive. Those before it are left out,
    /// but for the folders it is in.
    pub member: Vec<u8>,
    /// Bytes of its content to leave out; the extended header [`SKIPPED`] says so.
    pub skip: u64,
}

/// What goes into the archive under one name.
struct Member {
    name: Vec<u8>,
    cid: Cid,
}

/// What a header says beside the name.
struct Facts<'a> {
    kind: tar::EntryType,
    mode: u32,
    mtime: Option<Mtime>,
    size: u64,
    skipped: u64,
    target: &'a [u8],
}

impl<'a> Facts<'a> {
    fn new(kind: tar::EntryType, about: &About, usual: u32) -> Self {
        // The type's bits tell that the node told it: what is usual may then give way to a umask.
        let mode = match about.mode.filter(|mode| *mode != 0) {
            Some(mode) => mode | type_bits(kind),
            None => usual,
        };
        Self { kind, mode, mtime: about.mtime, size: 0, skipped: 0, target: b"" }
    }
}

/// The sending end of the archive; an error means that the reader is gone.
struct Archive {
    out: mpsc::Sender<Result<Bytes, Error>>,
}

/// The reader went away: stop, quietly.
struct Gone;

/// Why packing stopped.
enum Stop {
    Gone,
    Failed(Error),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Node {
    /// Streams a file, folder or symlink as a TAR archive whose one top member is named `name`; all
    /// of it, or from a member on.
    ///
    /// # Errors
    /// The path's, at once; the rest as the stream's last item, also that the archive has no such
    /// member.
    pub async fn get(
        &self,
        path: &Path,
        name: &str,
        resume: Option<Resume>,
    ) -> Result<Results<Bytes>, Error> {
        let cid = self.dag.resolve_block(path).await?;
        let what = self.dag.what(&cid).await?;
        if what == What::Other {
            return Err(crate::dag::DagError::NotUnixfs(Box::new(cid)).into());
        }
        let (out, pieces) = mpsc::channel(PIECES);
        let (node, archive) = (self.clone(), Archive { out });
        let top = Member { name: name.as_bytes().to_vec(), cid };
        task::detach(async move {
            match node.pack(top, resume, &archive).await {
                Ok(()) | Err(Stop::Gone) => {}
                Err(Stop::Failed(error)) => drop(archive.out.send(Err(error)).await),
            }
        });
        Ok(pieces)
    }

    /// Packs depth first, without recursion.
    async fn pack(
        &self,
        top: Member,
        mut resume: Option<Resume>,
        archive: &Archive,
    ) -> Result<(), Stop> {
        let mut open: Vec<(Vec<u8>, Entries)> = Vec::new();
        let mut next = Some(top);
        loop {
            if let Some(member) = next.take()
                && let Some(skip) = leads_to(&member.name, &mut resume)
                && let Some(entries) = self.pack_one(&member, skip, archive).await?
            {
                if open.len() == DEPTH_MAX {
                    let text = format!("more than {DEPTH_MAX} folders deep at {}", member.cid);
                    return Err(Error::Invalid(text).into());
                }
                open.push((member.name, entries));
            }
            let Some((above, entries)) = open.last_mut() else { break };
            match entries.recv().await {
                None => drop(open.pop()),
                Some(entry) => {
                    let entry = entry?;
                    let name = inside(above, &entry.name).ok_or_else(|| {
                        let shown = String::from_utf8_lossy(&entry.name);
                        Error::Invalid(format!("{shown:?} leads out of the folder it is in"))
                    })?;
                    next = Some(Member { name, cid: entry.cid });
                }
            }
        }
        if let Some(Resume { member, .. }) = resume {
            let shown = String::from_utf8_lossy(&member);
            return Err(Error::Invalid(format!("the archive has no member {shown:?}")).into());
        }
        archive.send(Bytes::from_static(&[0; 2 * RECORD])).await?;
        Ok(())
    }

    /// Packs one member without the first `skip` bytes of its content; a folder's entries are for
    /// the caller to go on with.
    async fn pack_one(
        &self,
        member: &Member,
        skip: u64,
        archive: &Archive,
    ) -> Result<Option<Entries>, Stop> {
        let about = self.dag.about(&member.cid).await?;
        match &about.what {
            What::Directory => {
                let facts = Facts::new(tar::EntryType::Directory, &about, 0o755);
                archive.header(&member.name, &facts).await?;
                return Ok(Some(self.dag.entries(&member.cid).await?));
            }
            What::Symlink(target) => {
                let facts = Facts::new(tar::EntryType::Symlink, &about, 0o777);
                archive.header(&member.name, &Facts { target, ..facts }).await?;
            }
            What::File(whole) => {
                let skipped = skip.min(*whole);
                let size = *whole - skipped;
                let facts = Facts::new(tar::EntryType::Regular, &about, 0o644);
                archive.header(&member.name, &Facts { size, skipped, ..facts }).await?;
                let mut content = self.dag.read(&member.cid, skipped, *whole).await?;
                while let Some(piece) = content.recv().await {
                    archive.send(piece?).await?;
                }
                let over = (size % RECORD as u64) as usize;
                if over > 0 {
                    archive.send(Bytes::from_static(&[0; RECORD]).slice(over..)).await?;
                }
            }
            What::Other => {
                return Err(crate::dag::DagError::NotUnixfs(Box::new(member.cid)).into());
            }
        }
        Ok(None)
    }
}

/// The bits of a mode that tell what has it.
fn type_bits(kind: tar::EntryType) -> u32 {
    match kind {
        tar::EntryType::Directory => 0o040_000,
        tar::EntryType::Symlink => 0o120_000,
        _ => 0o100_000,
    }
}

/// Whether a member is to be packed, and how much of its content is left out. The one that is looked
/// for ends the search.
fn leads_to(name: &[u8], resume: &mut Option<Resume>) -> Option<u64> {
    let Some(sought) = resume else { return Some(0) };
    if sought.member == name {
        return resume.take().map(|found| found.skip);
    }
    let below = sought.member.strip_prefix(name).is_some_and(|rest| rest.starts_with(b"/"));
    below.then_some(0)
}

/// The name of an entry in the archive. Names come from strangers and may hold slashes and dots;
/// whoever unpacks must not have to find out where they lead. `None` when that is outside.
fn inside(above: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = above.split(|b| *b == b'/').collect();
    for part in name.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
        // The one member at the top is everything's folder.
        if parts.is_empty() {
            return None;
        }
    }
    (parts.len() > 1 && parts.first() == above.split(|b| *b == b'/').next().as_ref())
        .then(|| parts.join(&b'/'))
}

impl Archive {
    async fn send(&self, piece: Bytes) -> Result<(), Gone> {
        self.out.send(Ok(piece)).await.map_err(|_| Gone)
    }

    /// A member's header; what is too long or too fine for it goes ahead of it: names and targets
    /// as GNU tar does, times as POSIX does.
    async fn header(&self, name: &[u8], facts: &Facts<'_>) -> Result<(), Gone> {
        let mut header = tar::Header::new_gnu();
        let extended = extended(facts);
        if !extended.is_empty() {
            self.ahead(tar::EntryType::XHeader, b"./@PaxHeader", extended).await?;
        }
        self.long(tar::EntryType::GNULongName, name, header.as_old().name.len()).await?;
        self.long(tar::EntryType::GNULongLink, facts.target, header.as_old().linkname.len())
            .await?;
        fill(&mut header.as_old_mut().name, name);
        fill(&mut header.as_old_mut().linkname, facts.target);
        header.set_entry_type(facts.kind);
        header.set_mode(facts.mode);
        header.set_size(facts.size);
        let seconds = facts.mtime.map_or(0, |mtime| mtime.seconds.clamp(0, SECONDS_MAX));
        header.set_mtime(seconds.unsigned_abs());
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes())).await
    }

    async fn long(&self, kind: tar::EntryType, text: &[u8], fits: usize) -> Result<(), Gone> {
        if text.len() < fits {
            return Ok(());
        }
        self.ahead(kind, b"././@LongLink", [text, b"\0"].concat()).await
    }

    /// A member that tells of the one behind it.
    async fn ahead(
        &self,
        kind: tar::EntryType,
        name: &[u8],
        mut body: Vec<u8>,
    ) -> Result<(), Gone> {
        let mut header = tar::Header::new_gnu();
        fill(&mut header.as_old_mut().name, name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        header.set_mtime(0);
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes())).await?;
        body.resize(body.len().next_multiple_of(RECORD), 0);
        self.send(body.into()).await
    }
}

/// The records of a member's extended header; empty for one that needs none. A header's own time of
/// 0 says that none is told: the very second 0 stands here.
fn extended(facts: &Facts<'_>) -> Vec<u8> {
    let mut records = Vec::new();
    if let Some(Mtime { seconds, nanos }) = facts.mtime
        && (nanos > 0 || !(1..=SECONDS_MAX).contains(&seconds))
    {
        record(&mut records, "mtime", &decimal(seconds, nanos));
    }
    if facts.skipped > 0 {
        record(&mut records, SKIPPED, &facts.skipped.to_string());
    }
    records
}

/// Appends a record, which begins with its own length in bytes.
fn record(records: &mut Vec<u8>, key: &str, value: &str) {
    let rest = key.len() + value.len() + 3; // A space, an equals sign, a newline.
    let mut length = rest;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
}

/// A time as POSIX writes it: a decimal number of seconds, those before 1970 negative as a whole.
fn decimal(seconds: i64, nanos: u32) -> String {
    let total = i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
    let (sign, total) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
    let text = format!("{sign}{}.{:09}", total / 1_000_000_000, total % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Copies what fits; the rest went ahead.
fn fill(field: &mut [u8], text: &[u8]) {
    for (slot, byte) in field.iter_mut().zip(text) {
        *slot = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_tell_their_own_length() {
        for (value, length) in
            [("1", 11), ("12", 12), (&"9".repeat(89), 99), (&"9".repeat(90), 101)]
        {
            let mut records = Vec::new();
            record(&mut records, "mtime", value);
            assert_eq!(records, format!("{length} mtime={value}\n").as_bytes());
            assert_eq!(records.len(), length);
        }
    }

    #[test]
    fn times_are_decimal_numbers_on_both_sides_of_1970() {
        for (seconds, nanos, text) in [
            (0, 0, "0"),
            (10, 0, "10"),
            (1, 20_000_000, "1.02"),
            (-1, 0, "-1"),
            (-2, 500_000_000, "-1.5"),
            (i64::MIN, 0, "-9223372036854775808"),
            (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
        ] {
            assert_eq!(decimal(seconds, nanos), text);
        }
    }

    #[test]
    fn a_resumed_archive_begins_with_its_member_and_the_folders_above() {
        let sought = || Some(Resume { member: b"a/b/c".to_vec(), skip: 7 });
        for (name, packed) in
            [("a", Some(0)), ("a/b", Some(0)), ("a/bb", None), ("a/b/c", Some(7)), ("a/b/cc", None)]
        {
            let mut resume = sought();
            assert_eq!(leads_to(name.as_bytes(), &mut resume), packed, "{name}");
            assert_eq!(resume.is_none(), name == "a/b/c");
        }
        assert_eq!(leads_to(b"z", &mut None), Some(0));
    }

    #[test]
    fn names_stay_inside_the_archive() {
        for (above, name, meant) in [
            ("a", "b", Some("a/b")),
            ("a", "b/c", Some("a/b/c")),
            ("a/b", "../c", Some("a/c")),
            ("a/b", "./c//d/", Some("a/b/c/d")),
            ("a", "...", Some("a/...")),
            ("a", "..", None),
            ("a", "../a/b", None),
            ("a/b", "../../c", None),
            ("a/b", "..", None),
            ("a", "", None),
        ] {
            let found = inside(above.as_bytes(), name.as_bytes());
            assert_eq!(found.as_deref(), meant.map(str::as_bytes), "{above} {name}");
        }
    }
}
