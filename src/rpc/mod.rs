//! The RPC: Kubo's commands by path, arguments and options, and replies as JSON or bytes.
//!
//! A request here is already parsed and a reply not yet written: the in-process link of the command
//! line passes both as they are, a socket will wrap them in HTTP. Handlers parse, call the node and
//! shape the reply, and hold no behaviour.

mod add;
pub mod args;
mod bitswap;
mod block;
mod body;
mod bootstrap;
mod cid;
pub mod commands;
mod config;
mod dag;
mod diag;
pub mod error;
mod fetching;
pub mod http;
mod id;
mod log;
mod ls;
pub mod mode;
pub mod peer;
mod pin;
mod ping;
mod provide;
pub mod query;
mod read;
mod refs;
mod remote;
mod reply;
mod repo;
mod requests;
mod resolve;
mod routing;
mod scopes;
mod stats;
mod swarm;
mod tenant;
mod token;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::config::repo::Repo;
use crate::config::units::{UnitError, parse_duration};
pub use crate::node::get::SKIPPED;
use crate::node::{Node, Patience, Source};
use args::Args;
pub use error::Error;
use fetching::Named;
pub use id::{arch, version};
pub use reply::{Bytes, Entries, Lines, Reply};
use requests::Requests;

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

/// Options that every command takes.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Common {
    /// Not to go to the network.
    offline: bool,
    /// How long blocks are waited for: `30s`.
    timeout: Option<String>,
    /// A name under which `diag/fetches` tells of this request.
    watch: Option<String>,
}

impl Common {
    fn patience(&self) -> Result<Patience, Error> {
        Ok(self.time()?.map_or(Patience::Endless, Patience::from_now))
    }

    /// When whatever is waited for is waited for no longer.
    fn deadline(&self) -> Result<Option<Instant>, Error> {
        Ok(self.time()?.and_then(|time| Instant::now().checked_add(time)))
    }

    fn time(&self) -> Result<Option<Duration>, Error> {
        let given = self.timeout.as_deref().filter(|text| !text.is_empty());
        let refuse = |e: UnitError| Error::invalid(e.to_string());
        given.map(|text| parse_duration(text).map_err(refuse)).transpose()
    }
}

type Future_<'a> = Pin<Box<dyn Future<Output = Result<Reply, Error>> + Send + 'a>>;
type Handler = for<'a> fn(&'a Router, Args, Body) -> Future_<'a>;

/// Dispatches requests to the node.
#[derive(Clone)]
pub struct Router {
    node: Node,
    repo: Arc<Repo>,
    stop: CancellationToken,
    requests: Requests,
    named: Named,
}

/// Every command that asks the node or its repository. Kubo's names.
const ROUTES: &[(&str, Handler)] = &[
    ("add", |router, args, body| Box::pin(add::add(router, args, body))),
    ("bitswap/ledger", |router, args, _| Box::pin(bitswap::ledger(router, args))),
    ("bitswap/stat", |router, args, _| Box::pin(bitswap::stat(router, args))),
    ("bitswap/wantlist", |router, args, _| Box::pin(bitswap::wantlist(router, args))),
    ("block/get", |router, args, _| Box::pin(block::get(router, args))),
    ("block/put", |router, args, body| Box::pin(block::put(router, args, body))),
    ("block/rm", |router, args, _| Box::pin(block::rm(router, args))),
    ("block/stat", |router, args, _| Box::pin(block::stat(router, args))),
    ("bootstrap", |router, args, _| Box::pin(bootstrap::list(router, args))),
    ("bootstrap/add", |router, args, _| Box::pin(bootstrap::add(router, args))),
    ("bootstrap/list", |router, args, _| Box::pin(bootstrap::list(router, args))),
    ("bootstrap/rm", |router, args, _| Box::pin(bootstrap::rm(router, args))),
    ("bootstrap/rm/all", |router, _, _| Box::pin(bootstrap::rm_all(router))),
    ("cat", |router, args, _| Box::pin(read::cat(router, args))),
    ("config", |router, args, _| Box::pin(config::config(router, args))),
    ("config/profile/apply", |router, args, _| Box::pin(config::apply(router, args))),
    ("config/replace", |router, _, body| Box::pin(config::replace(router, body))),
    ("config/show", |router, args, _| Box::pin(config::show(router, args))),
    ("dag/export", |router, args, _| Box::pin(dag::export(router, args))),
    ("dag/get", |router, args, _| Box::pin(dag::get(router, args))),
    ("dag/import", |router, args, body| Box::pin(dag::import(router, args, body))),
    ("dag/put", |router, args, body| Box::pin(dag::put(router, args, body))),
    ("dag/resolve", |router, args, _| Box::pin(dag::resolve(router, args))),
    ("dag/stat", |router, args, _| Box::pin(dag::stat(router, args))),
    ("diag/cmds", |router, _, _| Box::pin(async { Ok(diag::cmds(router)) })),
    ("diag/cmds/clear", |router, _, _| Box::pin(async { Ok(diag::clear(router)) })),
    ("diag/cmds/set-time", |router, args, _| {
        Box::pin(async move { diag::set_time(router, &args) })
    }),
    ("diag/fetches", |router, args, _| Box::pin(fetching::fetches(router, args))),
    ("diag/healthy", |router, _, _| Box::pin(diag::healthy(router))),
    ("diag/ledgers", |router, _, _| Box::pin(bitswap::ledgers(router))),
    ("diag/sys", |router, _, _| Box::pin(diag::sys(router))),
    ("get", |router, args, _| Box::pin(read::get(router, args))),
    ("id", |router, args, _| Box::pin(id::id(router, args))),
    ("log/tail", |router, args, _| Box::pin(async move { log::tail(router, &args) })),
    ("ls", |router, args, _| Box::pin(ls::ls(router, args))),
    ("pin/add", |router, args, _| Box::pin(pin::add(router, args))),
    ("pin/ls", |router, args, _| Box::pin(pin::ls(router, args))),
    ("pin/queue", |router, _, _| Box::pin(async { pin::queue(router) })),
    ("pin/remote/add", |router, args, _| Box::pin(remote::add(router, args))),
    ("pin/remote/ls", |router, args, _| Box::pin(remote::ls(router, args))),
    ("pin/remote/rm", |router, args, _| Box::pin(remote::rm(router, args))),
    ("pin/remote/service/add", |router, args, _| Box::pin(remote::service_add(router, args))),
    ("pin/remote/service/ls", |router, args, _| Box::pin(remote::service_ls(router, args))),
    ("pin/remote/service/rm", |router, args, _| Box::pin(remote::service_rm(router, args))),
    ("pin/rm", |router, args, _| Box::pin(pin::rm(router, args))),
    ("pin/update", |router, args, _| Box::pin(pin::update(router, args))),
    ("pin/verify", |router, args, _| Box::pin(pin::verify(router, args))),
    ("ping", |router, args, _| Box::pin(ping::ping(router, args))),
    ("provide/clear", |router, args, _| Box::pin(provide::clear(router, args))),
    ("provide/once", |router, args, _| Box::pin(provide::once(router, args))),
    ("provide/stat", |router, _, _| Box::pin(provide::stat(router))),
    ("refs", |router, args, _| Box::pin(refs::refs(router, args))),
    ("refs/local", |router, args, _| Box::pin(refs::refs_local(router, args))),
    ("repo/gc", |router, args, _| Box::pin(repo::gc(router, args))),
    ("repo/ls", |router, args, _| Box::pin(refs::refs_local(router, args))),
    ("repo/stat", |router, args, _| Box::pin(repo::stat(router, args))),
    ("repo/verify", |router, args, _| Box::pin(repo::verify(router, args))),
    ("resolve", |router, args, _| Box::pin(resolve::resolve(router, args))),
    ("routing/findpeer", |router, args, _| Box::pin(routing::find_peer(router, args))),
    ("routing/findprovs", |router, args, _| Box::pin(routing::find_providers(router, args))),
    ("routing/get", |router, args, _| Box::pin(routing::get(router, args))),
    ("routing/provide", |router, args, _| Box::pin(routing::provide(router, args))),
    ("routing/put", |router, args, body| Box::pin(routing::put(router, args, body))),
    ("shutdown", |router, _, _| Box::pin(async { Ok(id::shutdown(router)) })),
    ("stats/bitswap", |router, args, _| Box::pin(bitswap::stat(router, args))),
    ("stats/bw", |router, args, _| Box::pin(stats::bandwidth(router, args))),
    ("stats/dht", |router, args, _| Box::pin(stats::dht(router, args))),
    ("stats/provide", |router, _, _| Box::pin(provide::stat(router))),
    ("stats/repo", |router, args, _| Box::pin(repo::stat(router, args))),
    ("swarm/addrs", |router, _, _| Box::pin(swarm::addrs(router))),
    ("swarm/addrs/listen", |router, _, _| Box::pin(swarm::addrs_listen(router))),
    ("swarm/addrs/local", |router, args, _| Box::pin(swarm::addrs_local(router, args))),
    ("swarm/connect", |router, args, _| Box::pin(swarm::connect(router, args))),
    ("swarm/disconnect", |router, args, _| Box::pin(swarm::disconnect(router, args))),
    ("swarm/filters", |router, _, _| Box::pin(swarm::filters(router))),
    ("swarm/filters/add", |router, args, _| Box::pin(swarm::filters_add(router, args))),
    ("swarm/filters/rm", |router, args, _| Box::pin(swarm::filters_rm(router, args))),
    ("swarm/peering/add", |router, args, _| Box::pin(swarm::peering_add(router, args))),
    ("swarm/peering/ls", |router, _, _| Box::pin(swarm::peering_ls(router))),
    ("swarm/peering/rm", |router, args, _| Box::pin(swarm::peering_rm(router, args))),
    ("swarm/peers", |router, args, _| Box::pin(swarm::peers(router, args))),
    ("tenant/add", |router, args, _| Box::pin(tenant::add(router, args))),
    ("tenant/limits", |router, args, _| Box::pin(tenant::limits(router, args))),
    ("tenant/ls", |router, _, _| Box::pin(tenant::ls(router))),
    ("tenant/rm", |router, args, _| Box::pin(tenant::rm(router, args))),
    ("tenant/usage", |router, args, _| Box::pin(tenant::usage(router, args))),
    ("token/issue", |router, args, _| Box::pin(token::issue(router, args))),
    ("token/ls", |router, args, _| Box::pin(token::ls(router, args))),
    ("token/revoke", |router, args, _| Box::pin(token::revoke(router, args))),
];

type Pure = fn(Args, Body) -> Future_<'static>;

/// Commands that need neither node nor repository.
const PURE: &[(&str, Pure)] = &[
    ("cid/base32", |args, _| Box::pin(async move { cid::base32(&args) })),
    ("cid/bases", |_, _| Box::pin(async { Ok(cid::bases()) })),
    ("cid/codecs", |args, _| Box::pin(async move { cid::codecs(&args) })),
    ("cid/format", |args, _| Box::pin(async move { cid::format(&args) })),
    ("cid/hashes", |_, _| Box::pin(async { Ok(cid::hashes()) })),
    ("cid/inspect", |args, _| Box::pin(async move { cid::inspect(&args) })),
    ("commands", |_, _| Box::pin(async { commands::commands() })),
    ("log/level", |args, _| Box::pin(async move { log::level(&args) })),
    ("log/ls", |_, _| Box::pin(async { Ok(log::ls()) })),
    ("multibase/decode", |_, body| Box::pin(cid::decode(body))),
    ("multibase/encode", |args, body| Box::pin(cid::encode(args, body))),
    ("multibase/list", |_, _| Box::pin(async { Ok(cid::bases()) })),
    ("multibase/transcode", |args, body| Box::pin(cid::transcode(args, body))),
    ("repo/version", |_, _| Box::pin(async { Ok(repo::version()) })),
    ("version", |_, _| Box::pin(async { Ok(Reply::Value(version())) })),
];

/// The entry of a sorted table.
fn find<T: Copy>(table: &[(&str, T)], command: &str) -> Option<T> {
    let at = table.binary_search_by(|(name, _)| (*name).cmp(command)).ok()?;
    table.get(at).map(|(_, handler)| *handler)
}

/// Answers a request that needs neither node nor repository.
///
/// # Errors
/// The command's, and that there is no such one.
pub async fn pure(request: Request) -> Result<Reply, Error> {
    let Some(handler) = find(PURE, &request.command) else {
        return Err(Error::refused(format!("unknown command {:?}", request.command)));
    };
    handler(Args::parse(&request.query)?, request.body).await
}

impl Router {
    /// A router over a running node and its repository; `stop` is cancelled by `shutdown`.
    pub fn new(node: Node, repo: Repo, stop: CancellationToken) -> Self {
        Self {
            node,
            repo: Arc::new(repo),
            stop,
            requests: Requests::default(),
            named: Named::default(),
        }
    }

    /// Whether there is such a command.
    pub fn knows(command: &str) -> bool {
        find(ROUTES, command).is_some() || find(PURE, command).is_some()
    }

    /// Answers one request.
    ///
    /// # Errors
    /// What is known before the reply begins; later errors are the last item of its stream.
    pub async fn call(&self, request: Request) -> Result<Reply, Error> {
        let Some(handler) = find(ROUTES, &request.command) else { return pure(request).await };
        let args = Args::parse(&request.query)?;
        let common: Common = args.options()?;
        let router = self.for_request(&common)?;
        handler(&router, args, request.body).await
    }

    /// The router with a node for one request: what it reads, it reads in one session.
    fn for_request(&self, common: &Common) -> Result<Self, Error> {
        let node = match common.offline {
            true => self.node.offline(),
            false => self.node.session(common.patience()?),
        };
        if let (Some(name), Some(fetching)) = (&common.watch, node.fetching()) {
            self.named.add(name, fetching);
        }
        Ok(Self { node, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn routes_are_sorted_for_the_search() {
        assert!(super::ROUTES.is_sorted_by_key(|(name, _)| name));
        assert!(super::PURE.is_sorted_by_key(|(name, _)| name));
    }
}
