//! Remote pinning services in the document: `Pinning.RemoteServices.<name>`, in Kubo's form.
//!
//! Owns the form. Does not own what an endpoint is (`remote` knows) or who may read a key
//! (`command`).

use std::fmt;

use serde_json::{Map, Value, json};

use super::file::{Config, FileError};

const SERVICES: &str = "Pinning.RemoteServices";

/// A service. `Debug` does not print the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Service {
    /// Its name here.
    pub name: String,
    /// Its URL.
    pub endpoint: String,
    /// The secret it wants.
    pub key: String,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.name)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// Every service, by name.
pub fn all(config: &Config) -> Vec<Service> {
    let services = config.map(SERVICES).into_iter().flatten();
    let mut all: Vec<Service> = services.map(|(name, value)| read(name, value)).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// The service of a name, exactly.
pub fn named(config: &Config, name: &str) -> Option<Service> {
    let service = config.map(SERVICES)?.get(name)?;
    Some(read(name, service))
}

fn read(name: &str, service: &Value) -> Service {
    let text = |key: &str| {
        let value = member(service, "API").and_then(|api| member(api, key));
        value.and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    Service { name: name.to_owned(), endpoint: text("Endpoint"), key: text("Key") }
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    let any = || members.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
    members.get(name).or_else(|| any().map(|(_, found)| found))
}

/// Adds a service; says whether there was none of that name. Nothing changes where there was.
pub fn add(config: &mut Config, service: Service) -> Result<bool, FileError> {
    let mut services = config.map(SERVICES).cloned().unwrap_or_default();
    if services.contains_key(&service.name) {
        return Ok(false);
    }
    let value = json!({
        "API": { "Endpoint": service.endpoint, "Key": service.key },
        "Policies": { "MFS": { "Enable": false, "PinName": "", "RepinInterval": "" } },
    });
    services.insert(service.name, value);
    put(config, services)?;
    Ok(true)
}

/// Forgets a service. One that is not there is forgotten already, as in Kubo.
pub fn remove(config: &mut Config, name: &str) -> Result<(), FileError> {
    let mut services = config.map(SERVICES).cloned().unwrap_or_default();
    if services.shift_remove(name).is_some() {
        put(config, services)?;
    }
    Ok(())
}

fn put(config: &mut Config, services: Map<String, Value>) -> Result<(), FileError> {
    config.set(SERVICES, Value::Object(services)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(name: &str) -> Service {
        Service { name: name.into(), endpoint: "https://a".into(), key: "SECRET".into() }
    }

    #[test]
    fn services_come_and_go_and_keep_what_kubo_wrote() {
        let kubo = json!({
            "API": {"Endpoint": "https://b", "Key": "K"},
            "Policies": {"MFS": {"Enable": true, "PinName": "p", "RepinInterval": "5m"}},
        });
        let document = json!({"Pinning": {"RemoteServices": {"mine": kubo}}});
        let mut config = Config::from_value(document).unwrap();
        assert!(add(&mut config, service("a.b")).unwrap());
        assert!(!add(&mut config, service("mine")).unwrap());
        let names: Vec<String> = all(&config).into_iter().map(|service| service.name).collect();
        assert_eq!(names, ["a.b", "mine"]);
        assert_eq!(named(&config, "a.b"), Some(service("a.b")));
        assert_eq!(named(&config, "MINE"), None);
        remove(&mut config, "a.b").unwrap();
        remove(&mut config, "a.b").unwrap();
        assert_eq!(config.map(SERVICES).unwrap().get("mine"), Some(&kubo));
        assert!(!format!("{:?}", service("x")).contains("SECRET"));
    }

    #[test]
    fn a_document_without_services_has_none() {
        let mut config = Config::from_value(json!({})).unwrap();
        assert!(all(&config).is_empty() && named(&config, "x").is_none());
        remove(&mut config, "x").unwrap();
        assert_eq!(config, Config::from_value(json!({})).unwrap());
        assert!(add(&mut config, service("x")).unwrap());
        assert_eq!(all(&config), [service("x")]);
    }
}
