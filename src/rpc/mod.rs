//! The RPC: Kubo's commands by path, arguments and options, and replies as JSON or bytes.
//!
//! A request here is already parsed and a reply not yet written: the in-process link of the command
//! line passes both as they are, a socket will wrap them in HTTP. Handlers parse, call the node and
//! shape the reply, and hold no behaviour.

mod add;
mod args;
mod block;
mod config;
mod dag;
pub mod error;
pub mod http;
mod id;
mod ls;
mod pin;
mod query;
mod read;
mod refs;
mod reply;
mod repo;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::repo::Repo;
use crate::node::{Node, Source};
use args::Args;
pub use error::Error;
pub use id::{arch, version};
pub use reply::{Bytes, Lines, Reply};

/// A parsed request.
pub struct Request {
    /// The command's path: `block/put`.
    pub command: String,
    /// Arguments (`arg=`) and options, URL-encoded.
    pub query: String,
    /// What is uploaded.
    pub body: Body,
}

/// What is uploaded with a request.
pub enum Body {
    /// Nothing.
    None,
    /// Files, in the order of the walk.
    Files(Source),
}

type Future_<'a> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send + 'a>>;
type Handler = for<'a> fn(&'a Router, Args, Body) -> Future_<'a>;

/// Dispatches requests to the node.
#[derive(Clone)]
pub struct Router {
    node: Node,
    repo: Arc<Repo>,
    stop: CancellationToken,
}

/// Every command that is served. Kubo's names.
const ROUTES: &[(&str, Handler)] = &[
    ("add", |router, args, body| Box::pin(add::add(router, args, body))),
    ("block/get", |router, args, _| Box::pin(block::get(router, args))),
    ("block/put", |router, args, body| Box::pin(block::put(router, args, body))),
    ("block/rm", |router, args, _| Box::pin(block::rm(router, args))),
    ("block/stat", |router, args, _| Box::pin(block::stat(router, args))),
    ("cat", |router, args, _| Box::pin(read::cat(router, args))),
    ("config", |router, args, _| Box::pin(config::config(router, args))),
    ("config/show", |router, _, _| Box::pin(config::show(router))),
    ("dag/get", |router, args, _| Box::pin(dag::get(router, args))),
    ("get", |router, args, _| Box::pin(read::get(router, args))),
    ("id", |router, args, _| Box::pin(id::id(router, args))),
    ("ls", |router, args, _| Box::pin(ls::ls(router, args))),
    ("pin/add", |router, args, _| Box::pin(pin::add(router, args))),
    ("pin/ls", |router, args, _| Box::pin(pin::ls(router, args))),
    ("pin/rm", |router, args, _| Box::pin(pin::rm(router, args))),
    ("refs", |router, args, _| Box::pin(refs::refs(router, args))),
    ("refs/local", |router, args, _| Box::pin(refs::refs_local(router, args))),
    ("repo/gc", |router, args, _| Box::pin(repo::gc(router, args))),
    ("repo/stat", |router, args, _| Box::pin(repo::stat(router, args))),
    ("shutdown", |router, _, _| Box::pin(async { Ok(id::shutdown(router)) })),
    ("version", |_, _, _| Box::pin(async { Ok(Reply::Value(version())) })),
];

impl Router {
    /// A router over a running node and its repository; `stop` is cancelled by `shutdown`.
    pub fn new(node: Node, repo: Repo, stop: CancellationToken) -> Self {
        Self { node, repo: Arc::new(repo), stop }
    }

    /// Whether there is such a command.
    pub fn knows(command: &str) -> bool {
        ROUTES.binary_search_by(|(name, _)| (*name).cmp(command)).is_ok()
    }

    /// Answers one request.
    ///
    /// # Errors
    /// What is known before the reply begins; later errors are the last item of its stream.
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        let found = ROUTES.binary_search_by(|(name, _)| (*name).cmp(&request.command));
        let Some((_, handler)) = found.ok().and_then(|at| ROUTES.get(at)) else {
            return Err(Error::invalid(format!("unknown command {:?}", request.command)));
        };
        handler(self, Args::parse(&request.query)?, request.body).await
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn routes_are_sorted_for_the_search() {
        assert!(super::ROUTES.is_sorted_by_key(|(name, _)| name));
    }
}
