//! Blocks of CARs into the store. Synchronous, like every import.
//!
//! Owns that nothing enters unverified. What becomes of the roots is the caller's affair.

use std::collections::HashSet;
use std::io::{self, Read};

use crate::ipld::block::{BLOCK_MAX_BYTES, Block};
use crate::ipld::car::{CarError, CarReader, ROOTS_MAX, Section};
use crate::ipld::cid::{self, Cid};
use crate::store::{StoreError, Writer};

/// Why a CAR was not imported. Nothing of it is pinned then.
#[derive(Debug, thiserror::Error)]
pub enum CarImportError {
    /// The CAR itself.
    #[error("import failed: {}{cause}", prefix(.name))]
    Car {
        /// The file; empty for one without a name.
        name: String,
        /// What is wrong with it, and at which byte.
        cause: CarError,
    },
    /// A block of it.
    #[error("import failed: {}byte {at}: {cause}", prefix(.name))]
    Block {
        /// The file; empty for one without a name.
        name: String,
        /// Where the block's section begins, in bytes.
        at: u64,
        /// What is wrong with it; names the CID.
        cause: String,
    },
    /// More roots than are kept in memory.
    #[error("import failed: more than {ROOTS_MAX} roots")]
    Roots,
    /// The file before its first byte.
    #[error("{0}")]
    Source(#[from] io::Error),
    /// The store's.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file's name before what is wrong with it.
fn prefix(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}: ") }
}

/// What was read from all CARs of one import.
#[derive(Debug, Default)]
pub struct CarImport {
    /// The roots that their headers name, each once, in their order.
    pub roots: Vec<Cid>,
    /// Blocks read, whether they were new or not.
    pub blocks: u64,
    /// Their sizes together, in bytes.
    pub bytes: u64,
    met: HashSet<Cid>,
}

impl CarImport {
    /// Reads a CAR to its end and puts each block that is what its CID says. Blocks above 2 MiB
    /// are refused unless `big`. Memory: one section, the roots, and what the writer holds.
    ///
    /// # Errors
    /// The first thing that is wrong, with its offset; the import is then to be dropped.
    pub fn read(
        &mut self,
        name: &str,
        input: impl Read,
        big: bool,
        writer: &mut Writer<'_>,
    ) -> Result<(), CarImportError> {
        let broken = |cause| CarImportError::Car { name: name.to_owned(), cause };
        let mut reader = CarReader::open(input).map_err(broken)?;
        for root in reader.roots() {
            if self.met.insert(*root) {
                self.roots.push(*root);
            }
        }
        if self.roots.len() as u64 > ROOTS_MAX {
            return Err(CarImportError::Roots);
        }
        while let Some(section) = reader.next_section().map_err(broken)? {
            let at = section.at;
            let bad = |cause| CarImportError::Block { name: name.to_owned(), at, cause };
            let block = verified(section, big).map_err(bad)?;
            self.blocks += 1;
            self.bytes += block.data().len() as u64;
            writer.put(&block)?;
        }
        Ok(())
    }
}

/// The block of a section, if it is one that may be stored.
fn verified(section: Section, big: bool) -> Result<Block, String> {
    let Section { cid, data, .. } = section;
    if data.len() > BLOCK_MAX_BYTES && !big {
        return Err(format!("block {cid}: {}", crate::ipld::block::TOO_BIG));
    }
    // A digest cut down to nothing would match anything: lengths are checked before hashes.
    cid::check(&cid).map_err(|e| e.to_string())?;
    Block::verified(cid, data).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ipld::block::Prefix;
    use crate::ipld::car::{header, section};
    use crate::ipld::cid::{codec, digest, hash};
    use crate::store::Store;

    fn car_of(blocks: &[(Cid, Bytes)]) -> Vec<u8> {
        let mut bytes = header(&[]).to_vec();
        for (cid, data) in blocks {
            section(cid, data.clone()).iter().for_each(|piece| bytes.extend_from_slice(piece));
        }
        bytes
    }

    fn import(bytes: &[u8], big: bool) -> Result<CarImport, CarImportError> {
        let core = Store::in_memory().unwrap().core();
        let (mut import, mut writer) = (CarImport::default(), core.writer());
        import.read("x.car", bytes, big, &mut writer)?;
        writer.commit(&[])?;
        assert!(core.totals().0 <= import.blocks);
        Ok(import)
    }

    #[test]
    fn a_block_that_is_not_what_its_cid_says_is_refused_by_name() {
        let cid = Prefix::v1(codec::RAW).cid(b"truth").unwrap();
        let good = (cid, Bytes::from_static(b"truth"));
        let error = import(&car_of(&[good.clone(), (cid, "lie".into())]), false).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("import failed: x.car: byte 60: block bafkrei"), "{text}");
        assert!(text.contains("does not match its hash"), "{text}");
        assert_eq!(import(&car_of(&[good.clone(), good]), false).unwrap().blocks, 2);
    }

    #[test]
    fn a_digest_cut_to_nothing_matches_nothing() {
        use crate::ipld::cid::Multihash;
        for length in [0, 4, 19] {
            let whole = digest(hash::SHA2_256, b"truth").unwrap();
            let cut = Multihash::wrap(hash::SHA2_256, &whole.digest()[..length]).unwrap();
            let cid = Cid::new_v1(codec::RAW, cut);
            let text = import(&car_of(&[(cid, "truth".into())]), false).unwrap_err().to_string();
            assert!(text.contains("insecure hash"), "{text}");
        }
    }

    #[test]
    fn big_blocks_need_to_be_allowed() {
        let data = Bytes::from(vec![0; BLOCK_MAX_BYTES + 1]);
        let cid = Prefix::v1(codec::RAW).cid(&data).unwrap();
        let bytes = car_of(&[(cid, data)]);
        let text = import(&bytes, false).unwrap_err().to_string();
        assert!(text.contains(&cid.to_string()) && text.contains("over 2MiB"), "{text}");
        assert_eq!(import(&bytes, true).unwrap().bytes, BLOCK_MAX_BYTES as u64 + 1);
    }

    #[test]
    fn identity_blocks_are_checked_and_not_stored() {
        let cid = Cid::new_v1(codec::RAW, digest(hash::IDENTITY, b"me").unwrap());
        assert_eq!(import(&car_of(&[(cid, "me".into())]), false).unwrap().blocks, 1);
        assert!(import(&car_of(&[(cid, "you".into())]), false).is_err());
    }
}
