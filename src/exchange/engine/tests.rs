//! The engine by itself: what is answered, what is asked, and what is bounded.

use std::time::Duration;

use super::super::sim::block;
use super::super::wire::{Entry, Kind, Presence};
use super::*;

struct One {
    engine: Engine,
    now: Instant,
    peer: PeerId,
}

fn peer(n: u8) -> PeerId {
    let mut id = vec![0x12, 0x20];
    id.extend_from_slice(&[n; 32]);
    PeerId::from_bytes(&id).unwrap()
}

fn want(n: u64, kind: Kind, send_dont_have: bool, priority: i32) -> Entry {
    Entry { cid: *block(n, 8).cid(), priority, cancel: false, kind, send_dont_have }
}

fn wantlist(entries: Vec<Entry>) -> Message {
    Message { wantlist: entries, ..Message::default() }
}

impl One {
    fn new(version: Version) -> Self {
        let now = Instant::now();
        let mut engine = Engine::new(Settings::default(), 1, now);
        engine.on_connected(now, peer(1), version);
        Self { engine, now, peer: peer(1) }
    }

    /// Gives a message to the engine; blocks `n < 100` are here, of so many bytes.
    fn hear(&mut self, message: Message, size: u32) {
        self.engine.on_message(self.now, self.peer, message);
        self.answer(size);
    }

    fn answer(&mut self, size: u32) {
        let here: Vec<Cid> = (0..100).map(|n| *block(n, 8).cid()).collect();
        while let Some(action) = self.engine.poll_action() {
            if let Action::Lookup { peer, cids } = action {
                let found = |cid: &Cid| (*cid, here.contains(cid).then_some(size));
                let found: Vec<_> = cids.iter().map(found).collect();
                self.engine.on_index(peer, &found);
            }
        }
    }

    fn take(&mut self) -> Outgoing {
        self.engine.take_message(self.now, self.peer, usize::MAX).unwrap_or_default()
    }
}

#[test]
fn each_want_is_answered_as_asked() {
    let mut one = One::new(Version::V1_2);
    let entries = vec![
        want(1, Kind::Block, true, 1),
        want(2, Kind::Have, true, 2),
        want(200, Kind::Block, true, 3),
        want(201, Kind::Have, true, 4),
        want(202, Kind::Have, false, 5),
    ];
    one.hear(wantlist(entries), 5000);
    let out = one.take();
    assert_eq!(out.blocks, [*block(1, 8).cid()]);
    let said = |n, presence| (*block(n, 8).cid(), presence);
    let expected =
        [said(2, Presence::Have), said(200, Presence::DontHave), said(201, Presence::DontHave)];
    assert_eq!(out.presences, expected);
    assert!(one.take().is_empty());
    // Those that are not here are kept; a HAVE is given once.
    assert_eq!(one.engine.wantlist_of(one.peer).len(), 3);
    one.engine.on_sent(one.peer, &out);
    assert_eq!(one.engine.ledger(one.peer).sent_bytes, 5000);
}

#[test]
fn small_blocks_are_sent_instead_of_word_of_them() {
    let mut one = One::new(Version::V1_2);
    one.hear(wantlist(vec![want(1, Kind::Have, true, 1)]), 1024);
    assert_eq!(one.take().blocks.len(), 1);
    one.hear(wantlist(vec![want(2, Kind::Have, true, 1)]), 1025);
    assert_eq!(one.take().presences.len(), 1);
}

#[test]
fn trap_07_older_versions_hear_no_presences() {
    let mut one = One::new(Version::V1_1);
    let entries = vec![want(1, Kind::Have, true, 1), want(200, Kind::Block, true, 1)];
    one.hear(wantlist(entries), 5000);
    let out = one.take();
    assert_eq!((out.blocks.len(), out.presences.len()), (1, 0));
}

#[test]
fn a_want_that_waits_is_answered_when_the_block_comes() {
    let mut one = One::new(Version::V1_2);
    let entries = vec![want(200, Kind::Block, false, 1), want(201, Kind::Have, true, 1)];
    one.hear(wantlist(entries), 0);
    one.take();
    let blocks = [(*block(200, 8).cid(), 9000), (*block(201, 8).cid(), 9000)];
    one.engine.on_local_blocks(one.now, &blocks);
    let out = one.take();
    assert_eq!((out.blocks.len(), out.presences.len()), (1, 1));
    assert!(one.engine.is_idle());
}

#[test]
fn urgent_blocks_go_first_and_a_message_has_its_measure() {
    let mut one = One::new(Version::V1_2);
    let entries = (0..10).map(|n| want(n, Kind::Block, false, n as i32)).collect();
    one.hear(wantlist(entries), 200 << 10);
    let first = one.take();
    assert_eq!(first.blocks, [*block(9, 8).cid(), *block(8, 8).cid()]);
    assert_eq!(first.pending_bytes, 8 * (200 << 10));
    // A mebibyte may be with the sender, and no more.
    let (second, third) = (one.take(), one.take());
    assert_eq!((second.blocks.len(), third.blocks.len()), (2, 1));
    assert!(one.take().is_empty());
    one.engine.on_sent(one.peer, &first);
    assert_eq!(one.engine.poll_action(), Some(Action::Ready(one.peer)));
    assert_eq!(one.take().blocks.len(), 2);
}

#[test]
fn a_block_that_cannot_be_read_is_not_here() {
    let mut one = One::new(Version::V1_2);
    one.hear(wantlist(vec![want(1, Kind::Block, true, 1)]), 5000);
    let out = one.take();
    one.engine.on_missing(one.peer, &out.blocks[0]);
    one.engine.on_sent(one.peer, &out);
    assert_eq!(one.take().presences, [(out.blocks[0], Presence::DontHave)]);
    assert_eq!(one.engine.stat().blocks_sent, 0);
}

#[test]
fn trap_03_a_message_that_was_lost_is_given_again() {
    let mut one = One::new(Version::V1_2);
    let session = one.engine.open_session(one.now);
    one.engine.want(one.now, session, block(300, 8).cid());
    let entries = (1..4).map(|n| want(n, if n == 1 { Kind::Block } else { Kind::Have }, true, 1));
    let mut entries: Vec<Entry> = entries.collect();
    entries.push(want(200, Kind::Have, true, 1));
    one.hear(wantlist(entries), 5000);
    let lost = one.take();
    one.engine.on_send_failed(one.peer, &lost);
    one.answer(5000);
    let again = one.take();
    assert_eq!((again.full, &again.entries), (true, &lost.entries));
    assert_eq!(again.blocks, lost.blocks);
    let sorted = |out: &Outgoing| {
        let mut said: Vec<String> = out.presences.iter().map(|p| format!("{p:?}")).collect();
        said.sort();
        said
    };
    assert_eq!(sorted(&again), sorted(&lost));
}

#[test]
fn a_cancelled_want_is_not_answered() {
    let mut one = One::new(Version::V1_2);
    one.hear(wantlist(vec![want(1, Kind::Block, true, 1), want(200, Kind::Block, true, 1)]), 5000);
    let cancel = |n| Entry { cancel: true, ..want(n, Kind::Block, true, 1) };
    one.hear(wantlist(vec![cancel(1), cancel(200), cancel(7)]), 5000);
    assert!(one.take().is_empty() && one.engine.is_idle());
}

#[test]
fn trap_05_a_full_wantlist_replaces_the_one_before() {
    let mut one = One::new(Version::V1_2);
    one.hear(wantlist((200..300).map(|n| want(n, Kind::Have, false, 1)).collect()), 0);
    assert_eq!(one.engine.wantlist_of(one.peer).len(), 100);
    let full = Message { full: true, ..wantlist(vec![want(250, Kind::Have, false, 1)]) };
    one.hear(full, 0);
    assert_eq!(one.engine.wantlist_of(one.peer), [*block(250, 8).cid()]);
    one.hear(Message { full: true, ..Message::default() }, 0);
    assert!(one.engine.is_idle());
}

#[test]
fn case_14_what_is_here_survives_a_flood() {
    let mut one = One::new(Version::V1_2);
    one.hear(wantlist((0..10).map(|n| want(n, Kind::Block, false, 5)).collect()), 5000);
    for round in 0..20 {
        let wants = (0..1000).map(|n| want(1000 + round * 1000 + n, Kind::Block, true, 1));
        one.hear(wantlist(wants.collect()), 5000);
        assert!(one.engine.wantlist_of(one.peer).len() <= 1024);
    }
    let out = one.take();
    assert_eq!(out.blocks.len(), 10);
    assert!(out.presences.len() <= 1024);
    one.engine.on_disconnected(one.now, one.peer);
    assert!(one.engine.is_idle());
}

#[test]
fn case_14_one_question_to_the_index_is_open_at_a_time() {
    let mut one = One::new(Version::V1_2);
    for round in 0..10 {
        let wants = (0..1000).map(|n| want(round * 1000 + n, Kind::Block, true, 1)).collect();
        one.engine.on_message(one.now, one.peer, wantlist(wants));
    }
    let asked = std::iter::from_fn(|| one.engine.poll_action());
    let asked = asked.filter(|action| matches!(action, Action::Lookup { .. })).count();
    assert_eq!(asked, 1);
}

#[test]
fn case_15_unsolicited_blocks_are_counted_and_dropped() {
    let mut one = One::new(Version::V1_2);
    one.hear(Message { blocks: vec![block(1, 8)], ..Message::default() }, 0);
    assert_eq!(one.engine.stat().unsolicited_blocks, 1);
    let session = one.engine.open_session(one.now);
    one.engine.want(one.now, session, block(2, 8).cid());
    let twice = vec![block(2, 8), block(2, 8)];
    one.engine.on_message(one.now, one.peer, Message { blocks: twice, ..Message::default() });
    let delivered = std::iter::from_fn(|| one.engine.poll_action());
    assert_eq!(delivered.filter(|a| matches!(a, Action::Deliver { .. })).count(), 1);
    assert_eq!(one.engine.stat().dup_blocks_received, 1);
}

#[test]
fn a_peer_that_only_talks_does_not_hold_a_want() {
    let mut one = One::new(Version::V1_2);
    let session = one.engine.open_session(one.now);
    let cid = *block(2, 8).cid();
    one.engine.want(one.now, session, &cid);
    let have = Message { presences: vec![(cid, Presence::Have)], ..Message::default() };
    for _ in 0..100 {
        one.now += Duration::from_millis(100);
        one.engine.on_message(one.now, one.peer, have.clone());
        one.engine.tick(one.now);
        one.take();
    }
    let status = one.engine.status(session).unwrap();
    eprintln!("{status}");
    assert_eq!((status.asked, status.tally.searches), (0, 1));
    assert!(one.engine.peers[&0].pace.strikes > 0);
}

#[test]
fn a_want_of_two_sessions_is_asked_once_and_delivered_to_both() {
    let mut one = One::new(Version::V1_2);
    let (a, b) = (one.engine.open_session(one.now), one.engine.open_session(one.now));
    let v1 = *block(2, 8).cid();
    let v0 = Cid::new_v0(*v1.hash()).unwrap();
    one.engine.want(one.now, a, &v1);
    one.engine.want(one.now, b, &v0);
    assert_eq!(one.take().entries.len(), 1);
    one.engine.cancel(one.now, a, &v1);
    assert!(one.take().is_empty());
    one.engine.want(one.now, a, &v1);
    one.engine.on_message(
        one.now,
        one.peer,
        Message { blocks: vec![block(2, 8)], ..Message::default() },
    );
    let delivered = std::iter::from_fn(|| one.engine.poll_action()).find_map(|a| match a {
        Action::Deliver { sessions, .. } => Some(sessions),
        _ => None,
    });
    assert_eq!(delivered, Some(vec![b, a]));
    // The peer that sent it needs no cancel.
    assert!(one.take().is_empty());
}

#[test]
fn a_small_session_is_not_starved_by_a_big_one() {
    let mut one = One::new(Version::V1_2);
    let big = one.engine.open_session(one.now);
    for n in 1000..3000 {
        one.engine.want(one.now, big, block(n, 8).cid());
    }
    let bring = |one: &mut One, n: u64| {
        one.now += Duration::from_millis(5);
        let blocks = vec![block(n, 8)];
        one.engine.on_message(one.now, one.peer, Message { blocks, ..Message::default() });
    };
    bring(&mut one, 1000);
    let small = one.engine.open_session(one.now);
    one.engine.on_providers(one.now, small, block(9, 8).cid(), &[one.peer], true);
    for n in 1..9 {
        one.engine.want(one.now, small, block(n, 8).cid());
    }
    (1001..1020).for_each(|n| bring(&mut one, n));
    assert_eq!(one.engine.status(small).unwrap().asked, 8);
}

#[test]
fn identity_and_insecure_cids_are_not_asked_for() {
    use crate::ipld::cid::{codec, digest, hash, parse_any};
    let mut one = One::new(Version::V1_2);
    let session = one.engine.open_session(one.now);
    let identity = Cid::new_v1(codec::RAW, digest(hash::IDENTITY, b"x").unwrap());
    assert!(!one.engine.want(one.now, session, &identity));
    let murmur =
        Cid::new_v1(codec::RAW, crate::ipld::cid::Multihash::wrap(0x22, &[1; 32]).unwrap());
    assert!(!one.engine.want(one.now, session, &murmur));
    assert!(parse_any(&murmur.to_string()).is_ok());
    let entry = Entry { cid: identity, ..want(1, Kind::Block, true, 1) };
    one.hear(wantlist(vec![entry]), 10);
    assert!(one.take().presences.is_empty());
}

#[test]
fn trap_06_a_useful_peer_is_tagged_and_an_idle_one_is_not() {
    let mut one = One::new(Version::V1_2);
    one.engine.on_connected(one.now, peer(2), Version::V1_2);
    one.engine.tick(one.now);
    let session = one.engine.open_session(one.now);
    one.engine.want(one.now, session, block(2, 8).cid());
    one.engine.want(one.now, session, block(3, 8).cid());
    one.engine.on_message(
        one.now,
        one.peer,
        Message { blocks: vec![block(2, 100_000), block(2, 8)], ..Message::default() },
    );
    one.engine.tick(one.now + Duration::from_secs(11));
    let tags = std::iter::from_fn(|| one.engine.poll_action()).filter_map(|action| match action {
        Action::Tag { peer, value } => Some((peer, value > 30)),
        _ => None,
    });
    assert_eq!(tags.collect::<Vec<_>>(), [(one.peer, true)]);
}
