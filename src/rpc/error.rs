//! The node's errors in Kubo's envelope.

use serde_json::{Value, json};

use crate::node::{self, Kind};

/// An error on its way to a client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// One line for people.
    pub message: String,
    /// Whether the request itself was wrong: HTTP 400 rather than 500.
    pub client: bool,
}

impl Error {
    /// A request that cannot be meant.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { message: message.into(), client: true }
    }

    /// Kubo's JSON. `Type` must be there, or a Go client loses the message.
    pub fn envelope(&self) -> Value {
        json!({ "Message": self.message, "Code": i32::from(self.client), "Type": "error" })
    }
}

impl From<node::Error> for Error {
    fn from(error: node::Error) -> Self {
        // Kubo answers 500 to whatever failed after its arguments had parsed.
        let client = match error.kind() {
            Kind::Invalid => matches!(error, node::Error::Invalid(_)),
            Kind::NotFound
            | Kind::Conflict
            | Kind::Unsupported
            | Kind::Offline
            | Kind::Unreachable
            | Kind::Timeout
            | Kind::Limit
            | Kind::Corrupt
            | Kind::Cancelled
            | Kind::Internal => false,
        };
        Self { message: error.to_string(), client }
    }
}

impl From<crate::ipld::path::PathError> for Error {
    fn from(error: crate::ipld::path::PathError) -> Self {
        node::Error::from(error).into()
    }
}

impl From<crate::ipld::cid::CidError> for Error {
    fn from(error: crate::ipld::cid::CidError) -> Self {
        node::Error::from(error).into()
    }
}
