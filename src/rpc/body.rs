//! Uploads of one file.

use std::io::Read as _;

use super::{Body, Error};
use crate::task;

/// All of the first uploaded file, which is to have at most `most` bytes.
///
/// # Errors
/// That there is none, or more of it.
pub async fn file(body: Body, most: u64) -> Result<Vec<u8>, Error> {
    let Body::Files(mut source) = body else {
        return Err(Error::no_file("file"));
    };
    let failed = |message: String| Error { message, client: false };
    let unread = move |e: std::io::Error| failed(format!("failed to read file contents: {e}"));
    task::blocking(move || {
        let Some(entry) = source.next() else {
            return Err(Error::invalid("expected a file"));
        };
        let Some(reader) = entry.map_err(unread)?.content.into_reader() else {
            return Err(Error::invalid("expected a file, not a folder"));
        };
        let mut data = Vec::new();
        reader.take(most.saturating_add(1)).read_to_end(&mut data).map_err(unread)?;
        match data.len() as u64 > most {
            true => Err(failed(format!("at most {most} bytes are taken"))),
            false => Ok(data),
        }
    })
    .await
}
