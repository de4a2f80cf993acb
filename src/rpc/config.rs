//! `config`: reading and changing the configuration file.

use serde::Deserialize;
use serde_json::json;

use super::{Args, Error, Reply, Router};
use crate::config::command::{self, Input};

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigOptions {
    json: bool,
    bool: bool,
}

/// Reads a key, or sets it.
pub async fn config(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: ConfigOptions = args.options()?;
    let mut config = router.repo.config().map_err(failed)?;
    let (key, text) = match args.some("key")? {
        [key] => (key, None),
        [key, text] => (key, Some(text)),
        more => return Err(Error::invalid(format!("expected 2 arguments, got {}", more.len()))),
    };
    if let Some(text) = text {
        let input = match (options.json, options.bool) {
            (true, _) => Input::Json,
            (false, true) => Input::Bool,
            (false, false) => Input::Text,
        };
        command::write(&mut config, key, text, input).map_err(failed)?;
        router.repo.save_config(&config).map_err(failed)?;
    }
    let value = command::read(&config, key).map_err(failed)?;
    Ok(Reply::Value(json!({ "Key": key, "Value": value })))
}

/// The whole file, without its secrets.
pub async fn show(router: &Router) -> Result<Reply, Error> {
    let config = router.repo.config().map_err(failed)?;
    Ok(Reply::Value(command::show(&config)))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error { message: error.to_string(), client: false }
}
