//! A tenant's requests by status and time, in memory: 8 bytes a request. Counts are exact, and no
//! row is read that is not asked for.

use super::request::Status;

/// Requests by status; each is known by when it was made, in microseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// For each status the times, ascending.
    by: [Vec<u64>; 4],
}

/// A span of time whose ends are outside of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub after: Option<u64>,
    pub before: Option<u64>,
}

impl Span {
    fn holds(self, created: u64) -> bool {
        self.after.is_none_or(|after| created > after)
            && self.before.is_none_or(|before| created < before)
    }

    /// The part of an ascending list that lies in the span.
    fn of(self, times: &[u64]) -> &[u64] {
        let from = self.after.map_or(0, |after| times.partition_point(|time| *time <= after));
        let to = match self.before {
            Some(before) => times.partition_point(|time| *time < before),
            None => times.len(),
        };
        times.get(from..to).unwrap_or_default()
    }
}

impl Index {
    /// An index of times that descend.
    pub fn of_newest_first(mut times: [Vec<u64>; 4]) -> Self {
        times.iter_mut().for_each(|times| times.reverse());
        Self { by: times }
    }

    fn of(&self, status: Status) -> &Vec<u64> {
        &self.by[status as usize]
    }

    /// How many have a status.
    pub fn len(&self, status: Status) -> u64 {
        self.of(status).len() as u64
    }

    /// How many are queued, being pinned, or pinned.
    pub fn live(&self) -> u64 {
        [Status::Queued, Status::Pinning, Status::Pinned]
            .map(|status| self.len(status))
            .iter()
            .sum()
    }

    /// The one made last.
    pub fn last(&self) -> Option<u64> {
        self.by.iter().filter_map(|times| times.last()).max().copied()
    }

    /// The first `limit` of a status that were made after a time.
    pub fn next(&self, status: Status, after: Option<u64>, limit: usize) -> Vec<u64> {
        let span = Span { after, before: None };
        span.of(self.of(status)).iter().take(limit).copied().collect()
    }

    /// Adds a request.
    pub fn insert(&mut self, status: Status, created: u64) {
        let times = &mut self.by[status as usize];
        if let Err(at) = times.binary_search(&created) {
            times.insert(at, created);
        }
    }

    /// Removes one; tells what its status was.
    pub fn remove(&mut self, created: u64) -> Option<Status> {
        let status = self.status(created)?;
        let times = &mut self.by[status as usize];
        if let Ok(at) = times.binary_search(&created) {
            times.remove(at);
        }
        Some(status)
    }

    /// Gives a request that is there another status.
    pub fn change(&mut self, created: u64, status: Status) {
        if self.remove(created).is_some() {
            self.insert(status, created);
        }
    }

    /// The status of a request; `None` when there is no such one.
    pub fn status(&self, created: u64) -> Option<Status> {
        let is = |status: &Status| self.of(*status).binary_search(&created).is_ok();
        Status::ALL.into_iter().find(is)
    }

    /// The status of a request if it is among these, and in the span.
    pub fn among(&self, created: u64, statuses: &[Status], span: Span) -> Option<Status> {
        let status = self.status(created).filter(|status| statuses.contains(status))?;
        span.holds(created).then_some(status)
    }

    /// How many of these statuses, each of which is named once, lie in a span.
    pub fn count(&self, statuses: &[Status], span: Span) -> u64 {
        statuses.iter().map(|status| span.of(self.of(*status)).len() as u64).sum()
    }

    /// The newest `limit` of them, the newest first.
    pub fn newest(&self, statuses: &[Status], span: Span, limit: usize) -> Vec<(u64, Status)> {
        let mut found: Vec<(u64, Status)> = Vec::new();
        for status in statuses {
            let times = span.of(self.of(*status)).iter().rev().take(limit);
            found.extend(times.map(|time| (*time, *status)));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.truncate(limit);
        found
    }

    /// When all of them were made, the newest first.
    pub fn times(&self, statuses: &[Status], span: Span) -> Vec<u64> {
        let of = |status: &Status| span.of(self.of(*status)).iter().rev();
        let mut times: Vec<u64> = statuses.iter().flat_map(of).copied().collect();
        // Runs that descend: a sort that is stable merges them.
        times.sort_by(|a, b| b.cmp(a));
        times
    }

    /// How many queued ones were made before this one.
    pub fn ahead(&self, created: u64) -> u64 {
        self.of(Status::Queued).partition_point(|time| *time < created) as u64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

    use super::*;

    #[test]
    fn an_index_is_a_map_of_statuses() {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut index, mut model) = (Index::default(), BTreeMap::new());
        for _ in 0..3_000 {
            let (created, status) = (rng.random_range(0..300), Status::ALL[rng.random_range(0..4)]);
            match rng.random_range(0..3) {
                0 => {
                    if model.insert(created, status).is_some() {
                        index.remove(created);
                    }
                    index.insert(status, created);
                }
                1 => assert_eq!(index.remove(created), model.remove(&created)),
                _ => {
                    index.change(created, status);
                    model.entry(created).and_modify(|old| *old = status);
                }
            }
            let bound = |rng: &mut StdRng| rng.random::<bool>().then(|| rng.random_range(0..300));
            let span = Span { after: bound(&mut rng), before: bound(&mut rng) };
            let wanted: Vec<Status> =
                Status::ALL.into_iter().filter(|_| rng.random::<bool>()).collect();
            let fits = |(created, status): &(&u64, &Status)| {
                wanted.contains(status)
                    && span.after.is_none_or(|after| **created > after)
                    && span.before.is_none_or(|before| **created < before)
            };
            let all: Vec<(u64, Status)> =
                model.iter().filter(fits).map(|(c, s)| (*c, *s)).rev().collect();
            assert_eq!(index.count(&wanted, span), all.len() as u64);
            let limit = rng.random_range(0..20);
            assert_eq!(index.newest(&wanted, span, limit), all[..all.len().min(limit)]);
            let times: Vec<u64> = all.iter().map(|(created, _)| *created).collect();
            assert_eq!(index.times(&wanted, span), times);
            assert_eq!(index.status(created), model.get(&created).copied());
            assert_eq!(index.last(), model.keys().last().copied());
        }
    }
}
