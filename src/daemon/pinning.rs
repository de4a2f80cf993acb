//! The pinning service of a daemon: its listeners, their keys, and the worker of its queue.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{BootError, Options, bind};
use crate::config::Config;
use crate::config::pinning::PinningService;
use crate::http::tls::Keys;
use crate::http::{Address, Listener};
use crate::metrics::Metrics;
use crate::node::Node;
use crate::node::service::Working;
use crate::pinning::{Readiness, Service, Settings};
use crate::task;

const LISTEN: &str = "Pinning.Service.Listen";
/// Time for a reader to take one byte of a reply, and for a request's head to come: who asks here
/// may be anybody.
const WRITE_TIME: Duration = Duration::from_secs(30);
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Connections of one client at a time.
const CLIENT_CONNECTIONS_MAX: usize = 128;

/// A service that is bound and does not answer yet.
pub struct Pinning {
    settings: PinningService,
    listeners: Vec<Listener>,
    keys: Option<Arc<Keys>>,
    /// Where it listens.
    pub bound: Vec<Address>,
}

impl Pinning {
    /// Reads the keys and binds; `None` when the configuration wants no service.
    ///
    /// # Errors
    /// Names the key of the configuration, or the address.
    pub async fn bind(
        root: &Path,
        config: &Config,
        options: &Options,
    ) -> Result<Option<Self>, BootError> {
        let settings = config.pinning_service()?;
        if settings.listen.is_empty() {
            return Ok(None);
        }
        let wrong = |cause| BootError::Address { key: "Pinning.Service.TLS", cause };
        let keys = match settings.tls(root)? {
            None => None,
            Some((certificate, key)) => {
                let read = task::blocking(move || Keys::load(&certificate, &key)).await;
                Some(read.map_err(wrong)?)
            }
        };
        let (listeners, bound) = bind(LISTEN, &settings.listen, options).await?;
        let encrypt = |listener: Listener| match &keys {
            None => Ok(listener),
            Some(keys) => listener.with_tls(keys).map_err(wrong),
        };
        let bounded = |listener: Listener| {
            let listener = listener.with_write_time(WRITE_TIME).with_head_time(HEAD_TIME);
            listener.with_clients(CLIENT_CONNECTIONS_MAX)
        };
        let listeners =
            listeners.into_iter().map(bounded).map(encrypt).collect::<Result<Vec<_>, _>>()?;
        for address in bound.iter().filter(|address| keys.is_none() && !address.is_local()) {
            tracing::warn!("{LISTEN}: tokens go to {address} as they are: set Pinning.Service.TLS");
        }
        Ok(Some(Self { settings, listeners, keys, bound }))
    }

    /// Answers from now on, and works the queue.
    pub fn start(
        self,
        node: &Node,
        metrics: &Metrics,
        (serving, stop): (&TaskTracker, &CancellationToken),
    ) -> Readiness {
        let readiness = Readiness::new(stop.clone());
        let told = Settings { delegates: self.settings.delegates };
        let service = Service::new(node.service(), told, readiness.clone(), metrics.clone());
        for listener in self.listeners {
            task::track(serving, listener.serve(service.clone(), stop.clone()));
        }
        if let Some(keys) = self.keys {
            task::track(serving, reload_on_hangup(keys, stop.clone()));
        }
        let working = Working {
            workers: usize::try_from(self.settings.workers).unwrap_or(usize::MAX),
            stall: self.settings.stall,
            tries: self.settings.tries,
            dial_private: self.settings.dial_private,
        };
        let (pins, stop) = (node.service(), stop.clone());
        task::track(serving, async move { pins.work(working, stop).await });
        readiness
    }
}

/// Reads certificate and key again at each SIGHUP.
async fn reload_on_hangup(keys: Arc<Keys>, stop: CancellationToken) {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return tracing::warn!(%error, "certificates are not read again on SIGHUP"),
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            came = hangup.recv() => if came.is_none() { return },
        }
        let keys = Arc::clone(&keys);
        match task::blocking(move || keys.reload()).await {
            Ok(()) => tracing::info!("the pinning service has read its certificate again"),
            Err(cause) => tracing::error!("the certificate stays as it was: {cause}"),
        }
    }
}
