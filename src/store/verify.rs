//! Hashing every block again: what the checksums of the database cannot promise.

use super::{Core, IndexRow, StoreError, keys};
use crate::ipld::block::Block;
use crate::ipld::cid::{self, Multihash};

impl Core {
    /// Reads every block, in the order of the index, and compares it with its hash and its row;
    /// `visit` gets what is wrong with it, if anything, and ends the walk with `false`. A block
    /// that is deleted meanwhile is passed over.
    ///
    /// # Errors
    /// The database's, where it cannot be told which block is meant.
    pub fn verify_each(
        &self,
        visit: &mut dyn FnMut(&Multihash, Option<String>) -> bool,
    ) -> Result<(), StoreError> {
        let mut failed = Ok(());
        self.each_block(&mut |hash, row| match self.verify_block(hash, row) {
            Ok(None) => true,
            Ok(Some(wrong)) => visit(hash, wrong),
            Err(error) => {
                failed = Err(error);
                false
            }
        })?;
        failed
    }

    /// What is wrong with a block, if anything; `None` for one that is gone.
    fn verify_block(
        &self,
        hash: &Multihash,
        row: IndexRow,
    ) -> Result<Option<Option<String>>, StoreError> {
        let cid = cid::of_hash(hash);
        let data = match self.find(&cid) {
            Ok(Some(block)) => block.into_parts().1,
            Ok(None) => return Ok(None),
            // Between row and bytes it may have been deleted: then it has no row any more.
            Err(StoreError::Corrupt { cause, .. }) => {
                return Ok(self.index_row(&keys::block(hash))?.map(|_| Some(cause)));
            }
            Err(error) => return Err(error),
        };
        if data.len() as u64 != u64::from(row.size) {
            let cause = format!("it has {} bytes, its row says {}", data.len(), row.size);
            return Ok(Some(Some(cause)));
        }
        if let Err(error) = Block::verified(cid, data) {
            // The checksum is right and the bytes are not: it was damaged before it came here.
            let _ = self.to_quarantine(&cid);
            return Ok(Some(Some(error.to_string())));
        }
        Ok(Some(None))
    }
}
