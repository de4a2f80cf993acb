//! Turns `proto/*.proto` into Rust. Pure Rust, so that no protoc is needed.

fn main() {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["proto/unixfs.proto"], ["proto"]).expect("proto files compile");
    prost_build::Config::new()
        .bytes(["."])
        .compile_fds(files)
        .expect("Rust is written for the proto files");
}
