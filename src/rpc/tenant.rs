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

impl LimitOptions {
    fn is_empty(&self) -> bool {
        let given = [
            &self.max_bytes,
            &self.max_pins,
            &self.max_in_flight,
            &self.max_pin_bytes,
            &self.max_rate,
        ];
        given.into_iter().all(Option::is_none)
    }

    /// Limits with these changes.
    fn over(&self, limits: Limits) -> Result<Limits, Error> {
        let size = |text: &str| parse_bytes(text).map_err(|error| error.to_string());
        Ok(Limits {
            bytes: set("max-bytes", self.max_bytes.as_deref(), limits.bytes, size)?,
            pins: set("max-pins", self.max_pins.as_deref(), limits.pins, count)?,
            in_flight: set(
                "max-in-flight",
                self.max_in_flight.as_deref(),
                limits.in_flight,
                count,
            )?,
            pin_bytes: set("max-pin-bytes", self.max_pin_bytes.as_deref(), limits.pin_bytes, size)?,
            rate: set("max-rate", self.max_rate.as_deref(), limits.rate, count)?,
        })
    }
}

fn count<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{text:?} is no number"))
}

fn set<T>(
    name: &str,
    given: Option<&str>,
    before: Option<T>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, Error> {
    match given {
        None => Ok(before),
        Some("none") => Ok(None),
        Some(text) => {
            read(text).map(Some).map_err(|why| Error::refused(format!("invalid {name}: {why}")))
        }
    }
}

/// Makes a tenant.
pub async fn add(router: &Router, args: Args) -> Result<Reply, Error> {
    let limits = args.options::<LimitOptions>()?.over(Limits::default())?;
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
    if !options.is_empty() {
        // What cannot be read is told before anything changes.
        options.over(tenant.limits)?;
        let change = |limits: &mut Limits| {
            if let Ok(changed) = options.over(*limits) {
                *limits = changed;
            }
        };
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
