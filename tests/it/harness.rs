//! What every test here needs: a repository of its own, the `henge` binary, and input that can be
//! made again from a seed.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use henge::config::repo::{self, RepoError};
use henge::daemon::BootError;
use henge::node::Node;
use sha2::Digest as _;

/// How long another test's child may hold a lock.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// A repository in a temporary folder; both are gone when this is dropped.
pub struct Repo {
    pub dir: tempfile::TempDir,
}

/// What a command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: Vec<u8>,
    pub err: String,
}

impl Said {
    /// Standard output as text, without the last newline.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).trim_end_matches('\n').to_owned()
    }
}

impl Repo {
    /// A fresh repository under the default settings.
    pub fn new() -> Self {
        Self::with(["init"])
    }

    /// A fresh repository for a daemon: loopback only, free ports.
    pub fn for_daemon() -> Self {
        Self::with(["init", "--profile=test"])
    }

    fn with<const N: usize>(init: [&str; N]) -> Self {
        let repo = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        repo.ok(init);
        repo
    }

    /// A folder for a repository that is not there yet.
    pub fn absent() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    /// The repository's root.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    /// A path in the temporary folder, beside the repository.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file beside the repository, with the folders above it.
    pub fn file(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The command, not yet started: in the temporary folder, with this repository.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_henge"));
        command.args(args).current_dir(self.dir.path()).env("HENGE_PATH", self.root());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Said {
        said(self.command(args).output().expect("henge starts"))
    }

    /// Runs a command with standard input.
    pub fn feed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Said {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("henge starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        let input = input.to_vec();
        let feeding = std::thread::spawn(move || {
            // A command may well end before it has read everything.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().expect("henge ends");
        feeding.join().expect("the feeding thread");
        said(output)
    }

    /// Runs a command that must succeed, and gives its output as text.
    pub fn ok<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        let said = self.run(args);
        assert_eq!(said.code, 0, "{}", said.err);
        said.text()
    }

    /// Runs a command that must fail with one line, exit code 1 and no panic; gives the line.
    pub fn fails<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> String {
        one_line(&self.run(args))
    }
}

/// A running `henge daemon`; it ends with this.
pub struct Daemon {
    child: Child,
    api: String,
    /// Where its gateway listens: host and port; empty without one.
    pub gateway: String,
}

impl Daemon {
    /// Starts one over a repository and waits until it answers.
    pub fn start(repo: &Repo) -> Self {
        Self::with(repo, &["daemon"])
    }

    /// The same without a network: what is not here is told at once.
    pub fn offline(repo: &Repo) -> Self {
        Self::with(repo, &["daemon", "--offline"])
    }

    fn with(repo: &Repo, args: &[&str]) -> Self {
        let log = std::fs::File::create(repo.path("daemon.log")).expect("a log");
        let mut command = repo.command(args);
        command.stdout(log.try_clone().expect("a log")).stderr(log);
        let _ = std::fs::remove_file(repo.root().join("api"));
        let child = command.spawn().expect("henge starts");
        let mut daemon = Self { child, api: String::new(), gateway: String::new() };
        let since = Instant::now();
        let said = || std::fs::read_to_string(repo.path("daemon.log")).unwrap_or_default();
        while !said().contains("Daemon is ready") {
            let ended = daemon.child.try_wait().expect("a child");
            assert!(ended.is_none(), "the daemon ended: {}", said());
            assert!(since.elapsed() < Duration::from_secs(60), "no daemon: {}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
        let address = std::fs::read_to_string(repo.root().join("api")).expect("the file api");
        let parts: Vec<&str> = address.split('/').collect();
        if let ["", "ip4", host, "tcp", port] = parts.as_slice() {
            daemon.api = format!("{host}:{port}");
        }
        let url = std::fs::read_to_string(repo.root().join("gateway")).unwrap_or_default();
        daemon.gateway = url.trim_start_matches("http://").to_owned();
        daemon
    }

    /// Where its RPC listens: `host:port`; empty when that is no TCP address.
    pub fn api(&self) -> String {
        self.api.clone()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it by SIGTERM; gives how it ended and how long that took.
    pub fn stop(mut self) -> (std::process::ExitStatus, Duration) {
        let since = Instant::now();
        self.signal(rustix::process::Signal::TERM);
        (self.wait(), since.elapsed())
    }

    /// Ends it by SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("a signal");
        self.child.wait().expect("a child");
    }

    /// Waits for its end, a minute at most.
    pub fn wait(&mut self) -> std::process::ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(since.elapsed() < Duration::from_secs(60), "the daemon does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid");
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("a signal");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks that a command failed as it should, and gives its line.
pub fn one_line(said: &Said) -> String {
    assert_eq!(said.code, 1, "out: {:?} err: {:?}", said.text(), said.err);
    let line = said.err.trim_end_matches('\n');
    assert!(line.starts_with("Error: ") && !line.contains('\n'), "not one line: {line:?}");
    assert!(!line.contains("panicked"), "{line}");
    line.to_owned()
}

/// What a finished command said.
pub fn said(output: Output) -> Said {
    Said {
        // A signal is no exit code: a value that no assertion expects.
        code: output.status.code().unwrap_or(-1),
        out: output.stdout,
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// `len` bytes of the ChaCha20 keystream under the key sha2-256(seed): what the fixtures are made
/// of.
pub fn keystream(seed: &str, len: usize) -> Vec<u8> {
    use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
    let key: [u8; 32] = sha2::Sha256::digest(seed.as_bytes()).into();
    let mut bytes = vec![0; len];
    rand_chacha::ChaCha20Rng::from_seed(key).fill_bytes(&mut bytes);
    bytes
}

/// Whether the full form of a long test was asked for.
pub fn soak() -> bool {
    std::env::var_os("HENGE_SOAK").is_some_and(|value| value == "1")
}

/// Says, by name, that a test cannot run here, and why. Past libtest, which would keep what a test
/// that passes has said to itself.
pub fn skip(test: &str, why: &str) {
    let line = format!("SKIPPED {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("a standard error");
}

/// Waits until a repository that was opened in this process is closed: a task that is about to end may
/// hold its store longer than whoever opened it, and write when it lets go.
pub fn closed(root: &Path) {
    drop(repo::Repo::open(root, Some(6 * LOCK_WAIT)).expect("nobody has it open"));
}

/// Opens a repository in this process. A child of another test may hold its lock, too, between its fork
/// and its exec: that is waited for.
pub fn open_here(root: &Path) -> Result<(Node, repo::Repo), BootError> {
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match henge::daemon::open(root) {
            Err(BootError::Repo(RepoError::Locked { .. })) if Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            other => return other,
        }
    }
}
