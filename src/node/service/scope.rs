//! Scopes: what a token is good for.

use serde::{Deserialize, Serialize};

use crate::node::Error;

/// What a token is good for. To pin is to read, too; to administer is both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scopes {
    /// Look at requests.
    pub read: bool,
    /// Make, replace and remove them.
    pub pin: bool,
    /// Everything that the node's operator may do.
    pub admin: bool,
}

/// What a caller is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Need {
    /// Look at requests, or read content.
    Read,
    /// Make, replace or remove one; add content.
    Pin,
    /// Anything else.
    Admin,
}

impl Scopes {
    /// Whether they are enough.
    pub fn allow(self, need: Need) -> bool {
        match need {
            Need::Read => self.read || self.pin || self.admin,
            Need::Pin => self.pin || self.admin,
            Need::Admin => self.admin,
        }
    }

    /// Their names, as they are given.
    pub fn names(self) -> Vec<&'static str> {
        let all = [(self.read, "read"), (self.pin, "pin"), (self.admin, "admin")];
        all.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect()
    }

    /// From names.
    ///
    /// # Errors
    /// [`Error::Invalid`] names what is none, and says so when there is none at all.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        let mut scopes = Self::default();
        for name in names {
            match name {
                "read" => scopes.read = true,
                "pin" => scopes.pin = true,
                "admin" => scopes.admin = true,
                other => {
                    let why = "is no scope: there are read, pin and admin";
                    return Err(Error::Invalid(format!("{other:?} {why}")));
                }
            }
        }
        match scopes == Self::default() {
            true => Err(Error::Invalid("a token needs a scope: read, pin or admin".into())),
            false => Ok(scopes),
        }
    }
}
