//! The only place that includes generated types. What they mean is decided by those who use them.

/// UnixFS 1.5 (`proto/unixfs.proto`).
#[allow(missing_docs)]
pub mod unixfs {
    include!(concat!(env!("OUT_DIR"), "/unixfs.rs"));
}

/// Messages of the DHT (`proto/dht.proto`).
#[allow(missing_docs)]
pub mod dht {
    include!(concat!(env!("OUT_DIR"), "/dht.rs"));
}

/// IPNS records (`proto/ipns.proto`).
#[allow(missing_docs)]
pub mod ipns {
    include!(concat!(env!("OUT_DIR"), "/ipns.rs"));
}
