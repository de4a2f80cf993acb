//! Blocks, nodes, CARs and binary CIDs.

use allocation_counter::opt_out;
use bytes::Bytes;
use henge::ipld::car::CarReader;
use henge::ipld::cid::{self, Cid, codec};
use henge::ipld::codec::{CodecError, can_link, dag_pb, decode, encode, links};
use henge::unixfs::hamt::{Descent, Slot, entry_name};
use henge::unixfs::node::{FsNode, Kind};
use henge::unixfs::seek::covering;

use super::engine::{STACK_BYTES, Target};
use super::fixtures;

pub const DAG_PB: Target = Target {
    name: "dag-pb",
    seeds: || fixtures("codec", ".dag-pb"),
    run: |input| block(codec::DAG_PB, input),
    per_byte: 160,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const DAG_CBOR: Target = Target {
    name: "dag-cbor",
    seeds: || fixtures("codec", ".dag-cbor"),
    run: |input| block(codec::DAG_CBOR, input),
    per_byte: 160,
    beside: 64 << 10,
    stack: STACK_BYTES,
};

pub const DAG_JSON: Target = Target {
    name: "dag-json",
    seeds: || fixtures("codec", ".dag-json"),
    run: |input| block(codec::DAG_JSON, input),
    per_byte: 160,
    beside: 128 << 10,
    stack: STACK_BYTES,
};

pub const CBOR: Target = Target {
    name: "cbor",
    seeds: || fixtures("codec", ".dag-cbor"),
    run: |input| block(codec::CBOR, input),
    per_byte: 160,
    beside: 64 << 10,
    stack: STACK_BYTES,
};

pub const JSON: Target = Target {
    name: "json",
    seeds: || fixtures("codec", ".dag-json"),
    run: |input| block(codec::JSON, input),
    per_byte: 160,
    beside: 128 << 10,
    stack: STACK_BYTES,
};

pub const DAG_JOSE: Target = Target {
    name: "dag-jose",
    seeds: jose,
    run: |input| block(codec::DAG_JOSE, input),
    per_byte: 160,
    beside: 64 << 10,
    stack: STACK_BYTES,
};

pub const UNIXFS: Target = Target {
    name: "unixfs",
    seeds: nodes,
    run: unixfs,
    per_byte: 160,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const HAMT: Target = Target {
    name: "hamt",
    seeds: nodes,
    run: hamt,
    per_byte: 160,
    beside: 4096,
    stack: STACK_BYTES,
};

/// A length alone has 2 MiB reserved at most, and files are read by 64 KiB.
pub const CAR: Target = Target {
    name: "car",
    seeds: cars,
    run: car,
    per_byte: 160,
    beside: (2 << 20) + (128 << 10),
    stack: STACK_BYTES,
};

pub const CID_BYTES: Target = Target {
    name: "cid-bytes",
    seeds: || names().iter().map(Cid::to_bytes).collect(),
    run: cid_bytes,
    per_byte: 8,
    beside: 4096,
    stack: STACK_BYTES,
};

fn jose() -> Vec<Vec<u8>> {
    let text = include_str!("../../fixtures/jose/index.md");
    let hunks = text.split(".hex)\n```\n").skip(1);
    let hex = |hunk: &str| hunk.split("```").next().unwrap().split_whitespace().collect::<String>();
    hunks.map(|hunk| data_encoding::HEXLOWER.decode(hex(hunk).as_bytes()).unwrap()).collect()
}

/// A block of a codec: refused with offset and cause, or the same again after writing and reading.
fn block(code: u64, input: &[u8]) -> String {
    let data = Bytes::copy_from_slice(input);
    let mut seen = Vec::new();
    let listed = links(code, &data, &mut |cid| seen.push(cid));
    match decode(code, &data) {
        Err(error) => {
            // Repeated keys are found by building the tree alone.
            let text = error.to_string();
            let found = !can_link(code) || text.contains("duplicate key");
            assert!(listed.is_err() || found, "links of what is refused");
            tells_the_place(&error, input.len());
            text
        }
        Ok(value) => {
            opt_out(|| {
                assert!(listed.is_ok());
                assert_eq!(seen, value.links());
                match encode(code, &value) {
                    Ok(written) => {
                        let written = Bytes::from(written);
                        let again = decode(code, &written).unwrap();
                        assert_eq!(encode(code, &again).unwrap(), written);
                        assert_eq!(again.links().len(), seen.len());
                    }
                    Err(CodecError::Unwritable { cause, .. }) => assert!(!cause.is_empty()),
                    Err(other) => panic!("{other}"),
                }
                // What was read has a form as JSON, but for maps that would be taken for a link.
                if let Err(error) = encode(codec::DAG_JSON, &value) {
                    assert!(error.to_string().contains("reserved"), "{error}");
                }
            });
            format!("read with {} links", ["no", "one", "some"][seen.len().min(2)])
        }
    }
}

/// An offset inside the block, and words.
fn tells_the_place(error: &CodecError, length: usize) {
    opt_out(|| {
        let text = error.to_string();
        let (_, rest) = text.split_once("byte ").unwrap_or_else(|| panic!("no offset: {text}"));
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let at: usize = digits.parse().unwrap_or_else(|_| panic!("no offset: {text}"));
        assert!(at <= length, "byte {at} of {length}: {text}");
    });
}

fn nodes() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gateway/");
    let mut nodes = Vec::new();
    for name in [
        "directory-with-multilayer-hamt-and-multiblock-files.car",
        "unixfs-dir-with-mode-mtime.car",
        "symlink.car",
    ] {
        let file = std::fs::read(format!("{folder}{name}")).unwrap();
        let mut reader = CarReader::open(file.as_slice()).unwrap();
        while let Some(section) = reader.next_section().unwrap() {
            if section.cid.codec() == codec::DAG_PB && section.data.len() < 16 << 10 {
                nodes.push(section.data.to_vec());
            }
        }
    }
    assert!(nodes.len() > 10, "{}", nodes.len());
    nodes
}

fn unixfs(input: &[u8]) -> String {
    let node = match dag_pb::Node::decode(&Bytes::copy_from_slice(input)) {
        Ok(node) => node,
        Err(error) => return error.to_string(),
    };
    match FsNode::of(&node) {
        Err(error) => error.to_string(),
        Ok(fs) => {
            // Only files are read in parts, and only of files was it checked that the parts fit.
            let is_file = matches!(fs.kind, Kind::File | Kind::Raw | Kind::Metadata);
            let spans = [(0, u64::MAX), (1, 5), (u64::MAX, 0), (fs.size, fs.size)];
            for (start, end) in spans.into_iter().filter(|_| is_file) {
                let (held, wanted) = covering(&fs, start, end);
                assert!(held.len() <= fs.data.len() && wanted.len() <= node.links.len());
                assert!(wanted.iter().all(|part| part.link < node.links.len()));
            }
            format!("{:?} of {} parts", fs.kind, ["no", "one", "some"][fs.blocksizes.len().min(2)])
        }
    }
}

fn hamt(input: &[u8]) -> String {
    let node = match dag_pb::Node::decode(&Bytes::copy_from_slice(input)) {
        Ok(node) => node,
        Err(error) => return error.to_string(),
    };
    let fs = match FsNode::of(&node) {
        Ok(fs) if fs.kind == Kind::Shard => fs,
        Ok(fs) => return format!("{:?}", fs.kind),
        Err(error) => return error.to_string(),
    };
    let mut outcome = String::new();
    for link in &node.links {
        match entry_name(&link.name.clone().unwrap_or_default(), fs.fanout) {
            Ok(Some(name)) => {
                let step = Descent::new(&name).step(&node, fs.fanout, &name);
                outcome = format!("found {}", matches!(step, Ok(Slot::Entry(_))));
            }
            Ok(None) => {}
            Err(error) => outcome = error.to_string(),
        }
    }
    // A trie that leads into itself ends when the hash is used up.
    let mut way = Descent::new(b"name");
    let steps = (0..100).take_while(|_| way.step(&node, fs.fanout, b"name").is_ok()).count();
    assert!(steps <= 22, "{steps} levels");
    format!("shard {outcome}")
}

fn cars() -> Vec<Vec<u8>> {
    fixtures("car", ".car")
}

fn car(input: &[u8]) -> String {
    let tells = |error: &henge::ipld::car::CarError| {
        let text = error.to_string();
        assert!(error.at() <= input.len() as u64, "{text}");
        assert!(text.starts_with(&format!("byte {}: ", error.at())), "{text}");
        text
    };
    let mut reader = match CarReader::open(input) {
        Ok(reader) => reader,
        Err(error) => return tells(&error),
    };
    let mut sections = 0;
    loop {
        match reader.next_section() {
            Ok(Some(section)) => {
                assert!(section.data.len() < input.len());
                sections += 1;
            }
            Ok(None) => {
                return format!(
                    "version {} with sections {}",
                    ["", "one", "two"][reader.version() as usize],
                    sections > 0
                );
            }
            Err(error) => return format!("{} after sections {}", tells(&error), sections > 0),
        }
    }
}

fn names() -> Vec<Cid> {
    let texts = [
        "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
        "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
        "bafkqaaa",
        "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
    ];
    texts.map(|text| cid::parse(text).unwrap()).into()
}

fn cid_bytes(input: &[u8]) -> String {
    if let Ok((cid, used)) = cid::split(input) {
        assert!(used <= input.len() && used <= cid::CID_MAX_BYTES);
        assert!(cid.to_bytes().len() <= cid::CID_MAX_BYTES);
    }
    match cid::from_bytes(input) {
        Err(error) => error.to_string(),
        Ok(cid) => {
            assert_eq!(cid::from_bytes(&cid.to_bytes()).unwrap(), cid);
            let allowed =
                cid::check(&cid).map_or_else(|error| error.to_string(), |()| "good".into());
            format!("{:?} {allowed}", cid.version())
        }
    }
}
