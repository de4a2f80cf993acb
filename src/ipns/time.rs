//! RFC 3339 times, as far as records of the network need them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// A moment: seconds since 1970 and nanoseconds, in UTC. Ordered as time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970; years 0 to 9999.
    pub seconds: i64,
    /// Nanoseconds, below 10^9.
    pub nanos: u32,
}

/// Longest text that is read, in bytes: nanoseconds and an offset, and some zeros more.
const TEXT_MAX_BYTES: usize = 64;
const DAY_SECONDS: i64 = 86_400;

/// Reads `2006-01-02T15:04:05.999999999Z`, or with an offset such as `+02:00`. Digits of a second
/// beyond nanoseconds are cut off.
pub fn parse(text: &str) -> Option<Moment> {
    if text.len() > TEXT_MAX_BYTES || !text.is_ascii() {
        return None;
    }
    let (date, time) = text.split_once(['T', 't'])?;
    let mut parts = date.splitn(3, '-');
    let year = digits(parts.next()?, 4)?;
    let (month, day) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let at = time.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = time.split_at_checked(at)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = digits(parts.next()?, 2)?;
    let in_range = (1..=12).contains(&month)
        && (1..=days_in(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !in_range {
        return None;
    }
    let clock = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?;
    let seconds = days_since_1970(year, month, day)?
        .checked_mul(DAY_SECONDS)?
        .checked_add(clock)?
        .checked_add(second)?
        .checked_sub(offset(zone)?)?;
    Some(Moment { seconds, nanos: nanos(fraction)? })
}

/// Writes a moment as Kubo does: UTC, nine digits of a second. Years after 9999 are cut to it.
pub fn format(moment: Moment) -> String {
    let last = 253_402_300_799;
    let seconds = moment.seconds.clamp(0, last);
    let (days, clock) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
    let mut year = 1970i64;
    let mut left = days;
    while left >= year_days(year) {
        left = left.saturating_sub(year_days(year));
        year = year.saturating_add(1);
    }
    let mut month = 1;
    while left >= days_in(year, month) {
        left = left.saturating_sub(days_in(year, month));
        month = month.saturating_add(1);
    }
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    let day = left.saturating_add(1);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:09}Z", moment.nanos)
}

/// Exactly `count` digits.
fn digits(text: &str, count: usize) -> Option<i64> {
    let all = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    all.then(|| text.parse().ok()).flatten()
}

fn nanos(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let nine: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    nine.parse().ok()
}

/// Seconds that a zone is ahead of UTC.
fn offset(zone: &str) -> Option<i64> {
    if matches!(zone, "Z" | "z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1i64, rest),
        (_, rest) => (-1, rest),
    };
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    if hours > 23 || minutes > 59 {
        return None;
    }
    let minutes = hours.checked_mul(60)?.checked_add(minutes)?;
    minutes.checked_mul(60)?.checked_mul(sign)
}

fn is_leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn year_days(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of years 0 to 9999.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    // Leap days of the years before this one; 719,528 days lie between year 0 and 1970.
    let before = year.checked_sub(1)?;
    let fours = before.div_euclid(4).checked_sub(before.div_euclid(100))?;
    let leaps = fours.checked_add(before.div_euclid(400))?;
    let years = year.checked_mul(365)?.checked_add(leaps)?.checked_add(1)?;
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years.checked_add(months)?.checked_add(day)?.checked_sub(1 + 719_528)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_write() {
        for (text, seconds, nanos) in [
            ("1970-01-01T00:00:00Z", 0, 0),
            ("2000-02-29T23:59:59.5Z", 951_868_799, 500_000_000),
            ("2023-11-14T22:13:20.000000001Z", 1_700_000_000, 1),
            ("2023-11-15T00:13:20+02:00", 1_700_000_000, 0),
            ("2023-11-14t17:13:20.25-05:00", 1_700_000_000, 250_000_000),
            ("1969-12-31T23:59:59Z", -1, 0),
            ("0000-01-01T00:00:00Z", -62_167_219_200, 0),
            ("9999-12-31T23:59:59Z", 253_402_300_799, 0),
        ] {
            assert_eq!(parse(text), Some(Moment { seconds, nanos }), "{text}");
        }
        for seconds in (0..4_102_444_800i64).step_by(12_345_678) {
            let moment = Moment { seconds, nanos: 7 };
            assert_eq!(parse(&format(moment)), Some(moment));
        }
        assert_eq!(
            format(Moment { seconds: 1_700_000_000, nanos: 1 }),
            "2023-11-14T22:13:20.000000001Z"
        );
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-02-29T22:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+2:00",
            "23-11-14T22:13:20Z",
            "2023-11-14T22:13:20Zzzz",
            "2023-11-14T22:13:-1Z",
            "2023-11-14T22:13:20é",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
