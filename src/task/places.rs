//! Places for work that goes on at a time: so many in all, and so many for each who shares them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Sharers that are remembered before those are looked for that hold nothing.
const SHARERS_MIN: usize = 64;

/// Places, and who shares them.
#[derive(Debug)]
pub struct Places<K> {
    all: Arc<Semaphore>,
    each: usize,
    sharers: Mutex<Sharers<K>>,
}

#[derive(Debug)]
struct Sharers<K> {
    own: HashMap<K, Arc<Semaphore>>,
    /// How many there may be before those go that hold no place and wait for none.
    most: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl<K: Eq + Hash> Places<K> {
    /// So many places, of which nobody holds more than `each`.
    pub fn new(all: usize, each: usize) -> Self {
        let sharers = Mutex::new(Sharers { own: HashMap::new(), most: SHARERS_MIN });
        Self { all: Arc::new(Semaphore::new(all)), each, sharers }
    }

    /// A place, if one is free.
    pub fn try_take(&self, who: K) -> Option<Place> {
        let own = self.own(who).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _own: own, _all: all })
    }

    /// A place, if one is free within so long. Whoever holds all of their own waits for one of those
    /// first, so no crowd of theirs stands before the others.
    pub async fn take(&self, who: K, wait: Duration) -> Option<Place> {
        let (own, all) = (self.own(who), Arc::clone(&self.all));
        let both = async move {
            // They are never closed.
            let own = own.acquire_owned().await.ok()?;
            Some(Place { _own: own, _all: all.acquire_owned().await.ok()? })
        };
        tokio::time::timeout(wait, both).await.ok().flatten()
    }

    fn own(&self, who: K) -> Arc<Semaphore> {
        let mut sharers = self.sharers.lock().unwrap_or_else(PoisonError::into_inner);
        if sharers.own.len() >= sharers.most {
            // Who holds a place, or waits for one, holds this, too.
            sharers.own.retain(|_, own| Arc::strong_count(own) > 1);
            sharers.most = sharers.own.len().saturating_mul(2).max(SHARERS_MIN);
        }
        let new = || Arc::new(Semaphore::new(self.each));
        Arc::clone(sharers.own.entry(who).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_holds_more_than_their_own_and_all_no_more_than_all() {
        let places = Places::new(3, 2);
        let first = [places.try_take(1).unwrap(), places.try_take(1).unwrap()];
        assert!(places.try_take(1).is_none());
        let other = places.try_take(2).unwrap();
        assert!(places.try_take(3).is_none());
        let short = Duration::from_millis(20);
        assert!(places.take(3, short).await.is_none());
        // The crowd of one who holds all of their own is not before the others.
        let long = Duration::from_secs(60);
        let (crowd, another) = (places.take(1, short), places.take(3, long));
        let freed = async {
            tokio::time::sleep(short / 2).await;
            drop(other);
        };
        let (crowd, another, ()) = tokio::join!(crowd, another, freed);
        assert!(crowd.is_none() && another.is_some());
        drop(first);
        assert!(places.take(1, long).await.is_some());
    }

    #[test]
    fn who_holds_nothing_is_forgotten() {
        let places = Places::new(usize::MAX >> 4, 1);
        let held: Vec<Place> = (0..100).map(|n| places.try_take(n).unwrap()).collect();
        for n in 100..10_000 {
            drop(places.try_take(n).unwrap());
        }
        assert!(places.sharers.lock().unwrap().own.len() <= 200);
        assert!((0..100).all(|n| places.try_take(n).is_none()));
        drop(held);
        assert!((0..100).all(|n| places.try_take(n).is_some()));
    }
}
