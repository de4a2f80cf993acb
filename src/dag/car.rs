//! Blocks of CARs into the store. Synchronous, like every import.
//!
//! Owns that nothing enters unverified. What becomes of the roots is the caller's affair.

use std::collections::HashSet;
use std::io::{self, Read};

use bytes::Bytes;

use crate::ipld::block::{BLOCK_MAX_BYTES, Block, TOO_BIG};
use crate::ipld::car::{CarError, CarReader, ROOTS_MAX, Section};
use crate::ipld::cid::{self, Cid};
use crate::store::{StoreError, Writer};

/// Bytes of sections that are hashed together: sixteen leaves of Kubo's size.
const TOGETHER_BYTES: usize = 4 << 20;
/// Sections that are: their blocks may be next to nothing.
const TOGETHER: usize = 128;

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
    /// are refused unless `big`. Those of a file of this machine (`local`) are hashed many at a time;
    /// whoever sends one that is wrong, and nothing more, hears of it at once. Memory: 4 MiB of
    /// sections and one more, the roots, and what the writer holds.
    ///
    /// # Errors
    /// The first thing that is wrong, with its offset; the import is then to be dropped.
    pub fn read(
        &mut self,
        name: &str,
        input: impl Read,
        local: bool,
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
        let mut gathered = Gathered::default();
        loop {
            let next = reader.next_section().map_err(broken);
            let goes_on = match next {
                Ok(Some(section)) => {
                    gathered.push(section);
                    if local && !gathered.is_enough() {
                        continue;
                    }
                    Ok(true)
                }
                Ok(None) => Ok(false),
                Err(error) => Err(error),
            };
            // What came before the error: something may be wrong there, too.
            self.keep(name, std::mem::take(&mut gathered), big, writer)?;
            if !goes_on? {
                return Ok(());
            }
        }
    }

    /// Puts the blocks of sections, if each is one that may be stored.
    fn keep(
        &mut self,
        name: &str,
        gathered: Gathered,
        big: bool,
        writer: &mut Writer<'_>,
    ) -> Result<(), CarImportError> {
        let bad = |at, cause| CarImportError::Block { name: name.to_owned(), at, cause };
        let (places, blocks): (Vec<u64>, Vec<(Cid, Bytes)>) = gathered.sections.into_iter().unzip();
        let refused = blocks.iter().map(|block| refusal(block, big)).collect::<Vec<_>>();
        let blocks = Block::verified_many(blocks);
        for ((at, refused), block) in places.into_iter().zip(refused).zip(blocks) {
            let block = refused.map_or(block.map_err(|e| e.to_string()), Err);
            let block = block.map_err(|cause| bad(at, cause))?;
            self.blocks += 1;
            self.bytes += block.data().len() as u64;
            writer.put(&block)?;
        }
        Ok(())
    }
}

/// Sections that are hashed together, with where each begins.
#[derive(Default)]
struct Gathered {
    sections: Vec<(u64, (Cid, Bytes))>,
    bytes: usize,
}

impl Gathered {
    fn push(&mut self, Section { at, cid, data }: Section) {
        self.bytes += data.len();
        self.sections.push((at, (cid, data)));
    }

    fn is_enough(&self) -> bool {
        self.bytes >= TOGETHER_BYTES || self.sections.len() >= TOGETHER
    }
}

/// Why a section's block may not be stored, whatever its hash is.
fn refusal((cid, data): &(Cid, Bytes), big: bool) -> Option<String> {
    if data.len() > BLOCK_MAX_BYTES && !big {
        return Some(format!("block {cid}: {TOO_BIG}"));
    }
    // A digest cut down to nothing would match anything: lengths are checked before hashes.
    cid::check(cid).map_err(|e| e.to_string()).err()
}

#[cfg(test)]
mod tests {
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
        import.read("x.car", bytes, true, big, &mut writer)?;
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
    fn what_is_wrong_first_is_told_though_more_is_read_before_it_is_hashed() {
        let cid = |text: &[u8]| Prefix::v1(codec::RAW).cid(text).unwrap();
        let blocks = [(cid(b"truth"), "truth".into()), (cid(b"lie"), "no".into())];
        let mut bytes = car_of(&blocks);
        bytes.extend_from_slice(b"\xff\xff\xff\xff");
        let text = import(&bytes, false).unwrap_err().to_string();
        assert!(text.contains(&cid(b"lie").to_string()), "{text}");
        let tail = [&car_of(&blocks[..1])[..], b"\xff\xff\xff\xff"].concat();
        let text = import(&tail, false).unwrap_err().to_string();
        assert!(!text.contains("does not match"), "{text}");
    }

    /// A client that has sent all it will, and keeps the connection.
    struct Silent;

    impl Read for Silent {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("waited for more before it told what is wrong");
        }
    }

    #[test]
    fn a_client_that_sends_a_wrong_block_and_nothing_more_hears_of_it() {
        let cid = Prefix::v1(codec::RAW).cid(b"truth").unwrap();
        let bytes = car_of(&[(cid, "lie".into())]);
        let core = Store::in_memory().unwrap().core();
        let (mut import, mut writer) = (CarImport::default(), core.writer());
        let sent = bytes.as_slice().chain(Silent);
        let told = import.read("x.car", sent, false, false, &mut writer);
        assert!(told.unwrap_err().to_string().contains("does not match its hash"));
    }

    #[test]
    fn sections_beyond_those_that_are_hashed_together_are_read_and_judged() {
        let one = |n: usize| {
            let data = Bytes::from(n.to_le_bytes().repeat(20 + n % 3));
            (Prefix::v1(codec::RAW).cid(&data).unwrap(), data)
        };
        let mut blocks: Vec<(Cid, Bytes)> = (0..3 * TOGETHER).map(one).collect();
        let whole = import(&car_of(&blocks), false).unwrap();
        assert_eq!(whole.blocks, blocks.len() as u64);
        assert_eq!(whole.bytes, blocks.iter().map(|(_, data)| data.len() as u64).sum::<u64>());
        let (at, liar) = (car_of(&blocks[..2 * TOGETHER + 7]).len(), 2 * TOGETHER + 7);
        blocks[liar].1 = "a lie".into();
        let text = import(&car_of(&blocks), false).unwrap_err().to_string();
        assert!(text.contains(&format!("byte {at}: block {}", blocks[liar].0)), "{text}");
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
