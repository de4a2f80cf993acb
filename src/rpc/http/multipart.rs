//! Uploads: a multipart body becomes the entries of an import while it is still arriving.
//!
//! Names come from strangers: they are decoded, split at `/`, and refused when they climb. Nothing
//! is buffered beyond a few pieces: the import takes them as it reads.
//!
//! Source: Kubo's `files` multipart format: `filename` percent-encoded, `Content-Type` telling
//! folders (`application/x-directory`) and symlinks (`application/symlink`), permissions and times
//! in the name of the part.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::ffi::OsStr;
use std::future::Future;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use futures_util::stream::{self, Stream, StreamExt as _};
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use multer::{Field, Multipart};
use tokio::sync::mpsc;

use super::handover::{self, Desk, Handed};
use super::{BodyEnd, Incoming};
use crate::node::{Content, Entry, Meta, Opened, Source};
use crate::rpc::mode;
use crate::task;

/// Entries parsed ahead of the import.
const ENTRIES: usize = 16;
/// Pieces of one file received ahead of the import.
const PIECES: usize = 8;
/// Longest wait for the next bytes of an upload: an import holds others up, and must not wait for a
/// client that stopped sending and never closed.
const STALL_TIME: Duration = Duration::from_secs(300);
/// Longest wait for the end of a body whose last part was read, and most pieces read until then:
/// who sends more than that loses the connection, and nothing else.
const END_TIME: Duration = Duration::from_millis(250);
/// See [`END_TIME`].
const END_PIECES: usize = 16;
/// Time for which an upload is read on that was refused before its end: most clients read the reply,
/// which tells why, only while they can still send.
const REFUSED_TIME: Duration = Duration::from_secs(5);
/// Longest symlink target, in bytes.
const TARGET_MAX_BYTES: usize = 64 << 10;
/// Most bytes that may come without giving the import anything: the parser keeps the head of a part
/// until it ends.
const HELD_MAX_BYTES: usize = 16 << 20;

/// The boundary of a multipart body, or `None` for another body.
pub fn boundary(headers: &HeaderMap) -> Option<String> {
    multer::parse_boundary(headers.get(CONTENT_TYPE)?.to_str().ok()?).ok()
}

/// The entries of a multipart body, as they arrive; `end` tells when all of it was read.
pub(super) fn entries(body: Incoming, boundary: String, desk: Desk, end: BodyEnd) -> Source {
    let (out, inbox) = mpsc::channel(ENTRIES);
    task::detach(async move {
        let mut data = pin!(super::data(body, end));
        let parsed = parse(data.as_mut(), boundary, &desk, &out).await;
        match parsed {
            Ok(true) => read_to_end(data).await,
            Ok(false) => {
                let _ = tokio::time::timeout(REFUSED_TIME, data.for_each(|_| async {})).await;
            }
            Err(_) => {}
        }
        if let Err(error) = parsed {
            // An import that has failed wants no error any more.
            let _ = out.send(Err(error)).await;
        }
    });
    Box::new(Arriving { inbox })
}

struct Arriving {
    inbox: mpsc::Receiver<io::Result<Entry>>,
}

impl Iterator for Arriving {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.inbox.blocking_recv()
    }
}

/// A file as it arrives. Its end is said, so that a connection that breaks is no short file.
struct Pieces {
    inbox: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.inbox.blocking_recv() {
                // An empty piece says that the file is whole.
                Some(Ok(piece)) if piece.is_empty() => self.ended = true,
                Some(Ok(piece)) => self.current = piece,
                Some(Err(error)) => return Err(error),
                None => return Err(io::Error::other("the upload was cut short")),
            }
        }
        let n = self.current.len().min(out.len());
        if let Some(space) = out.get_mut(..n) {
            self.current.copy_to_slice(space);
        }
        Ok(n)
    }
}

/// Reads what stands behind the last part, if it comes soon: the connection can then be used again.
async fn read_to_end<S: Stream>(data: Pin<&mut S>) {
    // A body that goes on is left, and with it the connection.
    let _ = tokio::time::timeout(END_TIME, data.take(END_PIECES).for_each(|_| async {})).await;
}

type Parts = Result<Bytes, hyper::Error>;

/// How the parser is fed.
#[derive(Default)]
struct Intake {
    /// Bytes that came since it gave anything.
    held: AtomicUsize,
    /// Whether it has looked at all that it has, and asks for more.
    looked: AtomicBool,
}

impl Intake {
    fn gave(&self) {
        self.held.store(0, Ordering::Relaxed);
        self.looked.store(false, Ordering::Relaxed);
    }
}

/// The import, and how the parser is fed meanwhile.
struct Outlet<'a> {
    to: &'a mpsc::Sender<io::Result<Entry>>,
    intake: &'a Intake,
}

impl Outlet<'_> {
    async fn send(&self, entry: io::Result<Entry>) -> Result<(), ()> {
        self.to.send(entry).await.map_err(drop)
    }
}

/// The body as the parser gets it. Left to itself it takes all that has come before it looks at any: a
/// body of small parts would be in memory before the first of them is given. Here it looks first, and gets
/// a piece when that did not do.
fn fed<'a>(
    mut data: Pin<&'a mut (impl Stream<Item = Parts> + Send)>,
    intake: &'a Intake,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'a {
    stream::poll_fn(move |cx| {
        if !intake.looked.swap(true, Ordering::Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let piece = ready!(data.as_mut().poll_next(cx));
        intake.looked.store(false, Ordering::Relaxed);
        Poll::Ready(piece.map(|piece| within(piece, &intake.held)))
    })
}

/// Counts what comes, and refuses what the parser would only keep.
fn within(piece: Parts, held: &AtomicUsize) -> io::Result<Bytes> {
    let piece = piece.map_err(io::Error::other)?;
    let before = held.fetch_add(piece.len(), Ordering::Relaxed);
    match before.saturating_add(piece.len()) > HELD_MAX_BYTES {
        true => Err(io::Error::new(io::ErrorKind::InvalidInput, "the head of a part does not end")),
        false => Ok(piece),
    }
}

/// Hands the entries over as they arrive; tells whether the import took all of them.
pub async fn parse(
    data: Pin<&mut (impl Stream<Item = Parts> + Send)>,
    boundary: String,
    desk: &Desk,
    out: &mpsc::Sender<io::Result<Entry>>,
) -> io::Result<bool> {
    let intake = Intake::default();
    let mut parts = Multipart::new(fed(data, &intake), boundary);
    let out = &Outlet { to: out, intake: &intake };
    while let Some(field) = in_time(parts.next_field()).await? {
        intake.gave();
        let mut path = path_of(&field)?;
        let meta = mode::read(field.name().unwrap_or_default());
        let meta = meta.map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        let kind = field.content_type().map(|mime| mime.essence_str().to_owned());
        let content = match kind.as_deref() {
            Some("application/x-directory") => Content::Directory,
            Some("application/symlink") => Content::Symlink(target(field).await?),
            _ => {
                // A file may be without a name.
                if path.is_empty() {
                    path.push(Bytes::new());
                }
                match handed(&field, desk, &path)? {
                    Some(opened) => Content::Open(opened),
                    None if file((path, meta), field, out).await? => continue,
                    None => return Ok(false),
                }
            }
        };
        // The root of an upload may be sent as a folder without a name: it adds nothing.
        if !path.is_empty() && out.send(Ok(Entry { path, content, meta })).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The file of a part that names one on the desk.
fn handed(field: &Field<'_>, desk: &Desk, path: &[Bytes]) -> io::Result<Option<Opened>> {
    let Some(name) = field.headers().get(handover::HEADER) else { return Ok(None) };
    let handed = name.to_str().ok().and_then(|name| desk.take(name));
    let unknown = || {
        let text = format!("broken upload: no file was handed over as {name:?}");
        io::Error::new(io::ErrorKind::InvalidInput, text)
    };
    let Handed { file, gone } = handed.ok_or_else(unknown)?;
    let at = path.iter().map(|name| OsStr::from_bytes(name)).collect();
    Ok(Some(Opened { file, at, gone: Some(gone) }))
}

/// Gives a file to the import and feeds it; tells whether the import still takes entries.
async fn file(
    (path, meta): (Vec<Bytes>, Meta),
    mut field: Field<'_>,
    out: &Outlet<'_>,
) -> io::Result<bool> {
    let (feed, inbox) = mpsc::channel(PIECES);
    let reader = Pieces { inbox, current: Bytes::new(), ended: false };
    let content = Content::File(Box::new(reader));
    if out.send(Ok(Entry { path, content, meta })).await.is_err() {
        return Ok(false);
    }
    loop {
        let piece = match in_time(field.chunk()).await {
            Ok(Some(piece)) if piece.is_empty() => continue,
            other => other.map(Option::unwrap_or_default),
        };
        out.intake.gave();
        let last = !matches!(&piece, Ok(bytes) if !bytes.is_empty());
        if feed.send(piece).await.is_err() {
            return Ok(false);
        }
        if last {
            return Ok(true);
        }
    }
}

async fn target(mut field: Field<'_>) -> io::Result<Bytes> {
    let mut target = Vec::new();
    while let Some(piece) = in_time(field.chunk()).await? {
        target.extend_from_slice(&piece);
        if target.len() > TARGET_MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "symlink target too long"));
        }
    }
    Ok(target.into())
}

/// The names of a part: its percent-decoded `filename`; none for a part without one.
fn path_of(field: &Field<'_>) -> io::Result<Vec<Bytes>> {
    names(field.file_name().unwrap_or_default())
}

fn names(encoded: &str) -> io::Result<Vec<Bytes>> {
    let decoded = percent_decode(encoded);
    let mut names = Vec::new();
    for name in decoded.split(|b| *b == b'/').filter(|n| !n.is_empty() && *n != b".") {
        if name == b".." {
            let text = format!("invalid name in upload: {encoded:?}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        names.push(Bytes::copy_from_slice(name));
    }
    Ok(names)
}

/// Undoes Go's query escaping: `%XX`, and `+` for a space. What is no escape stays as it is.
fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let hex =
        |at: usize| char::from(*bytes.get(at)?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(at.saturating_add(1)), hex(at.saturating_add(2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high << 4 | low);
                at = at.saturating_add(3);
                continue;
            }
            (b'+', ..) => out.push(b' '),
            _ => out.push(*byte),
        }
        at = at.saturating_add(1);
    }
    out
}

/// What the client sends next, if it comes before [`STALL_TIME`] is over.
async fn in_time<T>(next: impl Future<Output = multer::Result<T>>) -> io::Result<T> {
    match tokio::time::timeout(STALL_TIME, next).await {
        Ok(sent) => sent.map_err(broken),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the upload has stalled")),
    }
}

fn broken(error: multer::Error) -> io::Error {
    let text = match &error {
        // Its own words do not tell the cause.
        multer::Error::StreamReadFailed(cause) => format!("broken upload: {cause}"),
        error => format!("broken upload: {error}"),
    };
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_without_an_end_is_refused_before_it_fills_the_memory() {
        let piece = Bytes::from(vec![b'a'; 64 << 10]);
        let mut came = 0;
        let endless = futures_util::stream::repeat_with(|| {
            came += 1;
            Ok(if came == 1 { Bytes::from_static(b"--x\r\nA: ") } else { piece.clone() })
        });
        let (out, _inbox) = mpsc::channel(ENTRIES);
        let parsed = parse(pin!(endless).as_mut(), "x".to_owned(), &Desk::default(), &out).await;
        let told = parsed.unwrap_err().to_string();
        assert!(told.contains("the head of a part does not end"), "{told}");
        assert!(came <= 2 + (HELD_MAX_BYTES >> 16), "{came} pieces came");
    }

    #[tokio::test]
    async fn small_parts_are_looked_at_before_more_of_them_come() {
        let part = "--x\r\nContent-Disposition: a; filename=b\r\n\r\ncontent\r\n";
        let piece = Bytes::from(part.repeat(64));
        let mut came = 0;
        let endless = futures_util::stream::repeat_with(|| {
            came += 1;
            Ok(piece.clone())
        });
        let (out, mut inbox) = mpsc::channel(ENTRIES);
        let mut endless = pin!(endless);
        let desk = Desk::default();
        let parsing = parse(endless.as_mut(), "x".to_owned(), &desk, &out);
        let taking = async {
            for _ in 0..100 {
                inbox.recv().await.unwrap().unwrap();
            }
        };
        tokio::select! {
            parsed = parsing => panic!("it has no end: {parsed:?}"),
            () = taking => {}
        }
        assert!(came <= 3, "{came} pieces of 64 parts came for 100 parts");
    }

    #[tokio::test]
    async fn a_long_file_is_no_long_head() {
        let piece = Bytes::from(vec![b'a'; 64 << 10]);
        let mut pieces =
            vec![Bytes::from_static(b"--x\r\nContent-Disposition: a; filename=b\r\n\r\n")];
        pieces.extend(std::iter::repeat_n(piece, 2 * (HELD_MAX_BYTES >> 16)));
        pieces.push(Bytes::from_static(b"\r\n--x--\r\n"));
        let data = futures_util::stream::iter(pieces.into_iter().map(Ok::<_, hyper::Error>));
        // As from a socket: there is not always more.
        let data = data.then(|piece| async {
            tokio::task::yield_now().await;
            piece
        });
        let (out, mut inbox) = mpsc::channel(ENTRIES);
        let reading = task::blocking(move || {
            let Some(Ok(Entry { content: Content::File(mut file), .. })) = inbox.blocking_recv()
            else {
                return 0;
            };
            io::copy(&mut file, &mut io::sink()).unwrap()
        });
        let mut data = pin!(data);
        let desk = Desk::default();
        let parsing = parse(data.as_mut(), "x".to_owned(), &desk, &out);
        let (parsed, read) = futures_util::future::join(parsing, reading).await;
        assert!(parsed.unwrap());
        assert_eq!(read, 2 * HELD_MAX_BYTES as u64);
    }

    #[tokio::test]
    async fn a_file_that_nobody_handed_over_is_refused_by_its_name() {
        for name in ["00112233445566778899aabbccddeeff", "", "x"] {
            let body = format!(
                "--x\r\nContent-Disposition: a; filename=b\r\n{}: {name}\r\n\r\n\r\n--x--\r\n",
                handover::HEADER
            );
            let mut data = pin!(stream::iter([Ok::<_, hyper::Error>(Bytes::from(body))]));
            let (out, _inbox) = mpsc::channel(ENTRIES);
            let parsed = parse(data.as_mut(), "x".to_owned(), &Desk::default(), &out).await;
            let told = parsed.unwrap_err().to_string();
            let expected = format!("no file was handed over as \"{name}\"");
            assert!(told.contains(&expected), "{told}");
        }
    }

    #[test]
    fn names_are_decoded_and_cannot_climb() {
        let parts = |text: &str| names(text).unwrap();
        assert_eq!(parts("a%2Fb/c"), ["a", "b", "c"]);
        assert_eq!(parts("%E6%B0%B4+x%zz"), ["水 x%zz"]);
        assert_eq!(parts("/tmp//x/./y"), ["tmp", "x", "y"]);
        assert!(parts("").is_empty());
        for bad in ["..", "a/../b", "%2e%2e/x", "a%2f..%2fb"] {
            assert!(names(bad).is_err(), "{bad}");
        }
    }
}
