//! How often somebody may call: a bucket that fills with time.

use std::time::Instant;

/// Seconds of its rate that a bucket holds: what may come at a blow after a pause.
const BURST_SECONDS: f64 = 2.0;

/// A bucket. Full at first.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    level: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn full(now: Instant) -> Self {
        Self { level: f64::INFINITY, at: now }
    }

    /// Takes one call out, at so many a second; when there is none left, tells when there will be.
    ///
    /// # Errors
    /// Whole seconds to wait, rounded up, as `Retry-After` counts them: 1 to 3600.
    pub fn take(&mut self, rate: u32, now: Instant) -> Result<(), u64> {
        let (each, most) = (f64::from(rate), f64::from(rate) * BURST_SECONDS);
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        // A rate below one a second still lets one call through.
        self.level = (self.level + passed * each).min(most.max(1.0));
        self.at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            return Ok(());
        }
        let wait = if rate == 0 { 3600.0 } else { ((1.0 - self.level) / each).clamp(1.0, 3600.0) };
        Err(wait.ceil() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_second_has_more_than_a_burst() {
        let begin = Instant::now();
        let mut bucket = Bucket::full(begin);
        // 100 tries in each millisecond of ten seconds, at 50 a second: the burst, and the rate.
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let taken = (0..10_000)
            .map(|ms| (0..100).filter(|_| bucket.take(50, at(ms)).is_ok()).count())
            .sum::<usize>();
        assert!((598..=601).contains(&taken), "{taken}");
        assert_eq!(bucket.take(50, at(9_999)), Err(1));
        assert_eq!(bucket.take(50, at(11_000)), Ok(()));
        // Who waits as long as it was told is let in.
        for (rate, passed) in [(1, 0), (1, 1), (1, 999), (2, 499), (3, 1), (50, 19)] {
            let mut bucket = Bucket::full(begin);
            while bucket.take(rate, begin).is_ok() {}
            let wait = bucket.take(rate, at(passed)).unwrap_err();
            let again = bucket.take(rate, at(passed + 1000 * wait));
            assert_eq!((wait, again), (1, Ok(())), "{rate} {passed}");
        }
        let mut closed = Bucket::full(begin);
        assert_eq!(closed.take(0, begin), Ok(()));
        assert_eq!(closed.take(0, at(100_000)), Err(3600));
    }
}
