//! The node's errors in Kubo's envelope.

use serde_json::{Value, json};

use crate::node;

/// An error on its way to a client.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// One line for people.
    pub message: String,
    /// Whether the parser of arguments and options refused the request, so that no command ran:
    /// HTTP 400 and text, rather than 500 and JSON.
    pub client: bool,
}

impl Error {
    /// What the parser of arguments and options refuses: one that is missing, one too many, a value
    /// of another type. Nothing else is this.
    pub fn refused(message: impl Into<String>) -> Self {
        Self { message: message.into(), client: true }
    }

    /// A value of the right type that turned out wrong while the command ran.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self { message: message.into(), client: false }
    }

    /// A file that is to be uploaded, and was not.
    pub fn no_file(name: &str) -> Self {
        Self::refused(format!("file argument '{name}' is required"))
    }

    /// Kubo's JSON. `Type` must be there, or a Go client loses the message.
    pub fn envelope(&self) -> Value {
        json!({ "Message": self.message, "Code": 0, "Type": "error" })
    }
}

impl From<node::Error> for Error {
    fn from(error: node::Error) -> Self {
        // Kubo answers 500 to whatever failed after its arguments had parsed, whoever is to blame.
        Self { message: error.to_string(), client: false }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_parser_refuses() {
        assert!(Error::refused("x").client && Error::no_file("x").client);
        assert!(!Error::invalid("x").client);
        for error in [node::Error::Invalid("x".into()), node::Error::Conflict("x".into())] {
            assert!(!Error::from(error).client);
        }
        let envelope = json!({ "Message": "x", "Code": 0, "Type": "error" });
        assert_eq!(Error::invalid("x").envelope(), envelope);
    }
}
