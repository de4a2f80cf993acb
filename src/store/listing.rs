//! Listing pins: a page at a time, by a cursor that is a row's key, so that nothing is held in
//! between.

use bytes::Bytes;

use super::backend::Family;
use super::{Core, Pin, StoreError, damaged, keys};

/// Which pins a listing gives, and in which order.
#[derive(Clone, Copy, Debug)]
pub enum Listing<'a> {
    /// All, in the order of multihashes.
    All,
    /// Those whose name contains this, which is not empty, in the order of names.
    Named(&'a str),
    /// Those of an owner other than the node itself, in the order in which they were made.
    Of(&'a str),
    /// Those that have expired at this time, in seconds since 1970, the first to do so first.
    Expired(u64),
}

/// A part of a listing.
#[derive(Debug)]
pub struct PinPage {
    /// The pins; perhaps none, though more follow.
    pub pins: Vec<Pin>,
    /// Pass this to the next call; `None` after the last page.
    pub next: Option<Bytes>,
}

impl Core {
    /// Looks at no more than `limit` rows of a listing, from the first one behind the cursor. A pin
    /// made or removed meanwhile is among them or not.
    ///
    /// # Errors
    /// The database's.
    pub fn pin_page(
        &self,
        listing: Listing<'_>,
        after: Option<&Bytes>,
        limit: usize,
    ) -> Result<PinPage, StoreError> {
        let owned;
        let prefix = match listing {
            Listing::All => keys::pin_table(),
            Listing::Named(_) => keys::pin_name_table(),
            Listing::Of(owner) => {
                owned = keys::pin_owner_prefix(owner);
                owned.as_ref()
            }
            Listing::Expired(_) => keys::pin_expiry_table(),
        };
        let after = after.map(|key| key.as_ref());
        let rows = self.backend.page(Family::Pins, prefix, after, limit)?;
        let last = rows.last().filter(|_| rows.len() == limit).map(|(key, _)| key.clone());
        let mut page = PinPage { pins: Vec::new(), next: last };
        for (key, value) in rows {
            let bad = || damaged("pins", &key);
            let pin = match listing {
                Listing::All => {
                    page.pins.push(Pin::decode(&key, &value)?);
                    continue;
                }
                Listing::Named(part) => {
                    let (name, pin) = keys::split_pin_name(&key).ok_or_else(bad)?;
                    if !String::from_utf8_lossy(name).contains(part) {
                        continue;
                    }
                    pin
                }
                Listing::Of(owner) => keys::split_pin_owner(&key, owner).ok_or_else(bad)?,
                Listing::Expired(now) => {
                    let (expires, pin) = keys::split_pin_expiry(&key).ok_or_else(bad)?;
                    if expires > now {
                        page.next = None;
                        break;
                    }
                    pin
                }
            };
            // One that is gone was removed since the page was read.
            if let Some(value) = self.backend.get(Family::Pins, pin)? {
                page.pins.push(Pin::decode(pin, &value)?);
            }
        }
        Ok(page)
    }

    /// At most `limit` pins that have expired at the time `now`, in seconds since 1970, the first
    /// to do so first.
    ///
    /// # Errors
    /// The database's.
    pub fn expired_pins(&self, now: u64, limit: usize) -> Result<Vec<Pin>, StoreError> {
        Ok(self.pin_page(Listing::Expired(now), None, limit)?.pins)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::edges::Held;
    use super::*;
    use crate::ipld::block::{Block, Prefix};
    use crate::ipld::cid::{Cid, codec};
    use crate::store::{Mode, Store};

    fn block(n: u64) -> Block {
        Block::hashed(Prefix::v1(codec::RAW), n.to_be_bytes().to_vec().into()).unwrap()
    }

    fn listed(core: &Core, listing: Listing<'_>, limit: usize) -> Vec<Pin> {
        let (mut pins, mut after) = (Vec::new(), None);
        loop {
            let page = core.pin_page(listing, after.as_ref(), limit).unwrap();
            pins.extend(page.pins);
            match page.next {
                Some(next) => after = Some(next),
                None => return pins,
            }
        }
    }

    /// Every row of the family, as keys.
    fn rows(core: &Core) -> Vec<Bytes> {
        core.rows(Family::Pins, b"").map(|row| row.unwrap().0).collect()
    }

    #[test]
    fn pins_are_found_by_all_they_have_and_leave_nothing_behind() {
        let store = Store::in_memory().unwrap();
        let core = store.core();
        let blocks: Vec<Block> = (0..50).map(block).collect();
        let pin = |n: usize| {
            let name = if n.is_multiple_of(5) { format!("name {n}") } else { String::new() };
            let labels = BTreeMap::from([("n".to_owned(), n.to_string())]);
            let pin = Pin::new(*blocks[n].cid(), Mode::Recursive, &name).unwrap();
            let expires = (n < 20).then_some(100 - n as u64);
            let owner = if n >= 40 { "tenant" } else { "" };
            pin.labelled(labels).unwrap().expiring(expires).unwrap().owned_by(owner).unwrap()
        };
        let pins: Vec<Pin> = (0..50).map(pin).collect();
        let mut writer = core.writer();
        blocks.iter().for_each(|block| _ = writer.put(block).unwrap());
        writer.commit(&pins).unwrap();
        assert_eq!(rows(&core).len(), 50 + 10 + 20 + 10);
        for limit in [1, 7, 50, 1000] {
            assert_eq!(listed(&core, Listing::All, limit).len(), 50);
            let named = listed(&core, Listing::Named("e 1"), limit);
            assert_eq!(named, [pins[10].clone(), pins[15].clone()]);
            assert_eq!(listed(&core, Listing::Named("n"), limit).len(), 10);
            assert_eq!(listed(&core, Listing::Of("tenant"), limit).len(), 10);
            assert_eq!(listed(&core, Listing::Of("ten"), limit).len(), 0);
            let expired = listed(&core, Listing::Expired(83), limit);
            assert_eq!(expired, [pins[19].clone(), pins[18].clone(), pins[17].clone()]);
        }
        assert_eq!(core.expired_pins(200, 5).unwrap().len(), 5);
        // A pin that takes another's place leaves none of its rows.
        let moved = core.pin_row(blocks[0].cid()).unwrap().unwrap();
        assert_eq!(moved, pins[0]);
        core.update_pin(blocks[0].cid(), blocks[49].cid(), true).unwrap();
        let moved = core.pin_row(blocks[49].cid()).unwrap().unwrap();
        assert_eq!((moved.name, moved.labels), (pins[0].name.clone(), pins[0].labels.clone()));
        assert_eq!(moved.expires, pins[0].expires);
        core.pin(&Pin::new(*blocks[49].cid(), Mode::Recursive, "").unwrap()).unwrap();
        assert_eq!(core.expired_pins(200, 50).unwrap().len(), 19);
        let own: Vec<Cid> = (1..40).chain([49]).map(|n| *blocks[n].cid()).collect();
        core.unpin_all(&own, true).unwrap();
        // What is another's stays, of the same CID, too.
        assert_eq!(rows(&core).len(), 10 + 10 + 2, "by CID, by owner, by name");
        assert_eq!(core.pin_row(blocks[49].cid()).unwrap(), None);
    }

    #[test]
    fn two_owners_pin_one_cid_without_each_other() {
        let store = Store::in_memory().unwrap();
        let (core, block) = (store.core(), block(0));
        let cid = *block.cid();
        let pin = |owner: &str, name: &str| {
            Pin::new(cid, Mode::Recursive, name).unwrap().owned_by(owner).unwrap()
        };
        let mut writer = core.writer();
        writer.put(&block).unwrap();
        // Of the same owner the last one stands.
        let all = [pin("a", "once"), pin("", "own"), pin("b", "b"), pin("a", "twice")];
        writer.commit(&all).unwrap();
        let names = || {
            let mut names: Vec<String> = Vec::new();
            core.each_pin(&mut |pin| {
                names.push(pin.name);
                true
            })
            .unwrap();
            names
        };
        assert_eq!(names(), ["own", "twice", "b"]);
        core.pin(&pin("a", "again")).unwrap();
        core.pin(&pin("", "")).unwrap();
        assert_eq!(names(), ["", "again", "b"]);
        assert_eq!(core.pin_row_of(&cid, "a").unwrap().unwrap().name, "again");
        assert_eq!(rows(&core).len(), 3 + 2 + 2, "by CID, by owner, by name");
        core.unpin(&cid, true).unwrap();
        assert_eq!(names(), ["again", "b"]);
        assert_ne!(core.held(cid.hash()).unwrap(), Held::Not, "by the others");
        assert!(core.unpin(&cid, true).is_err());
    }
}
