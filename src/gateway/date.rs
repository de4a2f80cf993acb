//! Dates: when a file was changed last, as headers say it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::{Duration, UNIX_EPOCH};

use crate::unixfs::node::Mtime;

/// The first second of the year 10000, which HTTP's dates do not reach.
const END_SECS: u64 = 253_402_300_800;

/// The time in whole seconds since 1970, if HTTP has a date for it. Its very beginning is what
/// tools write that know no time.
fn seconds(mtime: Mtime) -> Option<u64> {
    u64::try_from(mtime.seconds).ok().filter(|secs| (1..END_SECS).contains(secs))
}

/// A header's text.
pub fn text(mtime: Mtime) -> Option<String> {
    let at = UNIX_EPOCH.checked_add(Duration::from_secs(seconds(mtime)?))?;
    Some(httpdate::fmt_http_date(at))
}

/// Whether nothing changed after the date in a header. What is no date has no say.
pub fn is_unchanged(mtime: Mtime, since: &str) -> bool {
    let since = httpdate::parse_http_date(since.trim()).ok();
    let since = since.and_then(|since| since.duration_since(UNIX_EPOCH).ok());
    since.zip(seconds(mtime)).is_some_and(|(since, changed)| changed <= since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_dates_and_are_compared() {
        let at = |seconds| Mtime { seconds, nanos: 999_999_999 };
        assert_eq!(text(at(1_655_158_692)).unwrap(), "Mon, 13 Jun 2022 22:18:12 GMT");
        for out_of_range in [i64::MIN, -1, 0, 253_402_300_800, i64::MAX] {
            assert_eq!(text(at(out_of_range)), None, "{out_of_range}");
            assert!(!is_unchanged(at(out_of_range), "Mon, 13 Jun 2022 22:18:12 GMT"));
        }
        for (since, unchanged) in [
            ("Mon, 13 Jun 2022 22:18:12 GMT", true),
            ("Tue, 14 Jun 2022 22:18:12 GMT", true),
            ("Mon, 13 Jun 2022 22:18:11 GMT", false),
            ("Monday", false),
            ("", false),
        ] {
            assert_eq!(is_unchanged(at(1_655_158_692), since), unchanged, "{since}");
        }
    }
}
