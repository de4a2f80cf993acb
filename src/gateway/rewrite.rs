//! What stands in place of a path that is not there: the rules of the site's `_redirects`.
//!
//! Only on a host of its own: elsewhere a site could redirect what belongs to another one. Asked
//! only when nothing is at the path, so that what is there is never hidden.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::StatusCode;

use super::error::Refusal;
use super::redirects::{self, FILE_MAX_BYTES, Target};
use super::request::Request;
use crate::ipld::path::Path;
use crate::node::cat::CatOptions;
use crate::node::{Kind, Node, What};

/// Its name.
const FILE: &str = "_redirects";

/// What the rules make of a path that leads nowhere; `None` without a rule for it.
///
/// # Errors
/// 500 for a file that cannot be read: its author has to see that.
pub async fn target(node: &Node, path: &Path) -> Result<Option<Target>, Refusal> {
    let Some(root) = path.cid() else { return Ok(None) };
    let file = match node.entry(root, FILE).await {
        Ok(Some(file)) => file,
        Ok(None) => return Ok(None),
        // Not a folder, or not here: there are no rules then.
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Invalid) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let size = match file.what {
        What::File(size) => size,
        _ => return Err(unreadable("it is not a file")),
    };
    if size > FILE_MAX_BYTES {
        let text = format!("redirects file size cannot exceed {FILE_MAX_BYTES} bytes");
        return Err(unreadable(&text));
    }
    let (_, mut pieces) = node.cat(&[Path::of(file.cid)], &CatOptions::default()).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.recv().await {
        bytes.extend_from_slice(&piece?);
    }
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8"))?;
    let rules = redirects::parse(&text).map_err(|cause| unreadable(&cause))?;
    let asked = format!("/{}", path.segments.join("/"));
    redirects::find(&rules, &asked).map_err(|cause| unreadable(&cause))
}

fn unreadable(cause: &str) -> Refusal {
    Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, format!("could not parse _redirects: {cause}"))
}

/// Where a redirect leads: the query of the request goes along.
pub fn location(to: &str, request: &Request) -> String {
    if request.query.is_empty() {
        return to.to_owned();
    }
    let (to, fragment) = match to.split_once('#') {
        Some((to, fragment)) => (to, format!("#{fragment}")),
        None => (to, String::new()),
    };
    let joint = if to.contains('?') { '&' } else { '?' };
    format!("{to}{joint}{}{fragment}", request.query)
}
