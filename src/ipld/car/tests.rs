//! The vectors of ipld/ipld and go-car, damaged copies of them, and the writer against the reader.

use std::collections::HashSet;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::*;
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::codec;

fn fixture(name: &str) -> Vec<u8> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/car/");
    std::fs::read(format!("{root}{name}")).unwrap()
}

/// Roots and sections, read to the end; every block verified.
fn read(bytes: &[u8]) -> Result<(Vec<Cid>, Vec<Section>), CarError> {
    let mut reader = CarReader::open(bytes)?;
    let mut sections = Vec::new();
    while let Some(section) = reader.next_section()? {
        sections.push(section);
    }
    Ok((reader.roots().to_vec(), sections))
}

fn cid_of(value: &Value) -> Cid {
    cid::parse(value["/"].as_str().unwrap()).unwrap()
}

#[test]
fn the_described_vectors_read_as_described() {
    for name in ["carv1-basic", "carv2-basic"] {
        let told: Value = serde_json::from_slice(&fixture(&format!("{name}.json"))).unwrap();
        let bytes = fixture(&format!("{name}.car"));
        let (roots, sections) = read(&bytes).unwrap();
        let expected = told["header"]["roots"].as_array().unwrap();
        assert_eq!(roots, expected.iter().map(cid_of).collect::<Vec<_>>(), "{name}");
        let blocks = told["blocks"].as_array().unwrap();
        assert_eq!(sections.len(), blocks.len(), "{name}");
        for (section, block) in sections.iter().zip(blocks) {
            assert_eq!(section.at, block["offset"].as_u64().unwrap(), "{name}");
            assert_eq!(section.cid, cid_of(&block["cid"]), "{name}");
            let from = block["blockOffset"].as_u64().unwrap() as usize;
            let length = block["blockLength"].as_u64().unwrap() as usize;
            assert_eq!(section.data, bytes[from..from + length], "{name}");
        }
    }
}

#[test]
fn the_good_ones_are_read_to_their_end() {
    for (name, count) in [
        ("carv1-basic.car", 8),
        ("carv2-basic.car", 5),
        ("sample-rw-bs-v2.car", 3),
        ("sample-unixfs-v2.car", 3),
        ("sample-v2-indexless.car", 1049),
        ("simple-unixfs.car", 22),
        ("simple-unixfs-missing-blocks.car", 17),
    ] {
        let (_, sections) = read(&fixture(name)).unwrap();
        for Section { cid, data, .. } in &sections {
            Block::verified(*cid, data.clone()).unwrap();
        }
        assert_eq!(sections.len(), count, "{name}");
    }
}

#[test]
fn the_broken_ones_are_refused_with_offset_and_cause() {
    for (name, text) in [
        ("badheaderlength.car", "byte 0: a header of 216830324832 bytes"),
        ("badsectionlength.car", "byte 18: a section of 216830324832 bytes"),
        ("sample-corrupt-pragma.car", "byte 16: the data ends inside the header"),
        ("sample-rootless-v42.car", "byte 0: CAR version 42 is not supported"),
        ("sample-v1-tailing-corrupt-section.car", "byte 479894: the data ends inside a section"),
        ("sample-v1-with-zero-len-section2.car", "byte 20819: a section of zero bytes"),
    ] {
        let error = read(&fixture(name)).unwrap_err();
        assert!(error.to_string().contains(text), "{name}: {error}");
        assert!(error.to_string().starts_with(&format!("byte {}: ", error.at())), "{name}");
    }
}

#[test]
fn headers_that_are_none_are_refused() {
    for (header, text) in [
        ("", "byte 0: the data ends inside the length of the header"),
        ("00", "byte 1: invalid header: it ends too early"),
        ("8000", "byte 0: invalid length"),
        ("ffffffffffffffffff01", "byte 0: invalid length"),
        ("0aa16776657273696f6e01", "byte 0: invalid header: it has no roots"),
        ("1da265726f6f747381d82a4800010000036162636776657273696f6e6131", "expected a version"),
        ("11a265726f6f7473636261646776657273696f6e01", "expected a list of roots"),
        ("13a265726f6f747381636261646776657273696f6e01", "expected a CID as root"),
        ("16a265726f6f747381d82a43000102 6776657273696f6e01", "a root is not a CID"),
        ("22a364626c6970f565726f6f747381d82a4800010000036162636776657273696f6e01", "\"blip\""),
        ("12a265726f6f7473806776657273696f6e01f6", "something follows it"),
        ("11bf65726f6f7473806776657273696f6e01ff", "known length"),
        ("15a265726f6f74739a000400016776657273696f6e01", "262145 roots"),
    ] {
        let bytes = data_encoding::HEXLOWER.decode(header.replace(' ', "").as_bytes()).unwrap();
        let error = read(&bytes).unwrap_err().to_string();
        assert!(error.contains(text), "{header}: {error}");
    }
}

#[test]
fn no_roots_and_no_blocks_are_a_car() {
    let bytes = header(&[]);
    assert_eq!(bytes, b"\x11\xa2eroots\x80gversion\x01".as_slice());
    let (roots, sections) = read(&bytes).unwrap();
    assert!(roots.is_empty() && sections.is_empty());
}

#[test]
fn carv2_is_read_between_its_bounds_and_nowhere_else() {
    let v1 = fixture("carv1-basic.car");
    let wrap = |padding: usize, size: usize, tail: &[u8]| {
        let mut out = b"\x0a\xa1gversion\x02".to_vec();
        out.extend_from_slice(&[0; 16]);
        for number in [51 + padding, size, 0] {
            out.extend_from_slice(&(number as u64).to_le_bytes());
        }
        out.extend(std::iter::repeat_n(0xaa, padding));
        out.extend_from_slice(&v1);
        out.extend_from_slice(tail);
        out
    };
    let (_, sections) = read(&wrap(1000, v1.len(), &[0xff; 99])).unwrap();
    assert_eq!((sections.len(), sections[0].at), (8, 1151));
    // Cut between sections: what lies behind is not data, however much it looks like it.
    assert_eq!(read(&wrap(0, 660, b"")).unwrap().1.len(), 7);
    for (size, text) in [
        (661, "byte 712: the data ends inside a section"),
        (v1.len() + 1, "byte 766: the data ends inside the length of a section"),
        (usize::MAX, "cannot begin at byte 51"),
    ] {
        let error = read(&wrap(0, size, b"")).unwrap_err().to_string();
        assert!(error.contains(text), "{size}: {error}");
    }
    let mut early = wrap(0, v1.len(), b"");
    early[27] = 50;
    assert!(matches!(read(&early), Err(CarError::Data { at: 11, offset: 50, .. })));
    let nested = wrap(0, 11, b"");
    let nested = [&nested[..51], b"\x0a\xa1gversion\x02"].concat();
    assert!(matches!(read(&nested), Err(CarError::Version { at: 51, found: 2 })));
}

#[test]
fn ghsa_9x4h_8wgm_8xfg_a_declared_length_reserves_little() {
    let mut bytes = header(&[]).to_vec();
    put_varint(&mut bytes, SECTION_MAX_BYTES + 1);
    assert!(matches!(read(&bytes), Err(CarError::SectionLength { at: 18, .. })));
    let mut bytes = Vec::new();
    put_varint(&mut bytes, HEADER_MAX_BYTES);
    assert!(matches!(read(&bytes), Err(CarError::Truncated { at: 4, .. })));
}

#[test]
fn damaged_cars_never_panic_and_never_lie() {
    let sources: Vec<Vec<u8>> =
        ["carv1-basic.car", "carv2-basic.car", "sample-unixfs-v2.car"].map(fixture).into();
    let known: HashSet<(Cid, Bytes)> = sources
        .iter()
        .flat_map(|bytes| read(bytes).unwrap().1)
        .map(|section| (section.cid, section.data))
        .collect();
    let mut rng = StdRng::seed_from_u64(8);
    let mut refused = 0;
    for round in 0..20_000 {
        let mut damaged = sources[round % 3].clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..damaged.len().max(1));
            match rng.random_range(0..4) {
                0 => damaged.truncate(at),
                1 => damaged.insert(at.min(damaged.len()), rng.random()),
                2 => damaged.extend_from_within(..at.min(damaged.len())),
                _ => damaged.iter_mut().skip(at).take(1).for_each(|b| *b = rng.random()),
            }
        }
        let length = damaged.len() as u64;
        let Ok(mut reader) = CarReader::open(damaged.as_slice()) else {
            refused += 1;
            continue;
        };
        loop {
            match reader.next_section() {
                Ok(Some(Section { cid, data, .. })) => {
                    let sound = cid::check(&cid).is_ok();
                    let verified = sound && Block::verified(cid, data.clone()).is_ok();
                    let inline = cid.hash().code() == cid::hash::IDENTITY;
                    assert!(!verified || inline || known.iter().any(|(_, was)| *was == data));
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(error.at() <= length, "{error}");
                    refused += 1;
                    break;
                }
            }
        }
    }
    assert!(refused > 5_000, "{refused}");
}

/// Gives its bytes a few at a time.
struct Trickle<'a>(&'a [u8], StdRng);

impl Read for Trickle<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.1.random_range(1..700).min(buf.len()).min(self.0.len());
        let (now, later) = self.0.split_at(count);
        buf[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

#[test]
fn what_is_written_is_read_back() {
    let mut rng = StdRng::seed_from_u64(1);
    for _ in 0..60 {
        let codecs = [codec::RAW, codec::DAG_CBOR, codec::DAG_PB];
        let blocks: Vec<Block> = (0..rng.random_range(0..40))
            .map(|_| {
                let data: Vec<u8> = (0..rng.random_range(0..3000)).map(|_| rng.random()).collect();
                let prefix = Prefix::v1(codecs[rng.random_range(0..3)]);
                Block::hashed(prefix, data.into()).unwrap()
            })
            .collect();
        let roots: Vec<Cid> = blocks.iter().step_by(3).map(|block| *block.cid()).collect();
        let mut bytes = header(&roots).to_vec();
        for block in &blocks {
            section(block.cid(), block.data().clone())
                .iter()
                .for_each(|piece| bytes.extend_from_slice(piece));
        }
        let trickle = Trickle(&bytes, StdRng::seed_from_u64(rng.random()));
        let mut reader = CarReader::open(trickle).unwrap();
        assert_eq!(reader.roots(), roots);
        for block in &blocks {
            let Section { cid, data, .. } = reader.next_section().unwrap().unwrap();
            assert_eq!(Block::verified(cid, data).unwrap(), *block);
        }
        assert_eq!(reader.next_section().unwrap(), None);
    }
}
