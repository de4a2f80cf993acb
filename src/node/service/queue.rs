//! Whose turn it is: which request is fetched next. Pure; knows no clock and no store.
//!
//! Of the tenants that have something to fetch, the one with the fewest in flight is next, and of
//! several such the one whose last turn is longest ago. A tenant never has more in flight than its
//! limit, nor more than three quarters of all workers, be it alone: whoever comes next finds a worker
//! free. Within a tenant the higher priority goes first, then whoever asked first. 32 bytes a
//! request.

use std::collections::{BTreeMap, BTreeSet};

/// A request: the tenant's number, and when it was made.
pub(super) type Key = (u32, u64);

/// What one tenant has in the queue.
#[derive(Debug, Default)]
struct Line {
    /// Priority, upside down, and when it was made.
    ready: BTreeSet<(i8, u64)>,
    /// Not to be tried before a time, in seconds since 1970: time, when it was made, priority.
    later: BTreeSet<(u64, u64, i8)>,
    in_flight: u32,
    /// Number of its last turn.
    turn: u64,
}

/// Every request that waits.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lines: BTreeMap<u32, Line>,
    turns: u64,
}

/// How much of one tenant waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    pub tenant: u32,
    pub ready: usize,
    pub later: usize,
}

/// Most of so many workers that one tenant takes.
pub(super) fn share(workers: usize) -> u32 {
    u32::try_from(workers.saturating_mul(3).div_ceil(4).max(1)).unwrap_or(u32::MAX)
}

impl Queue {
    /// Puts a request that is not to be tried before `not_before`, in seconds since 1970.
    pub fn push(&mut self, (tenant, created): Key, priority: i8, not_before: u64) {
        let line = self.lines.entry(tenant).or_default();
        match not_before {
            0 => _ = line.ready.insert((priority.saturating_neg(), created)),
            time => _ = line.later.insert((time, created, priority)),
        }
    }

    /// Takes a request out; tells whether it was there.
    pub fn remove(&mut self, (tenant, created): Key, priority: i8, not_before: u64) -> bool {
        let Some(line) = self.lines.get_mut(&tenant) else { return false };
        let there = line.ready.remove(&(priority.saturating_neg(), created))
            | line.later.remove(&(not_before, created, priority));
        self.tidy(tenant);
        there
    }

    /// The request whose turn it is at `now`, in seconds since 1970, when there are so many workers;
    /// it counts as in flight from then on. `most` gives the limit of a tenant.
    pub fn next(
        &mut self,
        now: u64,
        workers: usize,
        most: &dyn Fn(u32) -> Option<u32>,
    ) -> Option<Key> {
        let share = share(workers);
        let mut best: Option<(u32, u64, u32)> = None;
        for (tenant, line) in &mut self.lines {
            while let Some((time, created, priority)) = line.later.first().copied()
                && time <= now
            {
                line.later.pop_first();
                line.ready.insert((priority.saturating_neg(), created));
            }
            let bound = most(*tenant).unwrap_or(u32::MAX).min(share);
            let rank = (line.in_flight, line.turn, *tenant);
            if !line.ready.is_empty() && line.in_flight < bound && best.is_none_or(|b| rank < b) {
                best = Some(rank);
            }
        }
        let (_, _, tenant) = best?;
        let line = self.lines.get_mut(&tenant)?;
        let (_, created) = line.ready.pop_first()?;
        self.turns += 1;
        line.in_flight += 1;
        line.turn = self.turns;
        Some((tenant, created))
    }

    /// A request of the tenant is not in flight any more.
    pub fn done(&mut self, tenant: u32) {
        if let Some(line) = self.lines.get_mut(&tenant) {
            line.in_flight = line.in_flight.saturating_sub(1);
        }
        self.tidy(tenant);
    }

    /// When the first request that waits for a time may be tried, in seconds since 1970.
    pub fn due(&self) -> Option<u64> {
        self.lines.values().filter_map(|line| line.later.first()).map(|(time, _, _)| *time).min()
    }

    /// What there is of each tenant.
    pub fn lengths(&self) -> Vec<Length> {
        let length = |(tenant, line): (&u32, &Line)| Length {
            tenant: *tenant,
            ready: line.ready.len(),
            later: line.later.len(),
        };
        self.lines.iter().map(length).collect()
    }

    /// Forgets a tenant of which there is nothing.
    fn tidy(&mut self, tenant: u32) {
        if let Some(line) = self.lines.get(&tenant)
            && line.ready.is_empty()
            && line.later.is_empty()
            && line.in_flight == 0
        {
            self.lines.remove(&tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn nobody_has_more_than_a_limit_and_everything_has_its_turn() {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let workers = 20;
        let limits: Vec<Option<u32>> =
            (0..10).map(|_| rng.random::<bool>().then(|| rng.random_range(1..8))).collect();
        let most = |tenant: u32| limits[tenant as usize];
        let (mut queue, mut flying) = (Queue::default(), Vec::<Key>::new());
        let mut waiting = HashMap::<Key, (i8, u64)>::new();
        let (mut now, mut served) = (1, 0);
        for created in 0..20_000 {
            let key = (rng.random_range(0..10), created);
            let (priority, time) = (rng.random_range(-2..=2), rng.random_range(0..4) * now / 2);
            queue.push(key, priority, time);
            waiting.insert(key, (priority, time));
            if rng.random_range(0..10) == 0 {
                let (key, (priority, time)) = waiting.iter().next().map(|(k, v)| (*k, *v)).unwrap();
                assert!(queue.remove(key, priority, time));
                waiting.remove(&key);
            }
            now += rng.random_range(0..2);
            while flying.len() > rng.random_range(0..workers) {
                let (tenant, _) = flying.swap_remove(rng.random_range(0..flying.len()));
                queue.done(tenant);
            }
            while flying.len() < workers
                && let Some(key) = queue.next(now, workers, &most)
            {
                let (priority, time) = waiting.remove(&key).expect("it waits, and once");
                assert!(time <= now);
                let better = |(other, (p, t)): (&Key, &(i8, u64))| {
                    other.0 == key.0 && *t <= now && (-*p, other.1) < (-priority, key.1)
                };
                assert!(!waiting.iter().any(|(k, v)| better((k, v))));
                flying.push(key);
                served += 1;
                let held = flying.iter().filter(|(tenant, _)| *tenant == key.0).count() as u32;
                assert!(held <= most(key.0).unwrap_or(15).min(15));
            }
        }
        flying.iter().for_each(|(tenant, _)| queue.done(*tenant));
        while let Some(key) = queue.next(u64::MAX, workers, &most) {
            assert!(waiting.remove(&key).is_some());
            queue.done(key.0);
        }
        assert!(waiting.is_empty() && served > 1_000 && queue.lines.is_empty());
    }

    #[test]
    fn a_flood_leaves_the_others_their_turns() {
        // One tenant has 10,000 requests before anybody else has one; all fetches take the same time.
        let (mut queue, most) = (Queue::default(), |_| None);
        (0..10_000).for_each(|n| queue.push((0, n), 100, 0));
        let mut flying: std::collections::VecDeque<Key> = Default::default();
        while flying.len() < 20
            && let Some(key) = queue.next(0, 20, &most)
        {
            flying.push_back(key);
        }
        assert_eq!(flying.len(), 15);
        (1..50).for_each(|tenant| queue.push((tenant, 20_000), 0, 0));
        let (mut rounds, mut begun) = (0, 0);
        while begun < 49 {
            while flying.len() < 20
                && let Some(key) = queue.next(0, 20, &most)
            {
                begun += u32::from(key.0 != 0);
                flying.push_back(key);
            }
            let done = flying.pop_front().unwrap();
            queue.done(done.0);
            rounds += 1;
        }
        assert!(rounds <= 60, "{rounds} fetches ended before 49 requests of others had begun");
    }
}
