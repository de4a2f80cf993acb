//! Times as text: RFC 3339 in UTC, the form that replies and logs carry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds of a day. Leap seconds have no place in Unix time.
const DAY_SECONDS: u64 = 86_400;
/// Days from 0000-03-01 to 1970-01-01, and of 400 years, after which the calendar repeats.
const EPOCH_DAYS: u64 = 719_468;
const ERA_DAYS: u64 = 146_097;

/// The first second of the year 0, and the last one of the year 9999.
const FIRST_SECOND: i64 = -62_167_219_200;
const LAST_SECOND: i64 = 253_402_300_799;

/// A time with nanoseconds, those at the end that are nothing left out: `2026-01-02T03:04:05.6Z`.
pub fn rfc3339(time: SystemTime) -> String {
    let since = since_epoch(time);
    let fraction = format!("{:09}", since.subsec_nanos());
    match fraction.trim_end_matches('0') {
        "" => format!("{}Z", seconds(since)),
        fraction => format!("{}.{fraction}Z", seconds(since)),
    }
}

/// A time with exactly three digits behind the second.
pub fn rfc3339_millis(time: SystemTime) -> String {
    let since = since_epoch(time);
    format!("{}.{:03}Z", seconds(since), since.subsec_millis())
}

/// A time by its seconds since 1970, negative before, and nanoseconds, as [`rfc3339`] writes it;
/// `None` outside the years 0 to 9999, which the form cannot tell.
pub fn rfc3339_of(seconds: i64, nanos: u32) -> Option<String> {
    if !(FIRST_SECOND..=LAST_SECOND).contains(&seconds) {
        return None;
    }
    let date = seconds_text(seconds);
    let fraction = format!("{nanos:09}");
    Some(match fraction.trim_end_matches('0') {
        "" => format!("{date}Z"),
        fraction => format!("{date}.{fraction}Z"),
    })
}

/// A time from such a text, without an offset other than `Z`; `None` for any other.
pub fn parse(text: &str) -> Option<SystemTime> {
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let of_march = if month > 2 { month - 3 } else { month + 9 };
    let year = (year + 1_200).checked_sub(u64::from(month <= 2))?;
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * of_march + 2) / 5 + day - 1;
    let days = era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    // Three eras more were counted, so that no year is below the first.
    let days = days.checked_sub(3 * ERA_DAYS + EPOCH_DAYS)?;
    let seconds = days * DAY_SECONDS + part(11, 13)? * 3600 + part(14, 16)? * 60 + part(17, 19)?;
    let fraction = text.get(19..)?.strip_suffix('Z')?.trim_start_matches('.');
    let nanos = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(UNIX_EPOCH + Duration::new(seconds, nanos))
}

/// A clock before 1970 is wrong, and told as 1970.
fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn seconds(since: Duration) -> String {
    seconds_text(i64::try_from(since.as_secs()).unwrap_or(i64::MAX).min(LAST_SECOND))
}

/// Source: the civil calendar from days, by counting years from March. The year is not below 0.
fn seconds_text(seconds: i64) -> String {
    let day = i64::try_from(DAY_SECONDS).unwrap_or(1);
    let rest = seconds.rem_euclid(day).unsigned_abs();
    // An era more than needed, so that January and February of the year 0 have one, too.
    let shifted = EPOCH_DAYS + ERA_DAYS;
    let shifted = shifted.saturating_add_signed(seconds.div_euclid(day));
    let (era, of_era) = (shifted / ERA_DAYS, shifted % ERA_DAYS);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = (year_of_era + era * 400 + u64::from(month <= 2)).saturating_sub(400);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (unix, text) in [
            (0, "1970-01-01T00:00:00"),
            (951_782_399, "2000-02-28T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_735_689_599, "2024-12-31T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
        ] {
            let (time, text) = (UNIX_EPOCH + Duration::from_secs(unix), format!("{text}Z"));
            assert_eq!((rfc3339(time), parse(&text)), (text.clone(), Some(time)));
        }
        for (seconds, nanos, text) in [
            (-1, 0, Some("1969-12-31T23:59:59Z")),
            (-1, 500_000_000, Some("1969-12-31T23:59:59.5Z")),
            (-62_167_219_200, 0, Some("0000-01-01T00:00:00Z")),
            (-62_135_596_800, 0, Some("0001-01-01T00:00:00Z")),
            (253_402_300_799, 0, Some("9999-12-31T23:59:59Z")),
            (253_402_300_800, 0, None),
            (i64::MIN, 0, None),
        ] {
            assert_eq!(rfc3339_of(seconds, nanos).as_deref(), text, "{seconds}");
        }
        let time = UNIX_EPOCH + Duration::new(1, 20_300_000);
        assert_eq!(parse("1970-01-01T00:00:01.0203Z"), Some(time));
        for wrong in ["", "0001-01-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T00:00:00+01"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339(time), "1970-01-01T00:00:01.0203Z");
        assert_eq!(rfc3339_millis(time), "1970-01-01T00:00:01.020Z");
        assert_eq!(rfc3339_millis(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00.000Z");
    }
}
