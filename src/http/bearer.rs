//! The secret that a client shows: `Authorization: Bearer` and what follows (RFC 6750).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::header::HeaderValue;

/// The secret of a value of `Authorization`, without the blanks around it; `None` for another scheme,
/// for a secret that is empty, and for what is not ASCII that can be seen. Its length is the caller's to
/// bound: it is at most that of a request's head.
pub fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, secret) = value.to_str().ok()?.split_once(' ')?;
    let secret = secret.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !secret.is_empty()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_and_a_secret_are_told_apart() {
        for (value, secret) in [
            (&b"Bearer abc"[..], Some("abc")),
            (b"bearer  abc ", Some("abc")),
            (b"BEARER a b", Some("a b")),
            (b"Bearer", None),
            (b"Bearer ", None),
            (b"Bearer\tabc", None),
            (b"Bearerabc", None),
            (b" Bearer abc", None),
            (b"Basic abc", None),
            (b"abc", None),
            (b"", None),
            (b"Bearer \xff", None),
        ] {
            let value = HeaderValue::from_bytes(value).unwrap();
            assert_eq!(bearer(&value), secret, "{value:?}");
        }
    }
}
