//! The family `records` for the router: rows by key and by prefix, and logged batches. What a row
//! means is decided there; how it lies, in `keys/record.rs`.

use bytes::Bytes;

use super::backend::{Batch, Family, Row};
use super::{Core, StoreError};

/// Rows of `records` to put and to delete together.
#[derive(Clone, Debug, Default)]
pub struct RecordBatch(Batch);

impl RecordBatch {
    /// Puts a row.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.0.put(Family::Records, key, value);
    }

    /// Deletes a row, if it is there.
    pub fn delete(&mut self, key: Bytes) {
        self.0.delete(Family::Records, key);
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Core {
    /// The row's value.
    ///
    /// # Errors
    /// The database's.
    pub fn record(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.backend.get(Family::Records, key)?)
    }

    /// At most `limit` rows whose keys begin with `prefix`, in order, the first one after `after`.
    /// `after` begins with `prefix` and need not be a row's key.
    ///
    /// # Errors
    /// The database's.
    pub fn records(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.backend.page(Family::Records, prefix, after, limit)?)
    }

    /// Applies a batch, logged: records can be learned again, so none waits for the disk.
    ///
    /// # Errors
    /// The database's; the batch is then not applied.
    pub fn write_records(&self, batch: RecordBatch) -> Result<(), StoreError> {
        Ok(self.backend.write(batch.0)?)
    }
}
