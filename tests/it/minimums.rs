//! The least versions of what this crate is built of, where an older one lets a stranger crash a
//! node or speaks another dialect: checked over `Cargo.lock`, and held in `.deny.toml`, too.

use std::collections::HashMap;

/// A crate's name, or the beginning of it before a `*`; the least version; and why.
const MINIMUMS: &[(&str, &str, &str)] = &[
    ("bytes", "1.11.1", "RUSTSEC-2026-0007: BytesMut::reserve overflows"),
    ("ed25519-dalek", "2.0.0", "RUSTSEC-2022-0093: signing under another public key"),
    ("h2", "0.4.16", "RUSTSEC-2026-0258 and before it: floods of frames"),
    ("hickory-*", "0.26.0", "RUSTSEC-2026-0118, -0119, -0120: loops over an answer"),
    (
        "libp2p",
        "0.57.0",
        "identify with another key, legacy peer records, relay and AutoNAT panics",
    ),
    ("libp2p-gossipsub", "0.49.4", "CVE-2026-33040, CVE-2026-34219: PRUNE backoff overflows"),
    ("libp2p-identity", "0.3.0", "secp256k1 signatures with a high S are refused by others"),
    ("libp2p-quic", "0.13.1", "GHSA-5hq8-qhww-jm7q: a certificate panics after the handshake"),
    ("lru", "0.16.3", "RUSTSEC-2026-0002: IterMut"),
    ("lz4_flex", "0.11.6", "RUSTSEC-2026-0041: reads beyond what was written"),
    ("quinn-proto", "0.11.15", "RUSTSEC-2026-0037, -0185: transport parameters, reassembly"),
    ("ring", "0.17.12", "RUSTSEC-2025-0009: a QUIC header panics under overflow checks"),
    ("rustls", "0.23.5", "RUSTSEC-2024-0336: complete_io loops"),
    ("snow", "0.9.5", "RUSTSEC-2024-0011: the nonce moves on what was not authentic"),
    ("yamux", "0.13.10", "CVE-2026-31814, CVE-2026-32314: two frames that panic"),
];

/// Crates that are not to be there in any version.
const NEVER: &[(&str, &str)] = &[
    ("libp2p-rendezvous", "GHSA-cqfx-gf56-8x59, GHSA-v5hw-cv9c-rpg7: registrations without bound"),
    ("serde_cbor", "RUSTSEC-2021-0127: unmaintained, recursion without bound"),
];

fn root(name: &str) -> String {
    std::fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn version(text: &str) -> Vec<u64> {
    let numbers = text.split(['-', '+']).next().unwrap_or_default().split('.');
    numbers.map(|number| number.parse().unwrap()).collect()
}

/// Versions by name.
fn locked(lock: &str) -> HashMap<String, Vec<String>> {
    let mut all: HashMap<String, Vec<String>> = HashMap::new();
    let mut name = String::new();
    for line in lock.lines() {
        let value = |key: &str| line.strip_prefix(key)?.strip_suffix('"').map(str::to_owned);
        if let Some(found) = value("name = \"") {
            name = found;
        } else if let Some(version) = value("version = \"") {
            all.entry(name.clone()).or_default().push(version);
        }
    }
    all
}

/// What is locked below its minimum, or at all though it must not.
fn offences(lock: &str) -> Vec<String> {
    let mut offences = Vec::new();
    for (name, versions) in locked(lock) {
        for (pattern, least, why) in MINIMUMS {
            let is_it = match pattern.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == *pattern,
            };
            let old = versions.iter().filter(|found| is_it && version(found) < version(least));
            offences.extend(old.map(|found| format!("{name} {found} < {least}: {why}")));
        }
        let never = NEVER.iter().filter(|(never, _)| name == *never);
        offences.extend(never.map(|(_, why)| format!("{name}: {why}")));
    }
    offences
}

#[test]
fn what_is_built_of_is_new_enough() {
    assert_eq!(offences(&root("Cargo.lock")), Vec::<String>::new());
    let old = "[[package]]\nname = \"yamux\"\nversion = \"0.13.9\"\n[[package]]\nname = \
               \"hickory-proto\"\nversion = \"0.25.2\"\n[[package]]\nname = \"serde_cbor\"\n\
               version = \"0.11.2\"\n[[package]]\nname = \"h2\"\nversion = \"0.4.16\"\n";
    assert_eq!(offences(old).len(), 3, "{:?}", offences(old));
}

#[test]
fn cargo_deny_holds_the_same_minimums() {
    let deny = root(".deny.toml");
    for (pattern, least, _) in MINIMUMS {
        let beginning = pattern.trim_end_matches('*');
        let held = deny.lines().any(|line| {
            line.contains(&format!("crate = \"{beginning}"))
                && line.contains(&format!(":<{least}\""))
        });
        assert!(held, ".deny.toml says nothing of {pattern} < {least}");
    }
    for (name, _) in NEVER {
        assert!(deny.contains(&format!("crate = \"{name}\"")), ".deny.toml allows {name}");
    }
}
