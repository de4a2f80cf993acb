//! Chunks that the content defines: the same bytes are cut alike wherever in a file they stand.
//!
//! Bytes are read into one buffer, looked through there, and copied once, into the block.

use std::io::{self, Read};

use bytes::Bytes;

use super::Chunker;
use super::fixed::Framed;
use crate::unixfs::node::{Leaf, leaf_frame};

/// Bytes read ahead of the chunk that is looked for.
const READ_AHEAD: usize = 1 << 20;
/// The first read of a file, in bytes: most files are small.
const FIRST_READ: usize = 64 << 10;

/// Cuts a reader where its chunker says.
pub struct Defined<R> {
    reader: R,
    chunker: Chunker,
    leaf: Leaf,
    /// What was read; what stands before `start` is in blocks already.
    buffer: Vec<u8>,
    start: usize,
    ended: bool,
    first: bool,
}

impl<R: Read> Defined<R> {
    /// Cuts into leaves of this kind.
    pub fn new(reader: R, chunker: Chunker, leaf: Leaf) -> Self {
        Self { reader, chunker, leaf, buffer: Vec::new(), start: 0, ended: false, first: true }
    }

    /// The next block, or `None` after the last. An empty reader gives one empty block.
    ///
    /// # Errors
    /// The reader's. Memory: the largest chunk, [`READ_AHEAD`], and one block a call.
    pub fn next_block(&mut self) -> io::Result<Option<Framed>> {
        self.fill()?;
        let held = &self.buffer[self.start..];
        if held.is_empty() && !self.first {
            return Ok(None);
        }
        self.first = false;
        let content = self.chunker.cut(held);
        let (head, tail) = leaf_frame(self.leaf, content);
        let block: Bytes = [&head, &held[..content], &tail].concat().into();
        self.start += content;
        Ok(Some(Framed { block, content }))
    }

    /// Reads until the largest chunk is there, or the reader ends.
    fn fill(&mut self) -> io::Result<()> {
        let most = self.chunker.max();
        if self.ended || self.buffer.len() - self.start >= most {
            return Ok(());
        }
        self.buffer.drain(..self.start);
        self.start = 0;
        while !self.ended && self.buffer.len() < most {
            let space = most + READ_AHEAD - self.buffer.len();
            let wanted = if self.buffer.is_empty() { space.min(FIRST_READ) } else { space };
            self.buffer.reserve_exact(wanted);
            let got = self.reader.by_ref().take(wanted as u64).read_to_end(&mut self.buffer)?;
            self.ended = got < wanted;
        }
        Ok(())
    }
}
