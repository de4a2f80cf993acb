//! Reading segments: one record at a place, or all of them in order.

use std::io;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::super::backend::BackendError;
use super::super::keys::Place;
use super::Segments;
use super::record::{self, Record};
use crate::ipld::cid::Multihash;

/// Bytes of a segment read at once when all of it is read.
const SCAN_BYTES: usize = 1 << 20;

/// Bytes looked through at once for the beginning of a record: twice the largest that is found.
const SEARCHED_BYTES: usize = 16 << 20;

impl Segments {
    /// Reads the block's bytes at a place, and compares their checksum.
    ///
    /// # Errors
    /// [`BackendError::Damaged`] with the cause when they are not there as they were.
    pub fn read(&self, place: Place, hash: &Multihash, size: u32) -> Result<Bytes, BackendError> {
        let length = record::length(hash, size);
        let bytes = self.bytes_at(place, length)?;
        self.read.fetch_add(length, Ordering::Relaxed);
        let Record { hash: found, data } = record::read(&bytes).map_err(BackendError::Damaged)?;
        match found == *hash {
            true => Ok(data),
            false => Err(BackendError::Damaged("another block lies in its place".into())),
        }
    }

    fn bytes_at(&self, place: Place, length: u64) -> Result<Bytes, BackendError> {
        let file = self.file(place.segment)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, place.offset.into()).map_err(|error| {
            match error.kind() {
                io::ErrorKind::UnexpectedEof => {
                    BackendError::Damaged("its segment is cut short".into())
                }
                // What the disk cannot read is lost, not a fault of the store.
                _ => BackendError::Damaged(format!("segment {}: {error}", place.segment)),
            }
        })?;
        Ok(bytes.into())
    }

    /// Visits the records of a segment from its head on, each with its offset. Ends with the offset
    /// and the cause where no record follows: what lies behind that must be found by the index.
    ///
    /// # Errors
    /// The visitor's, or that the segment is gone.
    pub fn scan<E: From<BackendError>>(
        &self,
        id: u32,
        from: u64,
        to: u64,
        visit: &mut dyn FnMut(u32, Result<Record, String>) -> Result<(), E>,
    ) -> Result<Option<(u64, String)>, E> {
        let file = self.file(id)?;
        let (mut at, mut window, mut first) = (from, Bytes::new(), from);
        let mut take = |at: u64, wanted: usize| -> Result<Option<Bytes>, BackendError> {
            let skip = usize::try_from(at - first).unwrap_or(usize::MAX);
            if window.len() < skip.saturating_add(wanted) {
                let most = usize::try_from(to - at).unwrap_or(usize::MAX);
                if wanted > most {
                    return Ok(None);
                }
                let mut bytes = vec![0; wanted.max(SCAN_BYTES).min(most)];
                let read = file.read_exact_at(&mut bytes, at);
                read.map_err(|error| BackendError::Damaged(format!("segment {id}: {error}")))?;
                self.read.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                (window, first) = (bytes.into(), at);
                return Ok(Some(window.slice(..wanted)));
            }
            Ok(Some(window.slice(skip..skip + wanted)))
        };
        while at < to {
            let short = || Some((at, "it ends within a record".to_owned()));
            let most = usize::try_from(to - at).unwrap_or(usize::MAX).min(record::HEAD_MAX);
            let Some(begins) = take(at, most)? else { return Ok(short()) };
            let Some(head) = record::read_head(&begins) else {
                return Ok(Some((at, "no record begins there".to_owned())));
            };
            let length = record::length(&head.hash, head.size);
            let wanted = usize::try_from(length).unwrap_or(usize::MAX);
            let Some(bytes) = take(at, wanted)? else { return Ok(short()) };
            visit(u32::try_from(at).unwrap_or(u32::MAX), record::read(&bytes))?;
            at += length;
        }
        Ok(None)
    }

    /// Where the first whole record begins, from one offset to another; every byte may be its first.
    ///
    /// # Errors
    /// That the segment cannot be read.
    pub fn next_record(&self, id: u32, from: u64, to: u64) -> Result<Option<u64>, BackendError> {
        let mut first = from;
        while first < to {
            let length = usize::try_from(to - first).unwrap_or(usize::MAX).min(SEARCHED_BYTES);
            let place = Place { segment: id, offset: u32::try_from(first).unwrap_or(u32::MAX) };
            let bytes = self.bytes_at(place, length as u64)?;
            let last = first + length as u64 == to;
            // Records that begin in the second half may end behind it: they are in the next window.
            let begins = if last { length } else { length / 2 };
            for at in 0..begins {
                let Some(head) = record::read_head(&bytes[at..]) else { continue };
                let size = usize::try_from(head.size).unwrap_or(usize::MAX);
                let end = at.saturating_add(head.length).saturating_add(size);
                if end <= length && record::read(&bytes.slice(at..end)).is_ok() {
                    return Ok(Some(first + at as u64));
                }
            }
            first += begins as u64;
        }
        Ok(None)
    }
}
