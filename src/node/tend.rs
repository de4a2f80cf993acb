//! What a daemon does for its store by itself: syncing, keeping room, giving space back, scrubbing,
//! releasing pins that expired, and collecting garbage where that was asked for.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::stream::{self, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::network::Patience;
use super::{Error, Node};
use crate::ipld::cid::Cid;
use crate::store::scrub::{Scrubbed, Share};
use crate::store::tend::Tending;

/// Time between two steps.
const STEP_TIME: Duration = Duration::from_secs(1);
/// Parts of a second's scrubbing, with a pause after each: a request that finds every core busy waits
/// for a tick of the scheduler, which is a hundred times what looking up a pin takes.
const SCRUB_PARTS: u32 = 20;
/// Time of the processor that such a part may take at [`SCRUB_SLOW`]; at higher rates more, up to
/// [`SCRUB_MOST`].
const SCRUB_TIME: Duration = Duration::from_millis(1);
/// Bytes a second.
const SCRUB_SLOW: u64 = 4 << 20;
/// See [`SCRUB_TIME`].
const SCRUB_MOST: Duration = Duration::from_millis(40);
/// Time between two looks for pins that have expired; the first comes at the start.
const EXPIRY_TIME: Duration = Duration::from_secs(3600);
/// Time between two tries to complete pins that lack blocks.
const COMPLETE_TIME: Duration = Duration::from_secs(600);
/// Pins that are tried then.
const PINS_TOGETHER: usize = 16;
/// Time to fetch a block that scrubbing found damaged.
const HEAL_TIME: Duration = Duration::from_secs(60);
/// Such blocks that are fetched at the same time.
const HEALED_TOGETHER: usize = 8;
/// Such blocks that wait for it; the next round finds what is beyond.
const DAMAGED_MAX: usize = 4096;

/// How a store is tended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TendSettings {
    /// Part of the limit, in per cent, above which room is made (`Datastore.StorageGCWatermark`).
    pub watermark: u64,
    /// Time between two looks whether all garbage is to be collected (`--enable-gc`,
    /// `Datastore.GCPeriod`); `None` for never.
    pub gc_period: Option<Duration>,
    /// Most bytes read a second by scrubbing (`Datastore.ScrubRate`); 0 for none.
    pub scrub_rate: u64,
    /// Time from the end of a round to the next (`Datastore.ScrubPeriod`).
    pub scrub_period: Duration,
}

impl Node {
    /// Tends the store until told to stop. What fails is told in the log, and tried again.
    pub async fn tend(self, settings: TendSettings, stop: CancellationToken) {
        let (found, damaged) = mpsc::channel(DAMAGED_MAX);
        let damaged = stream::unfold(damaged, |mut damaged| async {
            damaged.recv().await.map(|cid| (cid, damaged))
        });
        // Beside the rest, which must not wait for peers.
        tokio::select! {
            () = self.tend_until(settings, &found, stop) => {}
            () = damaged.for_each_concurrent(HEALED_TOGETHER, |cid| self.heal(cid)) => {}
        }
    }

    async fn tend_until(
        &self,
        settings: TendSettings,
        found: &mpsc::Sender<Cid>,
        stop: CancellationToken,
    ) {
        let (mut tending, mut collected) = (Tending::default(), Instant::now());
        let (mut released, mut completed, mut failing) = (None::<Instant>, None::<Instant>, false);
        loop {
            let next = tokio::time::Instant::now() + STEP_TIME;
            let scrubbed = tokio::select! {
                () = stop.cancelled() => return,
                scrubbed = self.scrub_until(next, &settings, found) => scrubbed,
            };
            let mark = settings.watermark;
            let step = move |core: &crate::store::Core| {
                let done = core.tend(&mut tending, mark);
                (done, tending)
            };
            let (done, after) = self.store.run(step).await;
            tending = after;
            let mut outcome = done.map_err(Error::from).and(scrubbed);
            if released.is_none_or(|at| at.elapsed() >= EXPIRY_TIME) {
                released = Some(Instant::now());
                outcome = outcome.and(self.release_expired().await.map(drop));
            }
            if completed.is_none_or(|at| at.elapsed() >= COMPLETE_TIME) {
                completed = Some(Instant::now());
                outcome = outcome.and(self.complete_pins().await);
            }
            if let Some(period) = settings.gc_period.filter(|period| collected.elapsed() >= *period)
            {
                collected = Instant::now();
                tracing::debug!("looking whether to collect garbage, as every {period:?}");
                outcome = outcome.and(self.collect_above(mark).await);
            }
            if let Err(error) = &outcome
                && !failing
            {
                tracing::warn!("tending the store: {error}");
            }
            failing = outcome.is_err();
        }
    }

    /// Collects all garbage if the repository is larger than so many per cent of its limit.
    async fn collect_above(&self, mark: u64) -> Result<(), Error> {
        let usage = self.store.run(crate::store::Core::usage).await?;
        if usage.limit > 0 && usage.physical <= usage.limit / 100 * mark {
            return Ok(());
        }
        let mut freed = self.gc().await;
        while let Some(event) = freed.recv().await {
            event?;
        }
        Ok(())
    }

    /// Scrubs a second's share in small parts, and waits for what is left of the second. What is
    /// damaged is to be fetched again.
    async fn scrub_until(
        &self,
        next: tokio::time::Instant,
        settings: &TendSettings,
        found: &mpsc::Sender<Cid>,
    ) -> Result<(), Error> {
        let mut outcome = Ok(true);
        for part in 1..=SCRUB_PARTS {
            if settings.scrub_rate > 0 && matches!(outcome, Ok(true)) {
                outcome = self.scrub_some(settings, found).await;
            }
            tokio::time::sleep_until(next - STEP_TIME / SCRUB_PARTS * (SCRUB_PARTS - part)).await;
        }
        outcome.map(drop)
    }

    /// Scrubs a part of a second's share, unless a round ended not long ago. Whether there is more to
    /// do.
    async fn scrub_some(
        &self,
        settings: &TendSettings,
        found: &mpsc::Sender<Cid>,
    ) -> Result<bool, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (rate, period) = (settings.scrub_rate, settings.scrub_period.as_secs());
        let times = u32::try_from(rate / SCRUB_SLOW).unwrap_or(u32::MAX).max(1);
        let time = SCRUB_TIME.saturating_mul(times).min(SCRUB_MOST);
        let share = Share { bytes: rate.div_ceil(u64::from(SCRUB_PARTS)), time };
        let step = move |core: &crate::store::Core| {
            let state = core.scrub_state()?;
            if !state.is_begun() && now < state.ended.saturating_add(period) {
                return Ok(None);
            }
            if !state.is_begun() {
                core.begin_scrub()?;
            }
            core.scrub(share, now).map(Some)
        };
        let Some(Scrubbed { damaged, ended, .. }) = self.store.run(step).await? else {
            return Ok(false);
        };
        // Beyond the bound it is left to the next round.
        damaged.into_iter().for_each(|cid| _ = found.try_send(cid));
        if ended {
            let state = self.store.run(crate::store::Core::scrub_state).await?;
            let (bytes, blocks) = (state.bytes, state.damaged);
            tracing::info!("scrubbed {bytes} bytes: {blocks} blocks damaged");
        }
        Ok(!ended)
    }

    /// Fetches what was lost below pins with the rows of a damaged database.
    async fn complete_pins(&self) -> Result<(), Error> {
        let pins = self.store.run(|core| core.incomplete_pins(PINS_TOGETHER)).await?;
        if !self.is_online() {
            return Ok(());
        }
        for pin in pins {
            match self.session(Patience::Each(HEAL_TIME)).make_whole(&pin).await {
                Ok(()) => tracing::info!("pin {} is whole again", pin.cid),
                Err(error) => tracing::warn!("pin {} lacks blocks: {error}", pin.cid),
            }
        }
        Ok(())
    }

    async fn heal(&self, cid: Cid) {
        if !self.is_online() {
            tracing::warn!("block {cid} is damaged; `repo verify --heal` fetches it when online");
            return;
        }
        match self.session(Patience::Each(HEAL_TIME)).dag.block(&cid).await {
            Ok(_) => tracing::info!("block {cid} was damaged, and is healed"),
            Err(error) => tracing::warn!("block {cid} is damaged, and not healed: {error}"),
        }
    }
}
