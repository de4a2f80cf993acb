//! Chunks of one size, read straight into the place where the block will lie.

use std::io::{self, Read};

use bytes::Bytes;

use crate::unixfs::node::{Leaf, leaf_frame};

/// Bytes of a file that are asked for before it is known to be larger.
const FIRST_READ_BYTES: usize = 16 << 10;

/// A leaf's bytes, framed as a block, and how much of them is content.
#[derive(Debug)]
pub struct Framed {
    /// The whole block.
    pub block: Bytes,
    /// Content bytes in it.
    pub content: usize,
}

/// Cuts a reader into blocks of at most `size` content bytes.
pub struct Fixed<R> {
    reader: R,
    size: usize,
    leaf: Leaf,
    head: Vec<u8>,
    tail: Vec<u8>,
    done: bool,
    first: bool,
}

impl<R: Read> Fixed<R> {
    /// Cuts into leaves of this kind.
    pub fn new(reader: R, size: usize, leaf: Leaf) -> Self {
        let (head, tail) = leaf_frame(leaf, size);
        Self { reader, size, leaf, head, tail, done: false, first: true }
    }

    /// The next block, or `None` after the last. An empty reader gives one empty block.
    ///
    /// # Errors
    /// The reader's. Memory: one chunk a call.
    pub fn next_block(&mut self) -> io::Result<Option<Framed>> {
        if self.done {
            return Ok(None);
        }
        let frame = self.head.len() + self.tail.len();
        let mut buffer = Vec::with_capacity(self.least() + frame);
        buffer.extend_from_slice(&self.head);
        let content = self.fill(&mut buffer)?;
        self.done = content < self.size;
        if content == 0 && !self.first {
            return Ok(None);
        }
        self.first = false;
        let block = match content == self.size {
            true => {
                buffer.extend_from_slice(&self.tail);
                buffer.into()
            }
            false => self.reframe(&buffer, content),
        };
        Ok(Some(Framed { block, content }))
    }

    /// Bytes to make room for before any are read.
    fn least(&self) -> usize {
        if self.first { self.size.min(FIRST_READ_BYTES) } else { self.size }
    }

    /// Reads until the chunk is full or the reader ends: into memory that nobody cleared before.
    fn fill(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        // Most files are small: they want no room for a whole chunk.
        let least = self.least();
        let filled = self.reader.by_ref().take(least as u64).read_to_end(buffer)?;
        if filled < least || least == self.size {
            return Ok(filled);
        }
        let rest = self.size - least;
        buffer.reserve_exact(rest + self.tail.len());
        Ok(filled + self.reader.by_ref().take(rest as u64).read_to_end(buffer)?)
    }

    /// The last, shorter chunk wants a shorter frame: the only bytes of a file copied here.
    fn reframe(&self, buffer: &[u8], content: usize) -> Bytes {
        let body = &buffer[self.head.len()..];
        let (head, tail) = leaf_frame(self.leaf, content);
        [&head, body, &tail].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives at most 3 bytes a call, as pipes do.
    struct Trickling<'a>(&'a [u8]);

    impl Read for Trickling<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let n = buf.len().min(3).min(self.0.len());
            buf[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    #[test]
    fn short_reads_do_not_cut_chunks() {
        let bytes: Vec<u8> = (0..=255).collect();
        for (len, sizes) in
            [(0, vec![0]), (99, vec![99]), (100, vec![100]), (201, vec![100, 100, 1])]
        {
            let mut chunks = Fixed::new(Trickling(&bytes[..len]), 100, Leaf::Block);
            let mut seen = Vec::new();
            let mut joined = Vec::new();
            while let Some(chunk) = chunks.next_block().unwrap() {
                seen.push(chunk.content);
                joined.extend_from_slice(&chunk.block);
            }
            assert_eq!((seen, joined.as_slice()), (sizes, &bytes[..len]));
        }
    }
}
