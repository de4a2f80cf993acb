//! Whose request it is: the secret behind `Authorization: Bearer`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::header::{AUTHORIZATION, HeaderMap};

use super::error::Refusal;
use crate::http;

/// Longest secret that is looked at, in bytes.
const SECRET_MAX_BYTES: usize = 1024;

/// The secret of a request that has exactly one.
///
/// # Errors
/// 401, whatever it lacks.
pub fn secret(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(Refusal::unknown()) };
    let secret = http::bearer(value).filter(|secret| secret.len() <= SECRET_MAX_BYTES);
    secret.ok_or_else(Refusal::unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&'static str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        secret(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn exactly_one_bearer_token_counts() {
        assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(read(&["bearer  abc "]).as_deref(), Some("abc"));
        for bad in [&[][..], &["Bearer"], &["Bearer "], &["Basic abc"], &["abc"]] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
        assert_eq!(read(&["Bearer a", "Bearer b"]), None);
        let of_length = |length: usize| {
            let value = format!("Bearer {}", "s".repeat(length)).parse().unwrap();
            let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
            secret(&headers).ok().map(str::len)
        };
        assert_eq!((of_length(1024), of_length(1025)), (Some(1024), None));
    }
}
