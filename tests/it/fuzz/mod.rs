//! Every decoder of what strangers send, under mutated input: each for 60 seconds in the full form.
//!
//! The seed of a run is told; `HENGE_SEED` repeats it. With `HENGE_CORPUS` naming a folder, the inputs
//! that are worth keeping are written there, in the form of `tests/fixtures/corpus`.
//!
//! What libraries decode before henge sees it has no row: handshakes, identify, yamux, QUIC, DNS and
//! the framing of HTTP. `minimums.rs` holds their versions.

mod engine;
mod ipld;
mod text;
mod wire;

use std::sync::OnceLock;

use engine::{Target, flood, fuzz};

/// Levels of nesting, or repeats, of an input that is all of one kind.
const LEVELS: usize = 1_000_000;

/// A test for each decoder.
macro_rules! targets {
    ($($test:ident: $module:ident :: $target:ident),* $(,)?) => {
        const TARGETS: &[&Target] = &[$(&$module::$target),*];

        $(
            #[test]
            fn $test() {
                fuzz(&$module::$target);
            }
        )*
    };
}

targets! {
    dag_pb_blocks: ipld::DAG_PB,
    dag_cbor_blocks: ipld::DAG_CBOR,
    dag_json_blocks: ipld::DAG_JSON,
    cbor_blocks: ipld::CBOR,
    json_blocks: ipld::JSON,
    dag_jose_blocks: ipld::DAG_JOSE,
    unixfs_nodes: ipld::UNIXFS,
    hamt_shards: ipld::HAMT,
    cars: ipld::CAR,
    cids_in_binary: ipld::CID_BYTES,
    cids_as_text: text::CID_TEXT,
    cid_formats: text::CID_FORMAT,
    multibase_texts: text::MULTIBASE,
    paths: text::PATH,
    bitswap_messages: wire::BITSWAP,
    dht_messages: wire::KAD,
    dht_values: wire::VALUE,
    ipns_records: wire::IPNS,
    rows_of_records: wire::ROWS,
    records_of_segments: wire::SEGMENT,
    uploads: wire::MULTIPART,
    archives: wire::TAR,
    queries_of_the_rpc: text::QUERY,
    requests_of_the_gateway: text::REQUEST,
    ranges_of_http: text::RANGE,
    redirect_files: text::REDIRECTS,
    configurations: text::CONFIG,
    units_and_times: text::UNITS,
    chunkers: text::CHUNKER,
    peers_and_addresses: text::PEER,
}

/// Nested, or the same again, a million times: whatever any of the formats nests by.
fn floods() -> &'static [Vec<u8>] {
    static FLOODS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FLOODS.get_or_init(|| {
        let units: [&[u8]; 24] = [
            b"\x81",
            b"\xa1aa",
            b"\xd8\x2a",
            b"\x9f",
            b"[",
            b"{\"a\":",
            b"{\"/\":",
            b"{\"/\":{\"bytes\":",
            b"\x0b",
            b"\x13",
            b"\x0a\x00",
            b"\x12\x00",
            b"\x80",
            b"\xff",
            b"\0",
            b"/",
            b"../",
            b"%25",
            b"z",
            b"a=b&",
            b"1",
            b"bytes=0-1,",
            b"/p2p-circuit",
            b"\r\n",
        ];
        let same = units.iter().map(|unit| unit.repeat(LEVELS));
        // A JSON text, and a protobuf message, that are nested and whole.
        let json = [b"[".repeat(LEVELS), b"]".repeat(LEVELS)].concat();
        same.chain([json, nested(0x0a), nested(0x12), nested(0x1a)]).collect()
    })
}

/// A message in a message, and so on: each begins with a tag and its length.
fn nested(tag: u8) -> Vec<u8> {
    let mut reversed = Vec::new();
    for _ in 0..LEVELS {
        let mut length = Vec::new();
        let mut rest = reversed.len();
        while rest >= 0x80 {
            length.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        length.push(rest as u8);
        reversed.extend(length.iter().rev());
        reversed.push(tag);
    }
    reversed.reverse();
    reversed
}

#[test]
fn a_million_levels_take_neither_stack_nor_memory() {
    for target in TARGETS {
        flood(target, floods());
    }
}

/// Their own checks ask for an offset within the input, and a cause.
#[test]
fn every_beginning_of_a_fixture_is_read_or_refused_with_offset_and_cause() {
    let codecs = [
        &ipld::CBOR,
        &ipld::JSON,
        &ipld::DAG_PB,
        &ipld::DAG_CBOR,
        &ipld::DAG_JSON,
        &ipld::DAG_JOSE,
        &ipld::CAR,
    ];
    let mut cuts = 0;
    for target in codecs {
        for input in (target.seeds)() {
            // Every byte of what is short; of the rest, about a thousand.
            for cut in (0..input.len()).step_by(1 + input.len() / 1000) {
                (target.run)(&input[..cut]);
                cuts += 1;
            }
        }
    }
    assert!(cuts > 10_000, "{cuts}");
}

#[test]
fn every_corpus_belongs_to_a_decoder() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/corpus");
    let mut files: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut names: Vec<String> = TARGETS.iter().map(|t| format!("{}.hex", t.name)).collect();
    names.sort();
    assert_eq!(files, names);
}

/// The files of a folder of fixtures whose names end so, the shorter ones.
fn fixtures(folder: &str, ending: &str) -> Vec<Vec<u8>> {
    const LONGEST: u64 = 8 << 10;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let mut files = Vec::new();
    let mut folders = vec![root];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap().is_dir() {
                true => folders.push(entry.path()),
                false => files.push(entry.path()),
            }
        }
    }
    files.retain(|file| {
        let short = file.metadata().unwrap().len() <= LONGEST;
        short && file.to_str().is_some_and(|name| name.ends_with(ending))
    });
    files.sort();
    assert!(!files.is_empty(), "no fixtures {folder} *{ending}");
    files.into_iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Texts as inputs.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
