//! `dag import` and `dag export`: DAGs as CARs.

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::pin::not_found;
use super::{Error, Node, RESULTS, Results};
use crate::dag::car::{CarImport, CarImportError};
use crate::dag::export::Pieces;
use crate::dag::import::{Entry, Source};
pub use crate::dag::part::{Extent, Scope, Span};
use crate::ipld::cid::Cid;
use crate::ipld::path::Path;
use crate::store::pins::{Mode, Pin};
use crate::store::{Core, StoreError};
use crate::task;

/// Options of `dag import`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct DagImportOptions {
    /// Pin the roots that the CARs name, recursively; true unless told otherwise.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin_roots: Option<bool>,
    /// Take CARs that lack blocks: nothing is pinned.
    #[arg(long)]
    pub local_only: bool,
    /// Print how many blocks and bytes were read.
    #[arg(long)]
    pub stats: bool,
    /// Take blocks above 2 MiB, which peers will refuse.
    #[arg(long)]
    pub allow_big_block: bool,
}

/// Options of `dag export`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct DagExportOptions {
    /// Leave out blocks that are not here, and what lies below them, instead of failing; nobody is
    /// asked for them.
    #[arg(long)]
    pub local_only: bool,
}

/// Something made known by an import. All blocks are durable by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DagImportEvent {
    /// A root is pinned, or why it is not.
    Root {
        /// The root.
        cid: Cid,
        /// Why it is not pinned.
        error: Option<String>,
    },
    /// What all CARs held.
    Stats {
        /// Blocks, those included that were here before.
        blocks: u64,
        /// Their sizes together, in bytes.
        bytes: u64,
    },
}

impl DagImportOptions {
    /// Whether roots are to be pinned.
    fn pins(&self) -> Result<bool, Error> {
        match (self.local_only, self.pin_roots) {
            (true, Some(true)) => Err(Error::Invalid(
                "--local-only implies --pin-roots=false and cannot be combined with \
                 --pin-roots=true; please drop one of them"
                    .into(),
            )),
            (true, _) => Ok(false),
            (false, pins) => Ok(pins.unwrap_or(true)),
        }
    }
}

impl Node {
    /// Imports every block of the CARs in `source`, and pins their roots when all of them are read
    /// and durable: a DAG may stand in several CARs. A broken CAR ends the import with nothing
    /// pinned. A root that cannot be pinned is an event, and takes no other one with it, as in Kubo.
    ///
    /// # Errors
    /// Options that cannot be meant, at once; whatever else comes as the stream's last item.
    pub async fn dag_import(
        &self,
        source: Source,
        options: DagImportOptions,
    ) -> Result<Results<DagImportEvent>, Error> {
        let pins = options.pins()?;
        let (out, events) = mpsc::channel(RESULTS);
        let core = self.store.core();
        task::detach_blocking(move || {
            let outcome = import(&core, source, &options, pins, &out);
            if let Err(error) = outcome {
                // A caller that is gone wants no error either.
                let _ = out.blocking_send(Err(error));
            }
        });
        Ok(events)
    }

    /// Streams the DAG a path leads to as a CARv1.
    ///
    /// # Errors
    /// The path's and the root's, at once; a block that is not here as the stream's last item.
    pub async fn dag_export(
        &self,
        path: &Path,
        options: &DagExportOptions,
    ) -> Result<Pieces, Error> {
        let dag = if options.local_only { self.local() } else { self.dag.clone() };
        let root = dag.resolve_block(path).await?;
        Ok(dag.export(root, options.local_only).await?)
    }

    /// Streams a part of a DAG as a CARv1: the blocks along a path, and of what lies at its end as
    /// much as is asked for.
    ///
    /// # Errors
    /// The path's, at once; a block that is not here as the stream's last item.
    pub async fn part(&self, path: &Path, extent: Extent) -> Result<Pieces, Error> {
        Ok(self.dag.part(path, extent).await?)
    }
}

/// The whole operation: every block, durable; then the pins.
fn import(
    core: &Core,
    source: Source,
    options: &DagImportOptions,
    pins: bool,
    out: &mpsc::Sender<Result<DagImportEvent, Error>>,
) -> Result<(), Error> {
    let (mut import, mut writer) = (CarImport::default(), core.writer());
    if pins {
        writer = writer.to_be_pinned();
    }
    for entry in source {
        let Entry { path, content, .. } = entry.map_err(CarImportError::Source)?;
        let names: Vec<_> = path.iter().map(|name| String::from_utf8_lossy(name)).collect();
        let local = content.is_local();
        let Some(reader) = content.into_reader() else {
            return Err(Error::Invalid(format!("{:?} is not a file", names.join("/"))));
        };
        import.read(&names.join("/"), reader, local, options.allow_big_block, &mut writer)?;
    }
    // Not with the pins: a root whose DAG is not whole must not keep the blocks of others out.
    let intent = writer.intent();
    writer.commit(&[])?;
    let outcomes = if pins { pin_roots(core, &import.roots)? } else { Vec::new() };
    drop(intent);
    let roots = outcomes.into_iter().map(|(cid, error)| DagImportEvent::Root { cid, error });
    let CarImport { blocks, bytes, .. } = import;
    let stats = options.stats.then_some(DagImportEvent::Stats { blocks, bytes });
    for event in roots.chain(stats) {
        if out.blocking_send(Ok(event)).is_err() {
            return Ok(()); // Nobody listens: what is pinned is pinned.
        }
    }
    Ok(())
}

/// Pins all roots at once if that can be, else each that can be.
fn pin_roots(core: &Core, roots: &[Cid]) -> Result<Vec<(Cid, Option<String>)>, Error> {
    let pin = |root: &Cid| Pin::new(*root, Mode::Recursive, "");
    let pins = roots.iter().map(pin).collect::<Result<Vec<_>, _>>()?;
    if own_fault(core.pin_all(&pins))?.is_none() {
        return Ok(roots.iter().map(|root| (*root, None)).collect());
    }
    pins.iter().map(|pin| Ok((pin.cid, own_fault(core.pin(pin))?))).collect()
}

/// Why a root cannot be pinned, if that lies in its DAG. The database's own trouble is an error.
fn own_fault(outcome: Result<(), StoreError>) -> Result<Option<String>, Error> {
    match outcome {
        Ok(()) => Ok(None),
        Err(error @ (StoreError::Backend(_) | StoreError::Layout { .. })) => Err(error.into()),
        Err(error) => Ok(Some(not_found(error).to_string())),
    }
}
