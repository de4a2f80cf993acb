//! Uploads as multipart bodies, in the form that Kubo's servers read.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

use crate::node::{Content, Entry, Source};
use crate::rpc::http::handover::{Giver, HEADER};
use crate::rpc::mode;
use crate::task;

/// What the content of a file is said to be.
const FILE: &str = "application/octet-stream";
/// Pieces on their way to the socket.
const PIECES: usize = 8;
/// Size of a piece of a file, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// The content type of the body, and the body, made while it is sent. Files that `giver` hands over
/// are only named in it.
pub fn multipart(
    source: Source,
    giver: Option<Arc<Giver>>,
) -> (String, impl Stream<Item = io::Result<Bytes>> + Send) {
    let boundary = boundary();
    let kind = format!("multipart/form-data; boundary={boundary}");
    let (out, mut pieces) = mpsc::channel(PIECES);
    task::detach_blocking(move || {
        if let Err(error) = write(source, &boundary, giver.as_deref(), &out) {
            // A connection that is gone wants no error any more.
            let _ = out.blocking_send(Err(error));
        }
    });
    (kind, stream::poll_fn(move |context| pieces.poll_recv(context)))
}

/// A text that no file is likely to hold: from the clock and an address, which is enough, since a
/// file that holds it would only break its own upload.
fn boundary() -> String {
    let seed = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos());
    let mixed = u128::from(std::process::id()) << 96 ^ seed;
    format!("henge-{}", HEXLOWER.encode(&mixed.to_be_bytes()))
}

type Out = mpsc::Sender<io::Result<Bytes>>;

fn write(source: Source, boundary: &str, giver: Option<&Giver>, out: &Out) -> io::Result<()> {
    for entry in source {
        let Entry { path, content, meta } = entry?;
        let mut handed = String::new();
        let (kind, bit, body): (_, _, Box<dyn Read>) = match content {
            Content::Directory => ("application/x-directory", mode::FOLDER, Box::new(io::empty())),
            Content::Symlink(to) => {
                ("application/symlink", mode::SYMLINK, Box::new(io::Cursor::new(to)))
            }
            Content::File(reader) => (FILE, 0, reader),
            Content::Open(opened) => match giver.and_then(|giver| giver.give(&opened.file)) {
                Some(name) => {
                    handed = format!("\r\n{HEADER}: {name}");
                    (FILE, 0, Box::new(io::empty()))
                }
                None => (FILE, 0, Box::new(opened)),
            },
        };
        let params = mode::write(&meta, bit);
        let name = path.iter().map(|name| escape(name)).collect::<Vec<_>>().join("%2F");
        let named = if name.is_empty() { String::new() } else { format!("; filename=\"{name}\"") };
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file{params}\"{named}\r\n\
             Content-Type: {kind}{handed}\r\n\r\n"
        );
        send(out, head.into())?;
        copy(body, out)?;
        send(out, Bytes::from_static(b"\r\n"))?;
    }
    send(out, format!("--{boundary}--\r\n").into())
}

fn copy(mut from: impl Read, out: &Out) -> io::Result<()> {
    loop {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        from.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        send(out, piece.into())?;
    }
}

fn send(out: &Out, piece: Bytes) -> io::Result<()> {
    out.blocking_send(Ok(piece)).map_err(|_| io::ErrorKind::BrokenPipe.into())
}

/// Percent-encodes everything but letters, digits and `-._~`.
fn escape(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            other => out.push_str(&format!("%{other:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::StreamExt as _;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::node::{Meta, Opened};
    use crate::rpc::http::handover::{Counter, Desk, local_folder};
    use crate::rpc::http::multipart::parse;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_handed_over_is_only_named() {
        let folder = local_folder();
        let desk = Desk::default();
        let counter = Counter::open(folder.path()).unwrap();
        let stop = CancellationToken::new();
        task::detach(desk.clone().serve(counter, stop.clone()));
        let (large, small) = (vec![b'l'; 1 << 20], vec![b's'; 1000]);
        let entry = |name: &'static str, content: &[u8]| {
            let at = folder.path().join(name);
            std::fs::write(&at, content).unwrap();
            let file = std::fs::File::open(&at).unwrap();
            let content = Content::Open(Opened { file, at, gone: None });
            Ok(Entry { path: vec![name.into()], content, meta: Meta::NONE })
        };
        let entries = [entry("large", &large), entry("small", &small), entry("again", &large)];
        let giver = Some(Arc::new(Giver::new(folder.path(), desk.name())));
        let (kind, body) = multipart(Box::new(entries.into_iter()), giver.clone());
        let pieces: Vec<Bytes> = body.map(Result::unwrap).collect().await;
        let sent: usize = pieces.iter().map(Bytes::len).sum();
        assert!(sent > 1000 && sent < 3000, "{sent} bytes");
        let (out, mut inbox) = mpsc::channel(16);
        let (_, boundary) = kind.split_once("boundary=").unwrap();
        let mut data = pin!(stream::iter(pieces.into_iter().map(Ok::<_, hyper::Error>)));
        assert!(parse(data.as_mut(), boundary.to_owned(), &desk, &out).await.unwrap());
        drop(out);
        let read = task::blocking(move || {
            let mut read = Vec::new();
            while let Some(entry) = inbox.blocking_recv() {
                let Entry { path, content, .. } = entry.unwrap();
                let mut bytes = Vec::new();
                content.into_reader().unwrap().read_to_end(&mut bytes).unwrap();
                read.push((path, bytes));
            }
            read
        });
        let expected = [("large", &large), ("small", &small), ("again", &large)];
        let expected = expected.map(|(name, bytes)| (vec![Bytes::from(name)], bytes.clone()));
        assert_eq!(read.await, expected);
        stop.cancel();
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a b/ä".as_bytes()), "a%20b%2F%C3%A4");
        assert_eq!(escape(b"\"\r\n"), "%22%0D%0A");
    }
}
