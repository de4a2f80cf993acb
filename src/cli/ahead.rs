//! Small files read ahead of who imports them: opening a file and reading it takes as long as making
//! blocks of its few bytes, and another core can do it.

use std::io::{self, Cursor, Read as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use crate::node::{Content, Entry, Source};
use crate::task;

/// Files up to so many bytes are read ahead; of larger ones one a batch is open.
const SMALL_BYTES: u64 = 64 << 10;
/// Entries that travel together: handing one over costs as much as reading it.
const BATCH_ENTRIES: usize = 64;
/// Content with which they do. Bounds memory, with the batches and one more file each, at 3 MiB.
const BATCH_BYTES: usize = 512 << 10;
/// Room beyond what a file should have: with it, the end is found in one more call.
const PROBE_BYTES: usize = 64;
/// Batches that wait.
const BATCHES: usize = 4;

/// Entries that travel together.
struct Batch {
    entries: Vec<io::Result<Entry>>,
    /// Whether all came: a channel that ends before that is an error, not the end of a folder.
    last: bool,
}

/// The same entries in the same order, each with its size in bytes, as far as it is known; taken from
/// the walk by a thread of its own.
///
/// # Errors
/// When the system refuses a thread.
pub fn read_ahead(
    walk: impl Iterator<Item = io::Result<(Entry, u64)>> + Send + 'static,
) -> io::Result<Source> {
    let (out, batches) = sync_channel(BATCHES);
    task::thread("read-ahead", move || gather(walk, &out))?;
    Ok(Box::new(entries(batches)))
}

/// Sends batches until there is nothing more, or nobody to take them.
fn gather(walk: impl Iterator<Item = io::Result<(Entry, u64)>>, out: &SyncSender<Batch>) {
    let (mut entries, mut bytes) = (Vec::new(), 0);
    for found in walk {
        let (mut size, mut large) = (0, false);
        let entry = found.and_then(|(entry, claimed)| {
            large = claimed > SMALL_BYTES;
            if large { Ok(entry) } else { read(entry, claimed, &mut size) }
        });
        bytes += size;
        entries.push(entry);
        if large || entries.len() >= BATCH_ENTRIES || bytes >= BATCH_BYTES {
            let entries = std::mem::take(&mut entries);
            bytes = 0;
            if out.send(Batch { entries, last: false }).is_err() {
                return;
            }
        }
    }
    // Nobody waits any more when the import has failed.
    let _ = out.send(Batch { entries, last: true });
}

/// Puts a file's content into the place of its reader. What has grown meanwhile keeps its reader for the
/// rest.
fn read(entry: Entry, claimed: u64, size: &mut usize) -> io::Result<Entry> {
    let Content::File(mut reader) = entry.content else { return Ok(entry) };
    let room = usize::try_from(claimed).unwrap_or(0) + PROBE_BYTES;
    let mut read = Vec::with_capacity(room);
    reader.by_ref().take(SMALL_BYTES).read_to_end(&mut read)?;
    *size = read.len();
    let whole = (read.len() as u64) < SMALL_BYTES;
    let content = match whole {
        true => Content::File(Box::new(Cursor::new(read))),
        false => Content::File(Box::new(Cursor::new(read).chain(reader))),
    };
    Ok(Entry { content, ..entry })
}

fn entries(batches: Receiver<Batch>) -> impl Iterator<Item = io::Result<Entry>> {
    let mut last = false;
    let next = move || match batches.recv() {
        Ok(batch) => {
            last = batch.last;
            Some(batch.entries)
        }
        Err(_) if last => None,
        Err(_) => {
            last = true;
            Some(vec![Err(io::Error::other("reading ahead has stopped"))])
        }
    };
    std::iter::from_fn(next).flatten()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::node::Meta;

    fn entry(n: usize, content: Vec<u8>) -> (Entry, u64) {
        let size = content.len() as u64;
        let content = Content::File(Box::new(Cursor::new(content)));
        (Entry { path: vec![Bytes::from(n.to_string())], content, meta: Meta::NONE }, size)
    }

    #[test]
    fn entries_come_in_their_order_with_all_their_bytes() {
        let sizes = [0, 1, 65_535, 65_536, 65_537, 300_000];
        let content = move |n: usize| vec![n as u8; sizes[n % sizes.len()]];
        // A file may be larger than was thought when it was found.
        let walk = (0..1000).map(move |n| {
            let (entry, size) = entry(n, content(n));
            Ok((entry, if n % 7 == 0 { 0 } else { size }))
        });
        let mut count = 0;
        for (n, entry) in read_ahead(walk).unwrap().enumerate() {
            let Entry { path, content: Content::File(mut reader), .. } = entry.unwrap() else {
                panic!("a file");
            };
            let mut read = Vec::new();
            reader.read_to_end(&mut read).unwrap();
            assert!(path == [n.to_string()] && read == content(n), "{n}");
            count += 1;
        }
        assert_eq!(count, 1000);
    }

    #[test]
    fn an_error_stands_where_it_was_met() {
        let walk = (0..200).map(|n| match n {
            150 => Err(io::Error::other("this one")),
            n => Ok(entry(n, vec![7])),
        });
        let met: Vec<_> = read_ahead(walk).unwrap().map(|entry| entry.map(drop)).collect();
        assert_eq!(met.len(), 200);
        assert_eq!(met[150].as_ref().unwrap_err().to_string(), "this one");
        assert_eq!(met.iter().filter(|entry| entry.is_err()).count(), 1);
    }

    #[test]
    fn a_walk_that_breaks_off_is_not_the_end_of_a_folder() {
        let walk = (0..200).map(|n| {
            assert!(n < 100, "the walk breaks off");
            Ok(entry(n, vec![7]))
        });
        let met: Vec<_> = read_ahead(walk).unwrap().collect();
        assert!(met.last().unwrap().is_err());
    }
}
