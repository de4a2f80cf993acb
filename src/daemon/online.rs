//! Going online and offline, as two lists: connections, records, routing, exchange, announcing.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{BootError, network};
use crate::config::Config;
use crate::config::network::{ProvideStrategy, RoutingType};
use crate::exchange::bitswap::{self, Bitswap, Search};
use crate::exchange::engine;
use crate::net::{self, Net};
use crate::node::provide::{Announcer, Strategy, all_keys};
use crate::node::{Network, Node};
use crate::routing::dht::scope::Scope;
use crate::routing::dht::{self, Dht};
use crate::routing::dual::Dual;
use crate::routing::offline::Offline;
use crate::routing::provide::{self, Provider};
use crate::routing::records::{Limits, Records};
use crate::routing::streams::{self, Asking};
use crate::routing::{Contact, Routing, Watch, upkeep};
use crate::store::Store;
use crate::task;

/// Providers that a search is content with, as in Kubo.
const PROVIDERS_WANTED: usize = 10;
/// Providers that wait to be dialled.
const PROVIDERS_WAITING: usize = 16;

/// What an online daemon stops, in the order in which it started.
pub struct Online {
    net: net::Stop,
    exchange: bitswap::Stop,
    stop: CancellationToken,
    announcing: Option<tokio::task::JoinHandle<()>>,
}

impl Online {
    /// Takes a node online.
    ///
    /// # Errors
    /// Names the setting, or the address that cannot be listened on.
    pub async fn start(
        node: Node,
        config: &Config,
        any_port: bool,
    ) -> Result<(Node, Self), BootError> {
        let (net, ends) = connect(config, any_port).await?;
        let (routing, dhts) = route(&net, node.store(), config)?;
        let (exchange, exchange_ends) = exchange(&net, node.store(), &routing, config);
        let (stop, announcer) = (CancellationToken::new(), announcer(node.store(), &dhts, config)?);
        let announcing = announcer.as_ref().map(|announcer| {
            let (provider, stop) = (announcer.provider.clone(), stop.clone());
            task::spawn(async move { provider.run(stop).await })
        });
        let online = Self { net: ends, exchange: exchange_ends, stop, announcing };
        Ok((node.with_network(Network { net, exchange, routing, dhts, announcer }), online))
    }

    /// Takes a node online for one errand: nobody is searched, nobody can connect with it, and it
    /// announces nothing.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn visit(node: Node, config: &Config) -> Result<(Node, Self), BootError> {
        let settings = network::quiet(network::settings(config)?);
        let (net, ends) = Net::start(settings, network::key(config)?).await?;
        let routing = nobody(node.store());
        let (exchange, exchange_ends) = exchange(&net, node.store(), &routing, config);
        let stop = CancellationToken::new();
        let online = Self { net: ends, exchange: exchange_ends, stop, announcing: None };
        let network = Network { net, exchange, routing, dhts: Vec::new(), announcer: None };
        Ok((node.with_network(network), online))
    }

    /// The same backwards.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(announcing) = self.announcing {
            task::join(announcing).await;
        }
        self.exchange.stop().await;
        self.net.stop().await;
    }
}

async fn connect(config: &Config, any_port: bool) -> Result<(Net, net::Stop), BootError> {
    let (settings, key) = (network::settings(config)?, network::key(config)?);
    match Net::start(settings.clone(), key.clone()).await {
        Err(net::NetError::Deaf(_)) if any_port => {
            Ok(Net::start(network::on_any_port(settings), key).await?)
        }
        other => Ok(other?),
    }
}

fn exchange(
    net: &Net,
    store: &Store,
    routing: &Arc<dyn Routing>,
    config: &Config,
) -> (Bitswap, bitswap::Stop) {
    let serve = engine::Settings { serve: config.flag("Bitswap.ServerEnabled") != Some(false) };
    Bitswap::start(net.clone(), store.clone(), search(Arc::clone(routing)), serve)
}

fn nobody(store: &Store) -> Arc<dyn Routing> {
    let records = Records::new(store.clone(), Scope::Lan, Limits::default());
    Arc::new(Offline::new(records))
}

/// Whom to ask where things are: both DHTs, or nobody.
fn route(
    net: &Net,
    store: &Store,
    config: &Config,
) -> Result<(Arc<dyn Routing>, Vec<Dht>), BootError> {
    let kind = config.routing_type()?;
    if kind == RoutingType::None {
        return Ok((nobody(store), Vec::new()));
    }
    let loopback = config.flag("Routing.LoopbackAddressesOnLanDHT").unwrap_or(false);
    let make = |scope, server| {
        let rpc = Arc::new(Asking::new(net.clone(), scope));
        let records = Records::new(store.clone(), scope, Limits::default());
        let dht = Dht::new(scope, net.local(), rpc, records, dht::Settings { server, loopback });
        if server {
            task::detach(streams::serve(net.clone(), dht.clone()));
        }
        dht
    };
    // Without word from others of whether it can be reached, a node only asks the public DHT.
    let wan = make(Scope::Wan, kind == RoutingType::Server);
    let lan = make(Scope::Lan, kind != RoutingType::Client);
    let dhts = vec![wan.clone(), lan.clone()];
    let seeds = network::bootstrap(config)?.into_iter();
    let seeds = seeds.map(|(peer, addrs)| Contact { peer, addrs }).collect();
    task::detach(upkeep::run(net.clone(), dhts.clone(), seeds));
    Ok((Arc::new(Dual { wan, lan }), dhts))
}

/// How the exchange finds providers.
fn search(routing: Arc<dyn Routing>) -> Search {
    Arc::new(move |cid| {
        let mut found = routing.find_providers(*cid.hash(), PROVIDERS_WANTED, Watch::default());
        let (out, providers) = mpsc::channel(PROVIDERS_WAITING);
        task::detach(async move {
            while let Some(Contact { peer, addrs }) = found.recv().await {
                if out.send((peer, addrs)).await.is_err() {
                    return;
                }
            }
        });
        providers
    })
}

fn announcer(store: &Store, dhts: &[Dht], config: &Config) -> Result<Option<Announcer>, BootError> {
    let strategy = match config.provide_strategy() {
        None => return Ok(None),
        Some(ProvideStrategy::All) => Strategy::All,
        Some(ProvideStrategy::Pinned) => Strategy::Pinned,
        Some(ProvideStrategy::Roots) => Strategy::Roots,
    };
    let Some(dht) = dhts.first() else { return Ok(None) };
    let settings =
        provide::Settings { interval: config.provide_interval()?, ..provide::Settings::default() };
    let keys = all_keys(store.clone(), strategy);
    let provider = Provider::new(dhts.to_vec(), dht.records().clone(), settings, keys);
    let import = config.import()?;
    let roots_at_once = import.fast_provide_root.unwrap_or(true);
    let wait = import.fast_provide_wait.unwrap_or(false);
    Ok(Some(Announcer { provider, strategy, roots_at_once, wait }))
}
