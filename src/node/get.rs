//! `get`: a file or folder as a TAR stream, the way it travels to whoever unpacks it.
//!
//! Nothing is buffered but one piece of content: the size stands in the root of each file, before
//! its content.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{Error, Node, Results};
use crate::dag::tree::{Entries, What};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::task;

/// Pieces of the archive waiting for the mouth.
const PIECES: usize = 8;
/// Size of a TAR record in bytes; content is padded to it.
const RECORD: usize = 512;
/// Deepest folder that is packed: a DAG cannot be a cycle, but it can be made very deep.
const DEPTH_MAX: usize = 256;

/// What goes into the archive under one name.
struct Member {
    name: Vec<u8>,
    cid: Cid,
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
    /// Streams a file, folder or symlink as a TAR archive whose one top member is named `name`.
    ///
    /// # Errors
    /// The path's, at once; the rest as the stream's last item.
    pub async fn get(&self, path: &Path, name: &str) -> Result<Results<Bytes>, Error> {
        let cid = self.dag.resolve_block(path).await?;
        let what = self.dag.what(&cid).await?;
        if what == What::Other {
            return Err(crate::dag::DagError::NotUnixfs(Box::new(cid)).into());
        }
        let (out, pieces) = mpsc::channel(PIECES);
        let (node, archive) = (self.clone(), Archive { out });
        let top = Member { name: name.as_bytes().to_vec(), cid };
        task::detach(async move {
            match node.pack(top, &archive).await {
                Ok(()) | Err(Stop::Gone) => {}
                Err(Stop::Failed(error)) => drop(archive.out.send(Err(error)).await),
            }
        });
        Ok(pieces)
    }

    /// Packs depth first, without recursion.
    async fn pack(&self, top: Member, archive: &Archive) -> Result<(), Stop> {
        let mut open: Vec<(Vec<u8>, Entries)> = Vec::new();
        let mut next = Some(top);
        loop {
            if let Some(member) = next.take()
                && let Some(entries) = self.pack_one(&member, archive).await?
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
        archive.send(Bytes::from_static(&[0; 2 * RECORD])).await?;
        Ok(())
    }

    /// Packs one member; a folder's entries are for the caller to go on with.
    async fn pack_one(&self, member: &Member, archive: &Archive) -> Result<Option<Entries>, Stop> {
        match self.dag.what(&member.cid).await? {
            What::Directory => {
                archive.header(&member.name, tar::EntryType::Directory, 0o755, 0, b"").await?;
                return Ok(Some(self.dag.entries(&member.cid).await?));
            }
            What::Symlink(target) => {
                archive.header(&member.name, tar::EntryType::Symlink, 0o777, 0, &target).await?;
            }
            What::File(size) => {
                archive.header(&member.name, tar::EntryType::Regular, 0o644, size, b"").await?;
                let mut content = self.dag.read(&member.cid, 0, size).await?;
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

    /// A member's header; names and targets too long for it go ahead of it, as GNU tar does.
    async fn header(
        &self,
        name: &[u8],
        kind: tar::EntryType,
        mode: u32,
        size: u64,
        target: &[u8],
    ) -> Result<(), Gone> {
        let mut header = tar::Header::new_gnu();
        self.long(tar::EntryType::GNULongName, name, header.as_old().name.len()).await?;
        self.long(tar::EntryType::GNULongLink, target, header.as_old().linkname.len()).await?;
        fill(&mut header.as_old_mut().name, name);
        fill(&mut header.as_old_mut().linkname, target);
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(0);
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes())).await
    }

    async fn long(&self, kind: tar::EntryType, text: &[u8], fits: usize) -> Result<(), Gone> {
        if text.len() < fits {
            return Ok(());
        }
        let mut header = tar::Header::new_gnu();
        fill(&mut header.as_old_mut().name, b"././@LongLink");
        header.set_entry_type(kind);
        header.set_size(text.len() as u64 + 1);
        header.set_cksum();
        self.send(Bytes::copy_from_slice(header.as_bytes())).await?;
        let mut body = text.to_vec();
        body.resize((text.len() + 1).next_multiple_of(RECORD), 0);
        self.send(body.into()).await
    }
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
