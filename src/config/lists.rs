//! Changing a list of texts in the document, as `bootstrap` and `swarm filters` do.
//!
//! Owns the order: what is added stands first, and nothing stands twice. Does not own what the
//! texts mean (the mouths know) or saving (`repo`).

use serde_json::{Value, json};

use super::file::{Config, FileError};

/// Puts texts before those of a list; gives what was added, each once.
pub fn add(config: &mut Config, key: &str, texts: &[String]) -> Result<Vec<String>, FileError> {
    let mut added: Vec<String> = Vec::new();
    for text in texts {
        if !added.contains(text) {
            added.push(text.clone());
        }
    }
    let old = config.list(key).unwrap_or_default();
    let kept = old.into_iter().filter(|text| !added.contains(text));
    let all: Vec<String> = added.iter().cloned().chain(kept).collect();
    config.set(key, json!(all))?;
    Ok(added)
}

/// Takes the texts out of a list that are meant; gives them.
pub fn remove(
    config: &mut Config,
    key: &str,
    meant: impl Fn(&str) -> bool,
) -> Result<Vec<String>, FileError> {
    let old = config.list(key).unwrap_or_default();
    let (gone, kept): (Vec<String>, Vec<String>) = old.into_iter().partition(|text| meant(text));
    config.set(key, json!(kept))?;
    Ok(gone)
}

/// Empties a list; gives what was in it. Null is how Kubo writes an empty one.
pub fn clear(config: &mut Config, key: &str) -> Result<Vec<String>, FileError> {
    let old = config.list(key).unwrap_or_default();
    config.set(key, Value::Null)?;
    Ok(old)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_stands_first_and_once() {
        let mut config = Config::from_value(json!({"Bootstrap": ["a", "b"]})).unwrap();
        let texts = ["c", "b", "c"].map(str::to_owned);
        assert_eq!(add(&mut config, "Bootstrap", &texts).unwrap(), ["c", "b"]);
        assert_eq!(config.bootstrap(), ["c", "b", "a"]);
        assert_eq!(remove(&mut config, "Bootstrap", |text| text < "c").unwrap(), ["b", "a"]);
        assert_eq!(clear(&mut config, "Bootstrap").unwrap(), ["c"]);
        assert_eq!(config.document().get("Bootstrap"), Some(&Value::Null));
        assert!(add(&mut config, "No.Such", &texts).is_err());
    }
}
