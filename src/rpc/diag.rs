//! `diag`.

use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::config::units::parse_duration;
use crate::machine;
use crate::node::KUBO_LEVEL;

/// Whether the node does its work: not when it is about to stop, or its store cannot be read.
pub async fn healthy(router: &Router) -> Result<Reply, Error> {
    if router.stop.is_cancelled() {
        return Err(Error { message: "daemon is shutting down".into(), client: false });
    }
    router.node.probe().await?;
    Ok(Reply::Value(Value::String("ok".into())))
}

/// The machine and the process, in Kubo's shape; what is Go's own is empty or zero.
pub async fn sys(router: &Router) -> Result<Reply, Error> {
    let root = router.repo.root();
    let failed = |e| Error::invalid(format!("{}: {e}", root.display()));
    let disk = machine::disk(root).map_err(failed)?;
    let usage = machine::usage();
    let addresses = machine::addresses().into_iter().map(|address| match address.is_ipv4() {
        true => format!("/ip4/{address}"),
        false => format!("/ip6/{address}"),
    });
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let cores = crate::task::cores();
    Ok(Reply::Value(json!({
        "diskinfo": {
            "free_space": disk.free_bytes,
            "fstype": disk.kind.to_string(),
            "total_space": disk.total_bytes,
        },
        "environment": {
            "GOPATH": variable("GOPATH"),
            "HENGE_PATH": variable("HENGE_PATH"),
            "IPFS_PATH": variable("IPFS_PATH"),
        },
        "ipfs_commit": concat!("henge-", env!("CARGO_PKG_VERSION")),
        "ipfs_version": KUBO_LEVEL,
        "memory": { "swap": usage.swap_bytes, "virt": usage.virtual_bytes },
        "net": { "interface_addresses": addresses.collect::<Vec<_>>(), "online": router.node.is_online() },
        "runtime": {
            "arch": super::arch(),
            "compiler": "rustc",
            "gomaxprocs": cores,
            "numcpu": cores,
            "numgoroutines": 0,
            "numthreads": usage.threads,
            "os": std::env::consts::OS,
            "version": "none",
        },
    })))
}

/// The requests that run, and those that ran.
pub fn cmds(router: &Router) -> Reply {
    Reply::Value(router.requests.report())
}

/// Forgets the requests that have ended.
pub fn clear(router: &Router) -> Reply {
    router.requests.clear();
    Reply::Empty
}

/// Says how long requests are remembered that have ended.
pub fn set_time(router: &Router, args: &Args) -> Result<Reply, Error> {
    let time = parse_duration(args.one("time")?).map_err(|e| Error::invalid(e.to_string()))?;
    router.requests.keep_for(time);
    Ok(Reply::Empty)
}
