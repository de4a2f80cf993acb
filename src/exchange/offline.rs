//! The exchange of a node that is offline: nothing is to be had, and it says so at once.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use futures_util::future::{BoxFuture, FutureExt as _, ready};

use super::{Exchange, ExchangeError, Progress, Session};
use crate::ipld::block::Block;
use crate::ipld::cid::Cid;

/// Nobody to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Offline;

impl Exchange for Offline {
    fn session(&self) -> Box<dyn Session> {
        Box::new(*self)
    }

    fn announce_local(&self, _: &[(Cid, u32)]) {}
}

impl Session for Offline {
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>> {
        ready(Err(ExchangeError::NotFound(Box::new(cid)))).boxed()
    }

    fn progress(&self) -> BoxFuture<'_, Progress> {
        ready(Progress::default()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn nothing_is_found_at_once() {
        let cid = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let answer = Offline.session().fetch(cid).now_or_never();
        assert!(matches!(answer, Some(Err(ExchangeError::NotFound(c))) if *c == cid));
    }
}
