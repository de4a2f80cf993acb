//! What a token must be good for to run a command: to read, to pin, or else to administer.

use crate::node::service::Need;

/// Commands that look at content and at figures, and change nothing. Sorted.
const READ: &[&str] = &[
    "bitswap/ledger",
    "bitswap/stat",
    "bitswap/wantlist",
    "block/get",
    "block/stat",
    "cat",
    "cid/base32",
    "cid/bases",
    "cid/codecs",
    "cid/format",
    "cid/hashes",
    "cid/inspect",
    "commands",
    "dag/export",
    "dag/get",
    "dag/resolve",
    "dag/stat",
    "diag/fetches",
    "diag/healthy",
    "get",
    "id",
    "log/ls",
    "ls",
    "multibase/decode",
    "multibase/encode",
    "multibase/list",
    "multibase/transcode",
    "pin/ls",
    "pin/verify",
    "ping",
    "provide/stat",
    "refs",
    "refs/local",
    "repo/ls",
    "repo/stat",
    "repo/version",
    "resolve",
    "routing/findpeer",
    "routing/findprovs",
    "routing/get",
    "stats/bitswap",
    "stats/bw",
    "stats/dht",
    "stats/provide",
    "stats/repo",
    "swarm/addrs",
    "swarm/addrs/listen",
    "swarm/addrs/local",
    "swarm/peers",
    "version",
];

/// Commands that add content, and pin it. Sorted.
const PIN: &[&str] = &[
    "add",
    "block/put",
    "dag/import",
    "dag/put",
    "pin/add",
    "pin/remote/add",
    "pin/remote/ls",
    "pin/remote/rm",
    "pin/rm",
    "pin/update",
    "provide/once",
    "routing/provide",
];

/// What it takes to run a command. One that is in no list is the administrator's.
pub fn need(command: &str) -> Need {
    if READ.binary_search(&command).is_ok() {
        return Need::Read;
    }
    match PIN.binary_search(&command) {
        Ok(_) => Need::Pin,
        Err(_) => Need::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Router;
    use super::*;

    #[test]
    fn lists_are_sorted_and_name_commands() {
        assert!(READ.is_sorted() && PIN.is_sorted());
        for command in READ.iter().chain(PIN) {
            assert!(Router::knows(command), "{command}");
        }
        assert_eq!(
            [need("cat"), need("add"), need("config")],
            [Need::Read, Need::Pin, Need::Admin]
        );
    }
}
