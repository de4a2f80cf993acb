//! Addresses: which path a request means, and where one at the wrong address is sent.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::error::Refusal;
use super::escape;
use super::hostname::{self, Site};
use super::request::Request;
use crate::ipld::cid;
use crate::ipld::path::{Path, Root};

/// The path of the content, and what stands for its root at the head of addresses.
pub fn content_path(request: &Request, site: &Site<'_>) -> Result<(String, String), Refusal> {
    if let Site::Own { space, label, host, .. } = site {
        if !host.serves(&format!("/{space}/{label}")) {
            return Err(Refusal::nothing());
        }
        return Ok((format!("/{space}/{label}{}", request.path), String::new()));
    }
    let mut names = request.path.splitn(4, '/').skip(1);
    let served = site.host().is_none_or(|host| host.serves(&request.path));
    match (names.next(), names.next()) {
        (Some(space @ ("ipfs" | "ipns")), Some(root)) if served && !root.is_empty() => {
            let base = format!("/{space}/{}", escape::segment(root.as_bytes()));
            Ok((request.path.clone(), base))
        }
        _ => Err(Refusal::nothing()),
    }
}

/// Where a request is sent that is at the wrong address: the origin of its content, the one
/// spelling of a root in a host name, the path of an `ipfs://` link, one `/ipfs` instead of two.
pub fn elsewhere(request: &Request, site: &Site<'_>) -> Result<Option<String>, Refusal> {
    let space = |path: &str| path.starts_with("/ipfs/") || path.starts_with("/ipns/");
    if let Site::Own { label, parent, space: "ipfs", .. } = site {
        let cid = cid::parse(label).map_err(|e| Refusal::bad(e.to_string()))?;
        let canonical = hostname::label(&cid).ok_or_else(too_long)?;
        let path = request.path.split('/').skip(1).map(|name| escape::segment(name.as_bytes()));
        let path = path.collect::<Vec<_>>().join("/");
        let question = request.question();
        let target = format!("{}://{canonical}.ipfs.{parent}/{path}{question}", request.scheme);
        return Ok((canonical != *label).then_some(target));
    }
    if let (Some(uri), "/ipfs/" | "/ipns/") = (&request.uri, request.path.as_str()) {
        let path = uri.replacen("://", "/", 1);
        let path = Path::parse(&format!("/{path}"))?;
        return Ok(Some(address(&path, uri.ends_with('/'))));
    }
    if let Some(inner) = request.path.strip_prefix("/ipfs").filter(|inner| space(inner)) {
        let path = Path::parse(inner)?;
        return Ok(Some(address(&path, request.ends_in_slash()) + &request.question()));
    }
    let isolates = matches!(site, Site::Known(host) if host.subdomains);
    if !isolates || !request.path.starts_with("/ipfs/") {
        return Ok(None);
    }
    // Only the root is looked at: whether the path leads anywhere is told at its own origin.
    let path = Path::parse(&request.path)?;
    let Some(root) = path.cid() else { return Ok(None) };
    let label = hostname::label(root).ok_or_else(too_long)?;
    let names = escape::encode_path(&path.segments);
    let slash = if names.is_empty() || request.ends_in_slash() { "/" } else { "" };
    let (host, question) = (request.host.to_ascii_lowercase(), request.question());
    Ok(Some(format!("{}://{label}.ipfs.{host}{names}{slash}{question}", request.scheme)))
}

fn too_long() -> Refusal {
    Refusal::bad(
        "CID incompatible with DNS label length limit of 63: ask at 127.0.0.1, not at localhost",
    )
}

/// A path's address on this host.
fn address(path: &Path, folder: bool) -> String {
    let root = match &path.root {
        Root::Ipfs(cid) => format!("/ipfs/{cid}"),
        Root::Ipns(name) => format!("/ipns/{}", escape::encode(name.as_bytes())),
    };
    let slash = if folder { "/" } else { "" };
    format!("{root}{}{slash}", escape::encode_path(&path.segments))
}

/// A root and not even a slash behind it.
pub fn is_bare(path: &str) -> bool {
    path.split('/').count() <= 3
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
