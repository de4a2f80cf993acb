//! `commands`: what commands there are.

use std::sync::OnceLock;

use serde_json::Value;

use super::{Error, Reply};

/// Who tells the tree. The command line knows its commands and options, and stands above this room:
/// it says at its start how to ask it.
static TREE: OnceLock<fn() -> Value> = OnceLock::new();

/// Says how to ask for the tree of commands; the first one to say so is asked.
pub fn told_by(tree: fn() -> Value) {
    // Only tests, which run several commands in one process, say it again.
    let _ = TREE.set(tree);
}

/// The tree of commands: names, options, and the commands below.
pub fn commands() -> Result<Reply, Error> {
    let nobody = || Error { message: "this node has no command line".into(), client: false };
    Ok(Reply::Value(TREE.get().ok_or_else(nobody)?()))
}
