//! Uploads as multipart bodies, in the form that Kubo's servers read.

use std::io::{self, Read};

use bytes::Bytes;
use data_encoding::HEXLOWER;
use futures_util::stream::{self, Stream};
use tokio::sync::mpsc;

use crate::node::{Content, Entry, Source};
use crate::rpc::mode;
use crate::task;

/// Pieces on their way to the socket.
const PIECES: usize = 8;
/// Size of a piece of a file, in bytes.
const PIECE_BYTES: usize = 256 << 10;

/// The content type of the body, and the body, made while it is sent.
pub fn multipart(source: Source) -> (String, impl Stream<Item = io::Result<Bytes>> + Send) {
    let boundary = boundary();
    let kind = format!("multipart/form-data; boundary={boundary}");
    let (out, mut pieces) = mpsc::channel(PIECES);
    task::detach_blocking(move || {
        if let Err(error) = write(source, &boundary, &out) {
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

fn write(source: Source, boundary: &str, out: &Out) -> io::Result<()> {
    for entry in source {
        let Entry { path, content, meta } = entry?;
        let (kind, bit, body): (_, _, Box<dyn Read>) = match content {
            Content::Directory => ("application/x-directory", mode::FOLDER, Box::new(io::empty())),
            Content::Symlink(to) => {
                ("application/symlink", mode::SYMLINK, Box::new(io::Cursor::new(to)))
            }
            Content::File(reader) => ("application/octet-stream", 0, reader),
        };
        let params = mode::write(&meta, bit);
        let name = path.iter().map(|name| escape(name)).collect::<Vec<_>>().join("%2F");
        let named = if name.is_empty() { String::new() } else { format!("; filename=\"{name}\"") };
        let head = format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"file{params}\"{named}\r\n\
             Content-Type: {kind}\r\n\r\n"
        );
        send(out, head.into())?;
        copy(body, out)?;
        send(out, Bytes::from_static(b"\r\n"))?;
    }
    send(out, format!("--{boundary}--\r\n").into())
}

fn copy(mut from: impl Read, out: &Out) -> io::Result<()> {
    loop {
        let mut piece = Vec::new();
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
    use super::*;

    #[test]
    fn names_are_escaped() {
        assert_eq!(escape("a b/ä".as_bytes()), "a%20b%2F%C3%A4");
        assert_eq!(escape(b"\"\r\n"), "%22%0D%0A");
    }
}
