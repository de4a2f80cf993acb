//! `tenant`: for whom this node pins.

use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::clock::rfc3339;
use crate::config::units::parse_bytes;
use crate::node::service::{Limits, Tenant, Usage};

/// Options that set limits: a number, or `none`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct LimitOptions {
    max_bytes: Option<String>,
    max_pins: Option<String>,
    max_in_flight: Option<String>,
    max_pin_bytes: Option<String>,
    max_rate: Option<String>,
}

/// What options say of limits: of each nothing, or what it is from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Change {
    bytes: Option<Option<u64>>,
    pins: Option<Option<u64>>,
    in_flight: Option<Option<u32>>,
    pin_bytes: Option<Option<u64>>,
    rate: Option<Option<u32>>,
}

impl LimitOptions {
    fn read(&self) -> Result<Change, Error> {
        let size = |text: &str| parse_bytes(text).map_err(|error| error.to_string());
        Ok(Change {
            bytes: limit("max-bytes", self.max_bytes.as_deref(), size)?,
            pins: limit("max-pins", self.max_pins.as_deref(), count)?,
            in_flight: limit("max-in-flight", self.max_in_flight.as_deref(), count)?,
            pin_bytes: limit("max-pin-bytes", self.max_pin_bytes.as_deref(), size)?,
            rate: limit("max-rate", self.max_rate.as_deref(), count)?,
        })
    }
}

impl Change {
    /// Limits with these changes.
    fn over(self, limits: Limits) -> Limits {
        Limits {
            bytes: self.bytes.unwrap_or(limits.bytes),
            pins: self.pins.unwrap_or(limits.pins),
            in_flight: self.in_flight.unwrap_or(limits.in_flight),
            pin_bytes: self.pin_bytes.unwrap_or(limits.pin_bytes),
            rate: self.rate.unwrap_or(limits.rate),
        }
    }
}

fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn limit<T>(
    name: &str,
    given: Option<&str>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<Option<T>>, Error> {
    match given {
        None => Ok(None),
        Some("none") => Ok(Some(None)),
        Some(text) => match read(text) {
            Ok(limit) => Ok(Some(Some(limit))),
            Err(why) => Err(Error::refused(format!("invalid {name}: {why}"))),
        },
    }
}

/// Makes a tenant.
pub async fn add(router: &Router, args: Args) -> Result<Reply, Error> {
    let limits = args.options::<LimitOptions>()?.read()?.over(Limits::default());
    let tenant = router.node.service().tenant_add(args.one("name")?, limits).await?;
    Ok(Reply::Value(shown(&tenant)))
}

/// Lists tenants.
pub async fn ls(router: &Router) -> Result<Reply, Error> {
    let all = router.node.service().tenant_ls().await?;
    let tenants: Vec<Value> = all.iter().map(|tenant| shown(tenant)).collect();
    Ok(Reply::Value(json!({ "Tenants": tenants })))
}

/// Tells what a tenant may use, after changing it where options say so.
pub async fn limits(router: &Router, args: Args) -> Result<Reply, Error> {
    let (options, service) = (args.options::<LimitOptions>()?, router.node.service());
    let mut tenant = service.tenant(args.one("name")?).await?;
    let change = options.read()?;
    if change != Change::default() {
        let change = |limits: &mut Limits| *limits = change.over(*limits);
        tenant = service.tenant_limits(&tenant.name, change).await?;
    }
    Ok(Reply::Value(shown(&tenant)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RmOptions {
    force: bool,
}

/// Removes a tenant.
pub async fn rm(router: &Router, args: Args) -> Result<Reply, Error> {
    let RmOptions { force } = args.options()?;
    let name = args.one("name")?;
    router.node.service().tenant_rm(name, force).await?;
    Ok(Reply::Value(json!({ "Name": name })))
}

/// Tells what a tenant has here.
pub async fn usage(router: &Router, args: Args) -> Result<Reply, Error> {
    let service = router.node.service();
    let tenant = service.tenant(args.one("name")?).await?;
    let Usage { requests: [queued, pinning, pinned, failed], logical, unique, shared } =
        service.tenant_usage(&tenant).await?;
    let mut value = shown(&tenant);
    let told = json!({
        "Queued": queued, "Pinning": pinning, "Pinned": pinned, "Failed": failed,
        "LogicalBytes": logical, "UniqueBytes": unique, "SharedBytes": shared,
    });
    if let (Some(value), Value::Object(told)) = (value.as_object_mut(), told) {
        value.extend(told);
    }
    Ok(Reply::Value(value))
}

fn shown(tenant: &Tenant) -> Value {
    let Limits { bytes, pins, in_flight, pin_bytes, rate } = tenant.limits;
    json!({
        "Name": tenant.name,
        "Created": rfc3339(UNIX_EPOCH + Duration::from_secs(tenant.created)),
        "Limits": {
            "Bytes": bytes, "Pins": pins, "InFlight": in_flight, "PinBytes": pin_bytes,
            "Rate": rate,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_change_what_they_name_and_nothing_else() {
        let before = Limits { bytes: Some(1), pins: Some(2), rate: Some(3), ..Limits::default() };
        let given = |text: &str| Some(text.to_owned());
        let options = LimitOptions {
            max_bytes: given("2KiB"),
            max_rate: given("none"),
            max_in_flight: given("7"),
            ..LimitOptions::default()
        };
        let after = options.read().unwrap().over(before);
        let (bytes, in_flight) = (Some(2048), Some(7));
        assert_eq!(after, Limits { bytes, in_flight, rate: None, ..before });
        assert_eq!(LimitOptions::default().read().unwrap().over(before), before);
        let bad = LimitOptions { max_pins: given("-1"), ..LimitOptions::default() };
        assert_eq!(bad.read().unwrap_err().message, "invalid max-pins: \"-1\" is no number");
    }
}
