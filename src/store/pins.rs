//! Pins: the roots that keep blocks alive. One row a CID and owner, found by CID, name, owner or
//! expiry.

use std::collections::{HashMap, HashSet};
use std::ptr;

use bytes::Bytes;

use super::backend::{Batch, Family};
use super::change::{Change, Coming};
pub use super::edges::Progress;
use super::edges::{Blocks, Completing};
use super::intents::Intent;
use super::keys::{self, IndexRow};
pub use super::listing::{Listing, PinPage};
pub use super::pin::{Mode, NAME_MAX_BYTES, Pin};
use super::{Core, StoreError, this_hour};
use crate::ipld::cid::{Cid, Multihash};

/// Expired pins removed while everybody else waits.
const EXPIRED_TOGETHER: usize = 256;
/// Parents read at a time on the way up to a pin.
const PARENTS: usize = 64;

/// Why a block is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinState {
    /// It is pinned itself.
    Pinned(Pin),
    /// It lies below this recursive pin, and perhaps below others.
    Indirect(Cid),
}

/// Puts a pin's row and those that find it by name, owner and expiry. The rows of one that it
/// replaces are to be deleted before.
fn put_pin(rows: &mut Batch, pin: &Pin) {
    let key = keys::pin_of(&pin.cid, &pin.owner);
    for found_by in secondary(pin, &key) {
        rows.put(Family::Pins, found_by, Bytes::new());
    }
    rows.put(Family::PinsAgain, key.clone(), pin.encode());
    rows.put(Family::Pins, key, pin.encode());
}

/// Deletes the same rows.
pub(super) fn delete_pin(rows: &mut Batch, pin: &Pin) {
    let key = keys::pin_of(&pin.cid, &pin.owner);
    for found_by in secondary(pin, &key) {
        rows.delete(Family::Pins, found_by);
    }
    rows.delete(Family::PinsAgain, key.clone());
    rows.delete(Family::Meta, keys::incomplete(&key));
    rows.delete(Family::Pins, key);
}

/// Keys of the rows that find a pin otherwise than by its CID. What it has not it is not found by;
/// the node's own pins are found by CID alone, as most are its own.
fn secondary(pin: &Pin, key: &[u8]) -> impl Iterator<Item = Bytes> {
    let name = (!pin.name.is_empty()).then(|| keys::pin_name(&pin.name, key));
    let owned = !pin.owner.is_empty();
    let owner = owned.then(|| keys::pin_owner(&pin.owner, pin.created, key));
    let expiry = pin.expires.map(|time| keys::pin_expiry(time, key));
    [name, owner, expiry].into_iter().flatten()
}

fn already(pin: &Pin) -> StoreError {
    StoreError::Pin(format!("{} already pinned recursively", pin.cid))
}

impl Core {
    /// Pins a DAG or a block that is here, replacing an earlier pin of the same CID.
    ///
    /// # Errors
    /// [`StoreError::Missing`] when a block is not here; [`StoreError::Pin`] for a direct pin of
    /// what is pinned recursively. Nothing changes then.
    pub fn pin(&self, pin: &Pin) -> Result<(), StoreError> {
        self.pin_all(std::slice::from_ref(pin))
    }

    /// The same for several pins: all of them or none.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub fn pin_all(&self, pins: &[Pin]) -> Result<(), StoreError> {
        self.pin_by(pins, Completing::new(self, self, &self.intend(), Vec::new()))
    }

    /// The same, telling how far it has come. What `intent` has noted is not looked for again by
    /// whoever deletes.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub fn pin_telling(
        &self,
        pins: &[Pin],
        intent: &Intent,
        progress: &Progress,
    ) -> Result<(), StoreError> {
        self.pin_by(pins, Completing::new(self, self, intent, Vec::new()).telling(progress))
    }

    /// The same for several pins, with blocks that are about to exist, the rows that make them exist,
    /// and what is known of them.
    pub(super) fn pin_with(
        &self,
        pins: &[Pin],
        source: &dyn Blocks,
        intent: &Intent,
        rows: Vec<(Multihash, IndexRow)>,
        coming: Coming,
    ) -> Result<(), StoreError> {
        self.pin_by(pins, Completing::new(self, source, intent, rows).coming(coming))
    }

    /// The rows of pins stay out of the batches that are written on the way: a pin appears only when
    /// all of its DAG, and every other pin of the operation, stands.
    fn pin_by(&self, pins: &[Pin], mut completing: Completing<'_>) -> Result<(), StoreError> {
        // Of several pins of one CID and owner the last stands: the rows of the others are never
        // written.
        let mut standing: HashMap<(Cid, &str), &Pin> = HashMap::new();
        for pin in pins {
            let before = standing.insert((pin.cid, &pin.owner), pin);
            if pin.mode == Mode::Direct && before.is_some_and(|b| b.mode == Mode::Recursive) {
                return Err(already(pin));
            }
        }
        let stands = |pin: &&Pin| {
            standing.get(&(pin.cid, pin.owner.as_str())).is_some_and(|last| ptr::eq(*last, *pin))
        };
        for pin in pins.iter().filter(stands) {
            match pin.mode {
                Mode::Recursive => completing.complete(&pin.cid)?,
                Mode::Direct if !completing.has(&pin.cid)? => {
                    return Err(StoreError::Missing(Box::new(pin.cid)));
                }
                Mode::Direct => {}
            }
        }
        // After the last walk: what a pin claims must not be written without it.
        for pin in pins.iter().filter(stands) {
            completing.claim_root(&pin.cid, pin.mode)?;
        }
        // Fetched blocks are on the disk before a pin is.
        self.segments.sync()?;
        completing.write(&mut |change| {
            pins.iter().filter(stands).try_for_each(|pin| self.replace_pin(pin, &mut change.rows))
        })?;
        self.sync()
    }

    /// Puts a pin in the place of an earlier one of the same CID and owner.
    pub(super) fn replace_pin(&self, pin: &Pin, rows: &mut Batch) -> Result<(), StoreError> {
        if let Some(old) = self.pin_row_of(&pin.cid, &pin.owner)? {
            if old.mode == Mode::Recursive && pin.mode == Mode::Direct {
                return Err(already(pin));
            }
            delete_pin(rows, &old);
        }
        put_pin(rows, pin);
        Ok(())
    }

    /// Puts a pin whose DAG is not whole, and remembers that: until it is, nothing is collected.
    pub(super) fn pin_incomplete(&self, pin: &Pin) -> Result<(), StoreError> {
        let exclusive = self.exclusive();
        let mut change = Change::default();
        put_pin(&mut change.rows, pin);
        let key = keys::incomplete(&keys::pin_of(&pin.cid, &pin.owner));
        change.rows.put(Family::Meta, key, Bytes::new());
        self.apply(change, &exclusive)
    }

    /// Fails while it is not known what is garbage: rows were lost, and pins or blocks with them.
    pub(super) fn knows_garbage(&self) -> Result<(), StoreError> {
        if self.backend.get(Family::Meta, keys::META_PINS_LOST)?.is_some() {
            return Err(StoreError::PinsLost);
        }
        match self.incomplete_pins(1)?.first() {
            Some(pin) => Err(StoreError::Incomplete(Box::new(pin.cid))),
            None => Ok(()),
        }
    }

    /// Lets what lost its pins be collected.
    ///
    /// # Errors
    /// The database's.
    pub fn accept_lost_pins(&self) -> Result<(), StoreError> {
        let mut rows = Batch::default();
        rows.delete(Family::Meta, keys::META_PINS_LOST.into());
        Ok(self.backend.write(rows)?)
    }

    /// Pins that were kept although blocks below them are lost, at most `limit` of them.
    ///
    /// # Errors
    /// The database's.
    pub fn incomplete_pins(&self, limit: usize) -> Result<Vec<Pin>, StoreError> {
        let rows = self.backend.page(Family::Meta, keys::META_INCOMPLETE, None, limit)?;
        let pin = |(key, _): &(Bytes, Bytes)| {
            let key = key.slice(keys::META_INCOMPLETE.len()..);
            let value = self.backend.get(Family::Pins, &key)?;
            value.map(|value| Pin::decode(&key, &value)).transpose()
        };
        rows.iter().filter_map(|row| pin(row).transpose()).collect()
    }

    /// Removes a pin. What it alone held is garbage from then on.
    ///
    /// # Errors
    /// [`StoreError::Pin`] when there is no such pin, or it is recursive and `recursive` is not set.
    pub fn unpin(&self, cid: &Cid, recursive: bool) -> Result<(), StoreError> {
        self.unpin_all(std::slice::from_ref(cid), recursive)
    }

    /// The same for several pins: all of them or none.
    ///
    /// # Errors
    /// As [`Self::unpin`].
    pub fn unpin_all(&self, cids: &[Cid], recursive: bool) -> Result<(), StoreError> {
        let exclusive = self.exclusive();
        let mut change = Change::default();
        for cid in cids {
            let Some(pin) = self.pin_row(cid)? else {
                return Err(StoreError::Pin("not pinned or pinned indirectly".into()));
            };
            if pin.mode == Mode::Recursive && !recursive {
                return Err(StoreError::Pin(format!("{cid} is pinned recursively")));
            }
            delete_pin(&mut change.rows, &pin);
            change.loosen(cid.hash(), this_hour());
        }
        self.apply(change, &exclusive)?;
        drop(exclusive);
        self.sync()
    }

    /// Pins `to` under the name of the recursive pin `from`, with its labels and expiry, and removes that one if `unpin` says
    /// so: both at once, or neither.
    ///
    /// # Errors
    /// As [`Self::pin`]; [`StoreError::Pin`] in Kubo's words when `from` is not pinned
    /// recursively, or `to` is already.
    pub fn update_pin(&self, from: &Cid, to: &Cid, unpin: bool) -> Result<(), StoreError> {
        let recursive = |cid: &Cid| {
            let pin = self.pin_row(cid)?;
            Ok::<_, StoreError>(pin.filter(|pin| pin.mode == Mode::Recursive))
        };
        let refused = |text: &str| StoreError::Pin(text.to_owned());
        let from_pin = || {
            recursive(from)?.ok_or_else(|| refused("'from' cid was not recursively pinned already"))
        };
        from_pin()?;
        if from == to {
            return Ok(());
        }
        let intent = self.intend();
        let mut completing = Completing::new(self, self, &intent, Vec::new());
        completing.complete(to)?;
        completing.claim_root(to, Mode::Recursive)?;
        self.segments.sync()?;
        completing.write(&mut |change| {
            let old = from_pin()?;
            if recursive(to)?.is_some() {
                return Err(refused("'to' cid was already recursively pinned"));
            }
            self.replace_pin(&old.moved_to(*to), &mut change.rows)?;
            if unpin {
                delete_pin(&mut change.rows, &old);
                change.loosen(from.hash(), this_hour());
            }
            Ok(())
        })?;
        self.sync()
    }

    /// Removes pins that have expired at `now`, in seconds since 1970, whoever owns them; gives how
    /// many. What one alone held is garbage from then on.
    ///
    /// # Errors
    /// The database's.
    pub fn release_expired(&self, now: u64) -> Result<u64, StoreError> {
        let mut released = 0;
        loop {
            let expired = self.expired_pins(now, EXPIRED_TOGETHER)?;
            let before = released;
            let exclusive = self.exclusive();
            let mut change = Change::default();
            for pin in &expired {
                // Somebody may have replaced it since it was listed.
                if self.pin_row_of(&pin.cid, &pin.owner)?.as_ref() == Some(pin) {
                    delete_pin(&mut change.rows, pin);
                    change.loosen(pin.cid.hash(), this_hour());
                    released += 1;
                }
            }
            self.apply(change, &exclusive)?;
            drop(exclusive);
            if released == before {
                return Ok(released);
            }
            self.sync()?;
        }
    }

    /// The node's own pin of exactly this CID.
    ///
    /// # Errors
    /// The database's.
    pub fn pin_row(&self, cid: &Cid) -> Result<Option<Pin>, StoreError> {
        self.pin_row_of(cid, "")
    }

    /// An owner's pin of exactly this CID.
    ///
    /// # Errors
    /// The database's.
    pub fn pin_row_of(&self, cid: &Cid, owner: &str) -> Result<Option<Pin>, StoreError> {
        let key = keys::pin_of(cid, owner);
        let value = self.backend.get(Family::Pins, &key)?;
        value.map(|value| Pin::decode(&key, &value)).transpose()
    }

    /// Visits every pin, in the order of multihashes, until `visit` says `false`.
    ///
    /// # Errors
    /// The database's.
    pub fn each_pin(&self, visit: &mut dyn FnMut(Pin) -> bool) -> Result<(), StoreError> {
        for row in self.rows(Family::Pins, keys::pin_table()) {
            let (key, value) = row?;
            if !visit(Pin::decode(&key, &value)?) {
                break;
            }
        }
        Ok(())
    }

    /// Why a block is kept, or `None`. Climbs edges, so it costs the way up to a pin, not the
    /// number of pins.
    ///
    /// # Errors
    /// The database's.
    pub fn pin_state(&self, cid: &Cid) -> Result<Option<PinState>, StoreError> {
        if let Some(pin) = self.pin_row(cid)? {
            return Ok(Some(PinState::Pinned(pin)));
        }
        Ok(self.root_above(cid.hash())?.map(PinState::Indirect))
    }

    /// Complete parents of a block, read as they are asked for.
    pub(super) fn each_parent(
        &self,
        hash: &Multihash,
    ) -> impl Iterator<Item = Result<Multihash, StoreError>> {
        let mut after = None;
        let mut page = Vec::new().into_iter();
        let hash = *hash;
        std::iter::from_fn(move || {
            if page.len() == 0 {
                match self.parents_after(&hash, after.as_ref(), PARENTS) {
                    Ok(found) => page = found.into_iter(),
                    Err(error) => return Some(Err(error)),
                }
            }
            after = page.next();
            after.map(Ok)
        })
    }

    /// A recursive pin above a block.
    fn root_above(&self, hash: &Multihash) -> Result<Option<Cid>, StoreError> {
        let mut seen: HashSet<Multihash> = HashSet::from([*hash]);
        let mut climbing = vec![*hash];
        while let Some(below) = climbing.pop() {
            // A page at a time: the first of many parents may well be pinned.
            for parent in self.each_parent(&below) {
                let parent = parent?;
                if !seen.insert(parent) {
                    continue;
                }
                for row in self.rows(Family::Pins, &keys::pin_prefix(&parent)) {
                    let (key, value) = row?;
                    let pin = Pin::decode(&key, &value)?;
                    if pin.mode == Mode::Recursive {
                        return Ok(Some(pin.cid));
                    }
                }
                climbing.push(parent);
            }
        }
        Ok(None)
    }
}
