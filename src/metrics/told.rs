//! Figures that a part is asked for when they are read: what it holds now, and what it did.
//!
//! Names and texts come with the figures, from whoever knows the part.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::described;

/// A figure: its name, what it tells, its value.
pub type Figure = (&'static str, &'static str, u64);

/// What a part tells: its figures as they are when they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// What rises and falls.
    pub gauges: Vec<Figure>,
    /// What rises while the process lives.
    pub counters: Vec<Figure>,
}

/// The latest figures of one part.
#[derive(Clone, Debug, Default)]
pub(super) struct Latest(pub Arc<Mutex<Told>>);

impl Collector for Latest {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let figures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, help, value) in &figures.gauges {
            let gauge = ConstGauge::new(*value);
            gauge.encode(described(&mut encoder, name, help, &gauge)?)?;
        }
        for (name, help, value) in &figures.counters {
            let counter = ConstCounter::new(*value);
            counter.encode(described(&mut encoder, name, help, &counter)?)?;
        }
        Ok(())
    }
}
