//! Looks through many rows: they find what a naive filter finds, and few go on at a time.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::scale::{fill, row};
use super::*;
use crate::node::Error;
use crate::node::service::Match;

const COUNT: u64 = 4_000;

fn status(n: u64) -> Status {
    Status::ALL[2 + usize::from(n.is_multiple_of(3))]
}

/// A filter that leaves many, and some that leave few.
fn filter(rng: &mut StdRng) -> Filter {
    let mut filter = Filter { limit: rng.random_range(1..200), ..all() };
    if rng.random() {
        filter.status = vec![[Status::Pinned, Status::Failed][rng.random_range(0..2)]];
    }
    let how = [Match::Exact, Match::Iexact, Match::Partial, Match::Ipartial];
    if rng.random_range(0..3) > 0 {
        let n = rng.random_range(0..COUNT);
        let name = row(n, Status::Pinned).name;
        let text = [name.as_str(), "er-7", "FILE-1", "file", "older"][rng.random_range(0..5)];
        filter.name = Some((how[rng.random_range(0..4)], text.to_owned()));
    }
    if rng.random_range(0..3) > 0 {
        filter.meta.insert("app".into(), rng.random_range(0..51).to_string());
    }
    if rng.random_range(0..4) == 0 {
        let some = (0..rng.random_range(1..4)).map(|_| rng.random_range(0..COUNT));
        filter.cids = some.map(|n| *leaf(n, 8).cid()).collect();
    }
    for bound in [&mut filter.before, &mut filter.after] {
        if rng.random_range(0..3) == 0 {
            *bound = Some(rng.random_range(0..COUNT * 1000));
        }
    }
    filter
}

/// When it was made, if a row is found.
fn found(filter: &Filter, n: u64) -> Option<u64> {
    let (row, created) = (row(n, status(n)), (n + 1) * 1000);
    let lower = |text: &str| text.to_lowercase();
    let named = filter.name.as_ref().is_none_or(|(how, text)| match how {
        Match::Exact => row.name == *text,
        Match::Iexact => lower(&row.name) == lower(text),
        Match::Partial => row.name.contains(text.as_str()),
        Match::Ipartial => lower(&row.name).contains(&lower(text)),
    });
    let cid = leaf(n, 8);
    let fits = named
        && (filter.cids.is_empty() || filter.cids.contains(cid.cid()))
        && filter.status.contains(&row.status)
        && filter.before.is_none_or(|before| created < before)
        && filter.after.is_none_or(|after| created > after)
        && filter.meta.iter().all(|(key, value)| row.meta.get(key) == Some(value));
    fits.then_some(created)
}

#[tokio::test]
async fn what_is_found_in_one_pass_is_what_a_naive_filter_finds() {
    let store = Store::in_memory().unwrap();
    // The neighbours' rows lie right before and after.
    for tenant in 1..=3 {
        fill(&store, tenant, COUNT, status);
    }
    let service = node(&store).service();
    let who = access(&service, 2, Limits::default());
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..150 {
        let filter = filter(&mut rng);
        let expected: Vec<u64> = (0..COUNT).rev().filter_map(|n| found(&filter, n)).collect();
        let given = service.find(&who, &filter).await.unwrap();
        assert_eq!(given.count, expected.len() as u64, "{filter:?}");
        let times: Vec<u64> = given.results.iter().map(|request| request.created).collect();
        assert_eq!(times, expected[..expected.len().min(filter.limit)], "{filter:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_looks_through_everything_waits_for_itself() {
    let store = Store::in_memory().unwrap();
    for tenant in 1..=2 {
        fill(&store, tenant, COUNT, status);
    }
    let service = node(&store).service();
    let [one, two] = [1, 2].map(|n| access(&service, n, Limits::default()));
    let part = Filter { name: Some((Match::Partial, "ile-1".into())), ..all() };
    let meta = Filter { meta: [("app".to_owned(), "7".to_owned())].into(), ..all() };
    let scans = &service.state().scans.0;
    let held = [scans.try_take(1).unwrap(), scans.try_take(1).unwrap()];
    for refused in [&part, &meta] {
        let since = Instant::now();
        let error = service.find(&one, refused).await.unwrap_err();
        assert!(matches!(error, Error::Busy(_)), "{error}");
        assert!(since.elapsed() >= Duration::from_secs(4), "it does not wait");
        assert!(service.find(&two, refused).await.unwrap().count > 0);
    }
    // What costs little waits for nobody.
    let cids = vec![*leaf(5, 8).cid()];
    let name = Some((Match::Exact, row(5, Status::Pinned).name));
    let few = Some(1000 * 100);
    for cheap in [
        all(),
        Filter { cids: cids.clone(), ..all() },
        Filter { cids, meta: [("app".to_owned(), "5".to_owned())].into(), ..all() },
        Filter { name, ..all() },
        Filter { before: few, ..meta.clone() },
        Filter { before: few, ..part },
    ] {
        assert!(service.find(&one, &cheap).await.unwrap().count > 0, "{cheap:?}");
    }
    let waiting = service.find(&one, &meta);
    let freed = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        drop(held);
    };
    let (found, ()) = tokio::join!(waiting, freed);
    assert_eq!(found.unwrap().count, COUNT / 50);
}

#[tokio::test]
async fn pages_end_by_their_bytes() {
    let store = Store::in_memory().unwrap();
    let service = node(&store).service();
    let who = access(&service, 1, Limits::default());
    let cid = *leaf(1, 10).cid();
    for n in 0..150 {
        let value = ["v".repeat(15 << 10), "\u{1}".repeat(5 << 9)][n % 2].clone();
        let meta = (0..4).map(|key| (format!("{key}"), value.clone())).collect();
        let name = format!("large {n}");
        service.add(&who, PinAsk { name, meta, ..ask(&cid) }).await.unwrap();
    }
    for (limit, most) in [(100, 1 << 20), (1000, 4 << 20)] {
        let found = service.find(&who, &Filter { limit, ..all() }).await.unwrap();
        let within = most..most + (64 << 10);
        assert!(found.count == 150 && within.contains(&found.bytes), "{}", found.bytes);
        let last = found.results.last().unwrap().created;
        let left = Filter { before: Some(last), ..all() };
        let left = service.find(&who, &left).await.unwrap().count;
        assert_eq!(left + found.results.len() as u64, 150);
    }
}
