//! What the node reads from the configuration when it starts: named settings with Kubo's defaults
//! and ranges.
//!
//! Owns defaults and ranges. Does not own what a value does; `Import` goes to whoever adds files,
//! as it is.

use std::time::Duration;

use super::file::{Config, FileError};

/// Percent of `Datastore.StorageMax` at which garbage collection begins, when unset.
pub const DEFAULT_GC_WATERMARK_PERCENT: u64 = 90;
/// Slow enough for a disk that others use, fast enough for 2 TB a week.
pub const DEFAULT_SCRUB_RATE_BYTES: u64 = 4 << 20;
/// Time from the end of a round of scrubbing to the next, when unset.
pub const DEFAULT_SCRUB_PERIOD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Time between two looks at that watermark, when unset.
pub const DEFAULT_GC_PERIOD: Duration = Duration::from_secs(3600);
/// Share of the free space that a store without a limit of its own may take.
pub const DEFAULT_STORAGE_PERCENT: u64 = 80;

/// The limit on the store's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageMax {
    /// `Datastore.StorageMax`, in bytes. Hard, also when it is `10GB`: the `10GB` that Kubo writes
    /// into every fresh config counts as "not chosen" only while `init` takes such a config over,
    /// and is replaced there. Later an operator who types `10GB` means it.
    Limit(u64),
    /// Not set: a share of what is free.
    ShareOfFree,
}

impl StorageMax {
    /// The limit in bytes, given the bytes free on the store's filesystem (plus those the store
    /// already takes).
    pub fn bytes(self, free_bytes: u64) -> u64 {
        match self {
            StorageMax::Limit(bytes) => bytes,
            // Divide first: a quotient of 64 bits cannot overflow when multiplied by 80.
            StorageMax::ShareOfFree => (free_bytes / 100).saturating_mul(DEFAULT_STORAGE_PERCENT),
        }
    }
}

/// `Import.UnixFSHAMTDirectorySizeEstimation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HamtEstimation {
    /// The lengths of names and CIDs. Kubo's default.
    Links,
    /// The size of the encoded block.
    Block,
    /// Never shard.
    Disabled,
}

/// `Import.UnixFSDAGLayout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DagLayout {
    /// Every leaf at the same depth.
    Balanced,
    /// Leaves near the front are near the root: for streams.
    Trickle,
}

/// The `Import` section. None is unset: a command's own option, then the importer's default,
/// decides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// 0 or 1.
    pub cid_version: Option<u8>,
    /// Whether file content stands in raw blocks.
    pub raw_leaves: Option<bool>,
    /// `size-<bytes>`, `rabin-<min>-<avg>-<max>` or `buzhash`; not checked here.
    pub chunker: Option<String>,
    /// A multihash name; not checked here.
    pub hash_function: Option<String>,
    /// At least 1.
    pub file_max_links: Option<u64>,
    /// 0 means no limit on links, only on size.
    pub directory_max_links: Option<u64>,
    /// A power of two from 8 to 1024.
    pub hamt_fanout: Option<u16>,
    /// Folders larger than this are sharded, in bytes.
    pub hamt_threshold_bytes: Option<u64>,
    /// How a folder's size is estimated for that.
    pub hamt_estimation: Option<HamtEstimation>,
    /// How leaves are joined.
    pub dag_layout: Option<DagLayout>,
    /// At least 1.
    pub batch_max_nodes: Option<u64>,
    /// At least 1.
    pub batch_max_bytes: Option<u64>,
    /// Whether a new root is provided at once.
    pub fast_provide_root: Option<bool>,
    /// Whether all below it is provided at once, too.
    pub fast_provide_dag: Option<bool>,
    /// Whether `add` waits for that.
    pub fast_provide_wait: Option<bool>,
}

impl Config {
    /// `Identity.PeerID` as written. `Identity::from_config` says whether it is the key's.
    pub fn peer_id(&self) -> Option<&str> {
        self.text("Identity.PeerID")
    }

    /// `Datastore.StorageMax`. Fails when it is no size.
    pub fn storage_max(&self) -> Result<StorageMax, FileError> {
        let bytes = self.size_bytes("Datastore.StorageMax")?;
        Ok(bytes.map_or(StorageMax::ShareOfFree, StorageMax::Limit))
    }

    /// `Datastore.StorageGCWatermark`: a percentage, 0 to 100. Fails outside.
    pub fn gc_watermark_percent(&self) -> Result<u64, FileError> {
        let key = "Datastore.StorageGCWatermark";
        match self.int(key) {
            None => Ok(DEFAULT_GC_WATERMARK_PERCENT),
            Some(percent @ 0..=100) => Ok(percent.unsigned_abs()),
            Some(other) => Err(out_of_range(key, "a percentage from 0 to 100", other)),
        }
    }

    /// `Datastore.GCPeriod`. Fails when it is no duration.
    pub fn gc_period(&self) -> Result<Duration, FileError> {
        Ok(self.span("Datastore.GCPeriod")?.unwrap_or(DEFAULT_GC_PERIOD))
    }

    /// `Datastore.ScrubRate`: most bytes that scrubbing reads a second; 0 switches it off. Not one of
    /// Kubo's keys. Fails when it is no size.
    pub fn scrub_rate(&self) -> Result<u64, FileError> {
        Ok(self.size_bytes("Datastore.ScrubRate")?.unwrap_or(DEFAULT_SCRUB_RATE_BYTES))
    }

    /// `Datastore.ScrubPeriod`: time from the end of a round to the next. Not one of Kubo's keys.
    /// Fails when it is no duration.
    pub fn scrub_period(&self) -> Result<Duration, FileError> {
        Ok(self.span("Datastore.ScrubPeriod")?.unwrap_or(DEFAULT_SCRUB_PERIOD))
    }

    /// `Datastore.HashOnRead`: hash every block again when it is read.
    pub fn hash_on_read(&self) -> bool {
        self.flag("Datastore.HashOnRead").unwrap_or(false)
    }

    /// `Addresses.API`: multiaddrs; none means no RPC.
    pub fn api_addresses(&self) -> Vec<String> {
        self.list("Addresses.API").unwrap_or_default()
    }

    /// `Addresses.Gateway`: multiaddrs; none means no gateway.
    pub fn gateway_addresses(&self) -> Vec<String> {
        self.list("Addresses.Gateway").unwrap_or_default()
    }

    /// `Addresses.Swarm`: multiaddrs to listen on; none means dial only.
    pub fn swarm_addresses(&self) -> Vec<String> {
        self.list("Addresses.Swarm").unwrap_or_default()
    }

    /// `Bootstrap`: multiaddrs, or the placeholder `auto`.
    pub fn bootstrap(&self) -> Vec<String> {
        self.list("Bootstrap").unwrap_or_default()
    }

    /// The `Import` section. Fails on a number out of range or an unknown choice.
    pub fn import(&self) -> Result<Import, FileError> {
        let text = |key| self.text(key).map(str::to_owned);
        Ok(Import {
            cid_version: self.bounded("Import.CidVersion", "0 or 1", 0, 1)?,
            raw_leaves: self.flag("Import.UnixFSRawLeaves"),
            chunker: text("Import.UnixFSChunker"),
            hash_function: text("Import.HashFunction"),
            file_max_links: self.bounded("Import.UnixFSFileMaxLinks", "positive", 1, i64::MAX)?,
            directory_max_links: self.bounded(
                "Import.UnixFSDirectoryMaxLinks",
                "non-negative",
                0,
                i64::MAX,
            )?,
            hamt_fanout: self.hamt_fanout()?,
            hamt_threshold_bytes: self.size_bytes("Import.UnixFSHAMTDirectorySizeThreshold")?,
            hamt_estimation: self.hamt_estimation()?,
            dag_layout: self.dag_layout()?,
            batch_max_nodes: self.bounded("Import.BatchMaxNodes", "positive", 1, i64::MAX)?,
            batch_max_bytes: self.bounded("Import.BatchMaxSize", "positive", 1, i64::MAX)?,
            fast_provide_root: self.flag("Import.FastProvideRoot"),
            fast_provide_dag: self.flag("Import.FastProvideDAG"),
            fast_provide_wait: self.flag("Import.FastProvideWait"),
        })
    }

    fn hamt_fanout(&self) -> Result<Option<u16>, FileError> {
        let (key, range) =
            ("Import.UnixFSHAMTDirectoryMaxFanout", "a power of 2, between 8 and 1024");
        let fanout: Option<u16> = self.bounded(key, range, 8, 1024)?;
        match fanout {
            Some(fanout) if !fanout.is_power_of_two() => {
                Err(out_of_range(key, range, fanout.into()))
            }
            fanout => Ok(fanout),
        }
    }

    fn hamt_estimation(&self) -> Result<Option<HamtEstimation>, FileError> {
        let key = "Import.UnixFSHAMTDirectorySizeEstimation";
        match self.text(key) {
            None => Ok(None),
            Some("links") => Ok(Some(HamtEstimation::Links)),
            Some("block") => Ok(Some(HamtEstimation::Block)),
            Some("disabled") => Ok(Some(HamtEstimation::Disabled)),
            Some(other) => Err(unknown_choice(key, r#""links", "block", or "disabled""#, other)),
        }
    }

    fn dag_layout(&self) -> Result<Option<DagLayout>, FileError> {
        let key = "Import.UnixFSDAGLayout";
        match self.text(key) {
            None => Ok(None),
            Some("balanced") => Ok(Some(DagLayout::Balanced)),
            Some("trickle") => Ok(Some(DagLayout::Trickle)),
            Some(other) => Err(unknown_choice(key, r#""balanced" or "trickle""#, other)),
        }
    }

    /// A whole number from `least` to `most`; None when unset. `range` says the bounds in words.
    pub(super) fn bounded<T: TryFrom<i64>>(
        &self,
        key: &'static str,
        range: &str,
        least: i64,
        most: i64,
    ) -> Result<Option<T>, FileError> {
        let Some(number) = self.int(key) else { return Ok(None) };
        let fits = (least..=most).contains(&number).then(|| T::try_from(number).ok()).flatten();
        fits.map(Some).ok_or_else(|| out_of_range(key, range, number))
    }
}

fn out_of_range(key: &'static str, range: &str, found: i64) -> FileError {
    FileError::Value { key, reason: format!("must be {range}, got {found}") }
}

fn unknown_choice(key: &'static str, choices: &str, found: &str) -> FileError {
    FileError::Value { key, reason: format!("must be {choices}, got {found:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn config(value: Value) -> Config {
        Config::from_value(value).unwrap()
    }

    #[test]
    fn an_empty_document_gives_kubos_defaults() {
        let config = config(json!({}));
        assert_eq!(config.storage_max().unwrap(), StorageMax::ShareOfFree);
        assert_eq!(config.gc_watermark_percent().unwrap(), 90);
        assert_eq!(config.gc_period().unwrap(), Duration::from_secs(3600));
        assert!(!config.hash_on_read());
        assert_eq!(config.import().unwrap(), Import::default());
        assert!(config.api_addresses().is_empty());
    }

    #[test]
    fn a_storage_limit_is_hard_and_its_absence_a_share() {
        let limit = config(json!({"Datastore": {"StorageMax": "10GB"}})).storage_max().unwrap();
        assert_eq!(limit, StorageMax::Limit(10_000_000_000));
        assert_eq!(limit.bytes(5), 10_000_000_000);
        assert_eq!(StorageMax::ShareOfFree.bytes(1000), 800);
        assert!(StorageMax::ShareOfFree.bytes(u64::MAX) < u64::MAX / 5 * 4 + 100);
        let empty = config(json!({"Datastore": {"StorageMax": ""}}));
        assert_eq!(empty.storage_max().unwrap(), StorageMax::ShareOfFree);
        let error = config(json!({"Datastore": {"StorageMax": "lots"}})).storage_max().unwrap_err();
        assert!(
            error.to_string().starts_with("Datastore.StorageMax: invalid size \"lots\""),
            "{error}"
        );
    }

    #[test]
    fn import_settings_are_read_and_bounded() {
        let import = config(json!({"Import": {
            "CidVersion": 1, "UnixFSRawLeaves": true, "UnixFSChunker": "size-1048576",
            "UnixFSFileMaxLinks": 1024,
            "UnixFSHAMTDirectoryMaxFanout": 256, "UnixFSHAMTDirectorySizeThreshold": "256KiB",
            "UnixFSHAMTDirectorySizeEstimation": "block", "UnixFSDAGLayout": "trickle",
            "HashFunction": null,
        }}));
        let import = import.import().unwrap();
        assert_eq!(import.cid_version, Some(1));
        assert_eq!(import.hamt_fanout, Some(256));
        assert_eq!(import.hamt_threshold_bytes, Some(262_144));
        assert_eq!(import.hamt_estimation, Some(HamtEstimation::Block));
        assert_eq!(import.dag_layout, Some(DagLayout::Trickle));
        assert_eq!(import.hash_function, None);
        for bad in [
            json!({"CidVersion": 2}),
            json!({"CidVersion": -1}),
            json!({"UnixFSFileMaxLinks": 0}),
            json!({"UnixFSHAMTDirectoryMaxFanout": 100}),
            json!({"UnixFSHAMTDirectoryMaxFanout": 2048}),
            json!({"UnixFSHAMTDirectorySizeEstimation": "guess"}),
            json!({"UnixFSDAGLayout": ""}),
        ] {
            assert!(config(json!({ "Import": bad.clone() })).import().is_err(), "{bad}");
        }
    }
}
