//! Other implementations as child processes that speak JSON lines: started, asked, ended.
//!
//! Their drivers and what they need stand in `tests/peers`; `.ci/peers` installs that into a cache
//! folder outside the clone. Where it cannot be had, [`found`] says why.

pub mod helia;
pub mod kubo;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

/// Longest wait for an answer: the other side's own time-outs come first.
const PATIENCE: Duration = Duration::from_secs(180);

/// How nodes reach each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Quic,
    Ws,
}

impl Transport {
    /// Where to listen for it: the loopback, a free port.
    pub fn listen(self) -> &'static str {
        match self {
            Self::Tcp => "/ip4/127.0.0.1/tcp/0",
            Self::Quic => "/ip4/127.0.0.1/udp/0/quic-v1",
            Self::Ws => "/ip4/127.0.0.1/tcp/0/ws",
        }
    }
}

/// A running node of somebody else's; it ends with this.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    /// Its ID.
    pub id: String,
    /// Its addresses, with the ID.
    pub addresses: Vec<String>,
    /// Its repository and its log.
    folder: tempfile::TempDir,
}

impl Peer {
    /// Starts a driver and waits until it says who it is.
    fn start(mut command: Command, folder: tempfile::TempDir) -> Self {
        let log = std::fs::File::create(folder.path().join("stderr")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (out, lines) = channel();
        // Ends with the child, or when nobody listens any more.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if out.send(line).is_err() {
                    return;
                }
            }
        });
        let (id, addresses) = (String::new(), Vec::new());
        let mut peer = Self { child, input, lines, id, addresses, folder };
        let first = peer.answer();
        peer.id = first["id"].as_str().unwrap().to_owned();
        peer.addresses = texts(&first["addrs"]);
        peer
    }

    /// Asks for an operation; its result, or what it says went wrong.
    pub fn ask(&mut self, asked: &Value) -> Result<Value, String> {
        writeln!(self.input, "{asked}").map_err(|e| e.to_string())?;
        let answer = self.answer();
        match answer.get("error") {
            Some(error) => Err(format!("{asked}: {error}")),
            None => Ok(answer),
        }
    }

    fn answer(&mut self) -> Value {
        let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|why| {
            let log = self.folder.path().join("stderr");
            let said = std::fs::read_to_string(log).unwrap_or_default();
            panic!("no answer: {why}\n{said}")
        });
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
    }

    /// Connects with an address.
    pub fn connect(&mut self, address: &str) {
        self.ask(&json!({ "op": "connect", "addr": address })).unwrap();
    }

    /// Whether it says that it is connected with a peer.
    pub fn is_connected(&mut self, id: &str) -> bool {
        let peers = self.ask(&json!({ "op": "peers" })).unwrap();
        texts(&peers["peers"]).iter().any(|peer| peer.contains(id))
    }

    /// Adds a file; gives its CID.
    pub fn add(&mut self, path: &Path) -> String {
        let added = self.ask(&json!({ "op": "add", "path": path })).unwrap();
        added["cid"].as_str().unwrap().to_owned()
    }

    /// The CID of a file or folder; nothing is stored (Kubo only).
    pub fn hash(&mut self, path: &Path) -> String {
        let hashed = self.ask(&json!({ "op": "hash", "path": path })).unwrap();
        hashed["cid"].as_str().unwrap().to_owned()
    }

    /// Writes a file, from whoever has it.
    pub fn get(&mut self, cid: &str, dest: &Path) {
        self.ask(&json!({ "op": "get", "cid": cid, "dest": dest })).unwrap();
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended already. Kubo as a library swallows anything gentler.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|text| text.as_str().unwrap().to_owned()).collect()
}

/// A file of `tests/peers`.
fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// What was found, so that one that cannot be had is looked for once.
static FOUND: Mutex<BTreeMap<String, Result<PathBuf, String>>> = Mutex::new(BTreeMap::new());

/// The folder with an installed peer, which the script installs if need be; else why it cannot.
fn found(name: &str, wanted: &str) -> Result<PathBuf, String> {
    let mut found = FOUND.lock().unwrap_or_else(|broken| broken.into_inner());
    found.entry(name.to_owned()).or_insert_with(|| look_for(name, wanted)).clone()
}

fn look_for(name: &str, wanted: &str) -> Result<PathBuf, String> {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into()));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let place = cache.unwrap_or_else(|| home().join(".cache")).join("henge/peers").join(name);
    let wanted = std::fs::read(source(wanted)).unwrap();
    let is_there = || std::fs::read(place.join("installed")).is_ok_and(|made| made == wanted);
    if is_there() {
        return Ok(place);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/peers");
    let said = Command::new("bash").arg(script).arg(name).output().map_err(|e| e.to_string())?;
    let said = String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned();
    match is_there() {
        true => Ok(place),
        false => {
            let why = said.lines().last().unwrap_or_default();
            Err(why.trim_start_matches("== SKIPPED ").to_owned())
        }
    }
}
