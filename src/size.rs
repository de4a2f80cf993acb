//! Sizes as text for people: how many bytes, in the largest unit of which there is one.
//!
//! Three forms, since three kinds of readers compare: [`down`] never tells more than there is,
//! [`short`] is that of pages which list folders, [`decimal`] that of Kubo's command line.

const BINARY: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];

/// In powers of 1024 with one decimal, which is rounded down: `5.0 GiB`, `15.9 EiB`. What is left of
/// a limit is not told as more than it is.
pub fn down(bytes: u64) -> String {
    let power = bytes.checked_ilog2().unwrap_or_default() / 10;
    let Some(unit) = BINARY.get((power as usize).wrapping_sub(1)) else {
        return format!("{bytes} B");
    };
    let tenths = (u128::from(bytes) * 10) >> (10 * power);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// In powers of 1024, rounded, with one decimal below ten of a unit: `1.0 KiB`, `10 MiB`.
pub fn short(bytes: u64) -> String {
    match scaled(bytes, 1024.0, &BINARY) {
        (value, Some(unit)) if value < 10.0 => format!("{value:.1} {unit}"),
        (value, Some(unit)) => format!("{value:.0} {unit}"),
        (_, None) => format!("{bytes} B"),
    }
}

/// In powers of 1000, as Kubo prints a size: one decimal below ten of a unit, halves upwards: `1.3 MB`,
/// `83 MB`.
pub fn decimal(bytes: u64) -> String {
    let (value, Some(unit)) = scaled(bytes, 1000.0, &DECIMAL) else {
        return format!("{bytes} B");
    };
    let rounded = (value * 10.0 + 0.5).floor() / 10.0;
    match rounded < 10.0 {
        true => format!("{rounded:.1} {unit}"),
        false => format!("{rounded:.0} {unit}"),
    }
}

/// How many of the largest unit of which there is one; no unit below the first.
fn scaled<'a>(bytes: u64, base: f64, units: &[&'a str]) -> (f64, Option<&'a str>) {
    let (mut value, mut unit) = (bytes as f64, None);
    for next in units {
        if value < base {
            break;
        }
        (value, unit) = (value / base, Some(*next));
    }
    (value, unit)
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::config::units::parse_bytes;

    #[test]
    fn sizes_read_as_they_are_meant() {
        for (bytes, less, page, line) in [
            (0, "0 B", "0 B", "0 B"),
            (99, "99 B", "99 B", "99 B"),
            (1000, "1000 B", "1000 B", "1.0 kB"),
            (1023, "1023 B", "1023 B", "1.0 kB"),
            (1024, "1.0 KiB", "1.0 KiB", "1.0 kB"),
            (1_250_000, "1.1 MiB", "1.2 MiB", "1.3 MB"),
            (10 << 20, "10.0 MiB", "10 MiB", "10 MB"),
            ((1 << 20) - 1, "1023.9 KiB", "1024 KiB", "1.0 MB"),
            (82_854_982, "79.0 MiB", "79 MiB", "83 MB"),
            (5 << 30, "5.0 GiB", "5.0 GiB", "5.4 GB"),
            (u64::MAX, "15.9 EiB", "16 EiB", "18 EB"),
        ] {
            let told = [down(bytes), short(bytes), decimal(bytes)];
            assert_eq!(told, [less, page, line], "{bytes}");
        }
    }

    #[test]
    fn a_text_is_near_what_it_tells() {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let bytes = rng.random::<u64>() >> rng.random_range(1..64);
            let read = |text: &str| parse_bytes(text).unwrap();
            let less = read(&down(bytes));
            // A tenth of a unit is at most a tenth of what there is of it.
            assert!(less <= bytes && bytes - less <= bytes / 10 + 1, "{bytes}: {less}");
            for near in [short(bytes), decimal(bytes)] {
                assert!(read(&near).abs_diff(bytes) <= bytes / 18 + 1, "{bytes}: {near}");
            }
        }
    }
}
