//! The backend on disk: RocksDB, one column family a [`Family`].
//!
//! Owns the tuning and the translation of RocksDB's errors; no other file names the crate. It holds
//! rows alone, content lies in segments. Checksums are verified on every read and are never switched
//! off.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use bytes::Bytes;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily,
    ColumnFamilyDescriptor, CompactOptions, DB, DBCompressionType, DBRecoveryMode, Direction,
    Error, ErrorKind, FlushOptions, IteratorMode, MergeOperands, Options, ReadOptions,
    SliceTransform, WriteBatch, WriteOptions,
};

use super::backend::{Backend, BackendError, Batch, Family, Row, Taken};
use super::barrier::Barrier;
use super::keys;

/// Write buffer of a family, in bytes; at most half of the log.
const ROW_BUFFER_BYTES: usize = 8 << 20;
/// Cache of index, filter and data blocks, shared by all families, in bytes.
const BLOCK_CACHE_BYTES: usize = 32 << 20;
/// Most bytes of the log of all families together before the oldest is flushed out of it.
pub const LOG_MAX_BYTES: u64 = 64 << 20;
/// Files that the database may hold open.
const OPEN_FILES_MAX: i32 = 512;

/// The file that tells the number of the last change that was synced, and a checksum of it. It is not
/// synced itself: what a power loss leaves of it is older, never newer.
const SYNCED: &str = "SYNCED";
/// The file that says: damage was met in tables.
const DAMAGED: &str = "DAMAGED";

/// A RocksDB database.
pub struct Rocks {
    db: DB,
    dir: PathBuf,
    log: Barrier,
    /// Whether damage was met and noted.
    damaged: AtomicBool,
    /// Number of the last change that is known to be on the disk, for the next opening.
    synced: File,
}

impl Rocks {
    /// Opens the database in `dir`, making it if it is not there. Its log takes at most about
    /// `log_max` bytes.
    ///
    /// # Errors
    /// [`BackendError::Damaged`] names the file that RocksDB refuses.
    pub fn open(dir: &Path, log_max: u64) -> Result<Self, BackendError> {
        check_log(dir)?;
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), tuning(family, &cache, log_max))
        });
        let db = DB::open_cf_descriptors(&database_options(log_max), dir, families)
            .map_err(translate)?;
        // RocksDB syncs what is in the folder, not the folder's own entry.
        let above = dir.parent().unwrap_or(dir);
        let synced = std::fs::File::open(above).and_then(|folder| folder.sync_all());
        synced.map_err(|e| BackendError::Failed(format!("{}: {e}", above.display())))?;
        Self::of(db, dir)
    }

    /// Opens what can be opened of a database that is damaged, to read out of it what can be read.
    ///
    /// # Errors
    /// That nothing can, or that the log is damaged.
    pub fn salvage(dir: &Path) -> Result<Self, BackendError> {
        check_log(dir)?;
        Self::of(read_only(dir, false)?, dir)
    }

    /// Whether this database, or one that was open before, met damage in its tables.
    pub fn is_damaged(dir: &Path) -> bool {
        dir.join(DAMAGED).exists()
    }

    /// Every row of a family that can be read, from the front up to damage, and from the back; tells
    /// whether those are all.
    pub fn readable(&self, family: Family) -> (Vec<Row>, bool) {
        let Ok(handle) = self.family(family) else { return (Vec::new(), false) };
        let (mut rows, mut whole) = (BTreeMap::new(), true);
        for mode in [IteratorMode::Start, IteratorMode::End] {
            let mut options = ReadOptions::default();
            options.set_total_order_seek(true);
            for row in self.db.iterator_cf_opt(handle, options, mode) {
                match row {
                    Ok((key, value)) => _ = rows.insert(Bytes::from(key), Bytes::from(value)),
                    Err(_) => whole = false,
                }
            }
            if whole {
                break;
            }
        }
        (rows.into_iter().collect(), whole)
    }

    fn of(db: DB, dir: &Path) -> Result<Self, BackendError> {
        let (log, damaged) = (Barrier::default(), AtomicBool::new(false));
        let file = File::options().create(true).truncate(false).write(true).open(dir.join(SYNCED));
        let synced = file.map_err(|e| BackendError::Failed(format!("{}: {e}", dir.display())))?;
        Ok(Self { db, dir: dir.to_owned(), log, damaged, synced })
    }

    /// Puts the log on the disk, and notes how far that is.
    fn sync_log(&self) -> Result<(), BackendError> {
        let number = self.db.latest_sequence_number();
        self.db.flush_wal(true).map_err(|error| self.failed(error))?;
        // Without the note, damage in the log could be taken for its end: no reason to stop.
        let _ = self.synced.write_all_at(&synced_note(number), 0);
        Ok(())
    }

    /// RocksDB's error. Damage is noted in the folder: rows are made again at the next opening.
    fn failed(&self, error: Error) -> BackendError {
        let error = match translate(error) {
            BackendError::Damaged(text) => text,
            other => return other,
        };
        if !self.damaged.swap(true, Relaxed)
            && let Err(unwritten) = std::fs::write(self.dir.join(DAMAGED), &error)
        {
            tracing::warn!("{}: {unwritten}", self.dir.display());
        }
        BackendError::Damaged(format!("{error}: rows are made again when the store is opened next"))
    }

    fn families(&self) -> Result<Vec<&ColumnFamily>, BackendError> {
        Family::ALL.into_iter().map(|family| self.family(family)).collect()
    }

    /// The family's handle; all of them are opened with the database.
    fn family(&self, family: Family) -> Result<&ColumnFamily, BackendError> {
        let missing = || BackendError::Damaged(format!("no family {:?}", family.name()));
        self.db.cf_handle(family.name()).ok_or_else(missing)
    }
}

/// Fails when the log ends before the last change that is known to have been synced: then it was
/// damaged, and RocksDB would go on without what was acknowledged.
fn check_log(dir: &Path) -> Result<(), BackendError> {
    let Some(synced) = std::fs::read(dir.join(SYNCED)).ok().and_then(|note| noted(&note)) else {
        return Ok(());
    };
    // Of a database that cannot be opened the real opening tells why.
    let Ok(db) = read_only(dir, true) else { return Ok(()) };
    let found = db.latest_sequence_number();
    match found < synced {
        true => Err(BackendError::Damaged(format!(
            "the log in {} ends at change {found}, and {synced} was on the disk",
            dir.display()
        ))),
        false => Ok(()),
    }
}

/// Number and checksum: 12 bytes.
fn synced_note(number: u64) -> Vec<u8> {
    let number = number.to_be_bytes();
    [&number[..], &crc32c::crc32c(&number).to_be_bytes()].concat()
}

/// The number in such a note.
fn noted(note: &[u8]) -> Option<u64> {
    let (number, sum) = note.split_first_chunk::<8>()?;
    (sum == crc32c::crc32c(number).to_be_bytes()).then(|| u64::from_be_bytes(*number))
}

/// Opens a database that is there, changing nothing in it.
fn read_only(dir: &Path, paranoid: bool) -> Result<DB, BackendError> {
    let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
    let mut options = database_options(LOG_MAX_BYTES);
    options.set_paranoid_checks(paranoid);
    options.create_if_missing(false);
    options.create_missing_column_families(false);
    let there = DB::list_cf(&options, dir).map_err(translate)?;
    let families = Family::ALL.into_iter().filter(|f| there.iter().any(|n| n == f.name()));
    let families = families.map(|family| {
        ColumnFamilyDescriptor::new(family.name(), tuning(family, &cache, LOG_MAX_BYTES))
    });
    DB::open_cf_descriptors_read_only(&options, dir, families, false).map_err(translate)
}

fn database_options(log_max: u64) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_paranoid_checks(true);
    // What a power loss leaves at the end of the log may be cut short, torn, or old in the middle; it
    // was acknowledged to nobody, so the log ends before the first of it. Damage in what was synced
    // looks the same: `check_log` tells one from the other.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_open_files(OPEN_FILES_MAX);
    options.set_max_total_wal_size(log_max);
    options.set_max_background_jobs(4);
    options.set_bytes_per_sync(1 << 20);
    options.set_wal_bytes_per_sync(1 << 20);
    options.set_keep_log_file_num(2);
    options.set_max_log_file_size(1 << 20);
    options.set_manifest_preallocation_size(64 << 10);
    options.set_stats_dump_period_sec(0);
    options.set_skip_stats_update_on_db_open(true);
    options
}

fn tuning(family: Family, cache: &Cache, log_max: u64) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_ribbon_filter(10.0);
    // Index and filter of a table in parts of a few KiB: whole, they would fill the cache, and a look
    // for one row would read all of them.
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4 << 10);
    table.set_pin_top_level_index_and_filter(true);
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_format_version(5);
    let mut options = Options::default();
    let log = usize::try_from(log_max / 2).unwrap_or(usize::MAX);
    options.set_write_buffer_size(ROW_BUFFER_BYTES.min(log));
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    if family == Family::Segments {
        options.set_merge_operator_associative("figures", add_figures);
    }
    // Whether anything holds a block is asked for each one that may be garbage, and the answer is no:
    // filters tell that without a look into tables.
    if by_block(family) {
        let name = format!("henge.{}", family.name());
        options.set_prefix_extractor(match family {
            Family::Edges => SliceTransform::create(&name, edge_prefix, None),
            _ => SliceTransform::create(&name, pin_prefix, None),
        });
        options.set_memtable_prefix_bloom_ratio(0.05);
    }
    options.set_block_based_table_factory(&table);
    options
}

/// Whether rows of the family begin with the multihash of a block, under which they are looked for.
fn by_block(family: Family) -> bool {
    matches!(family, Family::Edges | Family::Pins)
}

/// The multihash at the head of an edge's key; all of a key that has none.
fn edge_prefix(key: &[u8]) -> &[u8] {
    keys::block_part(key).unwrap_or(key)
}

/// The same of a pin's key, with the byte before it.
fn pin_prefix(key: &[u8]) -> &[u8] {
    keys::pin_part(key).unwrap_or(key)
}

fn add_figures(_: &[u8], row: Option<&[u8]>, added: &MergeOperands) -> Option<Vec<u8>> {
    Some(keys::add_figures(row, added.iter()).to_vec())
}

/// How rows under a prefix are read.
fn reading(family: Family, prefix: &[u8]) -> ReadOptions {
    let mut options = ReadOptions::default();
    // Filters know whole multihashes: shorter prefixes are looked for in tables.
    let whole = match family {
        Family::Edges => keys::block_part(prefix) == Some(prefix),
        Family::Pins => keys::pin_part(prefix) == Some(prefix),
        _ => false,
    };
    options.set_prefix_same_as_start(whole);
    options.set_total_order_seek(!whole);
    if let Some(end) = prefix_end(prefix) {
        options.set_iterate_upper_bound(end);
    }
    options
}

impl Backend for Rocks {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError> {
        let found =
            self.db.get_pinned_cf(self.family(family)?, key).map_err(|error| self.failed(error))?;
        Ok(found.map(|slice| Bytes::copy_from_slice(&slice)))
    }

    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError> {
        let options = reading(family, prefix);
        let start = IteratorMode::From(after.unwrap_or(prefix), Direction::Forward);
        let rows = self.db.iterator_cf_opt(self.family(family)?, options, start);
        let mut page = Vec::new();
        for row in rows {
            let (key, value) = row.map_err(|error| self.failed(error))?;
            if page.len() == limit || !key.starts_with(prefix) {
                break;
            }
            if after != Some(&key) {
                page.push((key.into(), value.into()));
            }
        }
        Ok(page)
    }

    fn each(
        &self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
        look: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), BackendError> {
        let options = reading(family, prefix);
        let mut rows = self.db.raw_iterator_cf_opt(self.family(family)?, options);
        rows.seek(from);
        while let Some((key, value)) = rows.item() {
            if !key.starts_with(prefix) || !look(key, value) {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(|error| self.failed(error))
    }

    fn write(&self, batch: Batch) -> Result<(), BackendError> {
        let mut rows = WriteBatch::with_capacity_bytes(batch.bytes() + 32 * batch.ops.len());
        for op in &batch.ops {
            let family = self.family(op.family)?;
            match &op.value {
                Some(value) if op.family == Family::Segments => {
                    rows.merge_cf(family, &op.key, value);
                }
                Some(value) => rows.put_cf(family, &op.key, value),
                None => rows.delete_cf(family, &op.key),
            }
        }
        drop(batch); // RocksDB's copy is made: hold one, not two, while it writes.
        self.db.write_opt(rows, &WriteOptions::default()).map_err(|error| self.failed(error))
    }

    fn sync(&self) -> Result<(), BackendError> {
        self.log.pass(|| self.sync_log())
    }

    fn flush(&self) -> Result<(), BackendError> {
        let mut wait = FlushOptions::default();
        wait.set_wait(true);
        self.db.flush_cfs_opt(&self.families()?, &wait).map_err(|error| self.failed(error))
    }

    fn compact(&self) -> Result<(), BackendError> {
        self.flush()?;
        let mut all = CompactOptions::default();
        all.set_exclusive_manual_compaction(false);
        // Only what lies above the last level is written again.
        all.set_bottommost_level_compaction(BottommostLevelCompaction::IfHaveCompactionFilter);
        for family in self.families()? {
            self.db.compact_range_cf_opt(family, None::<&[u8]>, None::<&[u8]>, &all);
        }
        Ok(())
    }

    fn taken(&self) -> Result<Taken, BackendError> {
        let failed =
            |e: std::io::Error| BackendError::Failed(format!("{}: {e}", self.dir.display()));
        let mut taken = Taken::default();
        for entry in std::fs::read_dir(&self.dir).map_err(failed)? {
            // Files come and go at any time: one that is gone takes nothing.
            let entry = entry.map_err(failed)?;
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
            {
                let name = entry.file_name();
                let kind = Path::new(&name).extension().and_then(OsStr::to_str);
                // A log is longer on the disk than what stands in it.
                taken.logged += if kind == Some("log") { meta.len() } else { 0 };
                let table = kind == Some("sst");
                let bytes = if table { &mut taken.tables } else { &mut taken.log };
                *bytes += meta.len().max(meta.blocks() * 512);
            }
        }
        Ok(taken)
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
        let later = [Family::Records, Family::Tenants];
        let old = Family::ALL.iter().filter(|family| !later.contains(family));
        let options = database_options(LOG_MAX_BYTES);
        drop(DB::open_cf(&options, dir.path(), old.map(|f| f.name())).unwrap());
        let rocks = Rocks::open(dir.path(), LOG_MAX_BYTES).unwrap();
        let mut batch = Batch::default();
        batch.put(Family::Records, Bytes::from_static(b"k"), Bytes::from_static(b"v"));
        rocks.write(batch).unwrap();
        drop(rocks);
        let again = Rocks::open(dir.path(), LOG_MAX_BYTES).unwrap();
        assert_eq!(again.get(Family::Records, b"k").unwrap().unwrap(), "v");
    }

    #[test]
    fn the_whole_backend_suite() {
        let dir = tempfile::tempdir().unwrap();
        super::super::testsuite::run(|name| {
            Rocks::open(&dir.path().join(name), LOG_MAX_BYTES).unwrap()
        });
    }
}
