//! `--expand-auto`: a document with the placeholder `auto` replaced by what the node then does.
//!
//! Kubo fetches these values from a service; here they are built in, and the row of a key says them.

use serde_json::Value;

use super::file::Config;

/// The placeholder.
const AUTO: &str = "auto";

/// What `auto` stands for in a list. No delegated router or publisher is asked, so theirs are
/// empty; a list without a row keeps the word.
const LISTS: &[(&str, &[&str])] =
    &[("Routing.DelegatedRouters", &[]), ("Ipns.DelegatedPublishers", &[])];
/// Resolvers by domain: `auto` is the system's own, which has no address to show.
const RESOLVERS: &str = "DNS.Resolvers";

/// The document with placeholders expanded.
pub fn expanded(config: &Config) -> Config {
    let mut expanded = config.clone();
    for (key, values) in LISTS {
        let Some(Value::Array(list)) = config.get(key) else { continue };
        let list = list.iter().flat_map(|item| match item.as_str() {
            Some(AUTO) => values.iter().map(|value| Value::from(*value)).collect(),
            _ => vec![item.clone()],
        });
        put(&mut expanded, key, Value::Array(list.collect()));
    }
    if config.get("Bootstrap").is_some() {
        put(&mut expanded, "Bootstrap", config.bootstrap_peers().into());
    }
    if let Some(Value::Object(resolvers)) = config.get(RESOLVERS) {
        let mut resolvers = resolvers.clone();
        resolvers.retain(|_, resolver| resolver.as_str() != Some(AUTO));
        put(&mut expanded, RESOLVERS, Value::Object(resolvers));
    }
    expanded
}

fn put(config: &mut Config, key: &str, value: Value) {
    // A key that is there takes a value of the kind it had.
    let _ = config.set(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn placeholders_become_what_is_done() {
        let document = json!({
            "Routing": { "DelegatedRouters": ["auto", "https://mine.example"] },
            "Ipns": { "DelegatedPublishers": ["auto"] },
            "DNS": { "Resolvers": { ".": "auto", "eth.": "https://dns.example" } },
        });
        let shown = expanded(&Config::from_value(document).unwrap());
        let value = |key: &str| shown.get(key).cloned().unwrap();
        assert_eq!(value("Routing.DelegatedRouters"), json!(["https://mine.example"]));
        assert_eq!(value("Ipns.DelegatedPublishers"), json!([]));
        assert_eq!(value("DNS.Resolvers"), json!({ "eth.": "https://dns.example" }));
    }

    #[test]
    fn what_has_no_placeholder_stays() {
        let config =
            Config::from_value(json!({ "Swarm": {}, "DNS": { "Resolvers": {} } })).unwrap();
        assert_eq!(expanded(&config).document(), config.document());
    }
}
