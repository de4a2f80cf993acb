//! Many tenants and many requests: a flood costs the others little, and looking costs what is looked
//! for. Small here, and as large as the bars say with `HENGE_SOAK=1`.

use super::*;
use crate::node::service::Match;
use crate::node::service::account::put_rows;
use crate::node::service::row::Row;
use crate::store::keys::tenants as keys;
use crate::store::tenants::TenantBatch;

fn soak() -> bool {
    std::env::var_os("HENGE_SOAK").is_some_and(|value| value == "1")
}

/// A request as its row says it.
pub fn row(n: u64, status: Status) -> Row {
    let meta =
        [("app".to_owned(), (n % 50).to_string()), ("batch".to_owned(), (n / 9).to_string())];
    Row {
        status,
        tries: 0,
        hold: None,
        random: n,
        not_before: 0,
        expires: 0,
        bytes: 0,
        blocks: 0,
        cid: leaf(n, 8).cid().to_string(),
        keeps: None,
        name: format!("folder-{}/File-{n}.bin", n % 100),
        reason: String::new(),
        origins: Vec::new(),
        meta: meta.into(),
    }
}

/// Writes requests of a tenant, made one millisecond after the other.
pub fn fill(store: &Store, tenant: u32, count: u64, status: impl Fn(u64) -> Status) {
    fill_with(store, tenant, count, |n| row(n, status(n)));
}

fn fill_with(store: &Store, tenant: u32, count: u64, row: impl Fn(u64) -> Row) {
    let core = store.core();
    for first in (0..count).step_by(1000) {
        let mut batch = TenantBatch::default();
        for n in first..(first + 1000).min(count) {
            put_rows(&mut batch, tenant, (n + 1) * 1000, &row(n));
        }
        core.log_tenants(batch).unwrap();
    }
    core.sync_tenants().unwrap();
}

/// How long it takes until what 49 tenants ask for at once is begun, the one in the middle and the
/// last, with so many requests of another tenant before them.
async fn time_to_start(flood: u64, each: u64) -> [Duration; 2] {
    let (ours, theirs) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    let total = flood + 49 * each;
    for first in (0..total).step_by(1000) {
        let some: Vec<Block> = (first..(first + 1000).min(total)).map(|n| leaf(n, 8)).collect();
        theirs.core().put_unpinned(&some).unwrap();
    }
    let (node, sent, begun) = watched(&ours, &theirs, Duration::from_millis(10));
    let service = node.service();
    fill(&ours, 1, flood, |_| Status::Queued);
    access(&service, 1, Limits::default());
    let worker = Worker::start(&service, Working::default());
    while sent.load(Ordering::Relaxed) < 8 * flood.min(300) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let asking = (0..49).map(|tenant| {
        let who = access(&service, 2 + tenant, Limits::default());
        let service = service.clone();
        crate::task::spawn(async move {
            let mut asked = Vec::new();
            for n in 0..each {
                let cid = *leaf(flood + u64::from(tenant) * each + n, 8).cid();
                asked.push((cid, Instant::now()));
                service.add(&who, ask(&cid)).await.unwrap();
            }
            until(&service, &who, Status::Pinned, each).await;
            asked
        })
    });
    let mut waits = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        let asked = asked.await.unwrap();
        let begun = begun.lock().unwrap();
        waits.extend(asked.iter().map(|(cid, at)| begun[cid].duration_since(*at)));
    }
    let left = service.queue().iter().map(|line| line.ready).sum::<u64>();
    assert!(flood == 0 || left > 0, "the flood ended before the others did");
    worker.stop().await;
    // Another process finds every request, and nothing is being fetched any more.
    let again = super::node(&ours).service();
    let one = access(&again, 1, Limits::default());
    let count = |status| Filter { status, limit: 1, ..Filter::default() };
    let found = again.find(&one, &count(Status::ALL.to_vec())).await.unwrap();
    assert_eq!(found.count, flood);
    let found = again.find(&one, &count(vec![Status::Pinning, Status::Failed])).await.unwrap();
    assert_eq!(found.count, 0);
    waits.sort_unstable();
    let told = [waits[waits.len() / 2], waits[waits.len() - 1]];
    eprintln!("{flood} before: {:?} in the middle, {:?} the last; {left} left", told[0], told[1]);
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_one_tenant_hardly_delays_the_others() {
    let (flood, each) = if soak() { (100_000, 20) } else { (3_000, 5) };
    let alone = time_to_start(0, each).await;
    let beside = time_to_start(flood, each).await;
    for (alone, beside) in alone.into_iter().zip(beside) {
        assert!(beside < 2 * alone, "{beside:?} beside a flood, {alone:?} without");
    }
}

/// KiB that the process takes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

/// The slowest but one in a hundred.
async fn p99<F: Future<Output = u64>>(
    what: &str,
    rounds: u32,
    mut look: impl FnMut(u32) -> F,
) -> Duration {
    let (mut times, mut found) = (Vec::new(), 0);
    for n in 0..rounds {
        let begun = Instant::now();
        found = look(n).await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let p99 = times[times.len() - 1 - times.len() / 100];
    eprintln!(
        "{what}: {:?} in the middle, {p99:?} at 99 of 100; {found} found",
        times[times.len() / 2]
    );
    p99
}

/// Looks at a tenant whose requests have all the same name and CID.
async fn shared(service: &Service, tenant: u32) {
    let ms = Duration::from_millis;
    let same = access(service, tenant, Limits::default());
    let same = |by_cid: bool, meta: Option<u32>| {
        let (cid, name) = (*leaf(0, 8).cid(), row(0, Status::Pinned).name);
        let meta = meta.map(|n| ("app".to_owned(), (n % 50).to_string())).into_iter().collect();
        let filter = match by_cid {
            true => Filter { cids: vec![cid], meta, limit: 10, ..all() },
            false => Filter { name: Some((Match::Exact, name)), meta, limit: 10, ..all() },
        };
        let who = same.clone();
        async move { service.find(&who, &filter).await.unwrap().count }
    };
    for (by_cid, what) in [(true, "CID"), (false, "name")] {
        let alone = p99(&format!("a {what} that all share"), 100, |_| same(by_cid, None)).await;
        let meta = p99("the same with meta", 100, |n| same(by_cid, Some(n))).await;
        assert!(alone < ms(60) && meta < ms(300), "{what}: {alone:?}, {meta:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_costs_what_is_looked_for() {
    let (tenants, each) = if soak() { (10, 100_000) } else { (2, 10_000) };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    for tenant in 1..=tenants {
        fill(&store, tenant, each, |n| if n % 20 == 0 { Status::Failed } else { Status::Pinned });
    }
    // One whose requests have all the same name and CID.
    let same = tenants + 1;
    fill_with(&store, same, each, |n| {
        let Row { cid, name, .. } = row(0, Status::Pinned);
        Row { cid, name, ..row(n, Status::Pinned) }
    });
    let service = node(&store).service();
    let (begun, before) = (Instant::now(), resident());
    for tenant in 1..=tenants {
        let who = access(&service, tenant, Limits::default());
        assert_eq!(service.find(&who, &all()).await.unwrap().count, each);
    }
    let grown = resident().saturating_sub(before);
    eprintln!("{tenants} books of {each} opened in {:?}, {grown} KiB", begun.elapsed());
    let who = access(&service, 1, Limits::default());
    let (service, who) = (&service, &who);
    let at = |n: u32| u64::from(n).wrapping_mul(7919) % each;
    let find = move |filter: Filter| async move { service.find(who, &filter).await.unwrap().count };
    let ms = Duration::from_millis;
    let quick = |n: u32, look: u32| {
        let every = all();
        find(match look {
            0 => Filter { cids: vec![*leaf(at(n), 8).cid()], limit: 10, ..every },
            1 => {
                let name = Some((Match::Exact, row(at(n), Status::Pinned).name));
                Filter { name, limit: 10, ..every }
            }
            2 => Filter { status: vec![Status::Pinned], limit: 10, ..every },
            _ => Filter { before: Some(at(n) * 1000), after: Some(9), limit: 10, ..every },
        })
    };
    for (look, what) in ["cid", "name", "status", "time"].into_iter().enumerate() {
        assert!(p99(what, 500, |n| quick(n, look as u32)).await < ms(20), "{what}");
    }
    let slow = |name: Option<(Match, String)>, meta: Option<String>| {
        let meta = meta.map(|value| ("app".to_owned(), value)).into_iter().collect();
        find(Filter { name, meta, limit: 10, ..all() })
    };
    let part = |n: u32, how| slow(Some((how, format!("file-{n}"))), None);
    assert!(p99("part of a name", 100, |n| part(n, Match::Ipartial)).await < ms(300));
    assert!(p99("meta", 100, |n| slow(None, Some((n % 50).to_string()))).await < ms(300));
    let both = |n: u32, how| slow(Some((how, format!("ile-{n}"))), Some((n % 50).to_string()));
    assert!(p99("name and meta", 100, |n| both(n, Match::Ipartial)).await < ms(300));
    shared(service, same).await;
    let add = |n: u32| async move {
        let request = service.add(who, ask(leaf(u64::from(n), 8).cid())).await.unwrap();
        service.state().queue.lock().unwrap().remove((1, request.created), 0, 0);
        1
    };
    assert!(p99("add", 200, add).await < ms(20));
    // 8 bytes a request in memory, and what the rows say is left to the rows.
    assert!(store.core().tenant_row(&keys::request(1, 1000)).unwrap().is_some());
}
