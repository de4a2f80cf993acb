//! The requests that run and those that ran: `diag cmds`.
//!
//! Bounded by number and by the bytes of one entry, so that no client grows it. What may be a secret
//! is not kept: of `config` only the key.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::clock::rfc3339;

/// Requests that are remembered; beyond it the oldest that has ended goes, or the oldest.
const ENTRIES_MAX: usize = 1024;
/// Arguments and options that are remembered of one request, and bytes of each.
const PAIRS_MAX: usize = 16;
/// See [`PAIRS_MAX`].
const VALUE_MAX_BYTES: usize = 256;
/// How long a request is remembered that has ended, unless told otherwise.
const KEEP: Duration = Duration::from_secs(3600);
/// Go's zero time: when a request that runs has ended.
const NOT_YET: &str = "0001-01-01T00:00:00Z";

/// The log; clones share it.
#[derive(Clone, Default)]
pub struct Requests(Arc<Mutex<Log>>);

struct Log {
    entries: VecDeque<Entry>,
    next: u64,
    keep: Duration,
}

impl Default for Log {
    fn default() -> Self {
        Self { entries: VecDeque::new(), next: 0, keep: KEEP }
    }
}

struct Entry {
    id: u64,
    command: String,
    arguments: Vec<String>,
    options: Vec<(String, String)>,
    started: SystemTime,
    ended: Option<SystemTime>,
}

/// A request that runs; it has ended when this is dropped.
pub struct Running {
    log: Requests,
    id: u64,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut log = self.log.lock();
        if let Some(entry) = log.entries.iter_mut().find(|entry| entry.id == self.id) {
            entry.ended = Some(SystemTime::now());
        }
    }
}

impl Requests {
    /// Remembers a request for as long as the answer lives.
    pub fn begin(&self, command: &str, query: &str) -> Running {
        let (arguments, options) = taken_apart(command, query);
        let mut log = self.lock();
        log.forget(SystemTime::now());
        if log.entries.len() >= ENTRIES_MAX {
            let ended = log.entries.iter().position(|entry| entry.ended.is_some());
            log.entries.remove(ended.unwrap_or(0));
        }
        let id = log.next;
        log.next = id.wrapping_add(1);
        let command = command.to_owned();
        let started = SystemTime::now();
        log.entries.push_back(Entry { id, command, arguments, options, started, ended: None });
        Running { log: self.clone(), id }
    }

    /// What is remembered, in Kubo's shape.
    pub fn report(&self) -> Value {
        let mut log = self.lock();
        log.forget(SystemTime::now());
        log.entries.iter().map(Entry::shown).collect()
    }

    /// Forgets every request that has ended.
    pub fn clear(&self) {
        self.lock().entries.retain(|entry| entry.ended.is_none());
    }

    /// Says how long requests are remembered that have ended.
    pub fn keep_for(&self, time: Duration) {
        self.lock().keep = time;
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Whoever panicked while it held the lock left a log that is still one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    fn forget(&mut self, now: SystemTime) {
        let keep = self.keep;
        let old = |ended: SystemTime| now.duration_since(ended).is_ok_and(|since| since >= keep);
        self.entries.retain(|entry| !entry.ended.is_some_and(old));
    }
}

impl Entry {
    fn shown(&self) -> Value {
        let options = self.options.iter().map(|(name, value)| (name.clone(), value.clone().into()));
        json!({
            "StartTime": rfc3339(self.started),
            "EndTime": self.ended.map_or_else(|| NOT_YET.to_owned(), rfc3339),
            "Active": self.ended.is_none(),
            "Command": self.command,
            "Options": options.collect::<Map<String, Value>>(),
            "Args": self.arguments,
            "ID": self.id,
        })
    }
}

/// The first arguments and options of a query, each cut to its bound.
fn taken_apart(command: &str, query: &str) -> (Vec<String>, Vec<(String, String)>) {
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query).unwrap_or_default();
    let cut = |mut text: String| {
        text.truncate(text.floor_char_boundary(VALUE_MAX_BYTES));
        text
    };
    let (arguments, options): (Vec<_>, Vec<_>) =
        pairs.into_iter().take(PAIRS_MAX).partition(|(name, _)| name == "arg");
    // What stands behind these may be a secret.
    let shown = match command {
        "config" => 1,
        "pin/remote/service/add" => 2,
        _ => PAIRS_MAX,
    };
    let arguments = arguments.into_iter().take(shown).map(|(_, value)| cut(value)).collect();
    let options = options.into_iter().map(|(name, value)| (cut(name), cut(value))).collect();
    (arguments, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(log: &Requests) -> Vec<(u64, bool)> {
        let report = log.report();
        let entries = report.as_array().unwrap().iter();
        let shown = entries.map(|e| (e["ID"].as_u64().unwrap(), e["Active"].as_bool().unwrap()));
        shown.collect()
    }

    #[test]
    fn a_request_is_active_until_it_is_dropped() {
        let log = Requests::default();
        let first = log.begin("cat", "arg=a&arg=b&o=1");
        let second = log.begin("id", "");
        assert_eq!(commands(&log), [(0, true), (1, true)]);
        let shown = &log.report()[0];
        assert_eq!((&shown["Command"], &shown["Args"][1]), (&json!("cat"), &json!("b")));
        assert_eq!((&shown["Options"], &shown["EndTime"]), (&json!({ "o": "1" }), &json!(NOT_YET)));
        drop(first);
        assert_eq!(commands(&log), [(0, false), (1, true)]);
        assert_ne!(log.report()[0]["EndTime"], NOT_YET);
        log.clear();
        assert_eq!(commands(&log), [(1, true)]);
        log.keep_for(Duration::ZERO);
        drop(second);
        assert!(commands(&log).is_empty());
    }

    #[test]
    fn no_client_grows_the_log() {
        let log = Requests::default();
        let held: Vec<Running> = (0..ENTRIES_MAX / 2).map(|_| log.begin("id", "")).collect();
        for _ in 0..2 * ENTRIES_MAX {
            drop(log.begin("id", &"x=y&".repeat(10_000)));
        }
        let shown = commands(&log);
        assert_eq!(shown.len(), ENTRIES_MAX);
        assert_eq!(shown.iter().filter(|(_, active)| *active).count(), held.len());
        assert!(log.0.lock().unwrap().entries.iter().all(|e| e.options.len() <= PAIRS_MAX));
        // When all of them run, the oldest goes.
        let more: Vec<Running> = (0..2 * ENTRIES_MAX).map(|_| log.begin("id", "")).collect();
        assert_eq!(commands(&log).len(), ENTRIES_MAX);
        drop(held);
        drop(more);
        let text = taken_apart("id", &format!("arg={}", "ą".repeat(VALUE_MAX_BYTES)));
        assert_eq!(text.0[0].len(), VALUE_MAX_BYTES);
    }

    #[test]
    fn values_that_are_set_are_not_kept() {
        let (arguments, _) = taken_apart("config", "arg=API.Authorizations&arg=secret&json=true");
        assert_eq!(arguments, ["API.Authorizations"]);
        let (arguments, _) = taken_apart("pin/remote/service/add", "arg=name&arg=url&arg=secret");
        assert_eq!(arguments, ["name", "url"]);
    }
}
