//! What `Pinning.Service` says: whether and how this node pins for others.
//!
//! Owns the keys, their defaults and bounds. Does not own tenants and tokens, which the store keeps.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{Config, FileError};

/// DAGs that are fetched at the same time.
const WORKERS: u32 = 20;
const WORKERS_MAX: u32 = 1000;
/// Time without a new block after which a fetch is put back.
const STALL_TIME: Duration = Duration::from_secs(120);
/// Tries before a request has failed.
const TRIES: u32 = 5;
/// A request counts its tries in a byte.
const TRIES_MAX: u32 = 255;
/// Delegates that a reply may have.
const DELEGATES_MAX: usize = 20;

/// The settings of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinningService {
    /// Where it listens, as multiaddrs; nowhere when there are none.
    pub listen: Vec<String>,
    /// File of the certificate, for HTTPS.
    pub certificate: Option<PathBuf>,
    /// File of its key.
    pub key: Option<PathBuf>,
    /// DAGs that are fetched at the same time, 1 to 1000.
    pub workers: u32,
    /// Time without a new block after which a fetch is put back.
    pub stall: Duration,
    /// Tries before a request has failed, 1 to 255.
    pub tries: u32,
    /// Whether origins in local networks are dialled.
    pub dial_private: bool,
    /// Addresses told to clients in place of this node's own, at most 20; none for its own.
    pub delegates: Vec<String>,
}

impl Config {
    /// The settings of the pinning service.
    ///
    /// # Errors
    /// Names the key that cannot be meant.
    pub fn pinning_service(&self) -> Result<PinningService, FileError> {
        let (key, range) = ("Pinning.Service.Workers", "from 1 to 1000");
        let workers = self.bounded::<u32>(key, range, 1, i64::from(WORKERS_MAX))?;
        let (key, range) = ("Pinning.Service.Retries", "from 1 to 255");
        let tries = self.bounded::<u32>(key, range, 1, i64::from(TRIES_MAX))?;
        let delegates = self.list("Pinning.Service.Delegates").unwrap_or_default();
        let refused = |key, reason: &str| FileError::Value { key, reason: reason.to_owned() };
        if delegates.len() > DELEGATES_MAX {
            return Err(refused("Pinning.Service.Delegates", "at most 20 addresses"));
        }
        let key = "Pinning.Service.StallTimeout";
        let stall = self.span(key)?.unwrap_or(STALL_TIME);
        if stall.is_zero() {
            return Err(refused(key, "must be positive"));
        }
        let file = |key| self.text(key).filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(PinningService {
            listen: self.list("Pinning.Service.Listen").unwrap_or_default(),
            certificate: file("Pinning.Service.TLS.Certificate"),
            key: file("Pinning.Service.TLS.Key"),
            workers: workers.unwrap_or(WORKERS),
            stall,
            tries: tries.unwrap_or(TRIES),
            dial_private: self.flag("Pinning.Service.DialPrivate").unwrap_or(false),
            delegates,
        })
    }
}

impl PinningService {
    /// The files of certificate and key, below the repository unless their paths are absolute; `None`
    /// for plain HTTP. Asked when the service starts, not when a key is set: they are set one by one.
    ///
    /// # Errors
    /// That one of them is missing.
    pub fn tls(&self, root: &Path) -> Result<Option<(PathBuf, PathBuf)>, FileError> {
        let refused = |key, reason: &str| FileError::Value { key, reason: reason.to_owned() };
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => Ok(Some((root.join(certificate), root.join(key)))),
            (None, None) => Ok(None),
            (Some(_), None) => {
                Err(refused("Pinning.Service.TLS.Key", "must be there with a certificate"))
            }
            (None, Some(_)) => {
                Err(refused("Pinning.Service.TLS.Certificate", "must be there with a key"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read(section: Value) -> Result<PinningService, String> {
        let config = Config::from_value(json!({"Pinning": {"Service": section}})).unwrap();
        config.pinning_service().map_err(|error| error.to_string())
    }

    #[test]
    fn the_service_is_off_by_default() {
        let none = read(json!({})).unwrap();
        assert!(none.listen.is_empty() && !none.dial_private);
        assert_eq!(none.tls(Path::new("/r")).unwrap(), None);
        assert_eq!((none.workers, none.tries, none.stall), (20, 5, Duration::from_secs(120)));
        let some = read(json!({
            "Listen": "/ip4/127.0.0.1/tcp/5002", "TLS": {"Certificate": "c.pem", "Key": "/k.pem"},
            "Workers": 3, "Retries": 1, "StallTimeout": "5s", "DialPrivate": true,
            "Delegates": ["/p2p/x"],
        }))
        .unwrap();
        assert_eq!(some.listen, ["/ip4/127.0.0.1/tcp/5002"]);
        let files = Some((PathBuf::from("/r/c.pem"), PathBuf::from("/k.pem")));
        assert_eq!(some.tls(Path::new("/r")).unwrap(), files);
        assert_eq!((some.workers, some.tries, some.stall), (3, 1, Duration::from_secs(5)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_key() {
        for (section, key) in [
            (json!({"Workers": 0}), "Pinning.Service.Workers"),
            (json!({"Workers": 1001}), "Pinning.Service.Workers"),
            (json!({"Retries": 0}), "Pinning.Service.Retries: must be from 1 to 255, got 0"),
            (json!({"Retries": 256}), "Pinning.Service.Retries"),
            (json!({"StallTimeout": "0s"}), "Pinning.Service.StallTimeout"),
            (json!({"Delegates": vec!["x"; 21]}), "Pinning.Service.Delegates"),
        ] {
            assert!(read(section.clone()).unwrap_err().contains(key), "{section}");
        }
        for (given, missing) in [("Certificate", "TLS.Key"), ("Key", "TLS.Certificate")] {
            let half = read(json!({"TLS": {given: "c.pem"}})).unwrap();
            assert!(half.tls(Path::new("/")).unwrap_err().to_string().contains(missing));
        }
    }
}
