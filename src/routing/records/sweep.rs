//! Counting rows, and deleting what is expired: a page at a time, so that whoever waits for the
//! lock waits for a page.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashMap;

use bytes::Bytes;

use super::{Counts, Records, is_alive};
use crate::store::StoreError;
use crate::store::keys::record::{self as row, AddressRow, PeerRow, ProviderRow, ValueRow};
use crate::store::records::RecordBatch;

/// Rows read at a time.
pub(super) const PAGE_ROWS: usize = 1024;

/// What a sweep deleted.
pub type Swept = Counts;

impl Records {
    /// Reads how many rows there are.
    pub(super) fn count(&self) -> Result<Counts, StoreError> {
        let scope = self.shared.scope;
        let count = |prefix: Bytes| {
            let (mut rows, mut after) = (0u64, None::<Bytes>);
            loop {
                let page = self.core().records(&prefix, after.as_deref(), PAGE_ROWS)?;
                rows = rows.saturating_add(page.len() as u64);
                match page.into_iter().last() {
                    Some((key, _)) => after = Some(key),
                    None => return Ok::<u64, StoreError>(rows),
                }
            }
        };
        Ok(Counts {
            providers: count(row::providers(scope))?,
            values: count(row::values(scope))?,
            peers: count(row::peer(b""))?,
        })
    }

    /// Deletes what is expired at `now`. Run it once an hour; until then what is expired is not
    /// told to anybody.
    ///
    /// # Errors
    /// The store's; what was deleted stays so.
    pub fn sweep(&self, now: u64) -> Result<Swept, StoreError> {
        let scope = self.shared.scope;
        let dead = |value: Bytes| ProviderRow::decode(&value).is_none_or(|row| row.expiry <= now);
        let providers = self.sweep_rows(row::providers(scope), dead)?;
        let dead = |value: Bytes| ValueRow::decode(value).is_none_or(|row| !is_alive(&row, now));
        let values = self.sweep_rows(row::values(scope), dead)?;
        let dead = |value: Bytes| PeerRow::decode(value).is_none_or(|row| row.expiry <= now);
        let peers = self.sweep_rows(row::peer(b""), dead)?;
        // Last: these hold the counts of the provider rows.
        let dead = |value: Bytes| {
            AddressRow::decode(value).is_none_or(|row| row.expiry <= now && row.rows == 0)
        };
        self.sweep_rows(row::addresses(scope, b""), dead)?;
        Ok(Swept { providers, values, peers })
    }

    fn sweep_rows(&self, prefix: Bytes, dead: impl Fn(Bytes) -> bool) -> Result<u64, StoreError> {
        let (mut gone, mut after) = (0u64, None::<Bytes>);
        loop {
            let (mut guard, mut counts) = self.lock()?;
            let page = self.core().records(&prefix, after.as_deref(), PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(gone) };
            after = Some(last.clone());
            let keys: Vec<Bytes> =
                page.into_iter().filter(|(_, value)| dead(value.clone())).map(|(k, _)| k).collect();
            let count = keys.len() as u64;
            if prefix == row::providers(self.shared.scope) {
                counts.providers = counts.providers.saturating_sub(count);
            } else if prefix == row::values(self.shared.scope) {
                counts.values = counts.values.saturating_sub(count);
            } else if prefix == row::peer(b"") {
                counts.peers = counts.peers.saturating_sub(count);
            }
            self.delete(&prefix, keys)?;
            *guard = Some(counts);
            gone = gone.saturating_add(count);
        }
    }

    /// Deletes rows; provider rows are taken off their peers' counts.
    fn delete(&self, prefix: &[u8], keys: Vec<Bytes>) -> Result<(), StoreError> {
        let mut batch = RecordBatch::default();
        if prefix == row::providers(self.shared.scope) {
            let mut peers: HashMap<&[u8], u32> = HashMap::new();
            for (_, peer) in keys.iter().filter_map(|key| row::split_provider(key)) {
                let rows = peers.entry(peer).or_default();
                *rows = rows.saturating_add(1);
            }
            for (peer, rows) in peers {
                self.forget_rows(peer, rows, &mut batch)?;
            }
        }
        for key in keys {
            batch.delete(key);
        }
        self.core().write_records(batch)
    }
}
