//! What is asked in a body and what is answered, as JSON: the API's `Pin`, `PinStatus` and
//! `PinResults`.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::error::Refusal;
use crate::clock;
use crate::ipld::cid;
use crate::node::service::{Found, PinAsk, Request};
use crate::node::swarm::Target;

/// The body of a request for a pin. What it does not have is left out, never null; members that the API
/// does not have are ignored.
#[derive(Deserialize)]
struct Pin {
    cid: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    origins: Vec<String>,
    #[serde(default)]
    meta: Meta,
}

/// Texts by name, each name once.
#[derive(Default)]
struct Meta(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Meta {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Entries)
    }
}

struct Entries;

impl<'de> Visitor<'de> for Entries {
    type Value = Meta;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Meta, A::Error> {
        let mut meta = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            let told = format!("meta: {key:?} is given twice");
            if meta.insert(key, value).is_some() {
                return Err(serde::de::Error::custom(told));
            }
        }
        Ok(Meta(meta))
    }
}

/// What a body asks for.
///
/// # Errors
/// 400 names the member.
pub fn ask(body: &[u8]) -> Result<PinAsk, Refusal> {
    let bad = |e: serde_json::Error| Refusal::bad(format!("the body is no Pin: {e}"));
    let pin: Pin = serde_json::from_slice(body).map_err(bad)?;
    let short: String = pin.cid.chars().take(100).collect();
    let cid = PinAsk::new(&pin.cid);
    let ask = cid.map_err(|e| Refusal::bad(format!("cid: {short:?}: {e}")))?;
    let ask = PinAsk { name: pin.name, origins: pin.origins, meta: pin.meta.0, ..ask };
    ask.check()?;
    check_origins(&ask.origins)?;
    Ok(ask)
}

fn check_origins(origins: &[String]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for origin in origins {
        if !seen.insert(origin) {
            return Err(Refusal::bad(format!("origins: {origin:?} is given twice")));
        }
        if !names_a_peer(origin) {
            let text = "is no multiaddr that ends in /p2p/<peer ID>";
            return Err(Refusal::bad(format!("origins: {origin:?} {text}")));
        }
    }
    Ok(())
}

/// Whether a text is an address with a peer's ID at its end, or could be one over a transport that is
/// newer than this program.
fn names_a_peer(origin: &str) -> bool {
    let Some((above, id)) = origin.rsplit_once('/') else { return false };
    let named = above.strip_suffix("/p2p").or_else(|| above.strip_suffix("/ipfs"));
    let spelled = named.is_some_and(|address| address.is_empty() || address.starts_with('/'));
    spelled && (format!("/p2p/{id}").parse::<Target>().is_ok() || cid::parse(id).is_ok())
}

/// A request as the API tells of it, without what it has not.
#[derive(Serialize)]
pub struct PinStatus<'a> {
    requestid: &'a str,
    status: &'static str,
    created: String,
    pin: Asked<'a>,
    delegates: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a BTreeMap<String, String>>,
}

/// What was asked for.
#[derive(Serialize)]
struct Asked<'a> {
    cid: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    origins: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'a BTreeMap<String, String>>,
}

impl<'a> PinStatus<'a> {
    /// A request with the addresses that its client may connect with.
    pub fn of(request: &'a Request, delegates: &'a [String]) -> Self {
        let created = UNIX_EPOCH.checked_add(Duration::from_micros(request.created));
        let some = |map: &'a BTreeMap<String, String>| Some(map).filter(|map| !map.is_empty());
        Self {
            requestid: &request.id,
            status: request.status.word(),
            created: clock::rfc3339(created.unwrap_or(UNIX_EPOCH)),
            pin: Asked {
                cid: &request.cid,
                name: &request.name,
                origins: &request.origins,
                meta: some(&request.meta),
            },
            delegates,
            info: some(&request.info),
        }
    }
}

/// A page of them, and how many there are.
#[derive(Serialize)]
pub struct PinResults<'a> {
    count: u64,
    results: Vec<PinStatus<'a>>,
}

impl<'a> PinResults<'a> {
    /// What was found.
    pub fn of(found: &'a Found, delegates: &'a [String]) -> Self {
        let results = found.results.iter().map(|request| PinStatus::of(request, delegates));
        Self { count: found.count, results: results.collect() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::node::service::Status;

    const PEER: &str = "QmaCpDMGvV2BGHeYERUEnRQAwe3N8SzbUtfsmvsqQLuvuJ";

    #[test]
    fn a_pin_is_read_whole() {
        let origin = format!("/ip4/203.0.113.1/tcp/4001/p2p/{PEER}");
        let body = json!({
            "cid": "bafkqaaa", "name": "ą\u{0}", "origins": [origin], "meta": {"a": "b"}, "x": 1,
        });
        let read = ask(body.to_string().as_bytes()).unwrap();
        assert_eq!((read.written.as_str(), read.name.as_str()), ("bafkqaaa", "ą\u{0}"));
        assert_eq!((read.origins, read.meta["a"].as_str()), (vec![origin], "b"));
        let least = ask(br#"{"cid":"bafkqaaa"}"#).unwrap();
        assert!(least.name.is_empty() && least.origins.is_empty() && least.meta.is_empty());
    }

    #[test]
    fn what_is_no_pin_is_refused_by_name() {
        let pin = |more: Value| {
            let mut body = json!({ "cid": "bafkqaaa" });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            body.to_string()
        };
        let addresses = |n: usize| -> Vec<String> {
            (0..n).map(|n| format!("/ip4/203.0.113.1/tcp/{n}/p2p/{PEER}")).collect()
        };
        let twice = [addresses(1), addresses(1)].concat();
        let many: BTreeMap<String, String> =
            (0..1001).map(|n| (n.to_string(), String::new())).collect();
        for (body, word) in [
            (String::new(), "no Pin"),
            ("[]".into(), "no Pin"),
            ("{}".into(), "`cid`"),
            (r#"{"cid":5}"#.into(), "no Pin"),
            (r#"{"cid":"nonsense"}"#.into(), "cid: \"nonsense\""),
            (r#"{"cid":"bafkqaaa","cid":"bafkqaaa"}"#.into(), "duplicate"),
            (pin(json!({"name": null})), "no Pin"),
            (pin(json!({"name": "x".repeat(256)})), "255 characters"),
            (pin(json!({"origins": "x"})), "no Pin"),
            (pin(json!({"origins": ["x"]})), "origins: \"x\""),
            (pin(json!({"origins": ["/ip4/127.0.0.1/tcp/1"]})), "/p2p/<peer ID>"),
            (pin(json!({"origins": addresses(21)})), "more than 20"),
            (pin(json!({"origins": twice})), "twice"),
            (pin(json!({"meta": {"a": 1}})), "no Pin"),
            (pin(json!({"meta": []})), "no Pin"),
            (pin(json!({"meta": many})), "more than 1000"),
            (r#"{"cid":"bafkqaaa","meta":{"a":"1","a":"2"}}"#.into(), "twice"),
            ("[".repeat(100_000), "no Pin"),
        ] {
            let refusal = ask(body.as_bytes()).unwrap_err();
            assert_eq!(refusal.status.as_u16(), 400);
            assert!(refusal.details.contains(word), "{word}: {}", refusal.details);
        }
        assert!(ask(pin(json!({"name": "ą".repeat(255)})).as_bytes()).is_ok());
        let newer = format!("/ip4/203.0.113.1/udp/1/newer-than-us/p2p/{PEER}");
        assert!(ask(pin(json!({"origins": [newer]})).as_bytes()).is_ok());
    }

    #[test]
    fn a_request_is_told_without_what_it_has_not() {
        let request = Request {
            id: "1".into(),
            status: Status::Queued,
            created: 1_595_871_148_276_000,
            cid: "bafkqaaa".into(),
            name: String::new(),
            origins: Vec::new(),
            meta: BTreeMap::new(),
            info: BTreeMap::new(),
        };
        let delegates = ["/p2p/x".to_owned()];
        let told = serde_json::to_value(PinStatus::of(&request, &delegates)).unwrap();
        let expected = json!({
            "requestid": "1", "status": "queued", "created": "2020-07-27T17:32:28.276Z",
            "pin": {"cid": "bafkqaaa"}, "delegates": ["/p2p/x"],
        });
        assert_eq!(told, expected);
        let found = Found { count: 7, results: vec![request], bytes: 0 };
        let told = serde_json::to_value(PinResults::of(&found, &delegates)).unwrap();
        assert_eq!(told, json!({"count": 7, "results": [expected]}));
    }
}
