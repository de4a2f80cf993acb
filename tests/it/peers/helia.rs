//! Helia 7, from npm, with the version of node that it wants.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::{Peer, Transport, found, source};

/// Helia; stands for its ways to be started.
pub struct Helia;

/// Tells the copies of the driver apart.
static STARTED: AtomicUsize = AtomicUsize::new(0);

impl Helia {
    /// Starts one, with a DHT of the local network or none.
    ///
    /// # Errors
    /// Why there is none here.
    pub fn start(transports: &[Transport], dht: bool) -> Result<Peer, String> {
        let place = found("helia", "package-lock.json")?;
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        // Node looks for packages beside the script.
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let driver = place.join(format!("peer-{}-{number}.mjs", std::process::id()));
        std::fs::copy(source("helia_peer.mjs"), &driver).map_err(|e| e.to_string())?;
        let listen: Vec<&str> = transports.iter().map(|transport| transport.listen()).collect();
        let options = json!({ "listen": listen, "dht": if dht { "lan" } else { "none" } });
        let mut command = Command::new(place.join("node_modules/.bin/node"));
        command.arg(&driver).arg(options.to_string());
        let peer = Peer::start(command, folder);
        // It was read: the copy has served.
        let _ = std::fs::remove_file(driver);
        Ok(peer)
    }
}

impl Peer {
    /// Pings an address (Helia only).
    pub fn ping(&mut self, address: &str) -> f64 {
        let answer = self.ask(&json!({ "op": "ping", "addr": address })).unwrap();
        answer["ms"].as_f64().unwrap()
    }

    /// Tells the DHT that it has a block (Helia only).
    pub fn provide(&mut self, cid: &str) {
        self.ask(&json!({ "op": "provide", "cid": cid })).unwrap();
    }

    /// Who the DHT says has a block; stops at `count` (Helia only).
    pub fn providers(&mut self, cid: &str, count: usize) -> Vec<String> {
        let asked = json!({ "op": "findprovs", "cid": cid, "count": count });
        let found: Value = self.ask(&asked).unwrap();
        super::texts(&found["found"])
    }
}
