//! One fetch for a tenant: from a root's CID to a DAG that is here and pinned, within what the tenant
//! may use.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use futures_util::stream::FuturesUnordered;
use libp2p::multiaddr::Protocol;
use tokio_util::sync::CancellationToken;

use super::account::{Account, Changing, Effect, Planned, damaged, lock, row_of};
use super::end::{End, Trouble, is_lost};
use super::quota::{Promise, Short};
use super::request::{self, Status};
use super::row::{Row, cut};
use super::{Fetching, Limits, Service, State, Tenant, Working};
use crate::dag::fetch::Fetched;
use crate::dag::weigh::{Weight, claimed, weigh};
use crate::dag::{DagError, Patience};
use crate::exchange::{Session, Whom};
use crate::ipld::cid::Cid;
use crate::net::Multiaddr;
use crate::node::Node;
use crate::node::swarm::Target;
use crate::routing::dht::scope::{Reach, reach};
use crate::size;
use crate::store::keys::tenants as keys;
use crate::store::keys::tenants::Holding;
use crate::store::pins::{Mode, Pin, Progress};
use crate::store::tenants::TenantBatch;
use crate::store::{Core, Intent, StoreError};

/// Times that what was lost between fetching and pinning is fetched again.
const ROUNDS: usize = 3;
/// Time for an origin to be dialled.
const DIAL_TIME: Duration = Duration::from_secs(30);
/// Pauses between tries to dial an origin. The first is short and odd: a client dials our delegates while
/// we dial it, and two TCP dials that meet from the same ports fail both.
const DIAL_PAUSES: [Duration; 4] = [
    Duration::from_millis(730),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(60),
];
/// Time until the first look at whom a fetch asks, and most between two of them.
const LOOK_TIMES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));
/// Bytes by which a promise is raised at a time, where the limit lets it.
const STEP_BYTES: u64 = 16 << 20;

/// A fetch in flight.
pub(super) struct Job {
    /// Ends it.
    pub cancel: CancellationToken,
    cid: String,
    name: String,
    pub progress: Progress,
    pub started: Instant,
    account: Arc<Account>,
    limits: Limits,
    promise: Mutex<Promise>,
    /// The tenant holds the DAG already: what is fetched of it again costs it nothing.
    holds: bool,
    /// Why the tenant may not have it.
    refused: OnceLock<Short>,
    /// Ends the fetch when that is known.
    over: CancellationToken,
    /// Bytes that the root claims, or that were weighed; 0 while nothing is known.
    size: AtomicU64,
    /// Whom it asks, in words; empty while that is not known.
    asking: Mutex<String>,
    /// When a block came last.
    moved: Mutex<Instant>,
    /// All of it is here, and is being pinned.
    here: AtomicBool,
}

impl Drop for Job {
    fn drop(&mut self) {
        self.account.used().release(*lock(&self.promise));
    }
}

impl Job {
    /// `instead` are bytes of what the request takes the place of, `holds` tells whether the tenant
    /// holds the DAG already.
    pub fn new(
        account: Arc<Account>,
        limits: Limits,
        row: &Row,
        (instead, holds): (u64, bool),
        stop: &CancellationToken,
    ) -> Self {
        let now = Instant::now();
        Self {
            cancel: stop.child_token(),
            cid: row.cid.clone(),
            name: row.name.clone(),
            progress: Progress::default(),
            started: now,
            account,
            limits,
            promise: Mutex::new(Promise { bytes: 0, instead }),
            holds,
            refused: OnceLock::new(),
            over: CancellationToken::new(),
            size: AtomicU64::new(0),
            asking: Mutex::default(),
            moved: Mutex::new(now),
            here: AtomicBool::new(false),
        }
    }

    /// How far it is, for its tenant.
    pub fn details(&self, info: &mut BTreeMap<String, String>) -> String {
        let (blocks, bytes) = self.progress.so_far();
        let seconds = self.started.elapsed().as_secs().max(1);
        let rate = bytes / seconds;
        let size = self.size.load(Ordering::Relaxed);
        let mut text =
            format!("{blocks} blocks, {} so far, {} a second", size::down(bytes), size::down(rate));
        if size > 0 {
            info.insert("dag_size".to_owned(), size.to_string());
            if let Some(left) = size.saturating_sub(bytes).checked_div(rate) {
                text.push_str(&format!(", about {left} seconds left"));
            }
        }
        let asking = self.asking();
        if !asking.is_empty() {
            text.push_str(&format!("; {asking}"));
        }
        text
    }

    /// The same for the operator.
    pub fn shown(&self) -> Fetching {
        let (blocks, bytes) = self.progress.so_far();
        Fetching {
            cid: self.cid.clone(),
            name: self.name.clone(),
            blocks,
            bytes,
            size: Some(self.size.load(Ordering::Relaxed)).filter(|size| *size > 0),
            time: self.started.elapsed(),
            asking: self.asking(),
        }
    }

    /// Whom it asks: nobody while it is being pinned.
    fn asking(&self) -> String {
        match self.here.load(Ordering::Relaxed) {
            true => String::new(),
            false => lock(&self.asking).clone(),
        }
    }

    /// Keeps what is told of whom it asks up to date, for as long as it is polled.
    async fn look(&self, session: Option<&Weak<dyn Session>>) -> Infallible {
        let (mut pause, most) = LOOK_TIMES;
        loop {
            tokio::time::sleep(pause).await;
            if let Some(session) = session.and_then(Weak::upgrade) {
                let progress = session.progress().await;
                *lock(&self.asking) = cut(&Whom(&progress).to_string()).to_owned();
            }
            pause = pause.saturating_mul(2).min(most);
        }
    }

    fn moved(&self) {
        *lock(&self.moved) = Instant::now();
    }

    /// Waits until no block has come for so long.
    async fn stalled(&self, time: Duration) {
        loop {
            let since = lock(&self.moved).elapsed();
            match time.checked_sub(since).filter(|left| !left.is_zero()) {
                None if self.here.load(Ordering::Relaxed) => tokio::time::sleep(time).await,
                None => return,
                Some(left) => tokio::time::sleep(left).await,
            }
        }
    }

    /// Has so many bytes promised, in all, unless they cost nothing.
    pub fn promised(&self, bytes: u64) -> Result<(), Short> {
        match self.holds {
            true => Ok(()),
            false => self.promise(bytes),
        }
    }

    fn promise(&self, bytes: u64) -> Result<(), Short> {
        self.account.used().promise(&self.limits, &mut lock(&self.promise), bytes)
    }

    /// So much was fetched: no more than the tenant may have, whatever the root claims.
    fn came(&self, so_far: Fetched) {
        self.moved();
        self.progress.fetched(so_far.fetched, so_far.bytes);
        if self.holds || so_far.bytes <= lock(&self.promise).bytes {
            return;
        }
        let generous = self.promised(so_far.bytes.saturating_add(STEP_BYTES));
        if let Err(short) = generous.or_else(|_| self.promised(so_far.bytes)) {
            let _ = self.refused.set(short);
            self.over.cancel();
        }
    }
}

/// A request and what is needed to fetch it.
pub(super) struct Errand {
    pub tenant: Arc<Tenant>,
    pub created: u64,
    pub row: Row,
    pub cid: Cid,
    pub job: Arc<Job>,
}

impl Service {
    /// Fetches and pins. Dropping it leaves what has come, for another time.
    pub(super) async fn fetch(&self, errand: &Arc<Errand>, settings: &Working) -> End {
        let job = &errand.job;
        let node = self.node.session(Patience::Endless);
        let getting = std::pin::pin!(self.get(&node, errand));
        let dialling = std::pin::pin!(dial(&node, &errand.row.origins, settings.dial_private));
        let all = async {
            let got = match select(getting, dialling).await {
                Either::Left((got, _)) => got,
                Either::Right(((), getting)) => getting.await,
            };
            let online = node.dag.watch().is_some();
            got.map_or_else(|trouble| trouble.end(online, &errand.id()), |()| End::Pinned)
        };
        let session = node.dag.watch();
        tokio::select! {
            end = all => end,
            never = job.look(session.as_ref()) => match never {},
            () = job.over.cancelled() => {
                job.refused.get().cloned().map_or(End::Stopped, End::from)
            }
            () = job.stalled(settings.stall) => {
                let tried = match session.as_ref().and_then(Weak::upgrade) {
                    Some(session) => format!(": {}", session.progress().await),
                    None => String::new(),
                };
                End::Again(format!("no new block within {:?}{tried}", settings.stall))
            }
        }
    }

    async fn get(&self, node: &Node, errand: &Arc<Errand>) -> Result<(), Trouble> {
        let intent = self.node.store.core().intend();
        let cid = errand.cid;
        let known = self.node.store.run(move |core| weighed(core, &cid)).await?;
        let mut kept = match known {
            Some(weight) => self.keep(errand, &intent, Some(weight)).await,
            None => Err(DagError::NotFound(Box::new(cid)).into()),
        };
        for _ in 0..ROUNDS {
            match kept {
                // What was weighed once may be damaged, or lost since it was fetched.
                Err(Trouble::Dag(error)) if is_lost(&error) => {}
                ended => return ended,
            }
            fetch_all(node, errand, &intent).await?;
            kept = self.keep(errand, &intent, None).await;
        }
        kept
    }

    /// Pins what is here, and writes what the tenant uses.
    async fn keep(
        &self,
        errand: &Arc<Errand>,
        intent: &Intent,
        known: Option<Weight>,
    ) -> Result<(), Trouble> {
        let (state, errand, intent) = (self.state().clone(), Arc::clone(errand), intent.clone());
        errand.job.here.store(true, Ordering::Relaxed);
        let work = move |core: &Core| {
            let kept = errand.keep(core, &state, &intent, known);
            errand.job.moved();
            errand.job.here.store(false, Ordering::Relaxed);
            kept
        };
        self.node.store.run(work).await
    }
}

/// What a DAG weighs, if somebody's pin holds it.
fn weighed(core: &Core, cid: &Cid) -> Result<Option<Weight>, StoreError> {
    let Some((key, row)) = core.tenant_rows(&keys::holders(cid), None, 1)?.pop() else {
        return Ok(None);
    };
    let held = Holding::decode(&row).ok_or_else(|| damaged(&key))?;
    let weight = Weight { bytes: held.bytes, blocks: held.blocks };
    // Not known of one that was held, and not whole, when rows were made again.
    Ok(Some(weight).filter(|weight| weight.blocks > 0))
}

/// Brings every block here. What the root claims is promised first, then what comes.
async fn fetch_all(node: &Node, errand: &Errand, intent: &Intent) -> Result<(), Trouble> {
    let (cid, job, noted) = (errand.cid, &errand.job, intent.clone());
    node.store.run(move |core| core.look(&noted, cid.hash())).await?;
    let root = node.dag.block(&cid).await?;
    job.moved();
    let claims = claimed(&root);
    job.size.store(claims, Ordering::Relaxed);
    job.promised(claims).map_err(Trouble::Quota)?;
    node.dag.fetch(cid, true, intent, &mut |so_far| job.came(so_far)).await?;
    Ok(())
}

impl Errand {
    /// What the request is called.
    pub fn id(&self) -> String {
        request::id(self.created, self.row.random)
    }

    /// The request's row as it is now.
    pub fn row_now(&self, core: &Core) -> Result<Row, StoreError> {
        let row = row_of(core, self.tenant.number, self.created)?;
        row.filter(|row| row.random == self.row.random).ok_or(StoreError::Gone)
    }

    fn keep(
        &self,
        core: &Core,
        state: &State,
        intent: &Intent,
        known: Option<Weight>,
    ) -> Result<(), Trouble> {
        let (job, number, cid) = (&self.job, self.tenant.number, self.cid);
        let most = [self.tenant.limits.bytes, self.tenant.limits.pin_bytes];
        let most = most.into_iter().flatten().min().unwrap_or(u64::MAX);
        let weight = match known {
            Some(weight) => weight,
            None => weigh(core, &cid, most)?,
        };
        job.size.store(weight.bytes, Ordering::Relaxed);
        // What the tenant holds already costs it nothing more.
        if core.tenant_row(&keys::held(&cid, number))?.is_none() {
            job.promise(weight.bytes).map_err(Trouble::Quota)?;
        }
        let name = Some(self.row.name.as_str()).filter(|name| Pin::check_name(name).is_ok());
        let pin = Pin::new(keys::pinned_as(&cid), Mode::Recursive, name.unwrap_or_default())?;
        let pin = pin.owned_by(&self.tenant.name)?;
        job.progress.again();
        let mut lent = Lent { job, promise: std::mem::take(&mut *lock(&job.promise)) };
        let mut change = Changing::new(state, &job.account, |core, book, holds| {
            if book.index.status(self.created) != Some(Status::Pinning) {
                return Err(StoreError::Gone);
            }
            let mut row = self.row_now(core)?;
            holds.take(&cid, weight.bytes, weight.blocks)?;
            if let Some(kept) = row.keeps.take() {
                holds.let_go(&kept)?;
            }
            (row.status, row.bytes, row.blocks) = (Status::Pinned, weight.bytes, weight.blocks);
            (row.not_before, row.hold, row.reason) = (0, None, String::new());
            let mut rows = TenantBatch::default();
            rows.put(keys::request(number, self.created), row.encode());
            Ok(Planned { rows, effects: vec![Effect::Pinned(self.created)] })
        })
        .keeping(&mut lent.promise, self.tenant.limits.bytes);
        let kept = core.pin_beside(&pin, intent, &job.progress, &mut change);
        Ok(kept?)
    }
}

/// The promise of a job while it is being pinned; it has back what is left of it, even of a panic: nothing
/// when it was written.
struct Lent<'a> {
    job: &'a Job,
    promise: Promise,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        *lock(&self.job.promise) = self.promise;
    }
}

/// Dials peers that may have a DAG, as far as they can be reached and may be.
async fn dial(node: &Node, origins: &[String], private: bool) {
    let targets = origins.iter().filter_map(|origin| origin.parse().ok());
    let targets = targets.filter_map(|target| admitted(target, private)).collect();
    let dial = |target: Target| async move {
        for pause in DIAL_PAUSES {
            let dialled = tokio::time::timeout(DIAL_TIME, node.swarm_connect(&target)).await;
            if dialled.is_ok_and(|connected| connected.is_ok()) {
                return;
            }
            tokio::time::sleep(pause).await;
        }
    };
    let dials: FuturesUnordered<_> = Target::group(targets).into_iter().map(dial).collect();
    dials.for_each(|()| async {}).await;
}

/// A peer with those of its addresses that a stranger may have us dial: without `private` only
/// numeric ones that everybody can reach, for a name may lead anywhere.
fn admitted(mut target: Target, private: bool) -> Option<Target> {
    let named = !target.addresses.is_empty();
    let is_name = |part: Protocol<'_>| {
        use Protocol::{Dns, Dns4, Dns6, Dnsaddr};
        matches!(part, Dns(_) | Dns4(_) | Dns6(_) | Dnsaddr(_))
    };
    let public =
        |address: &Multiaddr| reach(address) == Reach::Public && !address.iter().any(is_name);
    target.addresses.retain(|address| private || public(address));
    (!named || !target.addresses.is_empty()).then_some(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_do_not_have_us_dial_our_own_network() {
        let peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp";
        let open = |address: &str, private| {
            let target: Target = format!("{address}/p2p/{peer}").parse().unwrap();
            admitted(target, private).is_some()
        };
        for address in ["/ip4/8.8.8.8/tcp/4001", "/ip6/2606:4700::1111/udp/4001/quic-v1", ""] {
            assert!(open(address, false), "{address}");
        }
        for address in [
            "/ip4/127.0.0.1/tcp/4001",
            "/ip4/10.0.0.1/tcp/4001",
            "/ip4/169.254.169.254/tcp/80",
            "/ip6/::1/tcp/4001",
            "/ip6/::ffff:127.0.0.1/tcp/4001",
            "/ip6/fe80::1/tcp/4001",
            "/dns4/localhost/tcp/4001",
            "/dns4/example.com/tcp/4001",
        ] {
            assert!(!open(address, false) && open(address, true), "{address}");
        }
    }
}
