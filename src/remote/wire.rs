//! One connection to a pinning service: HTTP/1.1, encrypted or not, with bounds on time and size.
//!
//! Trusted are the certificates of the machine, those of `SSL_CERT_FILE` and `SSL_CERT_DIR` first:
//! a service within a company has a certificate that only its own machines know. Redirects are not
//! followed: they would carry the key elsewhere.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, RETRY_AFTER, USER_AGENT,
};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, OnceCell};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::endpoint::Endpoint;
use crate::task;

/// Time for a connection to stand, names looked up and keys exchanged.
const CONNECT_TIME: Duration = Duration::from_secs(30);
/// Time for a reply to come whole.
const REPLY_TIME: Duration = Duration::from_secs(60);
/// Longest reply, in bytes: a page of 100 requests with 160 KiB each.
const REPLY_MAX_BYTES: usize = 16 << 20;
/// Bytes of a reply's head.
const HEAD_MAX_BYTES: usize = 64 << 10;
/// Longest time that a service may ask to be left alone, in seconds.
const RETRY_MAX_SECONDS: u64 = 3600;

/// What is trusted, looked for once.
static TRUST: OnceCell<Arc<ClientConfig>> = OnceCell::const_new();

type Sender = SendRequest<Full<Bytes>>;

/// A reply that came whole.
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// What the status is called.
    pub phrase: &'static str,
    /// How long the service wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What it says.
    pub body: Bytes,
}

/// The way to a service, connected when it is needed.
pub struct Wire {
    endpoint: Endpoint,
    authorization: HeaderValue,
    sender: Mutex<Option<Sender>>,
}

impl Wire {
    /// A way that was not gone yet.
    ///
    /// # Errors
    /// For a key that no header can carry.
    pub fn new(endpoint: Endpoint, key: &str) -> Result<Self, String> {
        let value = HeaderValue::try_from(format!("Bearer {key}"));
        let mut authorization = value.map_err(|_| "its key is not printable ASCII".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self { endpoint, authorization, sender: Mutex::new(None) })
    }

    /// Sends a request and waits for its whole reply.
    ///
    /// # Errors
    /// What was tried, and why it failed. Whether the service acted on it is not known then.
    pub async fn send(
        &self,
        method: Method,
        below: &str,
        body: Option<Bytes>,
    ) -> Result<Answer, String> {
        let request = self.request(method, below, body)?;
        let answered = async {
            let response = self.exchange(request).await?;
            let (status, retry_after) = (response.status(), retry_after(&response));
            let body = Limited::new(response.into_body(), REPLY_MAX_BYTES).collect().await;
            let body = body.map_err(|e| format!("its reply broke off: {e}"))?.to_bytes();
            let phrase = status.canonical_reason().unwrap_or_default();
            Ok(Answer { status: status.as_u16(), phrase, retry_after, body })
        };
        let late =
            || format!("{} does not answer within {} s", self.endpoint, REPLY_TIME.as_secs());
        tokio::time::timeout(REPLY_TIME, answered).await.unwrap_or_else(|_| Err(late()))
    }

    fn request(
        &self,
        method: Method,
        below: &str,
        body: Option<Bytes>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{below}", self.endpoint.path))
            .header(HOST, &self.endpoint.authority)
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("henge/", env!("CARGO_PKG_VERSION")));
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body.unwrap_or_default())).map_err(|e| e.to_string())
    }

    /// Over the connection that stands. The service may close it at any time after the request before:
    /// what did not go out goes over a new one, and so does what may be said twice.
    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<hyper::body::Incoming>, String> {
        let mut kept = self.sender.lock().await;
        let broke = |e: hyper::Error| format!("{} does not answer: {e}", self.endpoint);
        if let Some(sender) = kept.as_mut()
            && sender.ready().await.is_ok()
        {
            let twice = request.method() != Method::POST;
            match sender.try_send_request(request.clone()).await {
                Ok(response) => return Ok(response),
                Err(mut error) => {
                    if error.take_message().is_none() && !twice {
                        return Err(broke(error.into_error()));
                    }
                }
            }
        }
        let sender = kept.insert(reach(&self.endpoint).await?);
        sender.send_request(request).await.map_err(broke)
    }
}

/// A connection, encrypted where the endpoint says so.
async fn reach(endpoint: &Endpoint) -> Result<Sender, String> {
    let late = || format!("{endpoint} cannot be reached within {} s", CONNECT_TIME.as_secs());
    let connecting = async {
        let stream = dial(endpoint).await?;
        if !endpoint.tls {
            return open(stream).await;
        }
        let name = ServerName::try_from(endpoint.host.clone());
        let name = name.map_err(|_| format!("{:?} is no name of a host", endpoint.host))?;
        let trust = TRUST.get_or_try_init(|| task::blocking(trust)).await?;
        let stream = TlsConnector::from(Arc::clone(trust)).connect(name, stream).await;
        open(stream.map_err(|e| format!("{endpoint}: no secure connection: {e}"))?).await
    };
    tokio::time::timeout(CONNECT_TIME, connecting).await.unwrap_or_else(|_| Err(late()))
}

/// Every address of the host, one after the other.
async fn dial(endpoint: &Endpoint) -> Result<TcpStream, String> {
    let Endpoint { host, port, .. } = endpoint;
    let unknown = |e: Option<io::Error>| {
        let cause = e.map(|e| format!(" ({e})")).unwrap_or_default();
        format!("lookup {host}: no such host{cause}")
    };
    let found = tokio::net::lookup_host((host.as_str(), *port)).await;
    let mut failed = None;
    for address in found.map_err(|e| unknown(Some(e)))? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and waited for. A socket that refuses is as good.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failed = Some(format!("dial {address}: {error}")),
        }
    }
    Err(failed.unwrap_or_else(|| unknown(None)))
}

async fn open<S>(stream: S) -> Result<Sender, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = Builder::new();
    builder.max_buf_size(HEAD_MAX_BYTES);
    let (sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    task::detach(async move {
        // Whoever waits for a reply hears of it there.
        let _ = connection.await;
    });
    Ok(sender)
}

/// The machine's certificates. One that cannot be read does not keep the others from counting.
fn trust() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let cause = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
        return Err(format!(
            "this machine trusts no certificates (install ca-certificates, or name a file in \
             SSL_CERT_FILE){cause}"
        ));
    }
    // Named, because other parts of this program bring other cryptography with them.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| e.to_string())?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// In seconds; a date is not read.
fn retry_after(response: &Response<hyper::body::Incoming>) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let seconds: u64 = text.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(RETRY_MAX_SECONDS)))
}
