//! Tokens: what a secret opens.

use std::sync::Arc;
use std::time::Duration;

use super::tenant::Tenant;
use crate::ipld::cid::Cid;

/// What a token is good for. To pin is to read, too; to administer is both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Look at requests.
    pub read: bool,
    /// Make, replace and remove them.
    pub pin: bool,
    /// Everything that the tenant, or the node's operator, may do.
    pub admin: bool,
}

/// What a caller is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Look at requests.
    Read,
    /// Make, replace or remove one.
    Pin,
}

impl Scopes {
    /// Whether they are enough.
    pub fn allow(self, need: Need) -> bool {
        match need {
            Need::Read => self.read || self.pin || self.admin,
            Need::Pin => self.pin || self.admin,
        }
    }
}

/// What is known of a token; its secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called where it is listed and revoked.
    pub id: String,
    /// Whose it is; `None` for the node's own operator.
    pub tenant: Option<String>,
    /// What it is good for.
    pub scopes: Scopes,
    /// The only CID that it may pin.
    pub cid: Option<Cid>,
    /// How the names of what it pins must begin.
    pub name_prefix: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub created: u64,
    /// From when on it opens nothing, in seconds since 1970.
    pub expires: Option<u64>,
    /// Calls a second, over the time of a burst.
    pub rate: Option<u32>,
    /// What somebody says of it.
    pub label: String,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// Proof that a secret was looked at and opens something.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whose requests it opens.
    pub tenant: Arc<Tenant>,
    /// By what.
    pub token: Arc<Token>,
}

/// Why a secret opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such secret, or it is expired or revoked: which of them is not told.
    Unknown,
    /// It opens something else.
    Scope,
    /// Too many calls.
    Rate {
        /// When the next one may come.
        retry_after: Duration,
    },
}

#[cfg(test)]
impl Access {
    /// What opens everything of a tenant.
    pub(crate) fn of(tenant: Arc<Tenant>) -> Self {
        let scopes = Scopes { admin: true, ..Scopes::default() };
        let token = Token {
            id: "test".into(),
            tenant: Some(tenant.name.clone()),
            scopes,
            cid: None,
            name_prefix: None,
            created: 0,
            expires: None,
            rate: None,
            label: String::new(),
            revoked: false,
        };
        Self { tenant, token: Arc::new(token) }
    }
}
