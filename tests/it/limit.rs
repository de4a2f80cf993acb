//! The limit under pressure: five times as much as it allows comes by add, import, fetch and RPC at
//! once, and the repository never takes more. 64 MiB; 1 GiB with `HENGE_SOAK=1`.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::harness::{Repo, keystream, soak};
use crate::http_client::{Answer, post, upload};
use crate::swarm::Node;
use crate::weigh::{self, Kept, MIB, most, ratio};
use serde_json::json;

/// Refusals in a row after which a repository counts as full.
const FULL: usize = 3;

struct Plan {
    limit: u64,
    /// Bytes that come by each of the four ways.
    each: u64,
    /// Size of a file.
    file: usize,
    /// Least part of the limit that pinned data can take, in per cent.
    usable: u64,
}

impl Plan {
    fn new() -> Self {
        match soak() {
            true => Self { limit: 1024 * MIB, each: 1280 * MIB, file: 16 << 20, usable: 70 },
            false => Self { limit: 64 * MIB, each: 80 * MIB, file: 2 << 20, usable: 50 },
        }
    }

    /// Files that come by each way.
    fn files(&self) -> usize {
        usize::try_from(self.each).unwrap() / self.file
    }

    /// Whether what was sent is taken. A refusal is clear: one line, no room, and how much there is.
    fn taken(&self, answer: &Answer) -> bool {
        let text = match answer.stream_error() {
            None if answer.status == 200 => return true,
            Some(told) => told.to_owned(),
            None => {
                assert_eq!(answer.status, 500, "{}", answer.text());
                answer.json()["Message"].as_str().unwrap().to_owned()
            }
        };
        self.is_clear(&text);
        false
    }

    fn is_clear(&self, line: &str) {
        let told = line.contains("no room") && line.contains(&self.limit.to_string());
        assert!(told && !line.contains('\n'), "not a clear refusal: {line:?}");
    }
}

/// What came by one way.
#[derive(Default)]
struct Pushed {
    taken: u64,
    refused: u64,
    kept: VecDeque<Kept>,
}

impl Pushed {
    /// Keeps what was pinned last, up to so many bytes; unpins the rest.
    fn keep(&mut self, kept: Kept, bytes: u64, api: &str) {
        self.kept.push_back(kept);
        while self.kept.iter().map(|kept| kept.size as u64).sum::<u64>() > bytes {
            self.kept.pop_front().unwrap().unpin(api);
        }
    }

    fn count(&mut self, taken: bool) {
        *(if taken { &mut self.taken } else { &mut self.refused }) += 1;
    }
}

/// Adds files with pins.
fn adds(plan: &Plan, api: &str) -> Pushed {
    let mut pushed = Pushed::default();
    for n in 0..plan.files() {
        let (answer, kept) = weigh::add(api, &format!("limit-add-{n}"), plan.file);
        pushed.count(plan.taken(&answer));
        kept.into_iter().for_each(|kept| pushed.keep(kept, plan.limit / 4, api));
    }
    pushed
}

/// Imports files as CARs, with pins.
fn imports(plan: &Plan, api: &str, cars: &Cars) -> Pushed {
    let mut pushed = Pushed::default();
    for kept in &cars.files {
        let car = cars.repo.run(["dag", "export", &kept.cid]).out;
        let answer = upload(api, "/api/v0/dag/import", &car);
        let taken = plan.taken(&answer);
        pushed.count(taken);
        if taken {
            assert_eq!(answer.json()["Root"]["PinErrorMsg"], "", "{}", answer.text());
            pushed.keep(kept.clone(), plan.limit / 8, api);
        }
    }
    pushed
}

/// Fetches files from another node.
fn fetches(plan: &Plan, api: &str, cids: &[String]) -> Pushed {
    let mut pushed = Pushed::default();
    for cid in cids {
        pushed.count(plan.taken(&post(api, &format!("/api/v0/cat?arg={cid}"))));
    }
    pushed
}

/// Puts blocks of a MiB.
fn puts(plan: &Plan, api: &str) -> Pushed {
    let mut pushed = Pushed::default();
    for n in 0..plan.each / MIB {
        let block = keystream(&format!("limit-put-{n}"), 1 << 20);
        pushed.count(plan.taken(&upload(api, "/api/v0/block/put", &block)));
    }
    pushed
}

/// A repository of files that are to be imported elsewhere.
struct Cars {
    repo: Repo,
    files: Vec<Kept>,
}

impl Cars {
    fn new(plan: &Plan) -> Self {
        let repo = Repo::new();
        let make = |n: usize| {
            let seed = format!("limit-car-{n}");
            repo.file("f", keystream(&seed, plan.file));
            let cid = repo.ok(["add", "-Q", "--cid-version=1", "f"]);
            Kept { cid, seed, size: plan.file }
        };
        Self { files: (0..plan.files()).map(make).collect(), repo }
    }
}

/// Another node, with files that can be fetched from it.
fn other(plan: &Plan) -> (Node, Vec<String>) {
    let node = Node::start();
    let add = |n| {
        let (answer, kept) = weigh::add(&node.api(), &format!("limit-fetch-{n}"), plan.file);
        kept.unwrap_or_else(|| panic!("{}", answer.text())).cid
    };
    let cids = (0..plan.files()).map(add).collect();
    (node, cids)
}

/// Pushes by all ways at once; gives what is pinned at the end.
fn push(plan: &Plan, node: &Node) -> Vec<Kept> {
    let (cars, (other, cids)) = (Cars::new(plan), other(plan));
    node.connect(&other);
    let (api, since) = (node.api(), Instant::now());
    let all = std::thread::scope(|scope| {
        let ways = [
            ("add", scope.spawn(|| adds(plan, &api))),
            ("import", scope.spawn(|| imports(plan, &api, &cars))),
            ("fetch", scope.spawn(|| fetches(plan, &api, &cids))),
            ("put", scope.spawn(|| puts(plan, &api))),
        ];
        ways.map(|(name, way)| (name, way.join().unwrap()))
    });
    let mut kept = Vec::new();
    for (name, pushed) in all {
        println!("{name}: {} taken, {} refused", pushed.taken, pushed.refused);
        assert!(pushed.taken > 0, "{name}: nothing was taken");
        kept.extend(pushed.kept);
    }
    println!("pushed in {:?}", since.elapsed());
    kept
}

/// Adds with pins until nothing more fits.
fn fill(plan: &Plan, api: &str, kept: &mut Vec<Kept>) {
    // Smaller than what was pushed: the last of the room is looked for.
    let (size, mut refused) = (plan.file / 4, 0);
    for n in 0.. {
        let (answer, more) = weigh::add(api, &format!("limit-fill-{n}"), size);
        refused = if plan.taken(&answer) { 0 } else { refused + 1 };
        kept.extend(more);
        if refused == FULL {
            break;
        }
    }
}

/// Checks that all of them are whole.
fn whole(kept: &[Kept], api: &str) {
    kept.iter().for_each(|kept| kept.reads_back(api));
}

fn bytes(kept: &[Kept]) -> u64 {
    kept.iter().map(|kept| kept.size as u64).sum()
}

#[test]
fn the_limit_holds_while_everything_is_pushed_at_once() {
    let plan = Plan::new();
    let limit = json!(format!("{}B", plan.limit));
    let addresses = json!(["/ip4/127.0.0.1/tcp/0"]);
    let settings = [("Datastore.StorageMax", limit), ("Addresses.Swarm", addresses)];
    let mut node = Node::with(&settings);
    let (root, over, kept) = (node.repo.root(), AtomicBool::new(false), Mutex::new(Vec::new()));
    let (highest, looks) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| most(&root, &over));
        let work = scope.spawn(|| {
            let mut kept = kept.lock().unwrap();
            *kept = push(&plan, &node);
            fill(&plan, &node.api(), &mut kept);
            let file = node.repo.file("more", keystream("limit-more", plan.file));
            plan.is_clear(&node.repo.fails(["add", "-Q", file.to_str().unwrap()]));
            whole(&kept, &node.api());
        });
        let worked = work.join();
        over.store(true, Ordering::Relaxed);
        let seen = watch.join().unwrap();
        worked.unwrap();
        seen
    });
    let kept = kept.into_inner().unwrap();
    let (part, above) = (ratio(bytes(&kept), plan.limit), ratio(highest, plan.limit));
    println!("at most {highest} bytes ({above:.3} of the limit) in {looks} looks");
    println!("{} bytes pinned in {} files: {part:.3} of the limit", bytes(&kept), kept.len());
    assert!(highest <= plan.limit, "{highest} bytes taken of {}", plan.limit);
    assert!(bytes(&kept) >= plan.limit / 100 * plan.usable, "{part:.3} of the limit is usable");
    node.restart(|| ());
    let api = node.api();
    whole(&kept, &api);
    // What is let go makes room: for three quarters of it at least, since it was full to the brim.
    let (gone, stay) = kept.split_at(kept.len() / 2);
    gone.iter().for_each(|kept| kept.unpin(&api));
    let mut again = stay.to_vec();
    for (n, old) in gone.iter().enumerate().filter(|(n, _)| n % 4 > 0) {
        let (answer, new) = weigh::add(&api, &format!("limit-again-{n}"), old.size);
        again.push(new.unwrap_or_else(|| panic!("{}", answer.text())));
    }
    whole(&again, &api);
    let taken = weigh::du(&node.repo.root());
    println!("{taken} bytes after {} files were replaced", again.len() - stay.len());
    assert!(taken <= plan.limit, "{taken}");
}
