//! The only place that includes generated types. What they mean is decided by those who use them.

/// UnixFS 1.5 (`proto/unixfs.proto`).
#[allow(missing_docs)]
pub mod unixfs {
    include!(concat!(env!("OUT_DIR"), "/unixfs.rs"));
}
