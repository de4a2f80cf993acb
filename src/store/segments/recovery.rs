//! Opening segments: what a crash left of them, compared with what rows say.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64};

use super::super::backend::BackendError;
use super::super::keys::Figure;
use super::{Medium, Segment, Segments, failed};

/// Length at which a segment is sealed unless a limit asks for less, in bytes.
const TARGET_BYTES: u64 = 256 << 20;

/// Bytes at the end of a segment that rows point to, and that a power loss may have taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubtful {
    /// Which segment.
    pub id: u32,
    /// From here on.
    pub from: u64,
    /// To here.
    pub to: u64,
}

impl Segments {
    /// Takes up what lies on a medium. A segment that no row tells of was made by an operation that
    /// committed nothing, and is deleted; so are bytes behind the last one that rows tell of. Gives
    /// the parts that are to be read before they are trusted.
    ///
    /// # Errors
    /// The system's.
    pub fn open(
        medium: Box<dyn Medium>,
        rows: &BTreeMap<u32, Figure>,
    ) -> Result<(Self, Vec<Doubtful>), BackendError> {
        let error = |e: std::io::Error| failed("the folder of segments", &e);
        let (mut table, mut doubtful, mut last) = (BTreeMap::new(), Vec::new(), 0);
        for (id, length) in medium.list().map_err(error)? {
            last = last.max(id);
            let Some(figure) = rows.get(&id) else {
                medium.remove(id).map_err(error)?;
                continue;
            };
            let end = figure.end;
            if length > end {
                medium.open(id).and_then(|file| file.cut(end)).map_err(error)?;
            }
            if figure.synced < end {
                doubtful.push(Doubtful { id, from: figure.synced, to: end });
            }
            table.insert(id, Segment::found(figure, length.min(end)));
        }
        for (id, figure) in rows {
            last = last.max(*id);
            if !table.contains_key(id) && figure.blocks > 0 {
                if figure.synced == 0 {
                    // A power loss took it before its name was on the disk.
                    doubtful.push(Doubtful { id: *id, from: 0, to: figure.end });
                } else {
                    tracing::warn!("segment {id} is gone, and {} blocks with it", figure.blocks);
                }
                table.insert(*id, Segment { damaged: true, ..Segment::found(figure, 0) });
            }
        }
        let mut segments = Self {
            medium,
            table: table.into(),
            active: Default::default(),
            next: Mutex::new(last + 1),
            barrier: Default::default(),
            names_changed: AtomicBool::new(true),
            unsynced: AtomicU64::new(0),
            to_record: Mutex::default(),
            failed: AtomicBool::new(false),
            target: AtomicU64::new(TARGET_BYTES),
            written: AtomicU64::new(0),
            read: AtomicU64::new(0),
        };
        segments.go_on();
        Ok((segments, doubtful))
    }

    /// Lets streams append to segments that are not full: many small operations, each in a process
    /// of its own, fill one segment and do not leave one each.
    fn go_on(&mut self) {
        let target = self.target();
        let table = self.table.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut slots = self.active.iter_mut();
        for (id, segment) in table.iter_mut().rev() {
            if segment.length >= target || segment.damaged {
                continue;
            }
            let Some(slot) = slots.next() else { break };
            *slot.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(*id);
            segment.sealed = false;
        }
    }
}

impl Segment {
    fn found(figure: &Figure, length: u64) -> Self {
        Self {
            file: None,
            length,
            synced: figure.synced.min(length),
            bytes: figure.bytes,
            blocks: figure.blocks,
            sealed: true,
            damaged: false,
            leases: 0,
        }
    }
}
