//! What this process takes and what its machine has, as the system tells it: memory, descriptors,
//! a disk's room, addresses.
//!
//! Linux tells through `/proc`; elsewhere the figures that come from there are zero.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime};

/// Ticks of `/proc/self/stat` a second: fixed in Linux's interface, whatever the kernel's own.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the process takes now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Bytes that were swapped out.
    pub swap_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open descriptors.
    pub open_files: u64,
    /// Descriptors it may have open.
    pub open_files_max: u64,
    /// Seconds of processor time since its start.
    pub cpu_seconds: f64,
}

/// What the process takes now.
pub fn usage() -> Usage {
    let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let (status, limits) = (read("status"), read("limits"));
    let field = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        found.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0_u64)
    };
    let open = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count() as u64);
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    let most = most.and_then(|text| text.split_whitespace().next()?.parse().ok());
    Usage {
        resident_bytes: field("VmRSS").saturating_mul(1024),
        virtual_bytes: field("VmSize").saturating_mul(1024),
        swap_bytes: field("VmSwap").saturating_mul(1024),
        threads: field("Threads"),
        open_files: open,
        open_files_max: most.unwrap_or(0),
        cpu_seconds: cpu_seconds(&read("stat")),
    }
}

/// Time in the process and in the system for it, out of `/proc/self/stat`. The second field is the
/// program's name, in parentheses, and may hold anything.
fn cpu_seconds(stat: &str) -> f64 {
    let behind = stat.rsplit_once(") ").map_or("", |(_, behind)| behind);
    let ticks: u64 =
        behind.split(' ').skip(11).take(2).filter_map(|text| text.parse::<u64>().ok()).sum();
    ticks as f64 / TICKS_PER_SECOND
}

/// Raises the number of descriptors that the process may have open to what it may raise it to.
pub fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is refused, the old limit stands: listeners wait when it is reached.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// When the process began: when this was first asked, so it is asked first of all.
pub fn started() -> (SystemTime, Instant) {
    static STARTED: OnceLock<(SystemTime, Instant)> = OnceLock::new();
    *STARTED.get_or_init(|| (SystemTime::now(), Instant::now()))
}

/// A file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Its kind, as the system numbers it.
    pub kind: u64,
    /// All its bytes.
    pub total_bytes: u64,
    /// Those that are free.
    pub free_bytes: u64,
}

/// The file system that holds a path.
///
/// # Errors
/// The system's.
pub fn disk(path: &Path) -> std::io::Result<Disk> {
    let stat = rustix::fs::statfs(path)?;
    let block = u64::try_from(stat.f_bsize).unwrap_or(0);
    Ok(Disk {
        kind: u64::try_from(stat.f_type).unwrap_or(0),
        total_bytes: stat.f_blocks.saturating_mul(block),
        free_bytes: stat.f_bfree.saturating_mul(block),
    })
}

/// Addresses of this machine.
pub fn addresses() -> Vec<IpAddr> {
    let trie = fs::read_to_string("/proc/net/fib_trie").unwrap_or_default();
    let table = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut found = v4_addresses(&trie);
    found.extend(v6_addresses(&table));
    found
}

/// The leaves of the routing table that are this machine's own.
fn v4_addresses(trie: &str) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    let mut last = None;
    for line in trie.lines() {
        if let Some(leaf) = line.trim_start().strip_prefix("|-- ") {
            last = leaf.parse::<Ipv4Addr>().ok().map(IpAddr::from);
        } else if line.contains("/32 host LOCAL")
            && let Some(address) = last.take()
            && !found.contains(&address)
        {
            found.push(address);
        }
    }
    found
}

fn v6_addresses(table: &str) -> Vec<IpAddr> {
    let address = |line: &str| u128::from_str_radix(line.split(' ').next()?, 16).ok();
    table.lines().filter_map(address).map(|bits| Ipv6Addr::from_bits(bits).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_as_many_as_may_be() {
        raise_open_files();
        let limits = fs::read_to_string("/proc/self/limits").unwrap();
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(words.next(), words.next());
    }

    #[test]
    fn a_process_has_memory_and_files() {
        let usage = usage();
        assert!(usage.resident_bytes > 1 << 20 && usage.virtual_bytes >= usage.resident_bytes);
        assert!(usage.threads > 0 && usage.open_files > 2 && usage.open_files_max > 2);
        assert!(disk(Path::new("/")).unwrap().total_bytes > 0);
        assert!(disk(Path::new("/no such place")).is_err());
        assert!(started() == started());
    }

    #[test]
    fn what_the_system_tells_is_taken_apart() {
        let stat = "1 (a) b) S 0 1 1 0 -1 4194560 1 2 3 4 250 50 6 7 20 0 1 0 5";
        assert_eq!((cpu_seconds(stat), cpu_seconds("")), (3.0, 0.0));
        let trie = "  +-- 127.0.0.0/8 2 0 2\n     |-- 127.0.0.1\n        /32 host LOCAL\n     \
                    |-- 127.255.255.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        \
                    /32 host LOCAL\n";
        assert_eq!(v4_addresses(trie), [IpAddr::from([127, 0, 0, 1])]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n";
        assert_eq!(v6_addresses(table), [IpAddr::from(Ipv6Addr::LOCALHOST)]);
    }
}
