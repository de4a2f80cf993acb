//! `pin ls` and `pin verify`: pins, a page at a time.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::label_of;
use crate::dag::verify::{BadBlock, Sound};
use crate::dag::walk::WalkOptions;
use crate::ipld::cid::Cid;
use crate::ipld::codec::can_link;
use crate::ipld::path::Path;
use crate::node::{Error, Node, RESULTS, Results};
use crate::store::StoreError;
use crate::store::pins::{Listing, Mode, Pin, PinPage, PinState};
use crate::task;

/// Pins read at a time: what a listing holds of them.
const PAGE_PINS: usize = 1024;

/// Options of `pin ls`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, rename_all = "kebab-case")]
pub struct PinLsOptions {
    /// Which pins: direct, indirect, recursive or all.
    #[arg(long, short = 't', value_name = "TYPE")]
    #[serde(rename = "type", alias = "t", skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    /// Only pins whose name contains this.
    #[arg(long, short = 'n', value_name = "NAME")]
    #[serde(alias = "n", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Only pins with this label; of several, with all of them.
    #[arg(long, value_name = "KEY=VALUE")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label: Vec<String>,
    /// Show names.
    #[arg(long)]
    pub names: bool,
    /// Show names, labels, and when pins were made and expire.
    #[arg(long, short = 'l')]
    #[serde(alias = "l", skip_serializing_if = "std::ops::Not::not")]
    pub long: bool,
    /// Print pins as they are found.
    #[arg(long, short = 's')]
    #[serde(alias = "s")]
    pub stream: bool,
}

/// How a listed block is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// A recursive pin of its own.
    Recursive,
    /// A direct pin of its own.
    Direct,
    /// By a recursive pin above it; which one, when that is known.
    Indirect(Option<Cid>),
}

/// One line of `pin ls`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRow {
    /// The block.
    pub cid: Cid,
    /// How it is kept.
    pub kept: Kept,
    /// The pin's name, if it has one.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// When it was made, in seconds since 1970; `None` for what has no pin of its own.
    pub created: Option<u64>,
    /// From when on it may be released, in seconds since 1970; `None` for never.
    pub expires: Option<u64>,
}

impl PinRow {
    /// A block with a pin of its own.
    fn of(pin: Pin) -> Self {
        let kept = match pin.mode {
            Mode::Recursive => Kept::Recursive,
            Mode::Direct => Kept::Direct,
        };
        let Pin { cid, name, labels, created, expires, .. } = pin;
        Self { cid, kept, name, labels, created: Some(created), expires }
    }

    /// A block below a pin.
    fn below(cid: Cid, root: Option<Cid>) -> Self {
        let (kept, labels) = (Kept::Indirect(root), BTreeMap::new());
        Self { cid, kept, name: String::new(), labels, created: None, expires: None }
    }
}

/// What was found below a recursive pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinVerified {
    /// The pin.
    pub cid: Cid,
    /// Blocks that are missing or cannot be read; none when all is well.
    pub bad: Vec<BadBlock>,
}

/// Which rows a listing wants.
#[derive(Clone, Debug, Default)]
struct Wanted {
    recursive: bool,
    direct: bool,
    indirect: bool,
    /// What names contain; empty for any.
    name: String,
    labels: Vec<(String, String)>,
}

impl Wanted {
    fn parse(options: &PinLsOptions) -> Result<Self, Error> {
        let name = options.name.clone().unwrap_or_default();
        let labels = options.label.iter().map(|text| label_of(text));
        let only = Self { name, labels: labels.collect::<Result<_, Error>>()?, ..Self::default() };
        Ok(match options.r#type.as_deref().unwrap_or("all") {
            "all" => Self { recursive: true, direct: true, indirect: true, ..only },
            "recursive" => Self { recursive: true, ..only },
            "direct" => Self { direct: true, ..only },
            "indirect" => Self { indirect: true, ..only },
            other => {
                let text = format!(
                    "invalid type '{}', must be one of {{direct, indirect, recursive, all}}",
                    other.escape_debug()
                );
                return Err(Error::Invalid(text));
            }
        })
    }

    /// Whether it wants this kind of row.
    fn takes(&self, kept: &Kept) -> bool {
        match kept {
            Kept::Recursive => self.recursive,
            Kept::Direct => self.direct,
            Kept::Indirect(_) => self.indirect,
        }
    }

    /// Whether it wants this row of a listing, whose name was looked at already.
    fn lists(&self, row: &PinRow) -> bool {
        let labelled = |(key, value): &(String, String)| row.labels.get(key) == Some(value);
        self.takes(&row.kept) && self.labels.iter().all(labelled)
    }

    /// Whether it wants blocks below pins. They have neither names nor labels.
    fn goes_below(&self) -> bool {
        self.indirect && self.name.is_empty() && self.labels.is_empty()
    }
}

/// Where rows go.
type Out = mpsc::Sender<Result<PinRow, Error>>;

impl Node {
    /// How the named blocks are kept. Asks nobody else.
    ///
    /// # Errors
    /// A path's; [`Error::Conflict`] in Kubo's words for what is not pinned as asked.
    pub async fn pin_state(
        &self,
        paths: &[(String, Path)],
        options: &PinLsOptions,
    ) -> Result<Vec<PinRow>, Error> {
        let wanted = Wanted::parse(options)?;
        let (local, mut rows) = (self.local(), Vec::with_capacity(paths.len()));
        for (text, path) in paths {
            let cid = local.resolve_block(path).await?;
            let state = self.store.run(move |core| core.pin_state(&cid)).await?;
            let row = state.map(|state| match state {
                PinState::Pinned(pin) => PinRow::of(pin),
                PinState::Indirect(root) => PinRow::below(cid, Some(root)),
            });
            let pinned = row.filter(|row| wanted.takes(&row.kept));
            rows.push(
                pinned.ok_or_else(|| Error::Conflict(format!("path '{text}' is not pinned")))?,
            );
        }
        Ok(rows)
    }

    /// Streams pins: first those set by hand, then, if asked for, every block below them. Holds a
    /// page of pins, and the CID of every block below them that was listed.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown type or a label that is none, at once; the rest as the
    /// stream's last item.
    pub fn pin_ls(&self, options: &PinLsOptions) -> Result<Results<PinRow>, Error> {
        let wanted = Wanted::parse(options)?;
        let (out, rows) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            if let Err(error) = node.list(&wanted, &out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        Ok(rows)
    }

    async fn list(&self, wanted: &Wanted, out: &Out) -> Result<(), Error> {
        let own = wanted.recursive || wanted.direct;
        if own && !self.list_own(wanted, out).await? {
            return Ok(()); // The reader is gone.
        }
        if wanted.goes_below() { self.list_below(out).await } else { Ok(()) }
    }

    /// Sends the pins set by hand; whether anybody reads.
    async fn list_own(&self, wanted: &Wanted, out: &Out) -> Result<bool, Error> {
        let mut after = None;
        loop {
            let page = self.pins_after(&wanted.name, after).await?;
            for pin in page.pins {
                let row = PinRow::of(pin);
                if wanted.lists(&row) && out.send(Ok(row)).await.is_err() {
                    return Ok(false);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(true),
            }
        }
    }

    /// The next page of all pins, or of those whose name contains something.
    async fn pins_after(&self, name: &str, after: Option<Bytes>) -> Result<PinPage, StoreError> {
        let name = name.to_owned();
        let page = move |core: &crate::store::Core| {
            let listing =
                if name.is_empty() { Listing::All } else { Listing::Named(name.as_str()) };
            core.pin_page(listing, after.as_ref(), PAGE_PINS)
        };
        self.store.run(page).await
    }

    /// Sends every block below recursive pins that is not pinned itself.
    async fn list_below(&self, out: &Out) -> Result<(), Error> {
        let (mut seen, mut after) = (HashSet::new(), None);
        loop {
            let page = self.pins_after("", after).await?;
            for root in page.pins.iter().filter(|pin| has_below(pin)) {
                if !self.list_below_one(root.cid, &mut seen, out).await? {
                    return Ok(()); // The reader is gone.
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// The same below one of them, without what was seen; whether anybody reads.
    async fn list_below_one(
        &self,
        root: Cid,
        seen: &mut HashSet<Cid>,
        out: &Out,
    ) -> Result<bool, Error> {
        let mut steps =
            self.local().walk(root, WalkOptions { depth: None, unique: true, missing: false });
        let mut some = Vec::with_capacity(RESULTS);
        while steps.recv_many(&mut some, RESULTS).await > 0 {
            let mut new = Vec::with_capacity(some.len());
            for step in some.drain(..) {
                let cid = step?.to;
                new.extend(seen.insert(cid).then_some(cid));
            }
            for cid in self.not_pinned(new).await? {
                if out.send(Ok(PinRow::below(cid, None))).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Those that have no pin of their own.
    async fn not_pinned(&self, cids: Vec<Cid>) -> Result<Vec<Cid>, StoreError> {
        let unpinned = |core: &crate::store::Core| {
            let mut left = Vec::with_capacity(cids.len());
            for cid in cids {
                if core.pin_row(&cid)?.is_none() {
                    left.push(cid);
                }
            }
            Ok(left)
        };
        self.store.run(unpinned).await
    }

    /// Streams, for every recursive pin, whether everything below it is here. Leaves are looked
    /// up, not read: `repo verify` reads. Holds a page of pins, and the multihash of every block
    /// under which all is well.
    pub fn pin_verify(&self) -> Results<PinVerified> {
        let (out, verified) = mpsc::channel(RESULTS);
        let node = self.clone();
        task::detach(async move {
            if let Err(error) = node.verify_pins(&out).await {
                // A reader that is gone wants no error either.
                let _ = out.send(Err(error)).await;
            }
        });
        verified
    }

    async fn verify_pins(
        &self,
        out: &mpsc::Sender<Result<PinVerified, Error>>,
    ) -> Result<(), Error> {
        let (mut sound, mut after) = (Sound::default(), None);
        loop {
            let page = self.pins_after("", after).await?;
            for pin in page.pins.iter().filter(|pin| pin.mode == Mode::Recursive) {
                let bad = self.local().verify(pin.cid, &mut sound).await?;
                if out.send(Ok(PinVerified { cid: pin.cid, bad })).await.is_err() {
                    return Ok(()); // The reader is gone.
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// Whether there can be blocks below a pin.
fn has_below(pin: &Pin) -> bool {
    pin.mode == Mode::Recursive && can_link(pin.cid.codec())
}
