//! The backend on disk: RocksDB, one column family a [`Family`].
//!
//! Owns the tuning and the translation of RocksDB's errors; no other file names the crate. Blocks
//! of 4 KiB and more lie in blob files, so that compaction moves keys and not content. Checksums
//! are verified on every read and are never switched off.

use std::path::Path;

use bytes::Bytes;
use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBCompressionType, DBRecoveryMode, Direction, Error, ErrorKind,
    FlushOptions, IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};

use super::backend::{Backend, BackendError, Batch, Durability, Family, Row};

/// Smallest value that goes to a blob file, in bytes.
const BLOB_MIN_BYTES: u64 = 4 << 10;
/// Size at which a blob file is closed, in bytes.
const BLOB_FILE_BYTES: u64 = 256 << 20;
/// Share of garbage in blob files above which a compaction copies the live rest out of them.
const BLOB_GARBAGE_PERCENT: u64 = 20;
/// Write buffer of the payload family, in bytes. Resident memory of a large add is about
/// `PAYLOAD_BUFFERS` of these.
const PAYLOAD_BUFFER_BYTES: usize = 16 << 20;
/// Payload buffers that may exist at once: one filling, the others being written out.
const PAYLOAD_BUFFERS: i32 = 4;
/// Write buffer of each other family, in bytes.
const ROW_BUFFER_BYTES: usize = 8 << 20;
/// Cache of index, filter and data blocks, shared by all families, in bytes.
const BLOCK_CACHE_BYTES: usize = 32 << 20;
/// Log of all families together before the oldest is flushed out of it, in bytes.
const WAL_MAX_BYTES: u64 = 64 << 20;
/// Files that the database may hold open.
const OPEN_FILES_MAX: i32 = 512;

/// A RocksDB database.
pub struct Rocks {
    db: DB,
}

impl Rocks {
    /// Opens the database in `dir`, making it if it is not there.
    ///
    /// # Errors
    /// [`BackendError::Damaged`] names the file that RocksDB refuses.
    pub fn open(dir: &Path) -> Result<Self, BackendError> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = Family::ALL
            .map(|family| ColumnFamilyDescriptor::new(family.name(), tuning(family, &cache)));
        let db = DB::open_cf_descriptors(&database_options(), dir, families).map_err(translate)?;
        // RocksDB syncs what is in the folder, not the folder's own entry: a power loss right after
        // the first add would take the whole folder with it.
        let above = dir.parent().unwrap_or(dir);
        let synced = std::fs::File::open(above).and_then(|folder| folder.sync_all());
        synced.map_err(|e| BackendError::Failed(format!("{}: {e}", above.display())))?;
        Ok(Self { db })
    }

    /// Share of the blob files that no row points to any more.
    fn blob_garbage_percent(&self, family: &ColumnFamily) -> Result<u64, BackendError> {
        let read = |name: &str| self.db.property_int_value_cf(family, name).map_err(translate);
        let garbage = read("rocksdb.live-blob-file-garbage-size")?.unwrap_or(0);
        let total = read("rocksdb.live-blob-file-size")?.unwrap_or(0);
        Ok(garbage.saturating_mul(100).checked_div(total).unwrap_or(0))
    }

    /// Whether compactions copy live blobs out of old files.
    fn blob_gc(&self, family: &ColumnFamily, on: bool) -> Result<(), BackendError> {
        let enabled = if on { "true" } else { "false" };
        let options = [
            ("enable_blob_garbage_collection", enabled),
            ("blob_garbage_collection_age_cutoff", "1.0"),
        ];
        self.db.set_options_cf(family, &options).map_err(translate)
    }

    /// The family's handle; all of them are opened with the database.
    fn family(&self, family: Family) -> Result<&ColumnFamily, BackendError> {
        let missing = || BackendError::Damaged(format!("no family {:?}", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }
}

fn database_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // A record cut short at the end of the log is what a crash leaves, and was acknowledged to
    // nobody. Damage anywhere else is reported: RocksDB's default takes it for the end and loses
    // what was acknowledged after it, in silence.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_total_wal_size(WAL_MAX_BYTES);
    options.set_max_background_jobs(4);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options
}

fn tuning(family: Family, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_ribbon_filter(10.0);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default();
    options.set_write_buffer_size(ROW_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    if family == Family::Payload {
        // Content is compressed or encrypted more often than not: trying again costs and gains
        // nothing.
        options.set_compression_type(DBCompressionType::None);
        options.set_write_buffer_size(PAYLOAD_BUFFER_BYTES);
        options.set_max_write_buffer_number(PAYLOAD_BUFFERS);
        options.set_enable_blob_files(true);
        options.set_min_blob_size(BLOB_MIN_BYTES);
        options.set_blob_file_size(BLOB_FILE_BYTES);
        options.set_blob_compression_type(DBCompressionType::None);
        // With blob GC on, every compaction copies the oldest blobs, dead or not. It is switched on
        // for the compactions that are meant to give space back, and off again.
        options.set_enable_blob_gc(false);
    }
    options.set_block_based_table_factory(&table);
    options
}

impl Backend for Rocks {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        let found = self.db.get_pinned_cf(self.family(family)?, key).map_err(translate)?;
        Ok(found.map(|slice| Bytes::copy_from_slice(&slice)))
    }

    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError> {
        let mut options = ReadOptions::default();
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let start = IteratorMode::From(after.unwrap_or(prefix), Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(family)?, options, start);
        let mut page = Vec::new();
        for row in rows {
            let (key, value) = row.map_err(translate)?;
            if page.len() == limit || !key.starts_with(prefix) {
                break;
            }
            if after != Some(&key) {
                page.push((key.into(), value.into()));
            }
        }
        Ok(page)
    }

    fn write(&self, batch: Batch, durability: Durability) -> Result<(), BackendError> {
        let mut rows = WriteBatch::with_capacity_bytes(batch.bytes() + 32 * batch.ops.len());
        for op in &batch.ops {
            let family = self.family(op.family)?;
            match &op.value {
                Some(value) => rows.put_cf(family, &op.key, value),
                None => rows.delete_cf(family, &op.key),
            }
        }
        drop(batch); // RocksDB's copy is made: hold one, not two, while it writes.
        let mut options = WriteOptions::default();
        options.disable_wal(durability == Durability::Unlogged);
        options.set_sync(durability == Durability::Synced);
        self.db.write_opt(rows, &options).map_err(translate)
    }

    fn flush(&self, family: Family) -> Result<(), BackendError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.db.flush_cf_opt(self.family(family)?, &options).map_err(translate)
    }

    fn compact(&self, family: Family) -> Result<(), BackendError> {
        self.flush(family)?;
        let handle = self.family(family)?;
        if family != Family::Payload {
            self.db.compact_range_cf(handle, None::<&[u8]>, None::<&[u8]>);
            return Ok(());
        }
        // Deleted rows must reach the bottom before their blobs count as garbage.
        self.db.compact_range_cf(handle, None::<&[u8]>, None::<&[u8]>);
        if self.blob_garbage_percent(handle)? < BLOB_GARBAGE_PERCENT {
            return Ok(());
        }
        self.blob_gc(handle, true)?;
        let mut all = CompactOptions::default();
        all.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        self.db.compact_range_cf_opt(handle, None::<&[u8]>, None::<&[u8]>, &all);
        self.blob_gc(handle, false)
    }
}

/// The first key after all that begin with `prefix`; `None` when there is no such key.
fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let keep = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=keep].to_vec();
    end[keep] += 1;
    Some(end)
}

/// RocksDB tells a full disk from other I/O errors by its text alone.
fn translate(error: Error) -> BackendError {
    let text = error.to_string().replace('\n', " ");
    if text.contains("No space left on device") || text.contains("File too large") {
        return BackendError::Full;
    }
    match error.kind() {
        ErrorKind::Corruption => BackendError::Damaged(text),
        _ => BackendError::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_end_where_the_next_begins() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), None);
        assert_eq!(prefix_end(b""), None);
    }

    #[test]
    fn a_store_from_before_a_family_gains_it() {
        let dir = tempfile::tempdir().unwrap();
        let old = Family::ALL.iter().filter(|family| **family != Family::Records);
        drop(DB::open_cf(&database_options(), dir.path(), old.map(|f| f.name())).unwrap());
        let rocks = Rocks::open(dir.path()).unwrap();
        let mut batch = Batch::default();
        batch.put(Family::Records, Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        rocks.write(batch, Durability::Synced).unwrap();
        drop(rocks);
        let again = Rocks::open(dir.path()).unwrap();
        assert_eq!(again.get(Family::Records, b"k").unwrap().unwrap(), "v");
    }

    #[test]
    fn the_whole_backend_suite() {
        let dir = tempfile::tempdir().unwrap();
        super::super::testsuite::run(|name| Rocks::open(&dir.path().join(name)).unwrap());
    }
}
