//! Headers that say where content comes from, how long it may be kept, and who may read it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderMap, HeaderValue,
};

use super::escape;
use super::request::METHODS;
use crate::ipld::cid::Cid;

/// Content under `/ipfs` never changes.
pub const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// A listing is made anew by each release: a week, and a month while it is asked for again.
pub const LISTING: &str = "public, max-age=604800, stale-while-revalidate=2678400";
/// Longest list of roots that is sent, in bytes: clients bound their headers.
const ROOTS_MAX_BYTES: usize = 6 << 10;

/// Lets pages of every origin read replies: all of it is public.
pub fn share(headers: &mut HeaderMap) {
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
        (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
        (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range, User-Agent, X-Requested-With"),
        (
            ACCESS_CONTROL_EXPOSE_HEADERS,
            "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, \
             X-Stream-Output",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// A header's value of any text: control characters are percent-encoded.
pub fn value(text: &str) -> HeaderValue {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => safe.push_str(&escape::encode(c.encode_utf8(&mut [0; 4]).as_bytes())),
            false => safe.push(c),
        }
    }
    HeaderValue::from_bytes(safe.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The blocks along a path; `None` when there are too many for a header.
pub fn roots(cids: &[Cid]) -> Option<HeaderValue> {
    let text = cids.iter().map(Cid::to_string).collect::<Vec<_>>().join(",");
    (text.len() <= ROOTS_MAX_BYTES).then(|| value(&text))
}

/// Whether a browser shows content or saves it, and under which name: once for those that know
/// ASCII alone, once for all others.
pub fn disposition(kind: &str, name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let full = escape::encode(name.as_bytes());
    value(&format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{full}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn names_are_safe_in_a_header() {
        for (name, text) in [
            ("a b.txt", "inline; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"),
            (
                "testтест.jpg",
                "inline; filename=\"test____.jpg\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.jpg",
            ),
            ("a\"\r\nX: y", "inline; filename=\"a___X: y\"; filename*=UTF-8''a%22%0D%0AX%3A%20y"),
        ] {
            assert_eq!(disposition("inline", name).to_str().unwrap(), text);
        }
    }

    #[test]
    fn roots_are_listed_while_they_fit() {
        let dir = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        assert_eq!(roots(&[dir, dir]).unwrap(), format!("{dir},{dir}").as_str());
        assert_eq!(roots(&[dir; 200]), None);
    }

    #[test]
    fn any_text_makes_a_value() {
        assert_eq!(value("a\r\nb\u{7f}\u{85}").as_bytes(), b"a%0D%0Ab%7F%C2%85");
        assert_eq!(value("ą").as_bytes(), "ą".as_bytes());
    }
}
