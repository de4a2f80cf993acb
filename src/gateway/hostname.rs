//! Hosts: which content a host name stands for. On `localhost`, and where an operator wants it, each
//! root gets an origin of its own, so that one page cannot read what another one keeps in the browser.
//!
//! Source: ipfs/specs subdomain-gateway.md.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use crate::ipld::cid::{self, Base, Cid, Version, codec};

/// Longest name between two dots, in bytes (RFC 1034).
const LABEL_MAX_BYTES: usize = 63;

/// Longest host name, in bytes (RFC 1035).
const NAME_MAX_BYTES: usize = 253;

/// A host with rules of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Its name, with its port if that matters; `*` stands for one label.
    pub name: String,
    /// The paths that lead to content here: `/ipfs`, `/ipns`.
    pub paths: Vec<String>,
    /// Whether each root has an origin below this host.
    pub subdomains: bool,
    /// Whether files, folders and data are served; the gateway's own rule unless told.
    pub deserialized: Option<bool>,
}

impl Host {
    fn is(&self, name: &str) -> bool {
        let mut labels = name.split('.');
        let mut alike = self.name.split('.').map(|wanted| {
            labels
                .next()
                .is_some_and(|l| wanted.eq_ignore_ascii_case(l) || (wanted == "*" && !l.is_empty()))
        });
        alike.all(|same| same) && labels.next().is_none()
    }

    /// Whether a path leads to content on this host.
    pub fn serves(&self, path: &str) -> bool {
        self.paths.iter().any(|prefix| {
            let rest = path.strip_prefix(prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// The hosts that are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts(Vec<Host>);

impl Default for Hosts {
    fn default() -> Self {
        let paths = ["/ipfs", "/ipns"].map(str::to_owned).to_vec();
        let name = "localhost".to_owned();
        Self(vec![Host { name, paths, subdomains: true, deserialized: None }])
    }
}

impl Hosts {
    /// Adds a host, in place of one of the same name.
    pub fn add(&mut self, host: Host) {
        self.remove(&host.name);
        self.0.push(host);
    }

    /// Forgets a host.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|known| !known.name.eq_ignore_ascii_case(name));
    }

    /// The host of a name, looked for with its port first. One that is spelled out comes before
    /// one with a `*`.
    fn known(&self, name: &str, port: Option<&str>) -> Option<&Host> {
        let full = port.map(|port| format!("{name}:{port}"));
        let is = |host: &&Host| full.as_ref().is_some_and(|full| host.is(full)) || host.is(name);
        let plain = |host: &&Host| !host.name.contains('*');
        let mut found = self.0.iter().filter(is);
        found.clone().find(plain).or_else(|| found.next())
    }
}

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site<'a> {
    /// Content by its path; no isolation, and nothing known of the host.
    Shared,
    /// A host with rules of its own.
    Known(&'a Host),
    /// One root's own host.
    Own {
        /// `ipfs` or `ipns`.
        space: &'static str,
        /// The root, as the host writes it.
        label: String,
        /// The host above, with its port.
        parent: String,
        /// The rules of the host above.
        host: &'a Host,
    },
}

impl Site<'_> {
    /// The rules of the host, if it has any.
    pub fn host(&self) -> Option<&Host> {
        match self {
            Self::Shared => None,
            Self::Known(host) | Self::Own { host, .. } => Some(host),
        }
    }
}

/// Reads a host, with its port if it has one.
pub fn site<'a>(host: &str, hosts: &'a Hosts) -> Site<'a> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    };
    if name.len() > NAME_MAX_BYTES {
        return Site::Shared;
    }
    if let Some(known) = hosts.known(name, port) {
        return Site::Known(known);
    }
    // The label keeps its case: base58 would be lost without it.
    for (at, _) in name.rmatch_indices('.') {
        let (Some(above), Some(parent)) = (name.get(..at), name.get(at.saturating_add(1)..)) else {
            continue;
        };
        let Some((label, space)) = above.rsplit_once('.') else { continue };
        let space = ["ipfs", "ipns"].into_iter().find(|known| known.eq_ignore_ascii_case(space));
        let known = hosts.known(parent, port).filter(|host| host.subdomains);
        if let (Some(space), Some(host), false) = (space, known, label.is_empty()) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            let parent = format!("{}{port}", parent.to_ascii_lowercase());
            return Site::Own { space, label: label.to_owned(), parent, host };
        }
    }
    Site::Shared
}

/// How a host writes a CID: version 1, in base32 or, where that is too long, base36. `None` when
/// neither fits between two dots.
pub fn label(cid: &Cid) -> Option<String> {
    let cid = match cid.version() {
        Version::V0 => Cid::new_v1(codec::DAG_PB, *cid.hash()),
        Version::V1 => *cid,
    };
    let fits = |base| Some(cid::print(&cid, base, true)).filter(|t| t.len() <= LABEL_MAX_BYTES);
    fits(Base::Base32Lower).or_else(|| fits(Base::Base36Lower))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, subdomains: bool) -> Host {
        Host { name: name.into(), paths: vec!["/ipfs".into()], subdomains, deserialized: None }
    }

    /// A site in a line: `known <name>`, or `<space> <label> <parent>`.
    fn told(name: &str, hosts: &Hosts) -> String {
        match site(name, hosts) {
            Site::Shared => "shared".into(),
            Site::Known(host) => format!("known {}", host.name),
            Site::Own { space, label, parent, .. } => format!("{space} {label} {parent}"),
        }
    }

    #[test]
    fn hosts_stand_for_content() {
        for (host, meant) in [
            ("127.0.0.1:8080", "shared"),
            ("[::1]:8080", "shared"),
            ("example.com", "shared"),
            ("evillocalhost", "shared"),
            ("localhost", "known localhost"),
            ("LocalHost:8080", "known localhost"),
            ("bafy.ipfs.localhost:8080", "ipfs bafy localhost:8080"),
            ("QmX.IPFS.LOCALhost", "ipfs QmX localhost"),
            ("en-site.ipns.localhost:1", "ipns en-site localhost:1"),
            ("en.site.ipns.localhost:1", "ipns en.site localhost:1"),
            ("ipfs.localhost", "shared"),
            (".ipfs.localhost", "shared"),
            ("x.localhost", "shared"),
            ("xipfs.localhost", "shared"),
            ("", "shared"),
            (".", "shared"),
            ("ą", "shared"),
        ] {
            assert_eq!(told(host, &Hosts::default()), meant, "{host}");
        }
        let long = format!("{}localhost", "a.".repeat(30_000));
        assert_eq!(told(&long, &Hosts::default()), "shared");
    }

    #[test]
    fn operators_name_hosts_of_their_own() {
        let mut hosts = Hosts::default();
        for known in [
            host("dweb.example", true),
            host("*.example.net", true),
            host("a.example.net", false),
            host("flat.example:8080", false),
        ] {
            hosts.add(known);
        }
        for (name, meant) in [
            ("dweb.example:443", "known dweb.example"),
            ("bafy.ipfs.dweb.example", "ipfs bafy dweb.example"),
            ("b.example.net", "known *.example.net"),
            ("a.example.net", "known a.example.net"),
            ("x.y.example.net", "shared"),
            ("example.net", "shared"),
            ("bafy.ipfs.b.example.net:1", "ipfs bafy b.example.net:1"),
            ("bafy.ipfs.a.example.net", "shared"),
            ("flat.example:8080", "known flat.example:8080"),
            ("flat.example", "shared"),
            ("bafy.ipfs.flat.example:8080", "shared"),
        ] {
            assert_eq!(told(name, &hosts), meant, "{name}");
        }
        hosts.remove("LOCALHOST");
        assert_eq!(told("localhost", &hosts), "shared");
        let serves = |path: &str| host("x", false).serves(path);
        assert!(serves("/ipfs") && serves("/ipfs/x") && !serves("/ipfsx") && !serves("/ipns/x"));
    }

    #[test]
    fn labels_fit_between_dots() {
        let v0 = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let written = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";
        assert_eq!(label(&v0).as_deref(), Some(written));
        let long = Cid::new_v1(codec::RAW, cid::digest(0x13, b"x").unwrap());
        assert_eq!(label(&long), None);
    }
}
