//! Frames of peers that are slow, silent, or many; and what they may hold meanwhile.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, DuplexStream};

use super::super::super::wire::{Outgoing, Version, encode};
use super::*;
use crate::ipld::block::{Block, Prefix};
use crate::ipld::cid::codec;

fn over<S: AsyncRead + Unpin>(stream: S, memory: &Memory) -> Frames<S> {
    let (inputs, _) = mpsc::channel(1);
    Frames::new(PeerId::random(), stream, Budget::default(), memory.clone(), inputs)
}

fn frames(bytes: Vec<u8>) -> Frames<io::Cursor<Vec<u8>>> {
    over(io::Cursor::new(bytes), &Memory::default())
}

/// Memory whose patience is a twentieth of the usual one.
fn hasty() -> Memory {
    let hasty = |pace: Pace| Pace {
        stall: pace.stall / 20,
        whole: pace.whole / 20,
        rate_bytes_s: pace.rate_bytes_s * 20,
    };
    Memory { paces: (hasty(USUAL), hasty(SHORT)), ..Memory::default() }
}

/// A frame with one block of so many bytes.
fn one_block(bytes: usize) -> Vec<u8> {
    let prefix = Prefix::v1(codec::RAW);
    let block = Block::hashed(prefix, vec![7u8; bytes].into()).unwrap();
    let message = Outgoing { blocks: vec![*block.cid()], ..Outgoing::default() };
    encode(&message, &[(*block.cid(), block.data().clone())], Version::V1_2).concat()
}

/// A peer that announces 4 MiB, sends so many bytes, and then rests.
async fn stalled(sent: usize) -> (DuplexStream, DuplexStream) {
    let (mut theirs, ours) = tokio::io::duplex(8 << 20);
    let mut bytes = vec![0x80, 0x80, 0x80, 0x02];
    bytes.resize(bytes.len() + sent, 0);
    theirs.write_all(&bytes).await.unwrap();
    (theirs, ours)
}

/// Reads what so many such peers send; they stay.
async fn many(count: usize, sent: usize, memory: &Memory) -> Vec<DuplexStream> {
    let mut peers = Vec::new();
    for _ in 0..count {
        let (theirs, ours) = stalled(sent).await;
        peers.push(theirs);
        let mut frames = over(ours, memory);
        task::detach(async move { drop(frames.next().await) });
    }
    peers
}

fn taken(memory: &Memory) -> usize {
    let left = memory.common.available_permits() + memory.rest.available_permits();
    ALL_KIB + REST_KIB - left
}

async fn reads_one(memory: &Memory) {
    let mut honest = over(io::Cursor::new(one_block(2 << 20)), memory);
    assert_eq!(honest.next().await.unwrap().unwrap().0.blocks.len(), 1);
}

#[tokio::test]
async fn what_is_announced_takes_no_memory_until_it_comes() {
    let memory = hasty();
    let _peers = many(1000, 10, &memory).await;
    tokio::time::sleep(memory.paces.0.stall / 8).await;
    assert_eq!(taken(&memory), 1000 * STEP_BYTES / 1024);
    reads_one(&memory).await;
    tokio::time::sleep(memory.paces.0.stall * 5 / 4).await;
    assert_eq!(taken(&memory), 0);
}

#[tokio::test]
async fn those_that_stall_make_room_when_memory_is_short() {
    let memory = Memory { paces: (USUAL, hasty().paces.1), ..Memory::default() };
    let _peers = many(50, 3 << 20, &memory).await;
    while memory.common.available_permits() >= SHORT_KIB {
        tokio::task::yield_now().await;
    }
    tokio::time::timeout(Duration::from_secs(5), reads_one(&memory)).await.unwrap();
}

#[tokio::test]
async fn a_slow_line_is_in_time_even_when_memory_is_short() {
    let mut memory = hasty();
    // The whole frame's time is looked at here, and the machine may be busy.
    memory.paces.1.stall = Duration::from_secs(2);
    let gone = u32::try_from(ALL_KIB - SHORT_KIB / 2).unwrap();
    let _gone = Arc::clone(&memory.common).acquire_many_owned(gone).await.unwrap();
    let (mut theirs, ours) = tokio::io::duplex(64 << 10);
    let whole = one_block(2 << 20);
    task::detach(async move {
        let start = tokio::time::Instant::now();
        for (at, part) in (0..).zip(whole.chunks(64 << 10)) {
            theirs.write_all(part).await.unwrap();
            // Twenty times 64 KiB a second.
            tokio::time::sleep_until(start + Duration::from_millis(50) * at).await;
        }
    });
    assert!(over(ours, &memory).next().await.unwrap().is_some());
}

#[tokio::test]
async fn a_trickle_ends_though_it_never_stalls() {
    let memory = Memory { paces: (hasty().paces.1, SHORT), ..Memory::default() };
    let (mut theirs, ours) = stalled(0).await;
    task::detach(async move {
        while theirs.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let since = Instant::now();
    let ended = over(ours, &memory).next().await;
    assert_eq!(ended.err().unwrap().kind(), io::ErrorKind::TimedOut);
    assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
}

#[tokio::test]
async fn frames_that_hold_a_part_each_do_not_wait_for_each_other() {
    let (memory, whole) = (Memory::default(), Bytes::from(one_block(2 << 20)));
    let mut reading = Vec::new();
    for _ in 0..120 {
        let (mut theirs, ours) = tokio::io::duplex(64 << 10);
        let bytes = whole.clone();
        task::detach(async move { theirs.write_all(&bytes).await.unwrap() });
        let mut frames = over(ours, &memory);
        reading.push(task::spawn(async move { frames.next().await.unwrap().is_some() }));
    }
    for each in reading {
        assert!(task::join(each).await);
    }
    assert_eq!(taken(&memory), 0);
}

#[tokio::test]
async fn a_stream_that_rests_keeps_nothing_of_its_frames() {
    let mut bytes = one_block(2 << 20);
    bytes.extend([200, 1, 10]);
    let mut frames = frames(bytes);
    assert!(frames.next().await.unwrap().is_some());
    assert!(frames.buffer.capacity() <= HEAD_BYTES, "{}", frames.buffer.capacity());
}

#[tokio::test]
async fn trap_01_several_messages_on_one_stream_are_all_read() {
    let one = encode(&Outgoing { full: true, ..Outgoing::default() }, &[], Version::V1_2);
    let mut frames = frames(one.concat().repeat(3));
    for _ in 0..3 {
        assert!(frames.next().await.unwrap().unwrap().0.full);
    }
    assert!(frames.next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_frame_that_is_cut_off_or_too_big_ends_the_stream() {
    let cut = frames(vec![200, 1, 10]).next().await;
    assert_eq!(cut.err().unwrap().kind(), io::ErrorKind::UnexpectedEof);
    let big = frames(vec![0xff, 0xff, 0xff, 0xff, 0x7f]).next().await;
    assert!(big.err().unwrap().to_string().contains("too big"));
}

#[tokio::test]
async fn streams_that_wait_for_memory_are_counted() {
    let (memory, budget) = (Memory::default(), Budget::default());
    let all = u32::try_from(PEER_KIB).unwrap();
    let begun = Arc::clone(&budget.announced).acquire_many_owned(all).await.unwrap();
    let mut waiting = Vec::new();
    for _ in 0..WAITING_PER_PEER {
        let (memory, budget) = (memory.clone(), budget.clone());
        waiting.push(task::spawn(async move { memory.admit(1024, &budget).await.is_ok() }));
    }
    while budget.waiting.available_permits() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(memory.admit(1024, &budget).await.is_err());
    // Others are not in their way.
    assert!(memory.admit(1024, &Budget::default()).await.is_ok());
    drop(begun);
    for each in waiting {
        assert!(task::join(each).await);
    }
    assert_eq!(memory.waiting.available_permits(), WAITING_MAX);
}
