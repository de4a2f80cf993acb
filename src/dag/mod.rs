//! DAGs: blocks that link to blocks. Finding, resolving, reading, walking, importing and
//! exporting them.
//!
//! Everything that wants a block asks [`Dag::block`]; where it comes from is decided there and
//! nowhere else.

pub mod car;
pub mod export;
pub mod fetch;
pub mod import;
pub mod order;
pub mod part;
pub mod read;
pub mod resolve;
pub mod tree;
pub mod verify;
pub mod walk;
pub mod weigh;

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::exchange::{ExchangeError, Session};
use crate::ipld::block::Block;
use crate::ipld::cid::{Cid, codec};
use crate::ipld::codec as codecs;
use crate::ipld::codec::dag_pb;
use crate::store::{Store, StoreError};
use crate::unixfs::UnixfsError;
use crate::unixfs::node::FsNode;

/// Why a DAG could not be found, walked or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DagError {
    /// The block is not here, and nobody can be asked.
    #[error("block was not found locally (offline): ipld: could not find {0}")]
    NotFound(Box<Cid>),
    /// The store's trouble.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Others were asked, and nobody sent it in time.
    #[error("nobody sent block {cid} within {patience:?}: {tried}")]
    Unfetched {
        /// The block.
        cid: Box<Cid>,
        /// How long it was waited for.
        patience: Duration,
        /// What was tried.
        tried: String,
    },
    /// Others cannot be asked.
    #[error(transparent)]
    Exchange(#[from] ExchangeError),
    /// A block is not what its codec or UnixFS asks for.
    #[error("block {cid}: {cause}")]
    Malformed {
        /// The block.
        cid: Box<Cid>,
        /// The reason.
        cause: String,
    },
    /// A path names an entry that is not there.
    #[error("no link named {name:?} under {cid}")]
    NoLink {
        /// The name.
        name: String,
        /// Where it was looked for.
        cid: Box<Cid>,
    },
    /// Content was asked of a folder.
    #[error("this dag node is a directory")]
    IsDirectory,
    /// Content was asked of something that has none.
    #[error("{0} is not a UnixFS file or folder")]
    NotUnixfs(Box<Cid>),
    /// A walk would need more memory than it may take: says what to ask for instead.
    #[error("{0}")]
    TooLarge(&'static str),
    /// The path begins with a mutable name.
    #[error("cannot resolve {0:?}: names are not supported yet")]
    Name(String),
}

/// Where blocks come from.
#[derive(Clone)]
pub struct Dag {
    store: Store,
    /// Whom to ask for what is not in the store; `None` for nobody.
    session: Option<Arc<dyn Session>>,
    patience: Patience,
}

/// How long blocks are waited for that others may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patience {
    /// As long as the caller waits.
    #[default]
    Endless,
    /// Each block so long.
    Each(Duration),
    /// All of them so long, from the instant on.
    All(Duration, Instant),
}

impl Patience {
    /// All blocks together within a time that begins now.
    pub fn from_now(time: Duration) -> Self {
        Self::All(time, Instant::now())
    }

    /// What is left for one block, and the whole of it.
    fn left(self) -> Option<(Duration, Duration)> {
        match self {
            Self::Endless => None,
            Self::Each(time) => Some((time, time)),
            Self::All(time, since) => Some((time.saturating_sub(since.elapsed()), time)),
        }
    }
}

/// A block read as UnixFS.
#[derive(Clone, Debug)]
pub enum Unixfs {
    /// A raw block: a file, or part of one.
    Raw(Bytes),
    /// A dag-pb node with a UnixFS payload.
    Node(dag_pb::Node, FsNode),
}

impl Dag {
    /// A DAG service over a store: what is not there is nowhere.
    pub fn new(store: Store) -> Self {
        Self { store, session: None, patience: Patience::Endless }
    }

    /// The same, asking others for what is not in the store, and waiting no longer than `patience`.
    /// One session a DAG: its blocks are likely to be with the same peers.
    pub fn asking(&self, session: Box<dyn Session>, patience: Patience) -> Self {
        Self { store: self.store.clone(), session: Some(session.into()), patience }
    }

    /// A look at what is being tried, which does not keep it going.
    pub fn watch(&self) -> Option<Weak<dyn Session>> {
        self.session.as_ref().map(Arc::downgrade)
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The block of a CID: from the store, else from whoever has it. Fetched ones are in the store
    /// when this returns.
    ///
    /// # Errors
    /// [`DagError::NotFound`] with nobody to ask; the store's; the exchange's.
    pub async fn block(&self, cid: &Cid) -> Result<Block, DagError> {
        match (self.store.get(cid).await, &self.session) {
            (Ok(Some(block)), _) => Ok(block),
            // What the disk has lost others may have: it is written anew when it comes.
            (Ok(None) | Err(StoreError::Corrupt { .. }), Some(session)) => {
                self.ask(&**session, *cid).await
            }
            (Ok(None), None) => Err(DagError::NotFound(Box::new(*cid))),
            (Err(error), _) => Err(error.into()),
        }
    }

    async fn ask(&self, session: &dyn Session, cid: Cid) -> Result<Block, DagError> {
        let mut fetch = session.fetch(cid);
        let Some((left, patience)) = self.patience.left() else { return Ok(fetch.await?) };
        match tokio::time::timeout(left, &mut fetch).await {
            Ok(fetched) => Ok(fetched?),
            Err(_) => {
                // Before it is dropped, and the want with it.
                let tried = session.progress().await.to_string();
                Err(DagError::Unfetched { cid: Box::new(cid), patience, tried })
            }
        }
    }

    /// Size of a block in bytes: from the index, or with the block itself.
    pub(crate) async fn block_size(&self, cid: &Cid) -> Result<u64, DagError> {
        let at = *cid;
        match self.store.run(move |core| core.stat(&at)).await? {
            Some(row) => Ok(row.size.into()),
            None => Ok(self.block(cid).await?.data().len() as u64),
        }
    }

    /// The block of a CID, read as UnixFS.
    ///
    /// # Errors
    /// [`DagError::NotUnixfs`] for other codecs; [`DagError::Malformed`] names the block.
    pub async fn unixfs(&self, cid: &Cid) -> Result<Unixfs, DagError> {
        as_unixfs(&self.block(cid).await?)
    }

    /// The links of a block and their names, in order.
    ///
    /// # Errors
    /// As [`Self::block`], and [`DagError::Malformed`].
    pub async fn links(&self, cid: &Cid) -> Result<Vec<(Cid, Bytes)>, DagError> {
        let at = *cid;
        if cid.codec() == codec::RAW || self.store.run(move |core| core.is_leaf(&at)).await? {
            return Ok(Vec::new());
        }
        links_of(&self.block(cid).await?)
    }
}

/// The links of a block and their names, in order.
pub(crate) fn links_of(block: &Block) -> Result<Vec<(Cid, Bytes)>, DagError> {
    let cid = block.cid();
    if cid.codec() == codec::DAG_PB {
        let node = dag_pb::Node::decode(block.data()).map_err(|e| malformed(cid, &e))?;
        let named = node.links.into_iter().map(|l| (l.cid, l.name.unwrap_or_default()));
        return Ok(named.collect());
    }
    let mut found = Vec::new();
    let mut visit = |link| found.push((link, Bytes::new()));
    codecs::links(cid.codec(), block.data(), &mut visit).map_err(|e| malformed(cid, &e))?;
    Ok(found)
}

/// Reads a block as UnixFS.
pub(crate) fn as_unixfs(block: &Block) -> Result<Unixfs, DagError> {
    let cid = block.cid();
    match cid.codec() {
        codec::RAW => Ok(Unixfs::Raw(block.data().clone())),
        codec::DAG_PB => {
            let node = dag_pb::Node::decode(block.data()).map_err(|e| malformed(cid, &e))?;
            match FsNode::of(&node) {
                Ok(fs) => Ok(Unixfs::Node(node, fs)),
                Err(UnixfsError::NotUnixfs(_)) => Err(DagError::NotUnixfs(Box::new(*cid))),
                Err(error) => Err(malformed(cid, &error)),
            }
        }
        _ => Err(DagError::NotUnixfs(Box::new(*cid))),
    }
}

fn malformed(cid: &Cid, cause: &dyn std::fmt::Display) -> DagError {
    DagError::Malformed { cid: Box::new(*cid), cause: cause.to_string() }
}
