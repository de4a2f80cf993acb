//! `config`: reading and changing the configuration file.

use serde::Deserialize;
use serde_json::json;

use super::{Args, Body, Error, Reply, Router, body};
use crate::config::command::{self, Input};
use crate::config::expand::expanded;
use crate::config::profile;

/// Longest configuration that is taken, in bytes.
const CONFIG_MAX_BYTES: u64 = 4 << 20;

/// Kubo's words.
const READ_ONLY: &str =
    "--expand-auto can only be used for reading config values, not for setting them";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ConfigOptions {
    json: bool,
    bool: bool,
    expand_auto: bool,
}

/// Reads a key, or sets it.
pub async fn config(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: ConfigOptions = args.options()?;
    let mut config = router.repo.config().map_err(failed)?;
    let (key, text) = match args.some("key")? {
        [key] => (key, None),
        [key, text] => (key, Some(text)),
        more => return Err(Error::refused(format!("expected 2 arguments, got {}", more.len()))),
    };
    if options.expand_auto {
        if text.is_some() {
            return Err(Error::invalid(READ_ONLY));
        }
        config = expanded(&config);
    }
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
pub async fn show(router: &Router, args: Args) -> Result<Reply, Error> {
    let ConfigOptions { expand_auto, .. } = args.options()?;
    let config = router.repo.config().map_err(failed)?;
    Ok(Reply::Value(match expand_auto {
        true => command::show(&expanded(&config)),
        false => command::show(&config),
    }))
}

/// Puts another file in the place of the configuration; its secrets stay.
pub async fn replace(router: &Router, upload: Body) -> Result<Reply, Error> {
    let text = body::file(upload, CONFIG_MAX_BYTES).await?;
    let text = String::from_utf8(text).map_err(failed)?;
    let config = router.repo.config().map_err(failed)?;
    let replaced = command::replace(&config, &text).map_err(failed)?;
    router.repo.save_config(&replaced).map_err(failed)?;
    Ok(Reply::Empty)
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ApplyOptions {
    dry_run: bool,
}

/// Applies a profile, after a copy of the configuration was made; gives both, without secrets.
pub async fn apply(router: &Router, args: Args) -> Result<Reply, Error> {
    let name = args.one("profile")?;
    let ApplyOptions { dry_run } = args.options()?;
    let old = router.repo.config().map_err(failed)?;
    let mut new = old.clone();
    profile::apply(&mut new, name).map_err(failed)?;
    if !dry_run {
        router.repo.backup_config(name).map_err(failed)?;
        router.repo.save_config(&new).map_err(failed)?;
    }
    Ok(Reply::Value(json!({ "OldCfg": command::show(&old), "NewCfg": command::show(&new) })))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error { message: error.to_string(), client: false }
}
