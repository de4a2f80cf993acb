//! What strangers, and people, write as text.

use henge::config::file::Config;
use henge::config::{check, identity, units};
use henge::gateway::hostname::{Hosts, site};
use henge::gateway::range::{Cut, cut};
use henge::gateway::request::Request;
use henge::gateway::{escape, redirects};
use henge::http::address::Address;
use henge::ipld::describe::{Conversion, inspect};
use henge::ipld::path::Path;
use henge::ipld::{cid, multibase};
use henge::net::filters::Block;
use henge::node::add::AddOptions;
use henge::rpc::args::Args;
use henge::rpc::peer;
use henge::unixfs::chunk::Chunker;
use henge::{clock, ipns};

use super::engine::{STACK_BYTES, Target};
use super::texts;

pub const CID_TEXT: Target = Target {
    name: "cid-text",
    seeds: || {
        texts(&[
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku",
            "zdj7WWeQ43G6JJvLWQWZpyHuAMq6uYWRjkBXFad11vE2LHhQ7",
            "f01550000",
            "uAVUAAA",
            "bafkqaaa",
            "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
        ])
    },
    run: cid_text,
    per_byte: 8,
    beside: 8192,
    stack: STACK_BYTES,
};

pub const CID_FORMAT: Target = Target {
    name: "cid-format",
    seeds: || texts(&["%b-%v-%c-%h-%L", "%B %V %C %H %m %M %d %D %s %S %P %p %%", "%x", "%"]),
    run: |input| {
        with_text(input, |text| match Conversion::new(text, "", "", "") {
            Err(error) => error,
            Ok(conversion) => match conversion.apply("bafkqaaa") {
                Ok(_) => "told".into(),
                Err(error) => error,
            },
        })
    },
    // A letter may stand for a whole CID.
    per_byte: 256,
    beside: 16 << 10,
    stack: STACK_BYTES,
};

pub const MULTIBASE: Target = Target {
    name: "multibase",
    seeds: || texts(&["z114xTV5tVzDt", "k0081c3308mpdr", "f0068", "mAABo", "uAABo", "\0a", "9123"]),
    run: |input| {
        with_text(input, |text| {
            // Where the work grows with the square, whoever calls bounds the length.
            let slow = text.starts_with(['z', 'Z', 'k', 'K', '9']);
            if slow && text.len() > 4096 {
                return "too long".into();
            }
            match multibase::decode(text) {
                Err(error) => error,
                Ok((base, bytes)) => {
                    let (_, again) = multibase::decode(&multibase::encode(base, &bytes)).unwrap();
                    assert!(again == bytes || base == multibase::Base::Identity);
                    format!("{base:?}")
                }
            }
        })
    },
    per_byte: 32,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const PATH: Target = Target {
    name: "path",
    seeds: || {
        texts(&[
            "/ipfs/bafkqaaa/a/../b/./c",
            "ipfs://bafkqaaa/a",
            "bafkqaaa",
            "/ipns/example.com/a",
            "ipns://k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
            "/ipfs/bafkqaaa/../..",
        ])
    },
    run: |input| {
        with_text(input, |text| match Path::parse(text) {
            Err(error) => error.to_string(),
            Ok(path) => {
                assert_eq!(Path::parse(&path.to_string()).unwrap(), path);
                format!("{}", path.cid().is_some())
            }
        })
    },
    per_byte: 64,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const QUERY: Target = Target {
    name: "query",
    seeds: || {
        texts(&[
            "arg=bafkqaaa&cid-base=base36&upgrade-cidv0-in-output=true",
            "only-hash=true&cid-version=1&chunker=size-100&raw-leaves=false&hash=sha2-256&n=1&w=t",
            "arg=%2Fipfs%2Fa+b&arg=&trickle=T&trickle=0",
        ])
    },
    run: |input| {
        with_text(input, |text| match Args::parse(text) {
            Err(error) => error.message,
            Ok(args) => match args.options::<AddOptions>() {
                Ok(_) => "options".into(),
                Err(error) => error.message,
            },
        })
    },
    per_byte: 128,
    beside: 8192,
    stack: STACK_BYTES,
};

/// A request of the gateway: a line of its address, then lines of headers.
pub const REQUEST: Target = Target {
    name: "request",
    seeds: || {
        texts(&[
            "/ipfs/bafkqaaa/a%20b?format=car&dag-scope=entity&entity-bytes=0:10&car-dups=y\nhost: x",
            "/ipfs/bafkqaaa?filename=a.txt&download=true\nrange: bytes=0-1\nif-none-match: \"a\", W/\"b\"",
            "http://a/ipns/example.com/\naccept: application/vnd.ipld.car; version=1; order=dfs; dups=y",
            "/\nhost: bafkqaaa.ipfs.localhost:8080\nx-forwarded-proto: https\naccept: text/html;q=0.1,*/*",
            "/ipfs/?uri=ipfs%3A%2F%2Fbafkqaaa\nservice-worker: script\ncache-control: only-if-cached",
        ])
    },
    run: request,
    per_byte: 128,
    beside: 32 << 10,
    stack: STACK_BYTES,
};

pub const RANGE: Target = Target {
    name: "range",
    seeds: || texts(&["bytes=0-1", "bytes=-5", "bytes=5-", "bytes=0-1,5-9", "items=1-2"]),
    run: |input| {
        with_text(input, |text| {
            let told = [0, 1, 10, u64::MAX].map(|size| match cut(text, size) {
                Cut::Whole => "whole",
                Cut::Outside => "outside",
                Cut::Part { start, end } => {
                    assert!(start < end && end <= size, "{start}..{end} of {size}");
                    "part"
                }
            });
            told.join(" ")
        })
    },
    per_byte: 4,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const REDIRECTS: Target = Target {
    name: "redirects",
    seeds: || {
        texts(&[
            "/a /b 301\n# c\n/d/:x/e /f/:x/:x 200\n/g/* /h/:splat 404",
            "/* https://example.com/:splat 302",
            "/a* /b/:splat",
        ])
    },
    run: |input| {
        with_text(input, |text| match redirects::parse(text) {
            Err(error) => error,
            Ok(rules) => {
                let found = ["/", "/d/水/e", "/g/h/i/", "/a/b"].map(|path| {
                    match redirects::find(&rules, path) {
                        Ok(Some(target)) => {
                            target.status.to_string().replace(char::is_numeric, "x")
                        }
                        Ok(None) => "none".into(),
                        Err(error) => error,
                    }
                });
                found.join(" ")
            }
        })
    },
    per_byte: 128,
    beside: 256 << 10,
    stack: STACK_BYTES,
};

pub const CONFIG: Target = Target {
    name: "config",
    seeds: || {
        texts(&[
            r#"{"Addresses":{"API":"/ip4/127.0.0.1/tcp/5001","Swarm":["/ip4/0.0.0.0/tcp/4001"]}}"#,
            r#"{"Datastore":{"StorageMax":"10GB","StorageGCWatermark":90,"GCPeriod":"1h"},"X":null}"#,
            r#"{"Identity":{"PeerID":"x","PrivKey":"AA=="},"Swarm":{"ConnMgr":{"LowWater":1}}}"#,
            r#"{"Import":{"CidVersion":1,"UnixFSChunker":"size-1","UnixFSRawLeaves":true}}"#,
        ])
    },
    run: |input| {
        with_text(input, |text| match Config::parse(text) {
            Err(error) => error.to_string(),
            Ok(config) => {
                let again = Config::parse(&config.to_text().unwrap()).unwrap();
                assert!(again == config, "it reads back changed");
                check::check_boot(&config).map_or_else(|e| e.to_string(), |()| "boots".into())
            }
        })
    },
    per_byte: 256,
    beside: 64 << 10, // The JSON library goes 127 levels down on the stack, and no further.
    stack: 512 << 10,
};

pub const UNITS: Target = Target {
    name: "units",
    seeds: || {
        texts(&[
            "10GB",
            "1.5 gib",
            "1h30m",
            "-1.5ms",
            "2006-01-02T15:04:05.999999999Z",
            "2006-01-02T15:04:05+02:00",
            "2026-11-22T00:00:00Z",
            "a%20b%zz",
        ])
    },
    run: |input| {
        with_text(input, |text| {
            let bytes = units::parse_bytes(text).map_or_else(|e| e.to_string(), |_| "size".into());
            let time =
                units::parse_duration_ns(text).map_or_else(|e| e.to_string(), |_| "time".into());
            let _ = units::parse_duration(text);
            if let Some(moment) = ipns::time::parse(text) {
                let _ = ipns::time::format(moment);
            }
            let _ = clock::parse(text).map(clock::rfc3339_millis);
            let plain = escape::decode(text).map(|plain| escape::segment(plain.as_bytes()));
            assert!(plain.is_none_or(|plain| escape::decode(&plain).is_some()));
            format!("{bytes} {time}")
        })
    },
    per_byte: 128,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const CHUNKER: Target = Target {
    name: "chunker",
    seeds: || {
        texts(&[
            "",
            "default",
            "size-262144",
            "rabin",
            "rabin-1-2-3",
            "rabin-min:1-avg:2-max:3",
            "buzhash",
        ])
    },
    run: |input| {
        with_text(input, |text| match text.parse::<Chunker>() {
            Ok(chunker) => {
                assert_eq!(
                    chunker.to_string().parse::<Chunker>().unwrap().to_string(),
                    chunker.to_string()
                );
                "chunker".into()
            }
            Err(error) => error.to_string(),
        })
    },
    per_byte: 64,
    beside: 4096,
    stack: STACK_BYTES,
};

pub const PEER: Target = Target {
    name: "peer",
    seeds: || {
        texts(&[
            "12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE",
            "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn",
            "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8",
            "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWRBhwfeP2Y4TCx1SM6s9rUoHhR5STiGwxBhgFRcw3UERE",
            "/ip6/::1/udp/1/quic-v1",
            "/ip4/10.0.0.0/ipcidr/8",
            "/unix/a",
            "::/0",
        ])
    },
    run: |input| {
        with_text(input, |text| {
            // The RPC takes an address from a query, whose length HTTP bounds.
            let target = match text.len() <= 8192 {
                true => peer::target(text).map_or_else(|e| e.message, |_| "target".into()),
                false => "long".into(),
            };
            let peer = identity::decode_peer_id(text).is_some();
            let (block, listen) = (text.parse::<Block>().is_ok(), text.parse::<Address>().is_ok());
            format!("{target} {peer} {block} {listen}")
        })
    },
    per_byte: 128,
    beside: 8192,
    stack: STACK_BYTES,
};

/// Most decoders of text are given text by whoever reads it.
fn with_text(input: &[u8], run: impl FnOnce(&str) -> String) -> String {
    std::str::from_utf8(input).map_or_else(|_| "no text".into(), run)
}

fn cid_text(input: &[u8]) -> String {
    with_text(input, |text| {
        if let Ok(parts) = inspect(text) {
            assert!(parts.v1.len() <= 4 * cid::CID_MAX_BYTES);
        }
        match cid::parse(text) {
            Err(error) => error.to_string(),
            Ok(cid) => {
                assert_eq!(cid::parse(&cid.to_string()).unwrap(), cid);
                format!("{:?}", cid.version())
            }
        }
    })
}

fn request(input: &[u8]) -> String {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut parts = hyper::Request::builder().uri(lines.next().unwrap_or_default());
    for line in lines.take(100) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(at);
        parts = parts.header(name, value.get(1..).unwrap_or_default().trim_ascii());
    }
    let Ok(request) = parts.body(()) else { return "no request".into() };
    match Request::parse(&request.into_parts().0) {
        Err(refusal) => {
            assert!(refusal.status.is_client_error() && refusal.text.len() <= 2048);
            refusal.text
        }
        Ok(request) => {
            let hosts = Hosts::default();
            let site = format!("{:?}", site(&request.host, &hosts));
            let path = Path::parse(&request.path);
            let trustless = path.as_ref().is_ok_and(|path| request.is_trustless(path));
            let kind = site.split([' ', '(']).next().unwrap_or_default().to_owned();
            format!("{:?} {trustless} {} {kind}", request.format, path.is_ok())
        }
    }
}
