//! A connected peer: what it was told, its ledger, and how fast it answers.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::time::{Duration, Instant};

use libp2p::PeerId;

use super::super::ledger::{Ledger, PeerNo};
use super::super::wantlist::Told;
use super::super::wire::{TARGET_BYTES, Version};

/// Blocks that may be expected from a peer that has sent none yet. At a quarter mebibyte a block,
/// a line of 1 Gbit/s and 100 ms is full.
const WINDOW_START: usize = 64;
/// The least and the most. The most stays below what a peer keeps of ours (1024).
const WINDOW_BOUNDS: (usize, usize) = (4, 512);
/// A block that comes sooner widens the window by one, so that it doubles in a round trip.
const QUEUE_GOOD: Duration = Duration::from_secs(1);
/// One that comes later narrows it: the rest is better asked of others.
const QUEUE_BAD: Duration = Duration::from_secs(3);
/// How long a peer may be silent before it has sent a block.
const PATIENCE_START: Duration = Duration::from_secs(3);
/// How long afterwards, at least and at most.
const PATIENCE_BOUNDS: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A connected peer.
#[derive(Debug)]
pub struct Peer {
    /// Who it is.
    pub id: PeerId,
    /// What it can read.
    pub version: Version,
    /// Our wants as it knows them.
    pub told: Told,
    /// Its wants.
    pub ledger: Ledger,
    /// How fast it answers.
    pub pace: Pace,
    /// Whether its sender was called and has not come to the end yet.
    pub ready: bool,
    /// The usefulness that was reported last.
    pub tag: u32,
    /// Bytes in both directions when it was.
    pub tagged_bytes: u64,
}

/// How fast a peer answers, and how far it can be believed.
#[derive(Debug)]
pub struct Pace {
    /// From a want to its block, smoothed.
    delay: Option<Duration>,
    /// Between blocks while some are expected, smoothed, in seconds.
    gap: f64,
    /// Bytes of a block, smoothed.
    size: f64,
    /// Blocks that may be expected at a time.
    window: usize,
    narrowed_at: Option<Instant>,
    /// Part of the wants that were not answered with the block, smoothed.
    misses: f64,
    /// Times that it fell silent, in a row.
    pub strikes: u32,
    /// When it last gave a sign of life.
    pub progress: Instant,
    last_block: Option<Instant>,
    /// The latest want that was answered.
    pub answered: Option<Instant>,
}

impl Peer {
    /// One that has just come: nothing is held against it, whatever it was before.
    pub fn new(no: PeerNo, id: PeerId, version: Version, now: Instant) -> Self {
        let (told, ledger, pace) = (Told::new(), Ledger::new(no), Pace::new(now));
        Self { id, version, told, ledger, pace, ready: false, tag: 0, tagged_bytes: 0 }
    }

    /// Whether its sender has something to do.
    pub fn has_news(&self) -> bool {
        self.told.has_news() || self.ledger.has_news()
    }

    /// Whether one more block may be expected of it.
    pub fn has_room(&self) -> bool {
        self.told.open() < self.pace.window
    }

    /// Seconds until everything that it was asked for is here.
    pub fn queue_s(&self) -> f64 {
        self.pace.gap * self.told.open() as f64
    }

    /// Whether it has more to bring than can be on its way: that much can still be asked of others.
    pub fn has_backlog(&self) -> bool {
        self.told.open() as f64 * self.pace.size > 2.0 * TARGET_BYTES as f64
    }

    /// Seconds until a block that is asked for now comes; more where it is not believed.
    pub fn expected_s(&self, claims: bool) -> f64 {
        let queue = self.pace.gap * (self.told.open() as f64 + 1.0);
        let trip = self.pace.delay.map_or(0.1, |delay| delay.as_secs_f64().min(0.5));
        let doubt = if claims { 1.0 } else { 1.0 + 8.0 * self.pace.misses };
        (queue + trip) * doubt * f64::from(self.pace.strikes.saturating_mul(4).saturating_add(1))
    }
}

impl Pace {
    fn new(now: Instant) -> Self {
        Self {
            delay: None,
            gap: 0.005,
            size: 0.0,
            window: WINDOW_START,
            narrowed_at: None,
            misses: 0.0,
            strikes: 0,
            progress: now,
            last_block: None,
            answered: None,
        }
    }

    /// How long a silence is borne.
    pub fn patience(&self) -> Duration {
        let Some(delay) = self.delay else { return PATIENCE_START };
        let (least, most) = PATIENCE_BOUNDS;
        delay.saturating_mul(4).saturating_add(least).min(most)
    }

    /// A block came for a want of `asked_at`; `open` are those expected with it.
    pub fn hit(&mut self, now: Instant, asked_at: Instant, open: usize, bytes: u64) {
        self.size = self.size * 0.9 + bytes as f64 * 0.1;
        let delay = now.saturating_duration_since(asked_at);
        let mean = |old: Duration| old.mul_f64(0.875).saturating_add(delay.mul_f64(0.125));
        self.delay = Some(self.delay.map_or(delay, mean));
        if let Some(last) = self.last_block.filter(|last| *last >= asked_at) {
            let gap = now.saturating_duration_since(last).as_secs_f64();
            self.gap = self.gap * 0.9 + gap * 0.1;
        }
        (self.last_block, self.progress) = (Some(now), now);
        self.answered = self.answered.max(Some(asked_at));
        self.misses *= 0.9;
        if delay < QUEUE_GOOD && open >= self.window / 2 {
            self.window = self.window.saturating_add(1).min(WINDOW_BOUNDS.1);
        } else if delay > QUEUE_BAD && self.narrowed_at.is_none_or(|at| at < asked_at) {
            self.narrow(now);
        }
    }

    /// It had not what it was asked for.
    pub fn miss(&mut self) {
        self.misses = self.misses * 0.9 + 0.1;
    }

    /// Whether it is of no use to a session: some 16 misses in a row, or silent time and again. A
    /// HAVE or a block makes it a member anew.
    pub fn is_hopeless(&self) -> bool {
        self.misses > 0.8 || self.strikes >= 3
    }

    /// It fell silent.
    pub fn strike(&mut self, now: Instant) {
        self.strikes = self.strikes.saturating_add(1);
        self.progress = now;
        self.miss();
        self.narrow(now);
    }

    fn narrow(&mut self, now: Instant) {
        self.narrowed_at = Some(now);
        self.window = (self.window / 2).max(WINDOW_BOUNDS.0);
    }
}
