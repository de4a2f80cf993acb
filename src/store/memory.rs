//! A backend in memory: for tests, and for hashing without a repository. Durable as long as the
//! process.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::backend::{Backend, BackendError, Batch, Family, Row, Taken};
use super::keys;

type Table = BTreeMap<Bytes, Bytes>;

/// Rows in ordered maps.
#[derive(Debug, Default)]
pub struct Memory {
    families: RwLock<HashMap<Family, Table>>,
}

impl Memory {
    fn read(&self) -> RwLockReadGuard<'_, HashMap<Family, Table>> {
        // A writer cannot panic between two rows, so a poisoned lock holds whole batches.
        self.families.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Backend for Memory {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        Ok(self.read().get(&family).and_then(|table| table.get(key)).cloned())
    }

    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError> {
        let families = self.read();
        let Some(table) = families.get(&family) else { return Ok(Vec::new()) };
        let start = match after {
            Some(after) => Bound::Excluded(after),
            None => Bound::Included(prefix),
        };
        let rows = table.range::<[u8], _>((start, Bound::Unbounded));
        let rows = rows.take_while(|(key, _)| key.starts_with(prefix)).take(limit);
        Ok(rows.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn each(
        &self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
        look: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), BackendError> {
        let families = self.read();
        let Some(table) = families.get(&family) else { return Ok(()) };
        for (key, value) in table.range::<[u8], _>((Bound::Included(from), Bound::Unbounded)) {
            if !key.starts_with(prefix) || !look(key, value) {
                break;
            }
        }
        Ok(())
    }

    fn write(&self, batch: Batch) -> Result<(), BackendError> {
        let mut families = self.families.write().unwrap_or_else(PoisonError::into_inner);
        for op in batch.ops {
            let table = families.entry(op.family).or_default();
            match op.value {
                Some(value) if op.family == Family::Segments => {
                    let row = table.get(&op.key).map(Bytes::as_ref);
                    let sum = keys::add_figures(row, std::iter::once(value.as_ref()));
                    table.insert(op.key, sum)
                }
                Some(value) => table.insert(op.key, value),
                None => table.remove(&op.key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn compact(&self) -> Result<(), BackendError> {
        Ok(())
    }

    fn taken(&self) -> Result<Taken, BackendError> {
        Ok(Taken::default())
    }
}
