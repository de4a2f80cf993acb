//! What `config KEY`, `config KEY VALUE`, `config show` and `config replace` do, as functions of a
//! document.
//!
//! Owns which secrets never leave and what may not be set through a mouth. Does not own saving
//! (`repo`), profiles, or the mouths' encodings. Texts are Kubo's where its clients and tests
//! compare them.

use serde_json::{Map, Value};

use super::file::{Config, FileError, print};
use super::identity::{Identity, IdentityError, decode_peer_id};
use super::program_name;

/// Why a read or a change was refused.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The private key is nobody's to read or set this way.
    #[error("cannot show or change private key through API")]
    PrivateKey,
    /// Nor are the keys of remote pinning services.
    #[error("cannot show or change pinning services credentials")]
    ServiceCredentials,
    /// The new peer ID belongs to another key.
    #[error(
        "cannot set Identity.PeerID to a value that does not match the node's private key; \
         use '{program} key rotate' to change the node identity"
    )]
    PeerId {
        /// The name we were run under.
        program: &'static str,
    },
    /// With `--json`: the value is not JSON.
    #[error("failed to unmarshal json. {0}")]
    Json(serde_json::Error),
    /// The key cannot be read.
    #[error("failed to get config value: {:?}", .0.to_string())]
    Get(FileError),
    /// The key cannot have this value.
    #[error("failed to set config value: {0} (maybe use --json?)")]
    Set(FileError),
    /// What `config replace` was given is no configuration.
    #[error("failed to decode file as config: {0}")]
    NotAConfig(FileError),
    /// What `config replace` was given holds a private key.
    #[error("setting private key with API is not supported")]
    ReplaceKey,
    /// It names other pinning services than there are.
    #[error("cannot add or remove remote pinning services with 'config replace'")]
    ReplaceServices,
    /// It changes how a pinning service is reached.
    #[error("cannot change remote pinning services api info with `config replace`")]
    ReplaceServiceApi,
    /// The identity that is there cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// How the text of `config KEY VALUE` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Input {
    /// As it is: a text.
    #[default]
    Text,
    /// `--json`. Wins over `--bool` when both are given, as in Kubo.
    Json,
    /// `--bool`: `true` is true, anything else false.
    Bool,
}

/// Where pinning services keep their secrets. `*` is any name.
const SERVICE_KEY: &[&str] = &["Pinning", "RemoteServices", "*", "API", "Key"];
const PRIVATE_KEY: &[&str] = &["Identity", "PrivKey"];
const AUTHORIZATIONS: &[&str] = &["API", "Authorizations"];
const SERVICES: &str = "Pinning.RemoteServices";

/// `config KEY`: the value in the document. Reads what is there, not defaults: an unset key is not
/// found, as in Kubo. Keys are compared exactly, secrets without regard to case. Fails also on any
/// key at or above a secret of the identity or of a pinning service.
pub fn read<'a>(config: &'a Config, key: &str) -> Result<&'a Value, CommandError> {
    guard(key)?;
    config.require(key).map_err(CommandError::Get)
}

/// `config KEY VALUE`. Refuses unknown keys, values of the wrong kind, secrets, and a PeerID that
/// is not the key's. On an error nothing changes.
pub fn write(config: &mut Config, key: &str, text: &str, input: Input) -> Result<(), CommandError> {
    guard(key)?;
    let value = if key.eq_ignore_ascii_case("Identity.PeerID") {
        Value::String(own_peer_id(config, text, input)?)
    } else {
        match input {
            Input::Text => Value::String(text.to_owned()),
            Input::Json => serde_json::from_str(text).map_err(CommandError::Json)?,
            Input::Bool => Value::Bool(text == "true"),
        }
    };
    config.set(key, value).map(drop).map_err(CommandError::Set)
}

/// The PeerID of the node's own key, if that is what `text` says in any form; base58, which is what
/// Kubo stores.
fn own_peer_id(config: &Config, text: &str, input: Input) -> Result<String, CommandError> {
    let json: Option<String> =
        if input == Input::Json { serde_json::from_str(text).ok() } else { None };
    let own =
        Identity::from_private_key(config.text("Identity.PrivKey").unwrap_or_default())?.peer_id();
    match decode_peer_id(json.as_deref().unwrap_or(text)) {
        Some(given) if given == own => Ok(own.to_base58()),
        _ => Err(CommandError::PeerId { program: program_name() }),
    }
}

fn guard(key: &str) -> Result<(), CommandError> {
    if key.eq_ignore_ascii_case("Identity") || key.eq_ignore_ascii_case("Identity.PrivKey") {
        return Err(CommandError::PrivateKey);
    }
    // Reading `Pinning` would show the secret below it, so whatever is above counts, too.
    let on_the_way = key
        .split('.')
        .zip(SERVICE_KEY)
        .all(|(part, name)| *name == "*" || part.eq_ignore_ascii_case(name));
    if on_the_way { Err(CommandError::ServiceCredentials) } else { Ok(()) }
}

/// A value as `config KEY` prints it, without the newline that ends the output: texts as they are,
/// all else as indented JSON.
pub fn render(value: &Value) -> Result<String, FileError> {
    match value {
        Value::String(text) => Ok(text.trim_matches('\n').to_owned()),
        value => print(value),
    }
}

/// `config show`: the document without the private key, the RPC authorizations and the keys of
/// pinning services. Also what a profile's old and new config are shown as. As in Kubo, an object
/// that is withheld stays as `{}`, and whatever is no object on the way to a secret is left out.
pub fn show(config: &Config) -> Value {
    let mut shown = config.document().clone();
    for secret in [PRIVATE_KEY, AUTHORIZATIONS, SERVICE_KEY] {
        scrub(&mut shown, secret);
    }
    Value::Object(shown)
}

fn scrub(map: &mut Map<String, Value>, path: &[&str]) {
    let Some((first, rest)) = path.split_first() else { return map.clear() };
    map.retain(|name, value| {
        if *first != "*" && !name.eq_ignore_ascii_case(first) {
            return true;
        }
        match value {
            Value::Object(below) => {
                scrub(below, rest);
                true
            }
            _ => false,
        }
    });
}

/// `config replace FILE`: the given document with this node's secrets put back. The private key
/// stays and PeerID is derived from it; pinning services and their API details must be those there
/// are (the key may be left out, as `config show` leaves it out); RPC authorizations stay unless
/// the document brings its own.
///
/// Unlike Kubo, which merges, keys that the document leaves out are gone: what one asks for is what
/// one gets.
pub fn replace(config: &Config, text: &str) -> Result<Config, CommandError> {
    let given = Config::parse(text).map_err(CommandError::NotAConfig)?;
    if given.text("Identity.PrivKey").is_some_and(|key| !key.is_empty()) {
        return Err(CommandError::ReplaceKey);
    }
    let identity = Identity::from_private_key(config.text("Identity.PrivKey").unwrap_or_default())?;
    let mut document = given.document().clone();
    // In any spelling: another one would shadow what is set below.
    drop_key(&mut document, "Identity");
    let mut kept = Map::new();
    kept.insert("PeerID".to_owned(), Value::String(identity.peer_id().to_base58()));
    kept.insert("PrivKey".to_owned(), Value::String(identity.private_key_text().to_owned()));
    document.shift_insert(0, "Identity".to_owned(), Value::Object(kept));
    keep_authorizations(config, &given, &mut document);
    keep_services(config, &given, &mut document)?;
    Config::from_value(Value::Object(document)).map_err(CommandError::NotAConfig)
}

/// `config show` leaves authorizations out, so a document without them usually came from there.
/// Taking it at its word would open the RPC to everyone.
fn keep_authorizations(config: &Config, given: &Config, document: &mut Map<String, Value>) {
    let key = AUTHORIZATIONS.join(".");
    let (Some(old), true) = (config.map(&key), given.map(&key).is_none_or(Map::is_empty)) else {
        return;
    };
    put(document, "API", "Authorizations", old.clone());
}

fn keep_services(
    config: &Config,
    given: &Config,
    document: &mut Map<String, Value>,
) -> Result<(), CommandError> {
    let empty = Map::new();
    let (old, new) =
        (config.map(SERVICES).unwrap_or(&empty), given.map(SERVICES).unwrap_or(&empty));
    if old.len() != new.len() || !old.keys().all(|name| new.contains_key(name)) {
        return Err(CommandError::ReplaceServices);
    }
    if old.is_empty() {
        return Ok(());
    }
    let mut merged = new.clone();
    for (name, service) in &mut merged {
        let Some(service) = service.as_object_mut() else {
            return Err(CommandError::ReplaceServiceApi);
        };
        let old_api = old.get(name).and_then(|old| member(old, "API"));
        let given_api =
            service.iter().find(|(key, _)| key.eq_ignore_ascii_case("API")).map(|(_, api)| api);
        if !keeps_api(given_api, old_api) {
            return Err(CommandError::ReplaceServiceApi);
        }
        drop_key(service, "API");
        service.insert("API".to_owned(), old_api.cloned().unwrap_or_default());
    }
    put(document, "Pinning", "RemoteServices", merged);
    Ok(())
}

/// No key, and no endpoint or the same.
fn keeps_api(given: Option<&Value>, old: Option<&Value>) -> bool {
    let text = |api: Option<&Value>, name| {
        let value =
            api.and_then(|api| member(api, name)).and_then(Value::as_str).unwrap_or_default();
        value.to_owned()
    };
    let endpoint = text(given, "Endpoint");
    text(given, "Key").is_empty() && (endpoint.is_empty() || endpoint == text(old, "Endpoint"))
}

fn member<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let (_, found) = value.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
    Some(found)
}

fn drop_key(map: &mut Map<String, Value>, name: &str) {
    map.retain(|key, _| !key.eq_ignore_ascii_case(name));
}

/// Puts an object into the section of that name, in any spelling, in place of the member of that
/// name.
fn put(document: &mut Map<String, Value>, name: &str, member: &str, value: Map<String, Value>) {
    let spelled = document.keys().find(|key| key.eq_ignore_ascii_case(name)).cloned();
    let slot = document.entry(spelled.unwrap_or_else(|| name.to_owned())).or_insert(Value::Null);
    let mut section = slot.as_object_mut().map(std::mem::take).unwrap_or_default();
    drop_key(&mut section, member);
    section.insert(member.to_owned(), Value::Object(value));
    *slot = Value::Object(section);
}

#[cfg(test)]
mod tests {
    use super::super::identity::Algorithm;
    use super::*;
    use serde_json::json;

    fn identity() -> Identity {
        Identity::generate(Algorithm::Ed25519, None).unwrap()
    }

    fn config(identity: &Identity) -> Config {
        Config::from_value(json!({
            "Identity": {
                "PeerID": identity.peer_id().to_base58(), "PrivKey": identity.private_key_text(),
            },
            "API": {"Authorizations": {"me": {"AuthSecret": "bearer:TOKEN", "AllowedPaths": []}}},
            "Gateway": {"NoFetch": false},
            "Pinning": {"RemoteServices": {"mine": {
                "API": {"Endpoint": "https://p", "Key": "SVCKEY"}, "Policies": {},
            }}},
            "Mine": {"x": 1},
        }))
        .unwrap()
    }

    #[test]
    fn values_read_and_print_as_in_kubo() {
        let id = identity();
        let config = config(&id);
        assert_eq!(
            render(read(&config, "Identity.PeerID").unwrap()).unwrap(),
            id.peer_id().to_base58()
        );
        assert_eq!(
            render(read(&config, "Gateway").unwrap()).unwrap(),
            "{\n  \"NoFetch\": false\n}"
        );
        assert_eq!(render(read(&config, "Mine.x").unwrap()).unwrap(), "1");
        let error = read(&config, "Gateway.Nope").unwrap_err().to_string();
        assert_eq!(error, "failed to get config value: \"Gateway.Nope not found\"");
    }

    #[test]
    fn writing_takes_text_json_and_bool() {
        let mut config = config(&identity());
        write(&mut config, "Gateway.RootRedirect", "/x", Input::Text).unwrap();
        write(&mut config, "Gateway.NoFetch", "true", Input::Bool).unwrap();
        write(&mut config, "Swarm.ConnMgr.LowWater", "7", Input::Json).unwrap();
        write(&mut config, "Plugins.Plugins.telemetry.Disabled", "true", Input::Bool).unwrap();
        assert_eq!(config.get("Swarm"), Some(&json!({"ConnMgr": {"LowWater": 7}})));
        let error =
            write(&mut config, "Gateway.NoFetch", "true", Input::Text).unwrap_err().to_string();
        assert!(
            error.starts_with(
                "failed to set config value: failure to decode config: Gateway.NoFetch"
            ),
            "{error}"
        );
        assert!(error.ends_with("(maybe use --json?)"), "{error}");
        let error = write(&mut config, "Mine.x", "2", Input::Json).unwrap_err().to_string();
        assert_eq!(error, "failed to set config value: Mine not found (maybe use --json?)");
        assert!(matches!(
            write(&mut config, "Bootstrap", "[", Input::Json),
            Err(CommandError::Json(_))
        ));
    }

    #[test]
    fn secrets_are_neither_shown_nor_set() {
        let id = identity();
        let mut config = config(&id);
        let before = config.clone();
        for key in ["Identity", "identity.PRIVKEY", "Identity.PrivKey"] {
            assert!(matches!(read(&config, key), Err(CommandError::PrivateKey)), "{key}");
            assert!(
                matches!(write(&mut config, key, "{}", Input::Json), Err(CommandError::PrivateKey)),
                "{key}"
            );
        }
        for key in [
            "Pinning",
            "pinning.remoteservices",
            "Pinning.RemoteServices.mine.API",
            "Pinning.RemoteServices.mine.API.Key",
        ] {
            assert!(matches!(read(&config, key), Err(CommandError::ServiceCredentials)), "{key}");
        }
        assert!(read(&config, "Pinning.RemoteServices.mine.API.Endpoint").is_ok());
        let shown = show(&config);
        let text = shown.to_string();
        assert!(
            !text.contains(id.private_key_text())
                && !text.contains("TOKEN")
                && !text.contains("SVCKEY")
        );
        assert_eq!(
            shown.pointer("/Pinning/RemoteServices/mine/API"),
            Some(&json!({"Endpoint": "https://p"}))
        );
        assert_eq!(shown.pointer("/Mine/x"), Some(&json!(1)));
        assert_eq!(config, before);
    }

    #[test]
    fn the_peer_id_may_only_be_its_own() {
        let (id, other) = (identity(), identity());
        let mut config = config(&id);
        write(&mut config, "Identity.PeerID", &id.peer_id().to_base58(), Input::Text).unwrap();
        let quoted = format!("\"{}\"", id.peer_id());
        write(&mut config, "Identity.PeerID", &quoted, Input::Json).unwrap();
        let error =
            write(&mut config, "Identity.PeerID", &other.peer_id().to_base58(), Input::Text)
                .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("cannot set Identity.PeerID to a value that does not match"),
            "{error}"
        );
    }

    #[test]
    fn replacing_with_what_was_shown_changes_nothing() {
        let config = config(&identity());
        let replaced = replace(&config, &show(&config).to_string()).unwrap();
        assert_eq!(replaced, config);
    }

    #[test]
    fn replacing_keeps_secrets_and_takes_the_rest() {
        let id = identity();
        let config = config(&id);
        let services = json!({"RemoteServices": {"mine": {"Policies": {"MFS": {"Enable": true}}}}});
        let given =
            json!({"identity": {"PeerID": "other"}, "Pinning": services, "New": [1]}).to_string();
        let replaced = replace(&config, &given).unwrap();
        assert_eq!(replaced.peer_id(), Some(id.peer_id().to_base58().as_str()));
        assert_eq!(replaced.get("identity"), None);
        assert_eq!(replaced.get("API.Authorizations"), config.get("API.Authorizations"));
        assert_eq!(
            replaced.get("Pinning.RemoteServices.mine.API"),
            config.get("Pinning.RemoteServices.mine.API")
        );
        assert_eq!(
            replaced.get("Pinning.RemoteServices.mine.Policies.MFS.Enable"),
            Some(&json!(true))
        );
        assert_eq!((replaced.get("Gateway"), replaced.get("New")), (None, Some(&json!([1]))));
    }

    #[test]
    fn replacing_refuses_secrets_in_kubos_words() {
        let config = config(&identity());
        let refusal = |given: Value| replace(&config, &given.to_string()).unwrap_err().to_string();
        let found = refusal(json!({"Identity": {"PrivKey": "x"}}));
        assert_eq!(found, "setting private key with API is not supported");
        assert!(refusal(json!({})).starts_with("cannot add or remove remote pinning services"));
        let service = |api: Value| json!({"Pinning": {"RemoteServices": {"mine": {"API": api}}}});
        assert!(
            refusal(service(json!({"Key": "k"})))
                .starts_with("cannot change remote pinning services")
        );
        assert!(
            refusal(service(json!({"Endpoint": "https://q"}))).starts_with("cannot change remote")
        );
        assert!(matches!(replace(&config, "nonsense"), Err(CommandError::NotAConfig(_))));
    }
}
