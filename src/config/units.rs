//! Sizes and durations as the configuration spells them: humanize's byte sizes and Go's duration
//! text.
//!
//! Owns only the two grammars. Which key holds which, and what an unset one means, is for `keys`
//! and `settings`.

use std::time::Duration;

/// Why a size or a duration could not be read. Each names the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// Not a number and a unit.
    #[error("invalid size {0:?}: expected a number and an optional unit, such as 10GB or 2TiB")]
    SizeNumber(String),
    /// A number with an unknown unit.
    #[error("invalid size {0:?}: unknown unit (B, kB to EB and KiB to EiB are known)")]
    SizeUnit(String),
    /// More than 64 bits hold.
    #[error("invalid size {0:?}: larger than 16 EiB")]
    SizeTooLarge(String),
    /// Not a duration as Go writes it.
    #[error("invalid duration {0:?}: expected numbers with units, such as 1h30m, 10s or 250ms")]
    Duration(String),
    /// Less than nothing, where that cannot be meant.
    #[error("invalid duration {0:?}: must not be negative")]
    DurationNegative(String),
}

const NS_PER_SECOND: u128 = 1_000_000_000;

/// Digits of a fraction that can still change a nanosecond count; the rest is read and dropped,
/// which also keeps the scale from overflowing.
const MAX_FRACTION_DIGITS: usize = 18;

/// Bytes named by a text such as `10GB`, `2TiB`, `1.5 gib`, `1,000` or `42`. Units ignore case;
/// those without an `i` are powers of 1000. A fraction of a byte is dropped. Fails on an empty
/// number, an unknown unit, or 2^64 and above.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let split =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == ',')).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number = number.replace(',', "");
    let scale = scale_of(unit.trim()).ok_or_else(|| UnitError::SizeUnit(text.to_owned()))?;
    if let Ok(whole) = number.parse::<u128>() {
        // Integers stay integers: a float would round a limit above 2^53 bytes.
        let bytes =
            whole.checked_mul(u128::from(scale)).and_then(|bytes| u64::try_from(bytes).ok());
        return bytes.ok_or_else(|| UnitError::SizeTooLarge(text.to_owned()));
    }
    let fraction: f64 = number.parse().map_err(|_| UnitError::SizeNumber(text.to_owned()))?;
    let bytes = fraction * scale as f64;
    if bytes >= u64::MAX as f64 {
        return Err(UnitError::SizeTooLarge(text.to_owned()));
    }
    Ok(bytes as u64)
}

fn scale_of(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let stem = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match stem.strip_suffix('i') {
        Some(letter) if !letter.is_empty() => (letter, 1024_u64),
        _ => (stem, 1000),
    };
    let power = match letter {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        "e" => 6,
        _ => return None,
    };
    base.checked_pow(power)
}

/// The largest decimal unit that leaves a whole number of at least 10, rounded down: `123GB`,
/// `850MB`, `5B`. Two digits keep what rounding loses below a tenth.
pub fn format_bytes_down(bytes: u64) -> String {
    for (unit, scale) in
        [("TB", 1_000_000_000_000_u64), ("GB", 1_000_000_000), ("MB", 1_000_000), ("kB", 1000)]
    {
        let count = bytes.checked_div(scale).unwrap_or_default();
        // 1234GB says more than 1TB; terabytes only where gigabytes stop being readable.
        let least = if unit == "TB" { 10_000 } else { 10 };
        if count >= least {
            return format!("{count}{unit}");
        }
    }
    format!("{bytes}B")
}

/// Nanoseconds named by Go duration text: `1h30m`, `-1.5s`, `0`. Bounded by an i64 of nanoseconds
/// (292 years), as in Go; anything beyond is refused.
pub fn parse_duration_ns(text: &str) -> Result<i64, UnitError> {
    let bad = || UnitError::Duration(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (term, after) = duration_term(rest).ok_or_else(bad)?;
        total = total.checked_add(term).filter(|sum| *sum <= i64::MAX as u128).ok_or_else(bad)?;
        rest = after;
    }
    let total = i64::try_from(total).map_err(|_| bad())?;
    Ok(if negative { total.saturating_neg() } else { total })
}

/// One number and its unit, in nanoseconds, and the text after them.
fn duration_term(text: &str) -> Option<(u128, &str)> {
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit_ns = match unit {
        "ns" => 1,
        "us" | "\u{b5}s" | "\u{3bc}s" => 1000,
        "ms" => 1_000_000,
        "s" => NS_PER_SECOND,
        "m" => 60 * NS_PER_SECOND,
        "h" => 3600 * NS_PER_SECOND,
        _ => return None,
    };
    let whole = if whole.is_empty() { 0 } else { u128::from(whole.parse::<u64>().ok()?) };
    let mut term = whole.checked_mul(unit_ns)?;
    let fraction = fraction.get(..fraction.len().min(MAX_FRACTION_DIGITS))?;
    if !fraction.is_empty() {
        let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        term = term.checked_add(
            fraction.parse::<u128>().ok()?.checked_mul(unit_ns)?.checked_div(scale)?,
        )?;
    }
    Some((term, rest))
}

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// As `parse_duration_ns`, for settings where a negative time has no meaning.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let ns = parse_duration_ns(text)?;
    u64::try_from(ns)
        .map(Duration::from_nanos)
        .map_err(|_| UnitError::DurationNegative(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_know_decimal_from_binary() {
        for (text, bytes) in [
            ("10GB", 10_000_000_000),
            ("10 gb", 10_000_000_000),
            ("2TiB", 2 << 40),
            ("256KiB", 256 << 10),
            ("1.5MiB", 3 << 19),
            ("1,000", 1000),
            ("5Gi", 5 << 30),
            ("42", 42),
            ("42B", 42),
            ("16EB", 16_000_000_000_000_000_000),
            ("9007199254740993", 9_007_199_254_740_993),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_say_what_is_wrong() {
        assert!(matches!(parse_bytes(""), Err(UnitError::SizeNumber(_))));
        assert!(matches!(parse_bytes("GB"), Err(UnitError::SizeNumber(_))));
        assert!(matches!(parse_bytes("1.2.3GB"), Err(UnitError::SizeNumber(_))));
        assert!(matches!(parse_bytes("-5GB"), Err(UnitError::SizeUnit(_))));
        assert!(matches!(parse_bytes("5iB"), Err(UnitError::SizeUnit(_))));
        assert!(matches!(parse_bytes("5 parsecs"), Err(UnitError::SizeUnit(_))));
        assert!(matches!(parse_bytes("16EiB"), Err(UnitError::SizeTooLarge(_))));
        assert!(matches!(parse_bytes("99.9EiB"), Err(UnitError::SizeTooLarge(_))));
    }

    #[test]
    fn printed_sizes_never_exceed_what_they_stand_for() {
        for (bytes, text) in [
            (123_999_999_999, "123GB"),
            (9_999_999_999, "9999MB"),
            (1_500_000_000_000, "1500GB"),
            (20_000_000_000_000_000, "20000TB"),
            (5, "5B"),
            (0, "0B"),
        ] {
            assert_eq!(format_bytes_down(bytes), text);
            assert!(parse_bytes(text).is_ok_and(|read| read <= bytes));
        }
    }

    #[test]
    fn durations_follow_go() {
        for (text, ns) in [
            ("0", 0),
            ("10s", 10_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1m0s", 60_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("250ms", 250_000_000),
            ("3us", 3000),
            ("3\u{b5}s", 3000),
            ("-1s", -1_000_000_000),
        ] {
            assert_eq!(parse_duration_ns(text), Ok(ns), "{text}");
        }
        for text in
            ["", "10", "s", "1d", "1 h", ".s", "-", "9999999h", "1h-1m", "99999999999999999999s"]
        {
            assert!(matches!(parse_duration_ns(text), Err(UnitError::Duration(_))), "{text}");
        }
        assert!(matches!(parse_duration("-1s"), Err(UnitError::DurationNegative(_))));
    }
}
