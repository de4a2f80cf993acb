//! What a daemon refuses to start with: keys that were removed, and settings that contradict each
//! other.
//!
//! Owns the checks that `config KEY VALUE` leaves out, because a config is often edited in steps
//! that only make sense together. Does not own a key's kind (`keys`), or what one part checks for
//! itself (chunkers, hash names, multiaddrs).

use std::time::Duration;

use super::file::{Config, FileError};
use super::kind::is_unset_span;

/// What the DHT keeps a provider record for: announcing more rarely would leave gaps.
const PROVIDER_VALIDITY: Duration = Duration::from_secs(48 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const DEFAULT_REPUBLISH_PERIOD: Duration = Duration::from_secs(4 * 3600);
const DEFAULT_RECORD_LIFETIME: Duration = Duration::from_secs(48 * 3600);
/// One false positive in a million.
const MIN_BLOOM_RATE: i64 = 1_000_000;

/// Keys that Kubo removed and where they went. A daemon that ignored them would announce what its
/// operator had switched off.
const REMOVED: &[(&str, &str)] = &[
    ("Provider.Enabled", "was removed: use Provide.Enabled"),
    ("Provider.Strategy", "was removed: use Provide.Strategy"),
    ("Provider.WorkerCount", "was removed: use Provide.DHT.MaxWorkers"),
    ("Reprovider.Interval", "was removed: use Provide.DHT.Interval"),
    ("Reprovider.Strategy", "was removed: use Provide.Strategy"),
];

/// Numbers of the provide system with their least value.
const PROVIDE_COUNTS: &[(&str, &str, i64)] = &[
    ("Provide.DHT.MaxWorkers", "positive", 1),
    ("Provide.DHT.DedicatedPeriodicWorkers", "non-negative", 0),
    ("Provide.DHT.DedicatedBurstWorkers", "non-negative", 0),
    ("Provide.DHT.MaxProvideConnsPerWorker", "positive", 1),
    ("Provide.DHT.KeystoreBatchSize", "positive", 1),
    ("Provide.BloomFPRate", "at least 1000000", MIN_BLOOM_RATE),
];

/// Fails on the first setting a daemon cannot run with, naming the key and what to do. Says nothing
/// of the identity: `Identity::from_config` does.
pub fn check_boot(config: &Config) -> Result<(), FileError> {
    for (key, reason) in REMOVED.iter().copied() {
        if config.is_set(key) && !config.text(key).is_some_and(is_unset_span) {
            return Err(refused(key, reason));
        }
    }
    if config.flag("Experimental.StrategicProviding") == Some(true) {
        return Err(refused("Experimental.StrategicProviding", "was removed: remove the key"));
    }
    check_provide(config)?;
    check_ipns(config)?;
    config.import()?;
    config.storage_max()?;
    config.gc_watermark_percent()?;
    config.gc_period()?;
    config.pinning_service()?;
    Ok(())
}

fn refused(key: &'static str, reason: &str) -> FileError {
    FileError::Value { key, reason: reason.to_owned() }
}

fn check_provide(config: &Config) -> Result<(), FileError> {
    if let Some(strategy) = config.text("Provide.Strategy") {
        check_strategy(strategy).map_err(|reason| refused("Provide.Strategy", reason))?;
    }
    for (key, range, least) in PROVIDE_COUNTS.iter().copied() {
        config.bounded::<i64>(key, range, least, i64::MAX)?;
    }
    config.span("Provide.DHT.OfflineDelay")?;
    let timeout = "Provide.DHT.SendProviderRecordTimeout";
    if config.span(timeout)? == Some(Duration::ZERO) {
        return Err(refused(timeout, "must be positive"));
    }
    let key = "Provide.DHT.Interval";
    match config.span(key)? {
        Some(interval) if interval > PROVIDER_VALIDITY => {
            Err(refused(key, "must be at most 48h, which is how long the DHT keeps a record"))
        }
        // Zero once switched announcing off; now it stops only the repetition. Guessing wrong would
        // either publish what should stay quiet or lose what should be found.
        Some(Duration::ZERO) if config.flag("Provide.Enabled").is_none() => Err(refused(
            key,
            "is 0, so set Provide.Enabled too: false announces nothing, true announces once",
        )),
        _ => Ok(()),
    }
}

/// A strategy is tokens joined by `+`. Err is what is wrong.
fn check_strategy(strategy: &str) -> Result<(), &'static str> {
    let tokens: Vec<&str> = strategy.split('+').collect();
    let has = |token| tokens.contains(&token);
    if strategy.is_empty() || strategy == "all" {
        return Ok(());
    }
    if has("flat") {
        return Err("'flat' is no longer supported: use 'all'");
    }
    if !tokens
        .iter()
        .all(|token| matches!(*token, "all" | "pinned" | "roots" | "mfs" | "unique" | "entities"))
    {
        return Err("must be all, or some of pinned, roots, mfs, unique, entities joined by +");
    }
    if has("all") {
        return Err("'all' cannot be combined with others");
    }
    if (has("unique") || has("entities")) && (has("roots") || !(has("pinned") || has("mfs"))) {
        return Err("unique and entities go with pinned or mfs, and not with roots");
    }
    Ok(())
}

fn check_ipns(config: &Config) -> Result<(), FileError> {
    let period = config.span("Ipns.RepublishPeriod")?;
    if period.is_some_and(|period| period < Duration::from_secs(60) || period > DAY) {
        return Err(refused("Ipns.RepublishPeriod", "must be between 1m and 24h"));
    }
    let lifetime = config.span("Ipns.RecordLifetime")?.filter(|lifetime| !lifetime.is_zero());
    if lifetime.unwrap_or(DEFAULT_RECORD_LIFETIME) < period.unwrap_or(DEFAULT_REPUBLISH_PERIOD) {
        return Err(refused(
            "Ipns.RecordLifetime",
            "must be at least Ipns.RepublishPeriod, or records expire before they are renewed",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{fresh, profile};
    use super::*;
    use serde_json::{Value, json};

    fn refusal(value: Value) -> String {
        let config = Config::from_value(value).unwrap();
        check_boot(&config).map_or_else(|error| error.to_string(), |()| "ok".to_owned())
    }

    #[test]
    fn a_fresh_config_boots_under_every_profile() {
        for profile in profile::PROFILES {
            let fresh =
                fresh::Fresh { peer_id: "12D3Koo", private_key: "CAES", storage_max: "123GB" };
            let mut config = Config::from_value(fresh::document(&fresh)).unwrap();
            check_boot(&config).unwrap();
            profile::apply(&mut config, profile.name).unwrap();
            check_boot(&config).unwrap();
        }
    }

    #[test]
    fn removed_keys_are_refused_with_their_successor() {
        let found = refusal(json!({"Reprovider": {"Interval": "12h"}}));
        assert_eq!(found, "Reprovider.Interval: was removed: use Provide.DHT.Interval");
        assert_eq!(
            refusal(json!({"Provider": {"Enabled": null}, "Reprovider": {"Interval": ""}})),
            "ok"
        );
        assert!(refusal(json!({"Provider": {"WorkerCount": 0}})).contains("MaxWorkers"));
        assert!(refusal(json!({"Experimental": {"StrategicProviding": true}})).contains("removed"));
    }

    #[test]
    fn contradictions_are_refused() {
        for bad in [
            json!({"Provide": {"Strategy": "flat"}}),
            json!({"Provide": {"Strategy": "pinned+"}}),
            json!({"Provide": {"Strategy": "all+mfs"}}),
            json!({"Provide": {"Strategy": "unique"}}),
            json!({"Provide": {"Strategy": "roots+mfs+unique"}}),
            json!({"Provide": {"DHT": {"Interval": "0"}}}),
            json!({"Provide": {"DHT": {"Interval": "49h"}}}),
            json!({"Provide": {"DHT": {"Interval": "-1h"}}}),
            json!({"Provide": {"DHT": {"MaxWorkers": 0}}}),
            json!({"Ipns": {"RepublishPeriod": "30s"}}),
            json!({"Ipns": {"RecordLifetime": "1h"}}),
            json!({"Ipns": {"RepublishPeriod": "often"}}),
            json!({"Datastore": {"StorageGCWatermark": 101}}),
            json!({"Import": {"CidVersion": 3}}),
        ] {
            assert_ne!(refusal(bad.clone()), "ok", "{bad}");
        }
        for good in [
            json!({"Provide": {"Strategy": "pinned+mfs+entities"}}),
            json!({"Provide": {"Strategy": "", "Enabled": false, "DHT": {"Interval": "0"}}}),
            json!({"Ipns": {"RepublishPeriod": "1h", "RecordLifetime": "1h"}}),
        ] {
            assert_eq!(refusal(good.clone()), "ok", "{good}");
        }
    }
}
