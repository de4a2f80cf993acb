//! Export: a DAG as a CARv1, and measuring what one would hold.

use bytes::Bytes;
use tokio::sync::mpsc;

use super::order::Order;
use super::{Dag, DagError};
use crate::ipld::car;
use crate::ipld::cid::{Cid, codec, hash};
use crate::store::StoreError;
use crate::task;

/// Pieces of the CAR waiting for the reader; a block is two of them.
pub(super) const PIECES: usize = 16;

/// Pieces of a CAR as they come.
pub type Pieces = mpsc::Receiver<Result<Bytes, DagError>>;

impl Dag {
    /// Streams the DAG under `root` as a CARv1 with this one root. Blocks come depth first, parents
    /// before children, each multihash once; identity blocks, which every CID brings along, never.
    /// With `partial`, blocks that are not here are left out with whatever lies below them.
    ///
    /// # Errors
    /// The root's, at once; of other blocks as the stream's last item. The CAR is cut short then.
    pub async fn export(&self, root: Cid, partial: bool) -> Result<Pieces, DagError> {
        self.block(&root).await?;
        let (out, pieces) = mpsc::channel(PIECES);
        let dag = self.clone();
        task::detach(async move {
            if let Err(error) = dag.send_car(root, partial, &out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(pieces)
    }

    async fn send_car(
        &self,
        root: Cid,
        partial: bool,
        out: &mpsc::Sender<Result<Bytes, DagError>>,
    ) -> Result<(), DagError> {
        if out.send(Ok(car::header(&[root]))).await.is_err() {
            return Ok(());
        }
        let mut order = Order::new(root);
        while let Some(visit) = order.next() {
            if visit.known && visit.cid.codec() == codec::RAW {
                continue;
            }
            let block = match self.block(&visit.cid).await {
                Err(DagError::NotFound(_) | DagError::Store(StoreError::Corrupt { .. }))
                    if partial =>
                {
                    continue;
                }
                found => found?,
            };
            order.below(super::links_of(&block)?.into_iter().map(|(cid, _)| cid).collect());
            if visit.known || visit.cid.hash().code() == hash::IDENTITY {
                continue;
            }
            let (cid, data) = block.into_parts();
            for piece in car::section(&cid, data) {
                if out.send(Ok(piece)).await.is_err() {
                    return Ok(()); // The reader is gone.
                }
            }
        }
        Ok(())
    }

    /// Visits every block of a DAG once, with its size in bytes, until `visit` says `false`. Sizes
    /// come from the index: blocks without links are not opened.
    ///
    /// # Errors
    /// [`DagError::NotFound`] for a block that is not here, and as [`Dag::links`].
    pub async fn measure(
        &self,
        root: Cid,
        visit: &mut (dyn FnMut(&Cid, u64) -> bool + Send),
    ) -> Result<(), DagError> {
        let mut order = Order::new(root);
        while let Some(next) = order.next() {
            let at = next.cid;
            let size = self.block_size(&at).await?;
            order.below(self.links(&at).await?.into_iter().map(|(cid, _)| cid).collect());
            if !visit(&at, size) {
                return Ok(());
            }
        }
        Ok(())
    }
}
