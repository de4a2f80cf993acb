//! Random changes and random filters against a list.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::*;
use crate::node::Error;
use crate::node::service::end::End;
use crate::node::service::{Match, Request};
use crate::store::keys::tenants as keys;
use crate::store::pins::Listing;

/// What a request is expected to be.
#[derive(Clone, Debug)]
struct Expected {
    request: Request,
    cid: Cid,
    keeps: Option<Cid>,
}

struct World {
    rng: StdRng,
    store: Store,
    service: Service,
    tenants: Vec<Access>,
    blocks: Vec<Block>,
    /// By tenant, the newest last.
    model: Vec<Vec<Expected>>,
}

const NAMES: [&str; 9] = ["", "a", "A", "ab", "Ab", "b\0a", "b", "été", "ÉTÉ"];

impl World {
    fn new(seed: u64) -> Self {
        let store = Store::in_memory().unwrap();
        let service = node(&store).service();
        let tenants = (1..4).map(|n| access(&service, n, Limits::default())).collect();
        let blocks: Vec<Block> = (0..6).map(|n| leaf(n, 100 + n as usize)).collect();
        store.core().put_unpinned(&blocks).unwrap();
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, store, service, tenants, blocks, model: vec![Vec::new(); 3] }
    }

    fn ask(&mut self) -> PinAsk {
        let cid = *self.blocks[self.rng.random_range(0..6)].cid();
        let mut ask = ask(&cid);
        ask.name = NAMES[self.rng.random_range(0..NAMES.len())].into();
        for key in ["app", "tag", "x"] {
            if self.rng.random() {
                ask.meta.insert(key.into(), self.rng.random_range(0..3).to_string());
            }
        }
        ask
    }

    async fn step(&mut self) {
        let tenant = self.rng.random_range(0..3);
        let who = self.tenants[tenant].clone();
        let old = (!self.model[tenant].is_empty())
            .then(|| self.rng.random_range(0..self.model[tenant].len()));
        match (self.rng.random_range(0..8), old) {
            (0..3, _) | (_, None) => {
                let ask = self.ask();
                let request = self.service.add(&who, ask.clone()).await.unwrap();
                self.model[tenant].push(Expected { request, cid: ask.cid, keeps: None });
            }
            (3, Some(at)) => {
                let gone = self.model[tenant].remove(at);
                self.service.remove(&who, &gone.request.id).await.unwrap();
            }
            (4, Some(at)) => {
                let (ask, old) = (self.ask(), self.model[tenant].remove(at));
                let id = &old.request.id;
                let request = self.service.replace(&who, id, ask.clone()).await.unwrap();
                let pinned = old.request.status == Status::Pinned;
                let keeps = if pinned { Some(old.cid) } else { old.keeps };
                self.model[tenant].push(Expected { request, cid: ask.cid, keeps });
            }
            (_, Some(at)) => self.end(tenant, at).await,
        }
    }

    /// A request that waits is fetched, and ends in one way or another.
    async fn end(&mut self, tenant: usize, at: usize) {
        let expected = &mut self.model[tenant][at];
        if expected.request.status != Status::Queued {
            return;
        }
        let (state, core) = (self.service.state().clone(), self.store.core());
        let (who, created) = (self.tenants[tenant].tenant.clone(), expected.request.created);
        let stop = CancellationToken::new();
        let errand = state.begin(&core, &who, created, &stop).unwrap().unwrap();
        let errand = Arc::new(errand);
        match self.rng.random_range(0..4) {
            0 => {
                state.end(&core, &errand, End::Failed("it is so".into()), 5).unwrap();
                (expected.request.status, expected.keeps) = (Status::Failed, None);
            }
            1 => state.end(&core, &errand, End::Again("not now".into()), 99).unwrap(),
            _ => {
                let end = self.service.fetch(&errand, &Working::default()).await;
                assert_eq!(end, End::Pinned);
                (expected.request.status, expected.keeps) = (Status::Pinned, None);
            }
        }
        state.jobs.lock().unwrap().clear();
    }

    /// What is used and pinned is what the requests say.
    async fn compare(&self) {
        let core = self.store.core();
        for (who, model) in self.tenants.iter().zip(&self.model) {
            let held: BTreeSet<Cid> = model
                .iter()
                .flat_map(|e| {
                    let pinned = (e.request.status == Status::Pinned).then_some(e.cid);
                    pinned.into_iter().chain(e.keeps)
                })
                .collect();
            let size = |cid: &Cid| core.stat(cid).unwrap().unwrap().size;
            let bytes = held.iter().map(|cid| u64::from(size(cid))).sum();
            assert_eq!(self.service.used(&who.tenant).await.unwrap(), (bytes, 0));
            for block in &self.blocks {
                let pin = core.pin_row_of(block.cid(), &who.tenant.name).unwrap();
                assert_eq!(pin.is_some(), held.contains(block.cid()));
                let key = keys::held(block.cid(), who.tenant.number);
                assert_eq!(core.tenant_row(&key).unwrap().is_some(), pin.is_some());
            }
        }
    }

    fn filter(&mut self) -> Filter {
        let mut filter = Filter { limit: self.rng.random_range(1..12), ..Filter::default() };
        if self.rng.random_range(0..3) == 0 {
            let some = (0..self.rng.random_range(1..3)).map(|_| self.rng.random_range(0..6));
            let some: Vec<usize> = some.collect();
            filter.cids = some.into_iter().map(|at| *self.blocks[at].cid()).collect();
        }
        if self.rng.random_range(0..3) == 0 {
            let how = [Match::Exact, Match::Iexact, Match::Partial, Match::Ipartial];
            let name = NAMES[self.rng.random_range(0..NAMES.len())];
            filter.name = Some((how[self.rng.random_range(0..4)], name.into()));
        }
        filter.status = Status::ALL.into_iter().filter(|_| self.rng.random()).collect();
        let times: Vec<u64> = self.model.iter().flatten().map(|e| e.request.created).collect();
        for bound in [&mut filter.before, &mut filter.after] {
            if !times.is_empty() && self.rng.random_range(0..4) == 0 {
                *bound = Some(times[self.rng.random_range(0..times.len())]);
            }
        }
        for key in ["app", "tag"] {
            if self.rng.random_range(0..4) == 0 {
                filter.meta.insert(key.into(), self.rng.random_range(0..3).to_string());
            }
        }
        filter
    }

    async fn look(&mut self) {
        let filter = self.filter();
        for (who, model) in self.tenants.iter().zip(&self.model) {
            let mut expected: Vec<&Expected> = model.iter().filter(|e| holds(&filter, e)).collect();
            expected.sort_by_key(|e| std::cmp::Reverse(e.request.created));
            let found = self.service.find(who, &filter).await.unwrap();
            assert_eq!(found.count, expected.len() as u64, "{filter:?}");
            expected.truncate(filter.limit);
            let plain = |r: &Request| Request { info: BTreeMap::new(), ..r.clone() };
            let found: Vec<Request> = found.results.iter().map(plain).collect();
            let expected: Vec<Request> = expected.iter().map(|e| plain(&e.request)).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    }
}

/// The filter, word by word.
fn holds(filter: &Filter, Expected { request, cid, .. }: &Expected) -> bool {
    let default = [Status::Pinned];
    let statuses = if filter.status.is_empty() { &default[..] } else { &filter.status };
    let name = filter.name.as_ref().filter(|(_, text)| !text.is_empty());
    let named = name.is_none_or(|(how, text)| match how {
        Match::Exact => request.name == *text,
        Match::Iexact => request.name.to_lowercase() == text.to_lowercase(),
        Match::Partial => request.name.contains(text.as_str()),
        Match::Ipartial => request.name.to_lowercase().contains(&text.to_lowercase()),
    });
    (filter.cids.is_empty() || filter.cids.contains(cid))
        && named
        && statuses.contains(&request.status)
        && filter.before.is_none_or(|before| request.created < before)
        && filter.after.is_none_or(|after| request.created > after)
        && filter.meta.iter().all(|(key, value)| request.meta.get(key) == Some(value))
}

#[tokio::test]
async fn what_is_found_is_what_a_naive_filter_finds() {
    for _ in 0..4 {
        let seed = rand::random();
        eprintln!("seed {seed}");
        let mut world = World::new(seed);
        for n in 0..300 {
            world.step().await;
            world.look().await;
            if n % 10 == 0 {
                world.compare().await;
            }
            if n % 50 == 49 {
                // Another process finds everything as it was.
                world.service = node(&world.store).service();
                let again = |n| access(&world.service, n, Limits::default());
                world.tenants = (1..4).map(again).collect();
                world.compare().await;
            }
        }
        // Nobody but the tenants has pinned anything, and all of it goes with them.
        for (n, who) in world.tenants.iter().enumerate() {
            let removed = world.service.remove_all(&who.tenant).await.unwrap();
            assert_eq!(removed, world.model[n].len() as u64);
            assert_eq!(world.service.find(who, &all()).await.unwrap().count, 0);
            let denied = world.service.add(who, ask(world.blocks[0].cid())).await;
            assert!(matches!(denied, Err(Error::Denied(_))));
        }
        let core = world.store.core();
        assert!(core.tenant_rows(b"", None, 9).unwrap().is_empty());
        assert!(core.pin_page(Listing::All, None, 9).unwrap().pins.is_empty());
    }
}

#[tokio::test]
async fn nobody_sees_or_touches_what_is_anothers() {
    let store = Store::in_memory().unwrap();
    let service = node(&store).service();
    let [one, two] = [1, 2].map(|n| access(&service, n, Limits::default()));
    let block = leaf(1, 10);
    let request = service.add(&one, ask(block.cid())).await.unwrap();
    let twin = service.add(&two, ask(block.cid())).await.unwrap();
    let nobodys = crate::node::service::request::id(request.created, 1);
    for id in [request.id.as_str(), nobodys.as_str(), "", "nonsense"] {
        let said = |e: Error| (e.kind(), e.to_string().replace(id, "…"));
        let absent = said(service.request(&two, id).await.unwrap_err());
        assert_eq!(said(service.remove(&two, id).await.unwrap_err()), absent);
        assert_eq!(said(service.replace(&two, id, ask(block.cid())).await.unwrap_err()), absent);
        assert_eq!(absent.0, crate::node::Kind::NotFound);
    }
    let found = service.find(&two, &all()).await.unwrap();
    assert_eq!((found.count, &found.results[0].id), (1, &twin.id));
    assert_eq!(service.request(&one, &request.id).await.unwrap(), request);
    service.remove(&one, &request.id).await.unwrap();
    assert!(service.request(&one, &request.id).await.is_err());
    assert_eq!(service.find(&two, &all()).await.unwrap(), found);
}

#[tokio::test]
async fn a_token_pins_what_it_may() {
    let store = Store::in_memory().unwrap();
    let service = node(&store).service();
    let mut who = access(&service, 1, Limits::default());
    let (one, other) = (*leaf(1, 10).cid(), *leaf(2, 10).cid());
    let named = |cid: &Cid, name: &str| PinAsk { name: name.into(), ..ask(cid) };
    let free = service.add(&who, named(&other, "free")).await.unwrap();
    let mut token = (*who.token).clone();
    (token.cid, token.name_prefix) = (Some(one), Some("app/".into()));
    who.token = Arc::new(token);
    assert!(service.add(&who, named(&one, "app/x")).await.is_ok());
    // Whichever version of the CID names the DAG.
    let v0 = crate::ipld::cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
    let (v1, raw) = (keys::pinned_as(&v0), Cid::new_v1(codec::RAW, *v0.hash()));
    for (opens, asked, may) in [(v0, v1, true), (v1, v0, true), (v0, raw, false)] {
        let mut token = (*who.token).clone();
        token.cid = Some(opens);
        let who = Access { token: Arc::new(token), ..who.clone() };
        assert_eq!(service.add(&who, named(&asked, "app/v")).await.is_ok(), may);
    }
    for wrong in [named(&other, "app/x"), named(&one, "ap"), named(&one, "")] {
        assert!(matches!(service.add(&who, wrong).await, Err(Error::Denied(_))));
    }
    assert!(matches!(service.remove(&who, &free.id).await, Err(Error::Denied(_))));
    let replaced = service.replace(&who, &free.id, named(&one, "app/y")).await;
    assert!(matches!(replaced, Err(Error::Denied(_))), "{replaced:?}");
}
