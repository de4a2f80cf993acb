//! Working the queue: fetches begin as workers are free and end in a row; what has expired goes.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;

use super::account::{Changing, Effect, Planned, damaged, lock, row_of};
use super::end::{End, Hold};
use super::job::{Errand, Job};
use super::queue::Key;
use super::request::{Status, priority_of};
use super::row::Row;
use super::{Service, State, Tenant, Working};
use crate::store::keys::tenants as keys;
use crate::store::pin::now;
use crate::store::tenants::TenantBatch;
use crate::store::{Core, StoreError};
use crate::task;

/// Time between two looks for requests that have expired.
const EXPIRY_TIME: Duration = Duration::from_secs(10);
/// Time until a start that failed is tried again.
const START_TIME: Duration = Duration::from_secs(5);
/// Expired requests removed in one batch of a tenant.
const EXPIRED_TOGETHER: usize = 128;
/// Time without new fetches once the node is full: to go on at once would throw out what has come for
/// those in flight, and fetch it again. After it fetches begin one by one.
const FULL_TIME: Duration = Duration::from_secs(30);
/// What a tenant is told when its request met a bug.
const PANICKED: &str = "this node failed at it; its operator finds the reason in the log";
/// Seconds until the next try, after the first one, the second, and so on.
const WAITS: [u64; 4] = [60, 300, 1800, 7200];

impl Service {
    /// Works the queue until told to stop. What is in flight then waits again.
    pub async fn work(&self, settings: Working, stop: CancellationToken) {
        while let Err(error) = self.begin().await {
            tracing::warn!("the pinning service cannot start: {error}");
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(START_TIME) => {}
            }
        }
        let (mut fetching, mut looked) = (FuturesUnordered::new(), None::<Instant>);
        loop {
            if looked.is_none_or(|at| at.elapsed() >= EXPIRY_TIME) {
                looked = Some(Instant::now());
                let state = self.state().clone();
                let released = self.node.store.run(move |core| state.release_expired(core)).await;
                if let Err(error) = released {
                    tracing::warn!("releasing pins that expired: {error}");
                }
            }
            while fetching.len() < self.state().most(settings.workers)
                && let Some(key) = self.state().next(settings.workers)
            {
                let (service, stop) = (self.clone(), stop.clone());
                fetching.push(task::spawn(async move {
                    // A bug that one request meets does not end the queue of all others.
                    let work = AssertUnwindSafe(service.pin_one(key, &settings, &stop));
                    if work.catch_unwind().await.is_err() {
                        tracing::error!(
                            "a panic at the pin request of {} of tenant {}",
                            key.1,
                            key.0
                        );
                        lock(&service.state().jobs).remove(&key);
                        service.state().again(key);
                    }
                    key.0
                }));
            }
            let rest = self.state().rest().min(EXPIRY_TIME);
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.state().wake.notified() => {}
                () = tokio::time::sleep(rest) => {}
                Some(done) = fetching.next(), if !fetching.is_empty() => self.done(done),
            }
        }
        while let Some(done) = fetching.next().await {
            self.done(done);
        }
    }

    fn done(&self, ended: Result<u32, tokio::task::JoinError>) {
        match ended {
            Ok(tenant) => lock(&self.state().queue).done(tenant),
            Err(error) => tracing::error!("a fetch ended without telling whose it was: {error}"),
        }
    }

    /// Reads every tenant's book, and so fills the queue.
    async fn begin(&self) -> Result<(), StoreError> {
        for tenant in self.state().tenants.all() {
            let state = self.state().clone();
            let open = move |core: &Core| state.account(tenant.number).open(core, &state).map(drop);
            self.node.store.run(open).await?;
        }
        Ok(())
    }

    /// One fetch, from its row to its row.
    async fn pin_one(&self, key: Key, settings: &Working, stop: &CancellationToken) {
        // One that is not known is being removed, and its requests with it.
        let Some(tenant) = self.state().tenants.get(key.0) else { return };
        let (state, stop) = (self.state().clone(), stop.clone());
        let begin = move |core: &Core| state.begin(core, &tenant, key.1, &stop);
        let errand = match self.node.store.run(begin).await {
            Ok(Some(errand)) => Arc::new(errand),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("a pin request cannot be begun: {error}");
                tokio::time::sleep(START_TIME).await;
                return self.state().again(key);
            }
        };
        let fetch = AssertUnwindSafe(self.fetch(&errand, settings)).catch_unwind();
        let end = tokio::select! {
            () = errand.job.cancel.cancelled() => End::Stopped,
            end = fetch => end.unwrap_or_else(|_| {
                tracing::error!("pin request {}: a panic ended its fetch", errand.id());
                End::Failed(PANICKED.to_owned())
            }),
        };
        let (state, most, ended) = (self.state().clone(), settings.tries, Arc::clone(&errand));
        let outcome = self.node.store.run(move |core| state.end(core, &ended, end, most)).await;
        lock(&self.state().jobs).remove(&key);
        if let Err(error) = outcome {
            tracing::warn!("a pin request cannot be ended: {error}");
            self.state().again(key);
        }
        self.state().wake.notify_one();
    }
}

impl State {
    /// The request whose turn it is.
    fn next(&self, workers: usize) -> Option<Key> {
        let most = |tenant| self.tenants.get(tenant).and_then(|tenant| tenant.limits.in_flight);
        lock(&self.queue).next(now(), workers, &most)
    }

    /// Time for which nothing new is begun.
    fn pause(&self) -> Duration {
        let until = *lock(&self.paused);
        until.map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()))
    }

    /// Fetches that there may be at a time, of so many: none while a full node pauses, then one, and
    /// twice as many after each such time. Together they may need more than there is, and none would end.
    pub(super) fn most(&self, workers: usize) -> usize {
        let Some(until) = *lock(&self.paused) else { return workers };
        let Some(since) = Instant::now().checked_duration_since(until) else { return 0 };
        let doubled = u32::try_from(since.as_secs() / FULL_TIME.as_secs()).unwrap_or(u32::MAX);
        1_usize.checked_shl(doubled).map_or(workers, |most| most.min(workers))
    }

    /// Time until the next request may be tried again.
    fn rest(&self) -> Duration {
        let pause = self.pause();
        if !pause.is_zero() {
            return pause;
        }
        let due = lock(&self.queue).due();
        due.map_or(Duration::MAX, |due| Duration::from_secs(due.saturating_sub(now()).max(1)))
    }

    /// After trouble with the store: the request waits, as rows will say once it can be read.
    fn again(&self, (tenant, created): Key) {
        let later = now().saturating_add(WAITS[0]);
        lock(&self.queue).push((tenant, created), 0, later);
    }

    /// Notes that a request is being fetched. It need not be on the disk: after a crash it waits
    /// again, whatever its row says.
    pub(super) fn begin(
        self: &Arc<Self>,
        core: &Core,
        tenant: &Arc<Tenant>,
        created: u64,
        stop: &CancellationToken,
    ) -> Result<Option<Errand>, StoreError> {
        let account = self.account(tenant.number);
        let mut book = account.open(core, self)?;
        if !matches!(book.index.status(created), Some(Status::Queued | Status::Pinning)) {
            return Ok(None);
        }
        let Some(mut row) = row_of(core, tenant.number, created)? else { return Ok(None) };
        let key = keys::request(tenant.number, created);
        let cid = row.parsed().ok_or_else(|| damaged(&key))?;
        row.status = Status::Pinning;
        // Only what nothing else of the tenant's holds makes room when it goes.
        let kept = row.keeps.map(|kept| core.tenant_row(&keys::held(&kept, tenant.number)));
        let kept = kept.transpose()?.flatten().and_then(|held| keys::Holding::decode(&held));
        let instead = kept.filter(|held| held.requests == 1).map_or(0, |held| held.bytes);
        let mut rows = TenantBatch::default();
        rows.put(key, row.encode());
        core.log_tenants(rows)?;
        book.index.change(created, Status::Pinning);
        let holds = core.tenant_row(&keys::held(&cid, tenant.number))?.is_some();
        let (limits, account) = (tenant.limits, Arc::clone(&account));
        let job = Arc::new(Job::new(account, limits, &row, (instead, holds), stop));
        lock(&self.jobs).insert((tenant.number, created), Arc::clone(&job));
        Ok(Some(Errand { tenant: Arc::clone(tenant), created, row, cid, job }))
    }

    /// Writes how a fetch ended.
    pub(super) fn end(
        &self,
        core: &Core,
        errand: &Errand,
        end: End,
        tries: u32,
    ) -> Result<(), StoreError> {
        let ended = match end {
            End::Pinned => Ok(()),
            End::Failed(reason) => self.fail(core, errand, &reason),
            End::Again(reason) if u32::from(errand.row.tries).saturating_add(1) >= tries => {
                let created = Duration::from_micros(errand.created).as_secs();
                let over = Duration::from_secs(now().saturating_sub(created));
                self.fail(
                    core,
                    errand,
                    &format!("not had in {tries} tries over {over:?}; {reason}"),
                )
            }
            End::Again(reason) => self.put_back(core, errand, &|row| {
                let wait = WAITS.get(usize::from(row.tries)).or(WAITS.last()).copied();
                row.not_before = now().saturating_add(wait.unwrap_or(0));
                (row.tries, row.hold) = (row.tries.saturating_add(1), None);
                row.because(&reason);
            }),
            End::Held(hold) => {
                if hold == Hold::Full {
                    *lock(&self.paused) = Some(Instant::now() + FULL_TIME);
                }
                self.put_back(core, errand, &|row| {
                    let wait = hold.wait(row.hold == Some(hold));
                    row.held(hold, now().saturating_add(wait));
                })
            }
            End::Stopped => self.put_back(core, errand, &|_| ()),
        };
        match ended {
            Err(StoreError::Gone) => Ok(()),
            ended => ended,
        }
    }

    /// The request waits again, for as long as `change` says; else with its place where it was
    /// stopped.
    fn put_back(
        &self,
        core: &Core,
        errand: &Errand,
        change: &dyn Fn(&mut Row),
    ) -> Result<(), StoreError> {
        let (number, created) = (errand.tenant.number, errand.created);
        let account = self.account(number);
        let mut book = account.open(core, self)?;
        if book.index.status(created) != Some(Status::Pinning) {
            return Ok(());
        }
        let mut row = errand.row_now(core)?;
        row.status = Status::Queued;
        change(&mut row);
        let mut rows = TenantBatch::default();
        rows.put(keys::request(number, created), row.encode());
        core.log_tenants(rows)?;
        book.index.change(created, Status::Queued);
        let priority = priority_of(&row.meta).unwrap_or(0);
        lock(&self.queue).push((number, created), priority, row.not_before);
        Ok(())
    }

    /// The request has failed, and lets go what it was to take the place of.
    fn fail(&self, core: &Core, errand: &Errand, reason: &str) -> Result<(), StoreError> {
        let (number, created) = (errand.tenant.number, errand.created);
        let account = self.account(number);
        let mut change = Changing::new(self, &account, |core, book, holds| {
            if book.index.status(created) != Some(Status::Pinning) {
                return Err(StoreError::Gone);
            }
            let mut row = errand.row_now(core)?;
            if let Some(kept) = row.keeps.take() {
                holds.let_go(&kept)?;
            }
            (row.status, row.not_before, row.hold) = (Status::Failed, 0, None);
            row.tries = row.tries.saturating_add(1);
            row.because(reason);
            let mut planned = Planned::default();
            let row = row.encode();
            planned.effects.push(Effect::Failed(created, row.len() as u64));
            planned.rows.put(keys::request(number, created), row);
            Ok(planned)
        });
        core.change_beside(&errand.tenant.name, &mut change)
    }

    /// Removes requests that have expired, pinned or not, with what they alone held.
    pub(super) fn release_expired(&self, core: &Core) -> Result<(), StoreError> {
        let mut before = None;
        loop {
            let (mut tenant, mut some) = (None, Vec::new());
            let expiring = keys::expiring();
            core.each_tenant_row(&expiring, &expiring, &mut |key, _| {
                let (expires, number) = keys::split_expiry(key).ok_or_else(|| damaged(key))?;
                let created = keys::split_created(key).ok_or_else(|| damaged(key))?;
                if expires > now() {
                    return Ok(false);
                }
                // A batch is one tenant's; one that is being removed goes with all it has.
                if tenant.is_none() {
                    tenant = self.tenants.get(number);
                }
                if tenant.as_ref().is_some_and(|tenant| tenant.number == number) {
                    some.push((created, None));
                }
                Ok(some.len() < EXPIRED_TOGETHER)
            })?;
            let Some(tenant) = tenant.filter(|_| !some.is_empty()) else { return Ok(()) };
            // A row that finds no request would be found for ever.
            let batch = Some((tenant.number, some.clone()));
            if batch == before {
                return Err(damaged(&expiring));
            }
            self.remove(core, &tenant, &some)?;
            before = batch;
        }
    }
}
