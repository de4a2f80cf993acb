//! What a tenant uses of what it may: bytes that its pins hold, and bytes promised to those that are
//! being fetched. Pure.

use super::tenant::Limits;
use crate::size;

/// Failed requests of a tenant with which it may make no more. Those that wait may yet fail: no
/// request that was acknowledged goes by itself.
const FAILED_MAX: u64 = 10_000;
/// Bytes of their rows that are as much.
const FAILED_MAX_BYTES: u64 = 16 << 20;

/// Bytes of one tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Used {
    /// Of DAGs that its requests hold; one that several hold counts once.
    pub bytes: u64,
    /// Promised to fetches.
    pub reserved: u64,
}

/// What one fetch was promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Promise {
    /// Bytes.
    pub bytes: u64,
    /// Bytes of what it will take the place of, which may be counted twice meanwhile.
    pub instead: u64,
}

/// Why a promise is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Short {
    /// What is wanted and what is left, for people.
    pub reason: String,
    /// Whether it would be given if nothing else were being fetched: some of that may fail.
    pub later: bool,
}

/// Whether a tenant with so many requests may have one more; `failed` are those that have failed, and
/// the bytes of their rows.
pub(super) fn may_add(limits: &Limits, live: u64, failed: (u64, u64)) -> Result<(), String> {
    let (count, bytes) = failed;
    if count >= FAILED_MAX || bytes >= FAILED_MAX_BYTES {
        return Err(format!("{count} requests have failed, of {}; remove some", size::down(bytes)));
    }
    match limits.pins {
        Some(most) if live >= most => {
            Err(format!("the limit is {most} pins, and {live} are there"))
        }
        _ => Ok(()),
    }
}

impl Used {
    /// Raises the promise of a fetch to `wanted` bytes in all; one that is higher stays.
    ///
    /// # Errors
    /// [`Short`]; nothing has changed then.
    pub fn promise(
        &mut self,
        limits: &Limits,
        promise: &mut Promise,
        wanted: u64,
    ) -> Result<(), Short> {
        if let Some(most) = limits.pin_bytes.filter(|most| wanted > *most) {
            let reason =
                format!("needs {}, one pin may have {}", size::down(wanted), size::down(most));
            return Err(Short { reason, later: false });
        }
        if wanted <= promise.bytes {
            return Ok(());
        }
        let others = self.reserved.saturating_sub(promise.bytes);
        if let Some(most) = limits.bytes {
            let left = most.saturating_add(promise.instead).saturating_sub(self.bytes);
            let later = wanted <= left;
            let left = left.saturating_sub(others);
            if wanted > left {
                let (wanted, left, most) = (size::down(wanted), size::down(left), size::down(most));
                let reason = format!("needs {wanted}, {left} of {most} are left");
                return Err(Short { reason, later });
            }
        }
        promise.bytes = wanted;
        self.reserved = others.saturating_add(wanted);
        Ok(())
    }

    /// Takes a promise back.
    pub fn release(&mut self, promise: Promise) {
        self.reserved = self.reserved.saturating_sub(promise.bytes);
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn promises_never_pass_a_limit() {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let limits = Limits { bytes: Some(1000), pin_bytes: Some(400), ..Limits::default() };
        let (mut used, mut flying) = (Used::default(), Vec::<Promise>::new());
        let mut refused = 0;
        for _ in 0..20_000 {
            match rng.random_range(0..4) {
                0 => {
                    let mut promise = Promise::default();
                    let wanted = rng.random_range(0..500);
                    let before = used;
                    match used.promise(&limits, &mut promise, wanted) {
                        Ok(()) => flying.push(promise),
                        Err(_) => assert_eq!(used, before),
                    }
                }
                1 if !flying.is_empty() => {
                    let at = rng.random_range(0..flying.len());
                    let more = flying[at].bytes + rng.random_range(0..100);
                    refused += u32::from(used.promise(&limits, &mut flying[at], more).is_err());
                }
                2 if !flying.is_empty() => {
                    let promise = flying.swap_remove(rng.random_range(0..flying.len()));
                    used.release(promise);
                    used.bytes += rng.random_range(0..=promise.bytes);
                }
                _ => used.bytes = used.bytes.saturating_sub(rng.random_range(0..300)),
            }
            assert_eq!(used.reserved, flying.iter().map(|promise| promise.bytes).sum::<u64>());
            assert!(used.bytes + used.reserved <= 1000 && flying.iter().all(|p| p.bytes <= 400));
        }
        assert!(refused > 100);
    }

    #[test]
    fn what_does_not_fit_is_told_for_people() {
        let limits = Limits { bytes: Some(10 << 30), ..Limits::default() };
        let mut used = Used { bytes: (88 << 30) / 10, reserved: 0 };
        let refused = used.promise(&limits, &mut Promise::default(), 5 << 30).unwrap_err();
        assert_eq!(refused.reason, "needs 5.0 GiB, 1.2 GiB of 10.0 GiB are left");
        assert!(!refused.later);
        // What is being fetched may yet fail.
        let mut busy = Used { bytes: 0, reserved: 6 << 30 };
        assert!(busy.promise(&limits, &mut Promise::default(), 5 << 30).unwrap_err().later);
        // What is replaced makes room for what replaces it.
        let mut promise = Promise { bytes: 0, instead: 4 << 30 };
        assert_eq!(used.promise(&limits, &mut promise, 5 << 30), Ok(()));
        let limits = Limits { pins: Some(2), ..Limits::default() };
        let may = |live, failed| may_add(&limits, live, failed);
        assert!(may(1, (9_999, (16 << 20) - 1)).is_ok() && may(2, (0, 0)).is_err());
        assert!(may(1, (10_000, 0)).unwrap_err().starts_with("10000 requests have failed"));
        assert!(may(1, (300, 16 << 20)).unwrap_err().contains("16.0 MiB; remove some"));
    }
}
