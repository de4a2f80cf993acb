//! The header `Range`: from its text and a size to the bytes that are meant.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// What a range means for content of a known size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// All of it: the header is not a range that is served in parts.
    Whole,
    /// Bytes from `start` to before `end`; at least one.
    Part {
        /// First byte.
        start: u64,
        /// One past the last byte.
        end: u64,
    },
    /// Nothing of it is there.
    Outside,
}

/// Most ranges in one header that are looked at: a client may list thousands of them.
const RANGES_MAX: usize = 64;

/// Reads a header. Of several ranges the first that is there is served alone, as HTTP allows; other
/// units, and a list with anything in it that does not parse, ask for the whole.
pub fn cut(header: &str, size: u64) -> Cut {
    let Some(ranges) = header.trim().strip_prefix("bytes=") else { return Cut::Whole };
    let mut found = None;
    for (seen, range) in ranges.split(',').enumerate() {
        match one(range, size) {
            _ if seen >= RANGES_MAX => return Cut::Whole,
            Cut::Whole => return Cut::Whole,
            Cut::Outside => {}
            part @ Cut::Part { .. } => found = found.or(Some(part)),
        }
    }
    found.unwrap_or(Cut::Outside)
}

fn one(range: &str, size: u64) -> Cut {
    let Some((from, to)) = range.split_once('-') else { return Cut::Whole };
    match (from.trim(), to.trim()) {
        ("", last) => match number(last) {
            None => Cut::Whole,
            Some(0) => Cut::Outside,
            Some(_) if size == 0 => Cut::Outside,
            Some(last) => Cut::Part { start: size.saturating_sub(last), end: size },
        },
        (from, to) => match (number(from), to.is_empty(), number(to)) {
            (Some(start), true, _) => part(start, size, size),
            (Some(start), false, Some(last)) if start <= last => {
                part(start, last.saturating_add(1), size)
            }
            _ => Cut::Whole,
        },
    }
}

fn part(start: u64, end: u64, size: u64) -> Cut {
    match start < size {
        true => Cut::Part { start, end: end.min(size) },
        false => Cut::Outside,
    }
}

/// Digits and nothing else; what is beyond every size is just large.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_ten_bytes() {
        let part = |start, end| Cut::Part { start, end };
        for (header, meant) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-9", part(0, 10)),
            ("bytes=2-4", part(2, 5)),
            (" bytes=2-4 ", part(2, 5)),
            ("bytes=2-", part(2, 10)),
            ("bytes=9-99", part(9, 10)),
            ("bytes=0-18446744073709551615", part(0, 10)),
            ("bytes=0-99999999999999999999999", part(0, 10)),
            ("bytes=-3", part(7, 10)),
            ("bytes=-99", part(0, 10)),
            ("bytes=-0", Cut::Outside),
            ("bytes=10-", Cut::Outside),
            ("bytes=10-20", Cut::Outside),
            ("bytes=99999999999999999999999-", Cut::Outside),
            ("bytes=4-2", Cut::Whole),
            ("bytes=6-8, 0-1", part(6, 9)),
            ("bytes=20-30,-2", part(8, 10)),
            ("bytes=20-30,40-", Cut::Outside),
            ("bytes=0-1,x", Cut::Whole),
            ("bytes=0-1,", Cut::Whole),
            ("bytes=-", Cut::Whole),
            ("bytes=+1-2", Cut::Whole),
            ("bytes=a-b", Cut::Whole),
            ("bytes=", Cut::Whole),
            ("items=0-1", Cut::Whole),
            ("", Cut::Whole),
        ] {
            assert_eq!(cut(header, 10), meant, "{header}");
        }
        assert_eq!(cut(&format!("bytes={}0-0", "0-0,".repeat(RANGES_MAX)), 10), Cut::Whole);
        assert_eq!(cut("bytes=0-", 0), Cut::Outside);
        assert_eq!(cut("bytes=-1", 0), Cut::Outside);
    }
}
