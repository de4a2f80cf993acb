//! Clients of Kubo, unchanged, against our daemon. They are installed once into a cache folder
//! outside the clone; where they cannot be had, the test says so and does nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use crate::harness::{Daemon, Repo, skip, soak};
use crate::pinning_api::Pinning;
use crate::swarm::Node;

/// One installation at a time.
static INSTALLING: Mutex<()> = Mutex::new(());

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients").join(name)
}

fn cache(name: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into()));
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    base.unwrap_or_else(|| home().join(".cache")).join("henge/clients").join(name)
}

/// Runs a program to its end; its output is the error.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(said) } else { Err(said) }
}

/// A folder with what `wanted` asks for: made by `install` unless it was made from the same text.
fn installed(
    name: &str,
    wanted: &str,
    install: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<PathBuf, String> {
    let _one = INSTALLING.lock().unwrap_or_else(|broken| broken.into_inner());
    let (folder, stamp) = (cache(name), cache(name).join("installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|text| text == wanted) {
        return Ok(folder);
    }
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).map_err(failed)?;
    install(&folder)?;
    std::fs::write(stamp, wanted).map_err(failed)?;
    Ok(folder)
}

/// The packages for node.
fn node_modules() -> Result<PathBuf, String> {
    let wanted = include_str!("clients/js/package.json");
    run(Command::new("node").arg("--version"))?;
    installed("js", wanted, |folder| {
        std::fs::write(folder.join("package.json"), wanted).map_err(|e| e.to_string())?;
        let flags = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
        run(Command::new("npm").args(flags).current_dir(folder)).map(drop)
    })
}

/// A folder with the JavaScript importer and the script that drives it.
///
/// # Errors
/// Why it cannot be had.
pub fn importer() -> Result<PathBuf, String> {
    let wanted = concat!(
        include_str!("clients/importer/package.json"),
        include_str!("clients/importer/importer.mjs")
    );
    run(Command::new("node").arg("--version"))?;
    installed("importer", wanted, |folder| {
        for name in ["package.json", "importer.mjs"] {
            let from = source("importer").join(name);
            std::fs::copy(from, folder.join(name)).map_err(|e| e.to_string())?;
        }
        let flags = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
        run(Command::new("npm").args(flags).current_dir(folder)).map(drop)
    })
}

/// Python with the packages.
fn python() -> Result<PathBuf, String> {
    let wanted = include_str!("clients/py/requirements.txt");
    let folder = installed("py", wanted, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let pip = folder.join("bin/pip");
        run(Command::new(pip).args(["install", "-q", "-r"]).arg(source("py/requirements.txt")))
            .map(drop)
    })?;
    Ok(folder.join("bin/python"))
}

/// A program over the crate `ipfs-api-backend-hyper`: a package of its own, so that what it brings
/// stays out of henge's.
fn crate_client() -> Result<PathBuf, String> {
    let wanted =
        concat!(include_str!("clients/rust/Cargo.lock"), include_str!("clients/rust/src/main.rs"));
    let folder = installed("rust", wanted, |folder| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--release", "--locked", "--manifest-path"]);
        cargo.arg(source("rust/Cargo.toml")).env("CARGO_TARGET_DIR", folder.join("target"));
        run(&mut cargo).map(drop)
    })?;
    Ok(folder.join("target/release/client"))
}

/// Runs a script of ours beside the packages; all that it says is shown when it fails.
fn script(name: &str, arguments: &[&str]) -> Option<String> {
    let modules = match node_modules() {
        Ok(modules) => modules,
        Err(why) => {
            skip(name, &why);
            return None;
        }
    };
    // Node looks for packages beside the script.
    let place = modules.join(format!("{name}.mjs"));
    let new = modules.join(format!("{name}.{}.new", std::process::id()));
    std::fs::copy(source(&format!("js/{name}.mjs")), &new).unwrap();
    std::fs::rename(&new, &place).unwrap();
    let mut node = Command::new("node");
    node.arg(&place).args(arguments).env_remove("HENGE_PATH").env_remove("IPFS_PATH");
    Some(run(&mut node).unwrap_or_else(|said| panic!("{said}")))
}

#[test]
fn kubo_rpc_client_finds_what_it_expects() {
    let repo = Repo::for_daemon();
    let daemon = Daemon::start(&repo);
    let (url, other) = (format!("http://{}", daemon.api()), Node::start());
    let Some(said) = script("kubo-rpc-client", &[&url, &other.address]) else { return };
    println!("{said}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 44, "{said}");
}

#[test]
fn ipfsd_ctl_runs_our_daemon_by_its_defaults() {
    let Some(said) = script("ipfsd-ctl", &[env!("CARGO_BIN_EXE_henge")]) else { return };
    println!("{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 4, "{said}");
}

#[test]
fn aioipfs_finds_what_it_expects() {
    let python = match python() {
        Ok(python) => python,
        Err(why) => return skip("aioipfs", &why),
    };
    let repo = Repo::for_daemon();
    let daemon = Daemon::start(&repo);
    let (host, port) =
        daemon.api().split_once(':').map(|(h, p)| (h.to_owned(), p.to_owned())).unwrap();
    let mut calls = Command::new(python);
    calls.arg(source("py/aioipfs_calls.py")).arg(format!("/ip4/{host}/tcp/{port}"));
    let said = run(&mut calls).unwrap_or_else(|said| panic!("{said}"));
    println!("{said}");
    assert!(said.lines().filter(|line| line.starts_with("ok ")).count() >= 13, "{said}");
}

/// schemathesis, in a venv of its own.
fn schemathesis() -> Result<PathBuf, String> {
    let wanted = include_str!("clients/py/schemathesis.txt");
    let folder = installed("schemathesis", wanted, |folder| {
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let pip = folder.join("bin/pip");
        run(Command::new(pip).args(["install", "-q", "-r"]).arg(source("py/schemathesis.txt")))
            .map(drop)
    })?;
    Ok(folder.join("bin/schemathesis"))
}

/// The service under so many cases of each operation, and some 270 that every run has; under a seed.
fn schemathesis_drives(cases: u32, seed: &str) -> Option<String> {
    let program = match schemathesis() {
        Ok(program) => program,
        Err(why) => {
            skip("schemathesis", &why);
            return None;
        }
    };
    let service = Pinning::start();
    let schema = "tests/fixtures/pinning/ipfs-pinning-service.json";
    let mut calls = Command::new(program);
    calls.args(["run", "--no-color", "--continue-on-failure", "--generation-database=none"]);
    calls.args(["--checks=all", "--url", &service.url(), "--seed", seed]);
    calls.args(["--max-examples", &cases.to_string(), "--suppress-health-check=all"]);
    calls.args(["-H", &format!("Authorization: Bearer {}", service.token)]);
    calls.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(schema));
    calls.env("SCHEMATHESIS_HOOKS", "pinning_hooks").env("PYTHONPATH", source("py"));
    calls.env("PYTHONDONTWRITEBYTECODE", "1").current_dir(service.repo.path(""));
    let said = run(&mut calls).unwrap_or_else(|said| panic!("{said}"));
    let log = std::fs::read_to_string(service.repo.path("daemon.log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("service failed"), "{log}");
    Some(said)
}

#[test]
fn the_pinning_service_answers_as_its_schema_says() {
    let cases = if soak() { 950 } else { 20 };
    let Some(said) = schemathesis_drives(cases, "1") else { return };
    println!("{said}");
}

#[test]
fn pinning_service_client_finds_what_it_expects() {
    let service = Pinning::start();
    service.repo.file("hello", "hello\n");
    let cid = service.repo.ok(["add", "-Q", "hello"]);
    let arguments = [service.url().as_str(), &service.token, &cid].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let Some(said) = script("pinning-service-client", &arguments) else { return };
    println!("{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 9, "{said}");
}

#[test]
fn ipfs_api_backend_hyper_finds_what_it_expects() {
    let client = match crate_client() {
        Ok(client) => client,
        Err(why) => return skip("ipfs-api-backend-hyper", &why),
    };
    let repo = Repo::for_daemon();
    let daemon = Daemon::start(&repo);
    let mut calls = Command::new(client);
    calls.arg(format!("http://{}", daemon.api()));
    let said = run(&mut calls).unwrap_or_else(|said| panic!("{said}"));
    println!("{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), 23, "{said}");
}
