//! Times as text: RFC 3339 in UTC, the form that replies and logs carry; spans of time that people write.

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

/// A time of 1970 or later from such a text, as [`moment`] reads it; `None` for any other.
pub fn parse(text: &str) -> Option<SystemTime> {
    let (seconds, nanos) = moment(text)?;
    Some(UNIX_EPOCH + Duration::new(u64::try_from(seconds).ok()?, nanos))
}

/// A time from such a text with any offset, as RFC 3339 has it: seconds since 1970, negative before,
/// and nanoseconds. Further digits of a second are left out, and a leap second is the one before it.
/// `None` for any other text, also for a day that there is not.
pub fn moment(text: &str) -> Option<(i64, u32)> {
    let (date, time) = (text.get(..10)?, text.get(11..)?);
    if !matches!(text.as_bytes().get(10)?, b'T' | b't') {
        return None;
    }
    let days = days_of(date)?;
    let hour = two(time, 0)?;
    let (minute, second) = (two_behind(time, 2, ':')?, two_behind(time, 5, ':')?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let rest = time.get(8..)?;
    let (nanos, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, zone) = rest.split_at_checked(digits).filter(|_| digits > 0)?;
            (format!("{fraction:0<9}").get(..9)?.parse().ok()?, zone)
        }
    };
    let offset = match zone {
        "Z" | "z" => 0,
        _ => {
            let sign = match zone.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let (hours, minutes) = (two(zone, 1)?, two_behind(zone, 3, ':')?);
            if zone.len() != 6 || hours > 23 || minutes > 59 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let of_day = hour * 3600 + minute * 60 + second.min(59);
    Some((days * i64::try_from(DAY_SECONDS).ok()? + of_day - offset, nanos))
}

/// A span of time from digits and one of `s`, `m`, `h`, `d`: `90s`, `12h`, `30d`; `None` for any other
/// text, and for more seconds than 64 bits tell.
pub fn span(text: &str) -> Option<Duration> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3600,
        b'd' => DAY_SECONDS,
        _ => return None,
    };
    let digits = text.get(..text.len() - 1)?;
    // A number as Rust reads it may have a sign.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let count = digits.parse::<u64>().ok().filter(|_| plain)?;
    count.checked_mul(unit).map(Duration::from_secs)
}

/// Days from 1970 to a date, as `YYYY-MM-DD`.
fn days_of(date: &str) -> Option<i64> {
    let year = two(date, 0)? * 100 + two(date, 2)?;
    let (month, day) = (two_behind(date, 4, '-')?, two_behind(date, 7, '-')?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) {
        return None;
    }
    let of_march = if month > 2 { month - 3 } else { month + 9 };
    // An era more, so that January of the year 0 has one, too.
    let year = year - i64::from(month <= 2) + 400;
    let (era, of_era) = (year / 400 - 1, year % 400);
    let of_year = (153 * of_march + 2) / 5 + day - 1;
    let days = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    Some(era * i64::try_from(ERA_DAYS).ok()? + days - i64::try_from(EPOCH_DAYS).ok()?)
}

/// A number of two digits.
fn two(text: &str, at: usize) -> Option<i64> {
    let digits = text.get(at..at + 2)?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// The same behind a sign.
fn two_behind(text: &str, at: usize, sign: char) -> Option<i64> {
    text.get(at..)?.starts_with(sign).then(|| two(text, at + 1))?
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
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn every_time_is_read_as_it_was_written() {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let seconds = match rng.random::<bool>() {
                true => rng.random_range(FIRST_SECOND..=LAST_SECOND),
                false => rng.random_range(-4_000_000_000..4_000_000_000),
            };
            // Also fractions that end in noughts, which are left out.
            let scale = 10_u32.pow(rng.random_range(0..=9));
            let nanos = rng.random_range(0..1_000_000_000_u32) / scale * scale;
            let text = rfc3339_of(seconds, nanos).unwrap();
            assert_eq!(moment(&text), Some((seconds, nanos)), "{text}");
            let since = u64::try_from(seconds).ok().map(|seconds| Duration::new(seconds, nanos));
            let time = since.map(|since| UNIX_EPOCH + since);
            assert_eq!(parse(&text), time, "{text}");
            if let Some(time) = time {
                assert_eq!(rfc3339(time), text);
            }
        }
    }

    #[test]
    fn spans_are_digits_and_a_unit() {
        for (text, seconds) in [
            ("0s", Some(0)),
            ("90s", Some(90)),
            ("007m", Some(420)),
            ("12h", Some(43_200)),
            ("30d", Some(2_592_000)),
            ("18446744073709551615s", Some(u64::MAX)),
            ("18446744073709551616s", None),
            ("18446744073709551615m", None),
        ] {
            assert_eq!(span(text).map(|span| span.as_secs()), seconds, "{text}");
        }
        for wrong in
            ["", "s", "1", "-1s", "+1s", "1.5h", "1h30m", "1 h", "1w", "1D", "é", "1é", "１d"]
        {
            assert_eq!(span(wrong), None, "{wrong}");
        }
    }

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
        assert_eq!(parse("1970-01-01T02:00:01.0203+02:00"), Some(time));
        for wrong in [
            "",
            "0001-01-01T00:00:00Z",
            "1969-12-31T23:59:59.999999999Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T00:00:00+01",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        for (seconds, nanos, text) in [
            (1_595_871_148, 276_000_000, "2020-07-27T17:32:28.276Z"),
            (1_595_863_948, 0, "2020-07-27t17:32:28+02:00"),
            (951_782_400, 123_456_789, "2000-02-28T23:30:00.1234567899-00:30"),
            (-1, 500_000_000, "1969-12-31T23:59:59.5z"),
            (-62_167_219_200, 0, "0000-01-01T00:00:00Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:60Z"),
        ] {
            assert_eq!(moment(text), Some((seconds, nanos)), "{text}");
        }
        for wrong in [
            "",
            "2020-07-27",
            "2020-07-27T17:32:28",
            "2020-07-27 17:32:28Z",
            "2020-07-27T17:32Z",
            "2020-07-27T17:32:28.Z",
            "2020-07-27T24:00:00Z",
            "2020-7-27T17:32:28Z",
            "2021-02-29T00:00:00Z",
            "2020-04-31T00:00:00Z",
            "2020-07-27T17:32:28+2:00",
            "2020-07-27T17:32:28+02:00x",
            "2020-07-27T17:32:28Zx",
            "+020-07-27T17:32:28Z",
            "２020-07-27T17:32:28Z",
        ] {
            assert_eq!(moment(wrong), None, "{wrong}");
        }
        assert_eq!(rfc3339(time), "1970-01-01T00:00:01.0203Z");
        assert_eq!(rfc3339_millis(time), "1970-01-01T00:00:01.020Z");
        assert_eq!(rfc3339_millis(UNIX_EPOCH - Duration::from_secs(9)), "1970-01-01T00:00:00.000Z");
    }
}
