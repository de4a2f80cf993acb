//! Hosts: which content a host name stands for. On `localhost` each root gets an origin of its own,
//! so that one page cannot read what another one keeps in the browser.
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

/// What a host stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// Content by its path; no isolation.
    Shared,
    /// Content lives on subdomains of this host, and its paths lead there.
    Parent,
    /// One root's own host.
    Own {
        /// `ipfs` or `ipns`.
        space: &'static str,
        /// The root, as the host writes it.
        label: String,
        /// The host above, with its port.
        parent: String,
    },
}

/// Reads a host, with its port if it has one.
pub fn site(host: &str) -> Site {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => (name, Some(port)),
        _ => (host, None),
    };
    let parent = "localhost";
    // The label keeps its case: base58 would be lost without it.
    let Some(above) = strip_suffix(name, parent) else { return Site::Shared };
    if above.is_empty() {
        return Site::Parent;
    }
    for space in ["ipfs", "ipns"] {
        let Some(label) = above.strip_suffix('.').and_then(|a| strip_suffix(a, space)) else {
            continue;
        };
        if let Some(label) = label.strip_suffix('.').filter(|label| !label.is_empty()) {
            let port = port.map(|port| format!(":{port}")).unwrap_or_default();
            return Site::Own { space, label: label.to_owned(), parent: format!("{parent}{port}") };
        }
    }
    Site::Shared
}

/// As `str::strip_suffix`, in any case.
fn strip_suffix<'a>(text: &'a str, ending: &str) -> Option<&'a str> {
    let (above, end) = text.split_at_checked(text.len().checked_sub(ending.len())?)?;
    end.eq_ignore_ascii_case(ending).then_some(above)
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

    #[test]
    fn hosts_stand_for_content() {
        let own = |space, label: &str, parent: &str| Site::Own {
            space,
            label: label.into(),
            parent: parent.into(),
        };
        for (host, meant) in [
            ("127.0.0.1:8080", Site::Shared),
            ("[::1]:8080", Site::Shared),
            ("example.com", Site::Shared),
            ("evillocalhost", Site::Shared),
            ("localhost", Site::Parent),
            ("LocalHost:8080", Site::Parent),
            ("bafy.ipfs.localhost:8080", own("ipfs", "bafy", "localhost:8080")),
            ("QmX.IPFS.localhost", own("ipfs", "QmX", "localhost")),
            ("en-site.ipns.localhost:1", own("ipns", "en-site", "localhost:1")),
            ("ipfs.localhost", Site::Shared),
            (".ipfs.localhost", Site::Shared),
            ("x.localhost", Site::Shared),
            ("xipfs.localhost", Site::Shared),
            ("", Site::Shared),
            ("ą", Site::Shared),
        ] {
            assert_eq!(site(host), meant, "{host}");
        }
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
