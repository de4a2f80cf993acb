//! Walks over a family's rows, a page at a time.

use bytes::Bytes;

use super::backend::{Family, Row};
use super::{Core, StoreError};

/// Rows read at a time.
const PAGE_ROWS: usize = 1024;

/// Walks a family without holding a cursor open between pages.
pub(super) struct Rows<'a> {
    core: &'a Core,
    family: Family,
    prefix: &'a [u8],
    page: std::vec::IntoIter<Row>,
    last: Option<Bytes>,
    done: bool,
}

impl Iterator for Rows<'_> {
    type Item = Result<Row, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.page.len() == 0 && !self.done {
            let after = self.last.as_deref();
            match self.core.backend.page(self.family, self.prefix, after, PAGE_ROWS) {
                Ok(rows) => {
                    self.done = rows.len() < PAGE_ROWS;
                    self.page = rows.into_iter();
                }
                Err(error) => {
                    self.done = true;
                    return Some(Err(error.into()));
                }
            }
        }
        let row = self.page.next()?;
        self.last = Some(row.0.clone());
        Some(Ok(row))
    }
}

impl Core {
    /// Every row under a prefix, a page at a time.
    pub(super) fn rows<'a>(&'a self, family: Family, prefix: &'a [u8]) -> Rows<'a> {
        Rows { core: self, family, prefix, page: Vec::new().into_iter(), last: None, done: false }
    }
}
