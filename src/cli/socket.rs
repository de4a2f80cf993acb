//! The RPC over a socket, as a client: to the daemon of this repository, or to one that was named.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, USER_AGENT};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use super::output::CliError;
use super::upload;
use crate::http::Address;
use crate::rpc::http::handover::{DESK, Giver};
use crate::rpc::{self, Body, Lines, Reply};
use crate::task;

type Upload = UnsyncBoxBody<Bytes, std::io::Error>;
/// Longest line of a reply, in bytes: a bound for a daemon gone wrong.
const LINE_MAX_BYTES: usize = 64 << 20;

/// A connection to a daemon.
pub struct Socket {
    sender: tokio::sync::Mutex<SendRequest<Upload>>,
    address: Address,
    authorization: Option<String>,
    /// The repository of the daemon, if it may be handed files.
    root: Option<PathBuf>,
    /// To its desk; what was handed over waits for as long as this is here.
    giver: tokio::sync::OnceCell<Option<Arc<Giver>>>,
}

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// The system's: nobody listens there.
    pub async fn connect(
        address: &Address,
        authorization: Option<String>,
    ) -> std::io::Result<Self> {
        let sender = tokio::sync::Mutex::new(reach(address).await?);
        let (address, giver) = (address.clone(), tokio::sync::OnceCell::new());
        Ok(Self { sender, address, authorization, root: None, giver })
    }

    /// The same socket; its daemon may have the repository at `root`, and be handed files there.
    pub fn handing(self, root: &Path) -> Self {
        Self { root: Some(root.to_owned()), ..self }
    }

    /// The way to the desk of the daemon at the other end, if it has one: what answers here may be
    /// another than the one that has the repository.
    async fn giver(&self) -> Option<Arc<Giver>> {
        let root = self.root.as_ref()?;
        let find = async {
            let asked = Request::builder()
                .method(Method::OPTIONS)
                .uri("/api/v0/add")
                .header(HOST, "localhost")
                .header(DESK, "?");
            let nothing = Empty::new().map_err(|never| match never {}).boxed_unsync();
            let answer = self.send(asked.body(nothing).ok()?).await.ok()?;
            let name = answer.headers().get(DESK)?.to_str().ok()?.to_owned();
            Some(Arc::new(Giver::new(root, name)))
        };
        self.giver.get_or_init(|| find).await.clone()
    }

    /// What [`Self::connect`] takes, for another connection to the same daemon.
    pub fn again(&self) -> (Address, Option<String>) {
        (self.address.clone(), self.authorization.clone())
    }

    /// Sends a request; the reply is read as it comes.
    ///
    /// # Errors
    /// The command's, in its own words.
    pub async fn call(&self, command: &str, query: &str, body: Body) -> Result<Reply, CliError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v0/{command}?{query}"))
            .header(HOST, "localhost")
            .header(USER_AGENT, concat!("henge/", env!("CARGO_PKG_VERSION")));
        if let Some(secret) = &self.authorization {
            request = request.header(AUTHORIZATION, secret);
        }
        let body = match body {
            Body::None => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Body::Files(source) => {
                let (kind, pieces) = upload::multipart(source, self.giver().await);
                request = request.header(CONTENT_TYPE, kind);
                StreamBody::new(pieces.map(|piece| piece.map(Frame::data))).boxed_unsync()
            }
        };
        let request = request.body(body).map_err(|e| CliError::new(e.to_string()))?;
        let failed = |cause: String| CliError::new(format!("the daemon does not answer: {cause}"));
        reply(self.send(request).await.map_err(failed)?).await
    }

    /// Sends over the connection that stands. The daemon may have closed it after the request
    /// before: one that did not go out goes over a new one.
    async fn send(&self, request: Request<Upload>) -> Result<Response<Incoming>, String> {
        let mut sender = self.sender.lock().await;
        let mut unsent = match sender.try_send_request(request).await {
            Ok(response) => return Ok(response),
            Err(error) => error,
        };
        let Some(request) = unsent.take_message() else {
            return Err(unsent.into_error().to_string());
        };
        *sender = reach(&self.address).await.map_err(|e| e.to_string())?;
        sender.send_request(request).await.map_err(|e| e.to_string())
    }
}

async fn reach(address: &Address) -> std::io::Result<SendRequest<Upload>> {
    match address {
        Address::Tcp(to) => {
            let stream = tokio::net::TcpStream::connect(to).await?;
            stream.set_nodelay(true)?;
            open(stream).await
        }
        Address::Unix(path) => open(tokio::net::UnixStream::connect(path).await?).await,
    }
}

async fn open<S>(stream: S) -> std::io::Result<SendRequest<Upload>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    task::detach(async move {
        // Whoever waits for a reply hears of it there.
        let _ = connection.await;
    });
    Ok(sender)
}

/// Tells the shape of a reply by its headers, as Kubo's clients do.
async fn reply(response: Response<Incoming>) -> Result<Reply, CliError> {
    let headers = response.headers().clone();
    let status = response.status();
    let mut content = content(response.into_body());
    if status != StatusCode::OK {
        return Err(refusal(status, &headers, content).await);
    }
    if headers.contains_key("x-chunked-output") {
        return Ok(Reply::Lines(lines(content)));
    }
    if headers.contains_key("x-stream-output") {
        let length = headers.get("x-content-length").and_then(|v| v.to_str().ok()?.parse().ok());
        return Ok(Reply::Bytes { stream: content, length });
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = content.next().await {
        whole.extend_from_slice(&piece?);
        bounded(whole.len())?;
    }
    if whole.is_empty() {
        return Ok(Reply::Empty);
    }
    serde_json::from_slice(&whole)
        .map(Reply::Value)
        .map_err(|e| CliError::new(format!("the daemon answered with what is no JSON: {e}")))
}

type Content = Pin<Box<dyn Stream<Item = Result<Bytes, rpc::Error>> + Send>>;

/// The data of a reply; an error told in the trailer is its last item.
fn content(body: Incoming) -> Content {
    let broken = |e: hyper::Error| failed(format!("the daemon's reply broke off: {e}"));
    let frames = http_body_util::BodyStream::new(body);
    Box::pin(frames.filter_map(move |frame| async move {
        match frame {
            Err(error) => Some(Err(broken(error))),
            Ok(frame) => match frame.into_data() {
                Ok(data) => Some(Ok(data)),
                Err(frame) => {
                    let text = frame.trailers_ref()?.get("x-stream-error")?;
                    Some(Err(failed(String::from_utf8_lossy(text.as_bytes()))))
                }
            },
        }
    }))
}

/// The JSON values of a reply, a line each.
fn lines(content: Content) -> Lines {
    let start = Some((content, BytesMut::new()));
    Box::pin(stream::unfold(start, |state| async {
        let (mut content, mut buffer) = state?;
        loop {
            if let Some(end) = buffer.iter().position(|b| *b == b'\n') {
                let line = buffer.split_to(end + 1);
                if line.trim_ascii().is_empty() {
                    continue;
                }
                let value = serde_json::from_slice(&line);
                let value = value.map_err(|e| failed(format!("a line that is no JSON: {e}")));
                return Some((value, Some((content, buffer))));
            }
            match content.next().await {
                Some(Ok(piece)) => buffer.extend_from_slice(&piece),
                Some(Err(error)) => return Some((Err(error), None)),
                None => return None,
            }
            if bounded(buffer.len()).is_err() {
                return Some((Err(failed("a line of the reply is too long")), None));
            }
        }
    }))
}

/// The error of a reply that is none.
async fn refusal(status: StatusCode, headers: &HeaderMap, mut content: Content) -> CliError {
    let mut text = BytesMut::new();
    while let Some(Ok(piece)) = content.next().await {
        text.extend_from_slice(&piece);
        if bounded(text.len()).is_err() {
            break;
        }
    }
    let json =
        headers.get(CONTENT_TYPE).is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    let message = json
        .then(|| serde_json::from_slice::<Value>(&text).ok())
        .flatten()
        .and_then(|value| value.get("Message")?.as_str().map(str::to_owned));
    let said = String::from_utf8_lossy(&text);
    CliError::new(message.unwrap_or_else(|| match status {
        // An argument that was refused: the daemon's words are the command's.
        StatusCode::BAD_REQUEST if !said.trim().is_empty() => said.trim().to_owned(),
        _ => format!("the daemon answered {status}: {}", said.trim()),
    }))
}

fn bounded(len: usize) -> Result<(), CliError> {
    match len > LINE_MAX_BYTES {
        true => Err(CliError::new("the daemon's reply is too long")),
        false => Ok(()),
    }
}

fn failed(message: impl Into<String>) -> rpc::Error {
    rpc::Error { message: message.into(), client: false }
}
