//! The family `tenants` for the pinning service: rows by key and by prefix, synced batches, and
//! changes that go together with pins. What a row means is decided there; how it lies, in
//! `keys/tenants.rs`.

use bytes::Bytes;

use super::backend::{Batch, Family, Row};
use super::{Core, StoreError};

/// Rows of `tenants` to put and to delete together.
#[derive(Clone, Debug, Default)]
pub struct TenantBatch(Batch);

impl TenantBatch {
    /// Puts a row.
    pub fn put(&mut self, key: Bytes, value: Bytes) {
        self.0.put(Family::Tenants, key, value);
    }

    /// Deletes a row, if it is there.
    pub fn delete(&mut self, key: Bytes) {
        self.0.delete(Family::Tenants, key);
    }

    /// Adds the changes of another batch after these.
    pub fn append(&mut self, other: Self) {
        self.0.append(other.0);
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
    pub fn tenant_row(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.backend.get(Family::Tenants, key)?)
    }

    /// At most `limit` rows whose keys begin with `prefix`, in order, the first one after `after`.
    /// `after` begins with `prefix` and need not be a row's key.
    ///
    /// # Errors
    /// The database's.
    pub fn tenant_rows(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        Ok(self.backend.page(Family::Tenants, prefix, after, limit)?)
    }

    /// Applies a batch; it survives a power loss from the next [`Self::sync_tenants`] on.
    ///
    /// # Errors
    /// The database's; the batch is then not applied.
    pub fn log_tenants(&self, batch: TenantBatch) -> Result<(), StoreError> {
        Ok(self.backend.write(batch.0)?)
    }

    /// Waits until every batch that was applied before the call is on the disk. Callers that wait at
    /// the same time share it.
    ///
    /// # Errors
    /// The disk's.
    pub fn sync_tenants(&self) -> Result<(), StoreError> {
        self.sync()
    }

    /// Applies a batch, and waits until it is on the disk.
    ///
    /// # Errors
    /// The database's.
    pub fn write_tenants(&self, batch: TenantBatch) -> Result<(), StoreError> {
        self.log_tenants(batch)?;
        self.sync()
    }
}
