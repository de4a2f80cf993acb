//! What the store asks of a database: ordered rows in a few families, and batches that are atomic
//! and keep their order.
//!
//! Deliberately synchronous: RocksDB is, and a lie about it would cost a thread hop a row.

use bytes::Bytes;

/// A key space with its own layout and tuning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Multihash -> [`super::keys::IndexRow`]. No row, no block.
    Index,
    /// Blocks that may be garbage: whatever nothing holds is among them.
    Loose,
    /// Child | parent, for parents all of whose DAG is accounted for.
    Edges,
    /// Pins by CID and by name.
    Pins,
    /// Pins by CID once more: they alone could not be made again.
    PinsAgain,
    /// What the network told and what it was told: provider records, values, peers, announcements.
    Records,
    /// Who pins here for others: tenants, tokens, and what tenants asked to be pinned.
    Tenants,
    /// Segment -> [`super::keys::Figure`]. What is put is added to what is there.
    Segments,
    /// The layout's number, and whatever else is said once.
    Meta,
}

impl Family {
    /// Every family, in the order in which they are opened.
    pub const ALL: [Self; 9] = [
        Self::Index,
        Self::Loose,
        Self::Edges,
        Self::Pins,
        Self::PinsAgain,
        Self::Records,
        Self::Tenants,
        Self::Segments,
        Self::Meta,
    ];

    /// The family's name on disk.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Loose => "loose",
            Self::Edges => "edges",
            Self::Pins => "pins",
            Self::PinsAgain => "pins-again",
            Self::Records => "records",
            Self::Tenants => "tenants",
            Self::Segments => "segments",
            Self::Meta => "meta",
        }
    }
}

/// Rows to write or delete together.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) ops: Vec<Op>,
    bytes: usize,
}

/// One change of a batch: a value to put, or `None` to delete.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub family: Family,
    pub key: Bytes,
    pub value: Option<Bytes>,
}

impl Batch {
    /// Puts a row.
    pub fn put(&mut self, family: Family, key: Bytes, value: Bytes) {
        self.bytes += key.len() + value.len();
        self.ops.push(Op { family, key, value: Some(value) });
    }

    /// Deletes a row, if it is there.
    pub fn delete(&mut self, family: Family, key: Bytes) {
        self.bytes += key.len();
        self.ops.push(Op { family, key, value: None });
    }

    /// Adds the changes of another batch after these.
    pub fn append(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.ops.extend(other.ops);
    }

    /// Bytes of keys and values.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
}

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// What rows take on the disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Tables, which are written again when they are compacted.
    pub tables: u64,
    /// The log, and what is small beside it.
    pub log: u64,
    /// Bytes of rows in the log: what tables may grow by.
    pub logged: u64,
}

/// Why the database could not do as told.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BackendError {
    /// The disk is full: nothing acknowledged is lost, nothing more is taken.
    #[error("no space left on the device that holds the repository")]
    Full,
    /// A checksum failed or a file is missing or cut.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// Anything else the database said.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// An ordered key-value database.
pub trait Backend: Send + Sync + 'static {
    /// The row's value.
    ///
    /// # Errors
    /// [`BackendError::Damaged`] when its checksum fails.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, BackendError>;

    /// At most `limit` rows whose keys begin with `prefix`, in order, the first one after `after`.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn page(
        &self,
        family: Family,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, BackendError>;

    /// Shows the rows whose keys begin with `prefix`, in order, from the key `from` on, which begins
    /// so, too; ends when `look` says `false`. No row is kept, however long. `look` is quick and does
    /// not call the backend: changes may wait for it.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn each(
        &self,
        family: Family,
        prefix: &[u8],
        from: &[u8],
        look: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), BackendError>;

    /// Applies a batch: all of it or, after a crash, none of it. It survives the death of the process
    /// when this returns, and a power loss from the next [`Self::sync`] on. After a crash no batch is
    /// there without all those before it.
    ///
    /// # Errors
    /// [`BackendError::Full`] and the rest; the batch is then not applied.
    fn write(&self, batch: Batch) -> Result<(), BackendError>;

    /// Puts all batches written before the call on the disk.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn sync(&self) -> Result<(), BackendError>;

    /// Gives the space of the log back.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn flush(&self) -> Result<(), BackendError>;

    /// Gives the space of deleted and replaced rows back, and that of the log.
    ///
    /// # Errors
    /// As [`Self::write`].
    fn compact(&self) -> Result<(), BackendError>;

    /// Bytes taken on the disk, everything counted.
    ///
    /// # Errors
    /// As [`Self::get`].
    fn taken(&self) -> Result<Taken, BackendError>;
}
