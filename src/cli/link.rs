//! The way to the RPC: over a socket to the daemon that has the repository open, else in-process.
//!
//! Both take the same typed request and give the same reply, so that a command does not know where
//! its node runs.

use std::path::Path;

use futures_util::StreamExt as _;
use serde::Serialize;
use serde_json::Value;

use super::output::CliError;
use super::socket::Socket;
use super::waiting::{self, Waiting};
use super::{Encoding, Global};
use crate::config::repo;
use crate::daemon;
use crate::http::Address;
use crate::rpc::http::guard::Authorization;
use crate::rpc::{self, Body, Reply, Request, Router};
use crate::task;

/// An open way to a node.
pub struct Link {
    way: Way,
    /// Added to every request.
    common: Vec<(String, String)>,
    json: bool,
}

enum Way {
    /// With what brought the node online, if anything did.
    InProcess(Box<Router>, Option<daemon::Visit>),
    Socket(Socket),
    /// For commands that need no node.
    None,
}

/// What a command asks, before it is sent.
pub struct Ask {
    command: &'static str,
    pairs: Vec<(String, String)>,
    options: String,
    body: Body,
}

impl Ask {
    /// A request without arguments.
    pub fn new(command: &'static str) -> Self {
        Self { command, pairs: Vec::new(), options: String::new(), body: Body::None }
    }

    /// Adds an argument.
    pub fn arg(mut self, value: impl Into<String>) -> Self {
        self.pairs.push(("arg".into(), value.into()));
        self
    }

    /// Adds arguments.
    pub fn args(self, values: &[String]) -> Self {
        values.iter().fold(self, |ask, value| ask.arg(value.as_str()))
    }

    /// Adds one option.
    pub fn option(mut self, name: &str, value: impl ToString) -> Self {
        self.pairs.push((name.into(), value.to_string()));
        self
    }

    /// Adds a command's options, spelled as the RPC reads them.
    ///
    /// # Errors
    /// None for the option structs of the node, which hold plain values.
    pub fn options(mut self, options: &impl Serialize) -> Result<Self, CliError> {
        let encode = serde_html_form::to_string(options);
        self.options = encode.map_err(|e| CliError::new(e.to_string()))?;
        Ok(self)
    }

    /// Uploads files.
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl Link {
    /// Goes to the daemon that `--api` names, or to the one whose address stands in the repository;
    /// opens the repository itself when nobody answers there.
    ///
    /// # Errors
    /// Why neither can be had; nothing was changed then.
    pub async fn open(global: &Global) -> Result<Self, CliError> {
        let root = repo::locate(global.repo_dir.as_deref());
        let way = match socket(global, &root).await? {
            Some(socket) => Way::Socket(socket),
            None => {
                let root = root.clone();
                let booted = task::blocking(move || daemon::boot(&root)).await;
                Way::InProcess(Box::new(booted.map_err(failed)?), None)
            }
        };
        Ok(Self::over(way, global))
    }

    /// The same, but a repository that is opened here goes online: it can connect with nodes whose
    /// addresses it is given, and asks nobody else. To be closed by [`Self::close`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn visiting(global: &Global) -> Result<Self, CliError> {
        let root = repo::locate(global.repo_dir.as_deref());
        let way = match socket(global, &root).await? {
            Some(socket) => Way::Socket(socket),
            None => {
                let (router, visit) = daemon::visit(&root).await.map_err(failed)?;
                Way::InProcess(Box::new(router), Some(visit))
            }
        };
        Ok(Self::over(way, global))
    }

    /// Goes offline again, once what was fetched is in the store.
    pub async fn close(self) {
        if let Way::InProcess(router, Some(visit)) = self.way {
            visit.end().await;
            drop(router);
        }
    }

    /// The daemon's, if one runs.
    ///
    /// # Errors
    /// That the one named by `--api` does not answer.
    pub async fn to_daemon(global: &Global) -> Result<Option<Self>, CliError> {
        let root = repo::locate(global.repo_dir.as_deref());
        let socket = socket(global, &root).await?;
        Ok(socket.map(|socket| Self::over(Way::Socket(socket), global)))
    }

    /// For commands that need neither daemon nor repository.
    pub fn pure(global: &Global) -> Self {
        Self::over(Way::None, global)
    }

    fn over(way: Way, global: &Global) -> Self {
        let mut common = Vec::new();
        if let Some(base) = &global.cid_base {
            common.push(("cid-base".to_owned(), base.clone()));
        }
        if let Some(upgrade) = global.upgrade_cidv0_in_output {
            common.push(("upgrade-cidv0-in-output".to_owned(), upgrade.to_string()));
        }
        if global.offline {
            common.push(("offline".to_owned(), "true".to_owned()));
        }
        if let Some(most) = global.timeout {
            common.push(("timeout".to_owned(), format!("{}ms", most.as_millis())));
        }
        Self { way, common, json: global.enc == Some(Encoding::Json) }
    }

    /// Whether the node runs in this process.
    pub fn is_in_process(&self) -> bool {
        matches!(self.way, Way::InProcess(..))
    }

    /// Refuses a command that tells of the daemon alone.
    ///
    /// # Errors
    /// Kubo's words, where no daemon runs.
    pub fn needs_daemon(&self, command: &str) -> Result<(), CliError> {
        match self.is_in_process() {
            true => Err(CliError::new(format!("command must be run on the daemon: [{command}]"))),
            false => Ok(()),
        }
    }

    /// Whether replies are to be printed as they are.
    pub fn prints_json(&self) -> bool {
        self.json
    }

    /// Sends a request. While it waits for blocks from others, what is tried is told on standard
    /// error.
    ///
    /// # Errors
    /// The command's.
    pub async fn call(&self, ask: Ask) -> Result<Reply, CliError> {
        if !waiting::may_wait(ask.command) {
            return self.send(ask).await;
        }
        let name = format!("{:016x}", rand::random::<u64>());
        let waiting = match &self.way {
            Way::None => return self.send(ask).await,
            Way::Socket(socket) => {
                let (again, name) = (socket.again(), name.clone());
                Waiting::start(move || {
                    let (again, name) = (again.clone(), name.clone());
                    async move {
                        // The first connection has the reply on it.
                        let socket = Socket::connect(&again.0, again.1).await.ok()?;
                        let query = format!("arg={name}");
                        value(socket.call("diag/fetches", &query, Body::None).await.ok()?)
                    }
                })
            }
            Way::InProcess(router, _) => {
                let (router, name) = (router.clone(), name.clone());
                Waiting::start(move || {
                    let (router, query) = (router.clone(), format!("arg={name}"));
                    let command = "diag/fetches".to_owned();
                    let request = Request { command, query, body: Body::None };
                    async move { value(router.call(request).await.ok()?) }
                })
            }
        };
        let reply = self.send(ask.option("watch", name)).await?;
        Ok(waiting.over(reply))
    }

    async fn send(&self, ask: Ask) -> Result<Reply, CliError> {
        // What is common comes last: it was typed, and the last of a name counts.
        let pairs: Vec<&(String, String)> = ask.pairs.iter().chain(&self.common).collect();
        let fixed = serde_html_form::to_string(pairs).map_err(|e| CliError::new(e.to_string()))?;
        let query = [fixed, ask.options].join("&");
        let query = query.trim_matches('&').to_owned();
        match &self.way {
            Way::Socket(socket) => socket.call(ask.command, &query, ask.body).await,
            Way::InProcess(router, _) => {
                let request = Request { command: ask.command.to_owned(), query, body: ask.body };
                Ok(router.call(request).await?.held().await?)
            }
            Way::None => {
                let request = Request { command: ask.command.to_owned(), query, body: ask.body };
                Ok(rpc::pure(request).await?)
            }
        }
    }

    /// Sends a request whose reply is one value; `None` for any other, or an error.
    pub async fn value(&self, ask: Ask) -> Option<Value> {
        value(self.call(ask).await.ok()?)
    }

    /// Sends a request whose reply is one value, or lines; calls `each` for every value.
    ///
    /// # Errors
    /// The command's, also in the middle of the reply.
    pub async fn each(
        &self,
        ask: Ask,
        mut each: impl FnMut(&Value) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        match self.call(ask).await? {
            Reply::Empty => Ok(()),
            Reply::Value(value) => each(&value),
            Reply::Lines(mut lines) => {
                while let Some(line) = lines.next().await {
                    each(&line?)?;
                }
                Ok(())
            }
            Reply::Object { .. } | Reply::Bytes { .. } => {
                Err(CliError::new("the node answered with bytes"))
            }
        }
    }
}

/// A reply that is one value.
fn value(reply: Reply) -> Option<Value> {
    match reply {
        Reply::Value(value) => Some(value),
        Reply::Empty | Reply::Lines(_) | Reply::Object { .. } | Reply::Bytes { .. } => None,
    }
}

fn failed(error: daemon::BootError) -> CliError {
    CliError::new(error.to_string())
}

/// A connection to a daemon, if one is to be asked. A daemon that was named must answer; an address
/// that a dead one left behind is passed over.
async fn socket(global: &Global, root: &Path) -> Result<Option<Socket>, CliError> {
    let secret = global.api_auth.as_ref().map(|text| Authorization::new(text, Vec::new()).header);
    let parse = |text: &str| text.trim().parse::<Address>().map_err(CliError::new);
    if let Some(named) = &global.api {
        let address = parse(named)?;
        let refused = |e| CliError::new(format!("cannot connect to the api at {address}: {e}"));
        return Socket::connect(&address, secret).await.map(Some).map_err(refused);
    }
    let Ok(text) = std::fs::read_to_string(root.join(daemon::API_FILE)) else { return Ok(None) };
    let socket = Socket::connect(&parse(&text)?, secret).await.ok();
    Ok(socket.map(|socket| socket.handing(root)))
}
