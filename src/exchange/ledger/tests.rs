//! A ledger under random courses of events: its sets agree with each other, and nothing is left.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::ipld::cid::{codec, digest};

const NO: PeerNo = 7;

/// One of a few CIDs, some of which name the same block.
fn random_cid(rng: &mut ChaCha8Rng) -> Cid {
    let n: u32 = rng.random_range(0..2000);
    let hash = digest(hash::SHA2_256, &n.to_le_bytes()).unwrap();
    match rng.random_range(0..3) {
        0 => Cid::new_v0(hash).unwrap(),
        1 => Cid::new_v1(codec::DAG_PB, hash),
        _ => Cid::new_v1(codec::RAW, hash),
    }
}

fn check(ledger: &Ledger, waiting: &Waiting) {
    assert!(ledger.wants.len() <= WANTS_MAX);
    assert_eq!(ledger.ranks.len(), ledger.wants.len());
    let count = |state: fn(&State) -> bool| {
        ledger.wants.values().filter(|theirs| state(&theirs.state)).count()
    };
    assert_eq!(ledger.new.len(), count(|state| *state == State::New));
    assert_eq!(ledger.answers.len(), count(|state| matches!(state, State::Answer(_))));
    assert_eq!(ledger.turns.len(), count(|state| matches!(state, State::Block(_))));
    let size = |theirs: &Theirs| match theirs.state {
        State::Block(size) => u64::from(size),
        _ => 0,
    };
    assert_eq!(ledger.waiting_bytes, ledger.wants.values().map(size).sum::<u64>());
    let flying = ledger.flying.values().map(|(_, size)| u64::from(*size));
    assert_eq!(ledger.flying_bytes, flying.sum::<u64>());
    let keys: BTreeSet<Key> = ledger.wants.keys().map(|name| Key::of(&name.0)).collect();
    assert_eq!(waiting.len(), keys.len());
    assert!(keys.iter().all(|key| waiting[key].contains(&NO)));
}

fn random_entries(rng: &mut ChaCha8Rng) -> Vec<Entry> {
    let entry = |_| Entry {
        cid: random_cid(rng),
        priority: rng.random_range(0..5),
        cancel: rng.random_range(0..4) == 0,
        kind: if rng.random() { Kind::Have } else { Kind::Block },
        send_dont_have: rng.random(),
    };
    (0..300).map(entry).collect()
}

#[test]
fn sets_agree_whatever_happens() {
    let seed: u64 = rand::random();
    eprintln!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for version in [Version::V1_0, Version::V1_1, Version::V1_2] {
        let (mut ledger, mut waiting) = (Ledger::new(NO), Waiting::new());
        let mut taken: Vec<Outgoing> = Vec::new();
        for _ in 0..400 {
            match rng.random_range(0..8) {
                0 | 1 => {
                    let full = rng.random_range(0..10) == 0;
                    ledger.read(&random_entries(&mut rng), full, &mut waiting);
                }
                2 | 3 => {
                    let cids = ledger.lookup().unwrap_or_default();
                    assert!(cids.len() <= LOOKUP_MAX);
                    let size = |rng: &mut ChaCha8Rng| rng.random_range(0..3_000_000);
                    let answer = |cid| (cid, rng.random::<bool>().then(|| size(&mut rng)));
                    let found: Vec<_> = cids.into_iter().map(answer).collect();
                    ledger.indexed(&found, version);
                }
                4 => ledger.arrived(&random_cid(&mut rng), 500, version),
                5 | 6 => {
                    let mut out = Outgoing::default();
                    ledger.take(usize::MAX, &mut out, &mut waiting);
                    assert!(version.has_presences() || out.presences.is_empty());
                    assert!(
                        ledger.flying_bytes <= OUTSTANDING_MAX_BYTES.max(BLOCK_MAX_BYTES as u64)
                    );
                    taken.push(out);
                }
                _ => {
                    let Some(out) = taken.pop() else { continue };
                    match rng.random_range(0..3) {
                        0 => ledger.unsent(&out, version, &mut waiting),
                        1 => out.blocks.iter().for_each(|cid| assert!(ledger.sent(cid).is_some())),
                        _ => out.blocks.iter().for_each(|cid| {
                            ledger.missing(cid, version, &mut waiting);
                        }),
                    }
                }
            }
            check(&ledger, &waiting);
        }
        ledger.close(&mut waiting);
        check(&ledger, &waiting);
        assert!(waiting.is_empty() && ledger.count() == 0);
    }
}
