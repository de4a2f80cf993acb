//! Messages of peers, records, rows, uploads and archives.

use std::cell::RefCell;
use std::io::Read as _;

use allocation_counter::opt_out;
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use henge::cli::extract::Unpacking;
use henge::config::identity::decode_peer_id;
use henge::exchange::wire::{Outgoing, Version, decode_frame, encode, frame_head};
use henge::ipld::block::{Block, Prefix};
use henge::ipld::cid::{codec, digest, hash};
use henge::ipns::record::Record;
use henge::ipns::time::Moment;
use henge::node::{Content, Entry};
use henge::routing::dht::validate::validate;
use henge::routing::dht::wire::{Contact, Kind, Message, split_frame};
use henge::rpc::http::handover::Desk;
use henge::rpc::http::multipart::parse;
use henge::store::keys::record::{AddressRow, PeerRow, ProviderRow, TimedHash, ValueRow};
use henge::store::keys::{Figure, IndexRow};
use henge::store::segments::record as segment;

use super::engine::{STACK_BYTES, Target};
use super::fixtures;

/// The boundary of the uploads here.
const BOUNDARY: &str = "x";

/// A block of no bytes takes two on the wire, and has a CID here; a message has 16,384 at most.
pub const BITSWAP: Target = Target {
    name: "bitswap",
    seeds: bitswaps,
    run: bitswap,
    per_byte: 320,
    beside: 16 << 10,
    stack: STACK_BYTES,
};

pub const KAD: Target =
    Target { name: "dht", seeds: kads, run: kad, per_byte: 96, beside: 8192, stack: STACK_BYTES };

pub const VALUE: Target = Target {
    name: "dht-value",
    seeds: values,
    run: value,
    per_byte: 96,
    beside: 16 << 10,
    stack: STACK_BYTES,
};

pub const IPNS: Target = Target {
    name: "ipns",
    seeds: || fixtures("ipns", ".ipns-record"),
    run: ipns,
    per_byte: 96,
    beside: 16 << 10,
    stack: STACK_BYTES,
};

pub const ROWS: Target = Target {
    name: "rows",
    seeds: row_seeds,
    run: rows,
    per_byte: 64,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const SEGMENT: Target = Target {
    name: "segment",
    seeds: segments,
    run: segment,
    per_byte: 4,
    beside: 4096,
    stack: STACK_BYTES,
};

/// What is handed over is let go by another thread, and counts as held here.
pub const MULTIPART: Target = Target {
    name: "multipart",
    seeds: uploads,
    run: upload,
    per_byte: 256,
    beside: 64 << 10,
    stack: STACK_BYTES,
};

pub const TAR: Target = Target {
    name: "tar",
    seeds: archives,
    run: archive,
    per_byte: 8,
    beside: 256 << 10,
    stack: STACK_BYTES,
};

fn bitswaps() -> Vec<Vec<u8>> {
    let block = |n: u8| Block::hashed(Prefix::v1(codec::RAW), vec![n; 50].into()).unwrap();
    let named: Vec<_> = (0..3).map(block).map(|b| (*b.cid(), b.data().clone())).collect();
    let mut seeds: Vec<Vec<u8>> = [Version::V1_0, Version::V1_2]
        .map(|version| encode(&Outgoing::default(), &named, version).concat())
        .into();
    // A full wantlist of two entries, a presence, pending bytes.
    let cid = named[0].0.to_bytes();
    let entry =
        [&[0x0a, cid.len() as u8][..], &cid, &[0x10, 1, 0x18, 1, 0x20, 1, 0x28, 1]].concat();
    let entry = [&[0x0a, entry.len() as u8][..], &entry].concat();
    let list = [&entry[..], &entry, &[0x10, 1]].concat();
    let presence = [&[0x0a, cid.len() as u8][..], &cid, &[0x10, 1]].concat();
    let head = |tag: u8, body: &[u8]| [&[tag, body.len() as u8][..], body].concat();
    seeds.push([head(0x0a, &list), head(0x22, &presence), vec![0x28, 7]].concat());
    seeds
}

fn bitswap(input: &[u8]) -> String {
    let head =
        frame_head(input).map_or_else(|e| e.to_string(), |head| format!("{}", head.is_some()));
    match decode_frame(Bytes::copy_from_slice(input)) {
        Err(error) => error.to_string(),
        Ok(raw) => {
            assert!(raw.data_bytes() <= input.len());
            let message = raw.verify();
            let count = |n: usize| ["no", "one", "some"][n.min(2)];
            let (wants, blocks) = (count(message.wantlist.len()), count(message.blocks.len()));
            format!("{head} wants {wants} blocks {blocks} refused {}", message.refused > 0)
        }
    }
}

fn kads() -> Vec<Vec<u8>> {
    let peer = decode_peer_id("12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE").unwrap();
    let addrs = ["/ip4/1.2.3.4/tcp/4001", "/dns4/x.org/tcp/443/wss"];
    let contact = Contact { peer, addrs: addrs.map(|text| text.parse().unwrap()).into() };
    let mut message = Message::new(Kind::GetProviders, &b"key"[..]);
    message.closer = vec![contact.clone(); 3];
    message.providers = vec![contact];
    let put = Message::put_value(&b"/ipns/x"[..], &b"value"[..]);
    vec![message.encode(), put.encode(), Message::new(Kind::Ping, &b""[..]).encode()]
}

fn kad(input: &[u8]) -> String {
    let framed = match split_frame(&mut BytesMut::from(input)) {
        Ok(frame) => format!("{}", frame.is_some()),
        Err(error) => error.to_string(),
    };
    match Message::decode(Bytes::copy_from_slice(input)) {
        Err(error) => format!("{error} {framed}"),
        Ok(message) => {
            opt_out(|| {
                let again = Message::decode(message.encode().into()).unwrap();
                assert_eq!(again, message);
            });
            format!("{:?} {} {}", message.kind, message.closer.is_empty(), message.record.is_some())
        }
    }
}

/// A key behind its length, then its value.
fn values() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ipns");
    let mut seeds = Vec::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name =
            path.file_stem().unwrap().to_str().unwrap().split('_').next().unwrap().to_owned();
        let peer = decode_peer_id(&name).unwrap_or_else(|| panic!("{name}"));
        let key = [b"/ipns/", peer.to_bytes().as_slice()].concat();
        seeds.push([&[key.len() as u8][..], &key, &std::fs::read(path).unwrap()].concat());
    }
    seeds.push(b"\x05/pk/x\x08\x01\x12\x20".to_vec());
    seeds.sort();
    seeds
}

fn value(input: &[u8]) -> String {
    let Some((length, rest)) = input.split_first() else { return "nothing".into() };
    let (key, value) = rest.split_at(rest.len().min(usize::from(*length)));
    match validate(key, value, 1_700_000_000) {
        Ok(()) => "valid".into(),
        Err(error) => error.to_string(),
    }
}

fn ipns(input: &[u8]) -> String {
    let name = decode_peer_id("k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w");
    match Record::decode(input) {
        Err(error) => error.to_string(),
        Ok(record) => {
            let now = Moment { seconds: 1_700_000_000, nanos: 0 };
            let valid = record.validate(&name.unwrap(), now);
            valid.map_or_else(|error| error.to_string(), |()| "valid".into())
        }
    }
}

/// Which kind of row, then the row.
fn row_seeds() -> Vec<Vec<u8>> {
    let addrs = vec![Bytes::from_static(b"\x04\x7f\0\0\x01\x06\x0f\xa1"); 2];
    let rows = [
        ProviderRow { expiry: 1, group: 2 }.encode(),
        AddressRow { expiry: 1, rows: 2, addrs: addrs.clone() }.encode(),
        PeerRow { seen: 1, expiry: 2, addrs }.encode(),
        ValueRow { received: 1, key: Bytes::from_static(b"k"), value: Bytes::from_static(b"v") }
            .encode()
            .unwrap(),
        TimedHash { time: 1, hash: Bytes::from_static(b"\x12\x20") }.encode(),
        Bytes::from_static(&[0; 13]),
        Bytes::from_static(&[0; 32]),
    ];
    rows.iter().zip(0_u8..).map(|(row, kind)| [&[kind][..], row].concat()).collect()
}

fn rows(input: &[u8]) -> String {
    let Some((kind, row)) = input.split_first() else { return "nothing".into() };
    let bytes = Bytes::copy_from_slice(row);
    // What was read is written as it was.
    let same = |written: Option<Bytes>| match written {
        Some(written) => assert_eq!(written, bytes),
        None => panic!("what was read cannot be written"),
    };
    let read = match kind % 7 {
        0 => ProviderRow::decode(row).map(|row| same(Some(row.encode()))),
        1 => AddressRow::decode(bytes.clone()).map(|row| same(Some(row.encode()))),
        2 => PeerRow::decode(bytes.clone()).map(|row| same(Some(row.encode()))),
        3 => ValueRow::decode(bytes.clone()).map(|row| same(row.encode())),
        4 => TimedHash::decode(bytes.clone()).map(|row| same(Some(row.encode()))),
        5 => IndexRow::decode(row).map(|row| same(Some(row.encode()))),
        _ => Figure::decode(row).map(|row| same(Some(row.encode()))),
    };
    format!("{} {}", ["a", "b", "c", "d", "e", "f", "g"][usize::from(kind % 7)], read.is_some())
}

fn segments() -> Vec<Vec<u8>> {
    let data = b"a block of a segment".to_vec();
    let hashes = [hash::SHA2_256, hash::IDENTITY].map(|code| digest(code, &data).unwrap());
    hashes.map(|hash| [segment::head(&hash, &data), data.clone()].concat()).into()
}

fn segment(input: &[u8]) -> String {
    let head = segment::read_head(input).is_some();
    match segment::read(&Bytes::copy_from_slice(input)) {
        Err(error) => format!("{error} {head}"),
        Ok(record) => {
            assert!(record.data.len() <= input.len());
            "read".into()
        }
    }
}

fn uploads() -> Vec<Vec<u8>> {
    let part = |head: &str, body: &str| format!("--{BOUNDARY}\r\n{head}\r\n\r\n{body}\r\n");
    let end = format!("--{BOUNDARY}--\r\n");
    let named = |name: &str, kind: &str| {
        format!(
            "Content-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: {kind}"
        )
    };
    let whole = [
        part(&named("d", "application/x-directory"), ""),
        part(&named("d%2Ff", "application/octet-stream"), "content"),
        part(&named("d%2Fl", "application/symlink"), "f"),
        end.clone(),
    ];
    let bare = [part("Content-Disposition: form-data; name=\"file\"", "content"), end];
    [whole.concat(), bare.concat(), part(&named("..%2Fx", "a/b"), "x")]
        .map(String::into_bytes)
        .into()
}

thread_local! {
    static RUNTIME: RefCell<Option<tokio::runtime::Runtime>> = const { RefCell::new(None) };
}

fn upload(input: &[u8]) -> String {
    RUNTIME.with_borrow_mut(|runtime| {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime =
            opt_out_with(|| runtime.get_or_insert_with(|| builder.enable_time().build().unwrap()));
        let (out, mut inbox) = tokio::sync::mpsc::channel::<std::io::Result<Entry>>(16);
        let reader = opt_out_with(|| {
            std::thread::spawn(move || {
                let (mut entries, mut bytes) = (0_u32, 0);
                while let Some(entry) = inbox.blocking_recv() {
                    let Ok(entry) = entry else { break };
                    assert!(!entry.path.iter().any(|name| name.as_ref() == b".."));
                    entries += 1;
                    if let Content::File(mut file) = entry.content {
                        let mut content = Vec::new();
                        let _ = file.read_to_end(&mut content);
                        bytes += content.len();
                    }
                }
                (entries, bytes)
            })
        });
        let pieces: Vec<Result<Bytes, hyper::Error>> =
            input.chunks(4096).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let mut data = std::pin::pin!(stream::iter(pieces));
        let parsed =
            runtime.block_on(parse(data.as_mut(), BOUNDARY.to_owned(), &Desk::default(), &out));
        drop(out);
        let (entries, bytes) = reader.join().unwrap();
        assert!(bytes <= input.len());
        let end = parsed.map_or_else(|e| e.to_string(), |whole| format!("whole {whole}"));
        format!("{end} {}", ["no", "one", "some"][entries.min(2) as usize])
    })
}

/// Runs what is not the decoder's, and gives what it made.
fn opt_out_with<T>(run: impl FnOnce() -> T) -> T {
    let mut made = None;
    opt_out(|| made = Some(run()));
    made.unwrap()
}

fn archives() -> Vec<Vec<u8>> {
    use tar::EntryType::{Directory, Regular, Symlink};
    let mut builder = tar::Builder::new(Vec::new());
    let mut put = |name: &str, kind, body: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(body.len() as u64);
        match kind {
            Symlink => builder.append_link(&mut header, name, "f").unwrap(),
            _ => builder.append_data(&mut header, name, body).unwrap(),
        }
    };
    put("d", Directory, b"");
    put("d/f", Regular, b"text");
    put("d/l", Symlink, b"");
    put(&format!("d/{}", "n".repeat(150)), Regular, b"x");
    vec![builder.into_inner().unwrap()]
}

/// Nothing is written but below the target, whatever the archive says.
fn archive(input: &[u8]) -> String {
    let folder = opt_out_with(|| tempfile::tempdir().unwrap());
    let beside = folder.path().join("beside");
    opt_out(|| std::fs::write(&beside, "untouched").unwrap());
    let outcome = Unpacking::to(&folder.path().join("out"), None).run(input);
    opt_out(|| {
        let mut names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.retain(|name| name != "out");
        assert_eq!(names, ["beside"], "something was written beside the target");
        assert_eq!(std::fs::read_to_string(&beside).unwrap(), "untouched");
    });
    match outcome {
        Ok(()) => "unpacked".into(),
        Err(error) => format!("{error:?}"),
    }
}
