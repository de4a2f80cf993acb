//! Garbage: blocks that nothing holds. It is among the rows of `loose`, so finding it costs as much as
//! there is of it, and it is freed in steps of a few milliseconds between which everybody goes on.
//!
//! An error while reading is an error of the collection, never an empty set: what cannot be read is
//! not known to be garbage.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::backend::Family;
use super::change::Change;
use super::edges::Held;
use super::keys::{self, Marker};
use super::{Core, StoreError};
use crate::ipld::cid::{Cid, Multihash};

/// Blocks looked at while everybody else waits.
const STEP_BLOCKS: usize = 64;
/// Edges taken away while everybody else waits.
const STEP_EDGES: usize = 1024;
/// Blocks below freed ones that are remembered; others are found again by their rows.
const BELOW_MAX: usize = 64 << 10;
/// Nodes that cannot be read and are released in one pass over all edges.
const UNREADABLE_MAX: usize = 256;

/// A block that nothing held, and that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freed {
    /// Which.
    pub hash: Multihash,
    /// Its size in bytes.
    pub size: u32,
}

/// A block that may be garbage.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    hash: Multihash,
    /// Hour of its last use.
    hour: u32,
}

/// A node whose edges are to be taken away.
struct Node {
    marker: Marker,
    children: Vec<Multihash>,
}

/// A collection in progress.
struct Collection<'a> {
    core: &'a Core,
    /// Candidates last used after this hour are left alone.
    until: u32,
    /// What freed nodes linked to.
    below: Vec<Candidate>,
    /// Whether some of that was not remembered.
    forgot: bool,
    unreadable: Vec<Candidate>,
    after: Option<Bytes>,
    ended: bool,
}

impl Core {
    /// Deletes every block that nothing holds and that no operation in flight relies on. `visit` is
    /// told of each when it is gone, and ends the collection with `false`.
    ///
    /// # Errors
    /// The database's.
    pub fn collect(&self, visit: &mut dyn FnMut(Freed) -> bool) -> Result<(), StoreError> {
        self.collect_until(u32::MAX, visit)
    }

    /// The same for blocks that were last used at an hour up to `until`.
    ///
    /// # Errors
    /// The database's.
    pub(super) fn collect_until(
        &self,
        until: u32,
        visit: &mut dyn FnMut(Freed) -> bool,
    ) -> Result<(), StoreError> {
        self.knows_garbage()?;
        loop {
            let mut collection = Collection::new(self, until);
            while let Some(candidates) = collection.next()? {
                for freed in collection.step(&candidates)? {
                    if !visit(freed) {
                        return Ok(());
                    }
                }
                self.give_way();
            }
            if !collection.forgot {
                return Ok(());
            }
        }
    }

    /// Lets operations in flight go first for a moment.
    fn give_way(&self) {
        if self.intents.count() > 0 {
            std::thread::sleep(std::time::Duration::from_micros(200));
        }
    }

    /// Deletes one block that nothing holds; tells whether it was here.
    ///
    /// # Errors
    /// [`StoreError::Pin`] when something holds it, or the database's.
    pub fn remove(&self, cid: &Cid) -> Result<bool, StoreError> {
        let key = keys::block(cid.hash());
        if self.index_row(&key)?.is_none() {
            return Ok(false);
        }
        self.knows_garbage()?;
        let one = Candidate { hash: *cid.hash(), hour: super::this_hour() };
        let mut collection = Collection { ended: true, ..Collection::new(self, u32::MAX) };
        if self.pin_state(cid)?.is_none() {
            collection.release_above(cid.hash())?;
        }
        collection.step(&[one])?;
        collection.release_unreadable()?;
        // A node that was released above, or that had to be read twice, is free now.
        collection.step(&[one])?;
        if self.index_row(&key)?.is_none() {
            return Ok(true);
        }
        let how = match self.pin_state(cid)? {
            Some(super::PinState::Indirect(root)) => format!("pinned: indirect via {root}"),
            Some(super::PinState::Pinned(pin)) => match pin.mode {
                super::Mode::Recursive => "pinned: recursive".to_owned(),
                super::Mode::Direct => "pinned: direct".to_owned(),
            },
            None if self.intents.noted(cid.hash()) => "in use: an operation relies on it".into(),
            None => "linked to by a block that is going: run 'repo gc' first".to_owned(),
        };
        Err(StoreError::Pin(how))
    }

    /// Tells what [`Self::collect`] would delete, and deletes nothing. What operations in flight rely
    /// on is told, too. Memory: a hash for each node and for each leaf
    /// of several.
    ///
    /// # Errors
    /// The database's.
    pub fn plan_garbage(&self, visit: &mut dyn FnMut(Freed) -> bool) -> Result<(), StoreError> {
        let mut gone: HashSet<Multihash> = HashSet::new();
        for row in self.rows(Family::Loose, b"") {
            let (key, _) = row?;
            let (hash, _) = keys::split_hash(&key).ok_or_else(|| super::damaged("loose", &key))?;
            // One with parents is told when the last of them is.
            let mut below = match self.parents_after(&hash, None, 1)?.is_empty() {
                true => vec![hash],
                false => continue,
            };
            while let Some(hash) = below.pop() {
                if gone.contains(&hash) || self.held_beside(&hash, &gone)? != Held::Not {
                    continue;
                }
                let Some(row) = self.index_row(&keys::block(&hash))? else { continue };
                let marker = self.marker(&hash)?;
                if marker.is_some() || self.parents_after(&hash, None, 2)?.len() > 1 {
                    gone.insert(hash);
                }
                if let Some(marker) = marker {
                    below.extend(self.children(&hash, &marker.codecs)?.unwrap_or_default());
                }
                if !visit(Freed { hash, size: row.size }) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// What holds a block beside nodes that are to go.
    fn held_beside(&self, hash: &Multihash, gone: &HashSet<Multihash>) -> Result<Held, StoreError> {
        match self.held(hash)? {
            Held::Whole => {}
            held => return Ok(held),
        }
        for parent in self.each_parent(hash) {
            if !gone.contains(&parent?) {
                return Ok(Held::Whole);
            }
        }
        self.pinned(hash)
    }
}

impl<'a> Collection<'a> {
    fn new(core: &'a Core, until: u32) -> Self {
        Self {
            core,
            until,
            below: Vec::new(),
            forgot: false,
            unreadable: Vec::new(),
            after: None,
            ended: false,
        }
    }

    /// The next blocks to look at: those below freed ones first.
    fn next(&mut self) -> Result<Option<Vec<Candidate>>, StoreError> {
        loop {
            if !self.below.is_empty() {
                let from = self.below.len().saturating_sub(STEP_BLOCKS);
                return Ok(Some(self.below.split_off(from)));
            }
            if self.unreadable.len() >= UNREADABLE_MAX || self.ended && !self.unreadable.is_empty()
            {
                self.release_unreadable()?;
                continue;
            }
            if self.ended {
                return Ok(None);
            }
            let after = self.after.as_deref();
            let page = self.core.backend.page(Family::Loose, b"", after, STEP_BLOCKS)?;
            self.ended = page.len() < STEP_BLOCKS;
            self.after = page.last().map(|(key, _)| key.clone()).or(self.after.take());
            let mut found = Vec::with_capacity(page.len());
            for (key, value) in &page {
                let damaged = || super::damaged("loose", key);
                let (hash, _) = keys::split_hash(key).ok_or_else(damaged)?;
                let hour = keys::split_hour(value);
                if hour <= self.until {
                    found.push(Candidate { hash, hour });
                }
            }
            if !found.is_empty() {
                return Ok(Some(found));
            }
        }
    }

    /// Frees what nothing holds of a few blocks; the rest is loose no more, or noted by somebody.
    fn step(&mut self, candidates: &[Candidate]) -> Result<Vec<Freed>, StoreError> {
        let mut nodes = HashMap::new();
        for candidate in candidates {
            let Some(marker) = self.core.marker(&candidate.hash)? else { continue };
            match self.core.children(&candidate.hash, &marker.codecs)? {
                Some(children) => _ = nodes.insert(candidate.hash, Node { marker, children }),
                None => self.unreadable.push(*candidate),
            }
        }
        let mut large = Vec::new();
        let mut freed = Vec::new();
        let exclusive = self.core.exclusive();
        let mut change = Change::default();
        // What is released in this very batch still has its edges in the database: it is looked at
        // again when it is written.
        let mut released: HashSet<Multihash> = HashSet::new();
        for candidate in candidates {
            let Candidate { hash, hour } = candidate;
            if released.contains(hash) || self.core.intents.noted(hash) {
                continue;
            }
            let held = self.core.held(hash)?;
            if held == Held::Whole {
                change.claim(hash);
                continue;
            }
            match (self.core.marker(hash)?, nodes.get(hash)) {
                (None, _) => {}
                (Some(marker), Some(node)) if marker == node.marker => {
                    if node.children.len() > STEP_EDGES {
                        large.push(*candidate);
                        continue;
                    }
                    let all = (&node.children[..], 0, STEP_EDGES);
                    self.core.part((hash, &marker), all, *hour, (&mut change, &exclusive));
                    released.extend(&node.children);
                    self.remember(&node.children, *hour);
                }
                // It changed since it was read, or cannot be read.
                (Some(_), _) => continue,
            }
            change.claim(hash);
            if held == Held::Not {
                freed.extend(self.core.free(hash, &mut change)?);
            }
        }
        self.core.apply(change, &exclusive)?;
        self.core.counters.freed(&freed);
        self.core.lifted(freed.iter().map(|block| &block.hash));
        drop(exclusive);
        for candidate in large {
            if let Some(node) = nodes.remove(&candidate.hash) {
                self.release(candidate, &node)?;
            }
        }
        Ok(freed)
    }

    /// Takes the edges of a node away, some at a time; the node itself is looked at again then.
    fn release(&mut self, candidate: Candidate, node: &Node) -> Result<(), StoreError> {
        let Candidate { hash, hour } = candidate;
        let (mut from, mut known) = (0, node.marker.clone());
        loop {
            let exclusive = self.core.exclusive();
            let as_it_was = self.core.marker(&hash)?.is_some_and(|marker| marker == known);
            if !as_it_was || self.core.intents.noted(&hash) || self.core.held(&hash)? == Held::Whole
            {
                return Ok(());
            }
            let mut change = Change::default();
            let children = (&node.children[..], from, STEP_EDGES);
            let next = self.core.part((&hash, &known), children, hour, (&mut change, &exclusive));
            self.core.apply(change, &exclusive)?;
            drop(exclusive);
            let to = next.unwrap_or(node.children.len());
            self.remember(node.children.get(from..to).unwrap_or_default(), hour);
            let Some(next) = next else { break };
            (from, known.parting) = (next, true);
            self.core.give_way();
        }
        self.below.push(candidate);
        Ok(())
    }

    /// Releases the nodes above a block that no pin holds, from the top down: none of them is complete
    /// without it.
    fn release_above(&mut self, hash: &Multihash) -> Result<(), StoreError> {
        let mut above = vec![*hash];
        let mut met: HashSet<Multihash> = HashSet::from([*hash]);
        let mut at = 0;
        while let Some(hash) = above.get(at).copied() {
            at += 1;
            for parent in self.core.each_parent(&hash) {
                let parent = parent?;
                if met.len() < BELOW_MAX && met.insert(parent) {
                    above.push(parent);
                }
            }
        }
        let mut left = above.split_off(1);
        loop {
            let before = left.len();
            for hash in std::mem::take(&mut left).into_iter().rev() {
                let marker = self.core.marker(&hash)?;
                match marker {
                    Some(marker) if self.core.held(&hash)? != Held::Whole => {
                        let known = self.core.children(&hash, &marker.codecs)?;
                        let candidate = Candidate { hash, hour: super::this_hour() };
                        match known {
                            Some(children) => {
                                self.release(candidate, &Node { marker, children })?
                            }
                            None => self.unreadable.push(candidate),
                        }
                    }
                    Some(_) => left.push(hash),
                    None => {}
                }
            }
            self.release_unreadable()?;
            left.reverse();
            if left.is_empty() || left.len() == before {
                return Ok(());
            }
        }
    }

    fn remember(&mut self, children: &[Multihash], hour: u32) {
        for hash in children {
            match self.below.len() < BELOW_MAX {
                true => self.below.push(Candidate { hash: *hash, hour }),
                false => self.forgot = true,
            }
        }
    }

    /// Releases nodes that cannot be read. Edges name both their ends, so one pass over all of them
    /// finds what the nodes link to: dear, and only damage asks for it.
    fn release_unreadable(&mut self) -> Result<(), StoreError> {
        let nodes = std::mem::take(&mut self.unreadable);
        if nodes.is_empty() {
            return Ok(());
        }
        let mut children: HashMap<Multihash, Vec<Multihash>> =
            nodes.iter().map(|node| (node.hash, Vec::new())).collect();
        for row in self.core.rows(Family::Edges, b"") {
            let (key, _) = row?;
            let damaged = || super::damaged("edges", &key);
            let (child, parent) = keys::split_hash(&key).ok_or_else(damaged)?;
            if parent.is_empty() {
                continue;
            }
            let (parent, _) = keys::split_hash(parent).ok_or_else(damaged)?;
            if let Some(known) = children.get_mut(&parent) {
                known.push(child);
            }
        }
        for candidate in nodes {
            let known = children.remove(&candidate.hash).unwrap_or_default();
            if let Some(marker) = self.core.marker(&candidate.hash)? {
                self.release(candidate, &Node { marker, children: known })?;
            }
        }
        Ok(())
    }
}

impl Core {
    /// Deletes the rows of a block; `None` when it is not here. Its record stays until its segment is
    /// emptied.
    fn free(&self, hash: &Multihash, change: &mut Change) -> Result<Option<Freed>, StoreError> {
        self.lift_with(hash, &mut change.rows);
        let Some(row) = self.index_row(&keys::block(hash))? else {
            // It was dropped for damage, and nothing holds it any more.
            self.lifted([hash]);
            return Ok(None);
        };
        change.delete_block(hash, row);
        Ok(Some(Freed { hash: *hash, size: row.size }))
    }
}
