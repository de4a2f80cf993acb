//! The family `tenants` for the pinning service: rows by key and by prefix, synced batches, and
//! changes that go together with pins. What a row means is decided there; how it lies, in
//! `keys/tenants.rs`.

use bytes::Bytes;

use super::backend::{Batch, Family, Row};
use super::change::Change;
use super::edges::{Completing, Progress};
use super::intents::Intent;
use super::pin::Pin;
use super::pins::delete_pin;
use super::{Core, StoreError, this_hour};
use crate::ipld::cid::Cid;

/// Looks at a row's key and value; `false` ends it.
pub type Look<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + 'a;

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

    /// Shows the rows whose keys begin with `prefix`, in order, from the key `from` on, which begins
    /// so, too; ends when `look` says `false` or fails. No row is kept, however long. `look` is quick,
    /// and does not call the store.
    ///
    /// # Errors
    /// The database's, and those of `look`.
    pub fn each_tenant_row(
        &self,
        prefix: &[u8],
        from: &[u8],
        look: &mut Look<'_>,
    ) -> Result<(), StoreError> {
        let mut failed = None;
        let mut tell = |key: &[u8], value: &[u8]| {
            look(key, value).unwrap_or_else(|error| {
                failed = Some(error);
                false
            })
        };
        self.backend.each(Family::Tenants, prefix, from, &mut tell)?;
        failed.map_or(Ok(()), Err)
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

/// What goes into one batch with a change of an owner's pins.
#[derive(Debug, Default)]
pub struct Joint {
    /// Rows of tenants.
    pub rows: TenantBatch,
    /// What the owner has pinned and lets go.
    pub release: Vec<Cid>,
}

/// Rows of tenants that go together with pins: all of it is written, or nothing.
pub trait Beside {
    /// What goes into the batch. Asked for under the lock of the store's rows, so it is to be quick,
    /// and must wait for nobody who waits for that lock.
    ///
    /// # Errors
    /// Any: nothing is written then.
    fn rows(&mut self, core: &Core) -> Result<Joint, StoreError>;

    /// It is written, and not on the disk yet.
    fn written(&mut self);
}

impl Core {
    /// Pins a DAG that is here, and writes in the same batch what stands beside it. What `intent` has
    /// noted is not looked for again by whoever deletes.
    ///
    /// # Errors
    /// As [`Core::pin`], and those of `beside`.
    pub fn pin_beside(
        &self,
        pin: &Pin,
        intent: &Intent,
        progress: &Progress,
        beside: &mut dyn Beside,
    ) -> Result<(), StoreError> {
        let mut completing = Completing::new(self, self, intent, Vec::new()).telling(progress);
        completing.complete(&pin.cid)?;
        completing.claim_root(&pin.cid, pin.mode)?;
        // Fetched blocks are on the disk before a pin is.
        self.segments.sync()?;
        completing.write(&mut |change| {
            self.replace_pin(pin, &mut change.rows)?;
            self.join(&pin.owner, beside, change)
        })?;
        beside.written();
        self.sync()
    }

    /// Writes rows of tenants, and lets pins of an owner go in the same batch. What one alone held is
    /// garbage from then on.
    ///
    /// # Errors
    /// The database's, and those of `beside`.
    pub fn change_beside(&self, owner: &str, beside: &mut dyn Beside) -> Result<(), StoreError> {
        let exclusive = self.exclusive();
        let mut change = Change::default();
        self.join(owner, beside, &mut change)?;
        self.apply(change, &exclusive)?;
        drop(exclusive);
        beside.written();
        self.sync()
    }

    fn join(
        &self,
        owner: &str,
        beside: &mut dyn Beside,
        change: &mut Change,
    ) -> Result<(), StoreError> {
        let Joint { rows, release } = beside.rows(self)?;
        for cid in &release {
            if let Some(pin) = self.pin_row_of(cid, owner)? {
                delete_pin(&mut change.rows, &pin);
                change.loosen(cid.hash(), this_hour());
            }
        }
        change.rows.append(rows.0);
        Ok(())
    }
}
