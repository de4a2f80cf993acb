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

/// Longest secret that is looked at, in bytes.
const SECRET_MAX_BYTES: usize = 1024;

/// The secret of a request that has exactly one.
///
/// # Errors
/// 401, whatever it lacks.
pub fn secret(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (given.next(), given.next()) else { return Err(Refusal::unknown()) };
    let text = value.to_str().map_err(|_| Refusal::unknown())?;
    let (scheme, secret) = text.split_once(' ').ok_or_else(Refusal::unknown)?;
    let secret = secret.trim();
    let fits = scheme.eq_ignore_ascii_case("Bearer")
        && !secret.is_empty()
        && secret.len() <= SECRET_MAX_BYTES;
    if fits { Ok(secret) } else { Err(Refusal::unknown()) }
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
    }
}
