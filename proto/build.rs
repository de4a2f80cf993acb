//! Turns `proto/*.proto` into Rust. Pure Rust, so that no protoc is needed.
#![allow(clippy::expect_used, reason = "a build that cannot go on stops")]

fn main() {
    println!("cargo::rerun-if-changed=proto");
    let files =
        protox::compile(["proto/dht.proto", "proto/ipns.proto", "proto/unixfs.proto"], ["proto"])
            .expect("proto files compile");
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(files)
        .expect("Rust is written for the proto files");
}
