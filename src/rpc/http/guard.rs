//! Who may call: pages only from allowed origins, clients with a secret where one is set.
//!
//! The RPC can delete everything and listens on the loopback, where any page of any browser can
//! reach it. A browser says where a page came from (`Origin`, `Referer`) and who it is
//! (`User-Agent`); other clients say nothing, and are let through.
//!
//! Source: Kubo's `api` handler and go-ipfs-cmds.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use data_encoding::BASE64;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, ORIGIN, REFERER, USER_AGENT};

use crate::http;
use crate::node::service::token::PREFIX;

/// Browser extensions that may always call: IPFS Companion, in its two channels.
const EXTENSIONS: [&str; 2] = [
    "chrome-extension://nibjojkomfdiaoajekhjakgkdhaomnch",
    "chrome-extension://hjoieblefckbooibpepigmacodalfndh",
];

/// Rules for one listener.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// Origins of pages that may call, beside the loopback on the listener's own port; `*` for all.
    pub origins: Vec<String>,
    /// Ports of the listeners: pages they served may call.
    pub ports: Vec<u16>,
    /// Secrets and what they open; none means that no secret is needed.
    pub authorizations: Vec<Authorization>,
    /// Whether one is needed all the same: tokens that were issued open what they open.
    pub require_token: bool,
}

/// A client's secret.
#[derive(Clone)]
pub struct Authorization {
    /// The whole value of the header `Authorization` that it sends.
    pub header: String,
    /// Prefixes of paths that it may call.
    pub paths: Vec<String>,
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authorization").field("paths", &self.paths).finish_non_exhaustive()
    }
}

impl Authorization {
    /// From a secret as the configuration writes it: `bearer:token`, `basic:user:password`,
    /// `basic:<base64>`, or a bare token.
    pub fn new(secret: &str, paths: Vec<String>) -> Self {
        let header = match secret.split_once(':') {
            Some(("bearer", token)) => format!("Bearer {token}"),
            Some(("basic", pair)) if pair.contains(':') => {
                format!("Basic {}", BASE64.encode(pair.as_bytes()))
            }
            Some(("basic", encoded)) => format!("Basic {encoded}"),
            _ => format!("Bearer {secret}"),
        };
        Self { header, paths }
    }
}

impl Guard {
    /// Whether the request's page, if it is one, may call.
    pub fn admits_origin(&self, headers: &HeaderMap) -> bool {
        let text = |name: HeaderName| headers.get(name).map(|v| v.to_str().unwrap_or("invalid"));
        if let Some(origin) = text(ORIGIN) {
            return self.admits(origin);
        }
        if let Some(referer) = text(REFERER) {
            let origin = referer.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
            return self.admits(&origin);
        }
        let agent = text(USER_AGENT).unwrap_or_default();
        !agent.starts_with("Mozilla") || agent.contains("Electron")
    }

    /// Whether the origin is allowed.
    pub fn admits(&self, origin: &str) -> bool {
        self.origins.iter().any(|o| o == "*" || o == origin)
            || EXTENSIONS.contains(&origin)
            || self.is_own(origin)
    }

    /// A page that a listener of this node served to a browser on this machine.
    fn is_own(&self, origin: &str) -> bool {
        let Some((scheme, host)) = origin.split_once("://") else { return false };
        if scheme != "http" && scheme != "https" {
            return false;
        }
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse::<u16>().ok()),
            _ => (host, None),
        };
        let local = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
        local && port.is_some_and(|port| self.ports.contains(&port))
    }

    /// Whether the request carries a secret that opens `path`, where secrets are set.
    pub fn admits_client(&self, headers: &HeaderMap, path: &str) -> bool {
        if self.authorizations.is_empty() && !self.require_token {
            return true;
        }
        let Some(given) = headers.get(AUTHORIZATION) else { return false };
        let opens = |auth: &Authorization| {
            same(given.as_bytes(), auth.header.as_bytes())
                && auth.paths.iter().any(|prefix| path.starts_with(prefix))
        };
        // Every secret is looked at, so that time tells nothing about which one came close.
        self.authorizations.iter().filter(|auth| opens(auth)).count() > 0
    }
}

/// The secret of a token that was issued, if the request carries one.
pub fn token(headers: &HeaderMap) -> Option<&str> {
    http::bearer(headers.get(AUTHORIZATION)?).filter(|secret| secret.starts_with(PREFIX))
}

/// Equality whose time depends on the lengths alone.
fn same(a: &[u8], b: &[u8]) -> bool {
    let differ = a.iter().zip(b).fold(0, |seen, (x, y)| seen | (x ^ y));
    a.len() == b.len() && differ == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn pages_from_elsewhere_are_refused() {
        let guard = Guard {
            origins: vec!["https://good.example".into()],
            ports: vec![5001],
            ..Guard::default()
        };
        for (pairs, admitted) in [
            (vec![], true),
            (vec![(USER_AGENT, "curl/8")], true),
            (vec![(USER_AGENT, "Mozilla/5.0 Firefox")], false),
            (vec![(USER_AGENT, "Mozilla/5.0 Electron/30")], true),
            (vec![(ORIGIN, "http://localhost:5001")], true),
            (vec![(ORIGIN, "http://127.0.0.1:5001")], true),
            (vec![(ORIGIN, "http://[::1]:5001")], true),
            (vec![(ORIGIN, "http://localhost")], false),
            (vec![(ORIGIN, "http://localhost:9999")], false),
            (vec![(ORIGIN, "http://localhost:5001.evil.example")], false),
            (vec![(ORIGIN, "https://good.example")], true),
            (vec![(ORIGIN, "https://evil.example")], false),
            (vec![(ORIGIN, "null")], false),
            (vec![(ORIGIN, EXTENSIONS[0])], true),
            (vec![(REFERER, "http://localhost:5001/webui/x?y")], true),
            (vec![(REFERER, "https://evil.example/http://localhost:5001/")], false),
        ] {
            assert_eq!(guard.admits_origin(&headers(&pairs)), admitted, "{pairs:?}");
        }
    }

    #[test]
    fn secrets_open_their_paths_alone() {
        let guard = Guard {
            authorizations: vec![
                Authorization::new("bearer:t0ken", vec!["/api/v0/add".into()]),
                Authorization::new("basic:user:pass", vec!["/api/v0".into()]),
            ],
            ..Guard::default()
        };
        for (header, path, admitted) in [
            ("Bearer t0ken", "/api/v0/add", true),
            ("Bearer t0ken", "/api/v0/cat", false),
            ("Bearer t0ke", "/api/v0/add", false),
            ("Basic dXNlcjpwYXNz", "/api/v0/cat", true),
            ("Basic dXNlcjpwYXN0", "/api/v0/cat", false),
        ] {
            let sent = headers(&[(AUTHORIZATION, header)]);
            assert_eq!(guard.admits_client(&sent, path), admitted, "{header} {path}");
        }
        assert!(!guard.admits_client(&HeaderMap::new(), "/api/v0/id"));
        assert!(!format!("{guard:?}").contains("t0ken"));
    }
}
