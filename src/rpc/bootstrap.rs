//! `bootstrap`: peers to begin with, in the configuration.

use serde::Deserialize;
use serde_json::json;

use super::{Args, Error, Reply, Router, peer};
use crate::config::network::AUTO;
use crate::config::{Config, lists};

const KEY: &str = "Bootstrap";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct ListOptions {
    expand_auto: bool,
}

/// The list; with what `auto` stands for on request.
pub async fn list(router: &Router, args: Args) -> Result<Reply, Error> {
    let ListOptions { expand_auto } = args.options()?;
    let config = router.repo.config().map_err(failed)?;
    let peers = if expand_auto { config.bootstrap_peers() } else { config.bootstrap() };
    Ok(told(peers))
}

/// Adds peers, or the default ones by the name `default` or `auto`.
pub async fn add(router: &Router, args: Args) -> Result<Reply, Error> {
    if args.all().is_empty() {
        return Err(failed("no bootstrap peers to add"));
    }
    let named = |text: &String| if text == "default" { AUTO.to_owned() } else { text.clone() };
    let peers: Vec<String> = args.all().iter().map(named).collect();
    let mut config = router.repo.config().map_err(failed)?;
    if peers.iter().any(|peer| peer == AUTO) && !expands(&config) {
        return Err(failed(
            "cannot add default bootstrap peers: AutoConf is disabled (AutoConf.Enabled=false). \
             Enable AutoConf by setting AutoConf.Enabled=true in your config, or add specific peer \
             addresses instead",
        ));
    }
    for text in peers.iter().filter(|text| *text != AUTO) {
        let target =
            peer::target(text).map_err(|_| failed(format!("invalid bootstrap address: {text}")))?;
        if target.addresses.is_empty() {
            return Err(failed(format!("bootstrap address without a transport: {text}")));
        }
    }
    let added = lists::add(&mut config, KEY, &peers).map_err(failed)?;
    router.repo.save_config(&config).map_err(failed)?;
    Ok(told(added))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RmOptions {
    all: bool,
}

/// Removes addresses, or all those of peers that are named without one.
pub async fn rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let RmOptions { all } = args.options()?;
    if all {
        return rm_all(router).await;
    }
    let mut config = router.repo.config().map_err(failed)?;
    if expands(&config) && config.bootstrap().iter().any(|peer| peer == AUTO) {
        return Err(failed(
            "cannot remove individual bootstrap peers when using 'auto' placeholder: the 'auto' \
             value is managed by AutoConf. Either disable AutoConf by setting \
             AutoConf.Enabled=false and replace 'auto' with specific peer addresses, or use 'ipfs \
             bootstrap rm --all' to remove all peers",
        ));
    }
    let gone = args.all().iter().map(|text| peer::target(text)).collect::<Result<Vec<_>, _>>()?;
    let meant = |text: &str| {
        peer::target(text).is_ok_and(|known| {
            let same = gone.iter().filter(|gone| gone.peer == known.peer);
            same.into_iter().any(|gone| gone.addresses.is_empty() || *gone == known)
        })
    };
    let removed = lists::remove(&mut config, KEY, meant).map_err(failed)?;
    router.repo.save_config(&config).map_err(failed)?;
    Ok(told(removed))
}

/// Removes everybody.
pub async fn rm_all(router: &Router) -> Result<Reply, Error> {
    let mut config = router.repo.config().map_err(failed)?;
    let removed = lists::clear(&mut config, KEY).map_err(failed)?;
    router.repo.save_config(&config).map_err(failed)?;
    Ok(told(removed))
}

/// Whether `auto` stands for anything.
fn expands(config: &Config) -> bool {
    config.flag("AutoConf.Enabled") != Some(false)
}

fn told(peers: Vec<String>) -> Reply {
    Reply::Value(json!({ "Peers": peer::or_null(peers) }))
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error { message: error.to_string(), client: false }
}
