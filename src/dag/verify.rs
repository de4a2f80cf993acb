//! Whether all of a DAG is here and can be read.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::HashSet;

use super::{Dag, DagError};
use crate::ipld::cid::{Cid, Multihash};

/// Blocks in trouble that are told of one DAG; a walk that has found as many ends.
const BAD_MAX: usize = 1024;

/// A block that is missing or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadBlock {
    /// Which.
    pub cid: Cid,
    /// Why, in a line.
    pub cause: String,
}

/// Blocks under which everything is known to be well. Costs memory for each.
#[derive(Default)]
pub struct Sound {
    known: HashSet<Multihash>,
}

impl Dag {
    /// Looks at every block below `root` and at itself, passing over what is `sound` already;
    /// gives those in trouble. A DAG without any becomes sound. Leaves are looked up, not read.
    ///
    /// # Errors
    /// None for blocks: only when the database itself fails.
    pub async fn verify(&self, root: Cid, sound: &mut Sound) -> Result<Vec<BadBlock>, DagError> {
        let (mut seen, mut bad) = (HashSet::new(), Vec::new());
        let mut waiting = vec![root];
        while let Some(cid) = waiting.pop() {
            if sound.known.contains(cid.hash()) || !seen.insert(*cid.hash()) {
                continue;
            }
            match self.present_links(&cid).await {
                Ok(links) => waiting.extend(links),
                Err(DagError::Store(crate::store::StoreError::Backend(error))) => {
                    return Err(DagError::Store(error.into()));
                }
                Err(error) => bad.push(BadBlock { cid, cause: error.to_string() }),
            }
            if bad.len() == BAD_MAX {
                break;
            }
        }
        if bad.is_empty() {
            sound.known.extend(seen);
        }
        Ok(bad)
    }

    /// The links of a block that is here, the first one last.
    async fn present_links(&self, cid: &Cid) -> Result<Vec<Cid>, DagError> {
        let at = *cid;
        if self.store.run(move |core| core.stat(&at)).await?.is_none() {
            return Err(DagError::NotFound(Box::new(at)));
        }
        let links = self.links(cid).await?;
        Ok(links.into_iter().rev().map(|(link, _)| link).collect())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ipld::block::{Block, Prefix};
    use crate::ipld::cid::codec;
    use crate::ipld::codec::{Value, encode};
    use crate::store::Store;

    #[tokio::test]
    async fn a_missing_block_is_named_and_spoils_only_what_is_above_it() {
        let store = Store::in_memory().unwrap();
        let core = store.core();
        let put = |codec: u64, data: Vec<u8>| {
            let block = Block::hashed(Prefix::v1(codec), data.into()).unwrap();
            let mut writer = core.writer();
            writer.put(&block).unwrap();
            writer.commit(&[]).unwrap();
            *block.cid()
        };
        let over = |cid: Cid| encode(codec::DAG_CBOR, &Value::Link(Box::new(cid))).unwrap();
        let absent = *Block::hashed(Prefix::v1(codec::RAW), Bytes::from("absent")).unwrap().cid();
        let whole = put(codec::DAG_CBOR, over(put(codec::RAW, b"here".to_vec())));
        let broken = put(codec::DAG_CBOR, over(put(codec::DAG_CBOR, over(absent))));
        let (dag, mut sound) = (Dag::new(store.clone()), Sound::default());
        assert_eq!(dag.verify(whole, &mut sound).await.unwrap(), []);
        assert_eq!(sound.known.len(), 2);
        for _ in 0..2 {
            let bad = dag.verify(broken, &mut sound).await.unwrap();
            assert_eq!(bad.iter().map(|b| b.cid).collect::<Vec<_>>(), [absent]);
            assert!(bad[0].cause.contains("could not find"), "{}", bad[0].cause);
        }
        assert_eq!(sound.known.len(), 2);
    }
}
