//! The client against a service that answers what a test wrote down.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// Requests as they came, in order.
type Came = Arc<Mutex<Vec<String>>>;

/// A service that gives these replies, one a request; an empty one closes the connection first.
async fn service(replies: Vec<String>) -> (Client, Came) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Came::default();
    let seen = Arc::clone(&came);
    crate::task::detach(async move {
        let mut replies = VecDeque::from(replies);
        while !replies.is_empty() {
            let Ok((mut stream, _)) = listener.accept().await else { return };
            while let Some(request) = request(&mut stream).await {
                seen.lock().unwrap().push(request);
                match replies.pop_front().filter(|reply| !reply.is_empty()) {
                    Some(reply) if stream.write_all(reply.as_bytes()).await.is_ok() => {}
                    _ => break,
                }
            }
        }
    });
    let endpoint = format!("http://127.0.0.1:{port}/psa").parse().unwrap();
    (Client::new("mine", endpoint, "SECRET").unwrap(), came)
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut piece = [0; 4096];
        let n = stream.read(&mut piece).await.ok().filter(|n| *n > 0)?;
        bytes.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&bytes).to_string();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.to_lowercase();
        let length = length.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |text| text.parse().unwrap()) {
            return Some(text);
        }
    }
}

fn reply(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn told(id: &str, status: &str, created: &str) -> String {
    format!(
        r#"{{"requestid":"{id}","status":"{status}","created":"{created}","pin":{{"cid":"bafkqaaa"}},
        "delegates":["/p2p/x"]}}"#
    )
}

fn page(count: u64, results: &[String]) -> String {
    reply("200 OK", &format!(r#"{{"count":{count},"results":[{}]}}"#, results.join(",")))
}

#[tokio::test]
async fn a_pin_is_asked_for_and_looked_at_until_it_is_there() {
    let (client, came) = service(vec![
        reply("202 Accepted", &told("a/..", "queued", "t")),
        reply("200 OK", &told("a/..", "pinning", "t")),
        "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n".into(),
        reply("200 OK", &told("a/..", "pinned", "t")),
        reply("202 Accepted", ""),
    ])
    .await;
    let pin = Pin { cid: "bafkqaaa".into(), name: Some("n".into()), origins: Vec::new() };
    let added = client.add(&pin).await.unwrap();
    assert_eq!((added.status, added.delegates.len()), (Status::Queued, 1));
    assert_eq!(client.until_done(&added.requestid).await.unwrap().status, Status::Pinned);
    client.delete(&added.requestid).await.unwrap();
    let came = came.lock().unwrap();
    let first = &came[0];
    assert!(first.starts_with("POST /psa/pins HTTP/1.1\r\n"), "{first}");
    assert!(first.contains("authorization: Bearer SECRET\r\n"), "{first}");
    assert!(first.ends_with(r#"{"cid":"bafkqaaa","name":"n"}"#), "{first}");
    assert!(came[3].starts_with("GET /psa/pins/a%2F%2E%2E HTTP/1.1\r\n"), "{}", came[3]);
    assert!(came[4].starts_with("DELETE /psa/pins/a%2F%2E%2E HTTP/1.1\r\n"), "{}", came[4]);
}

#[tokio::test]
async fn pages_go_on_before_the_oldest_until_all_came() {
    let (client, came) = service(vec![
        page(3, &[told("3", "pinned", "t3"), told("2", "pinned", "t2")]),
        page(1, &[told("1", "pinned", "t1")]),
        page(0, &[]),
    ])
    .await;
    let cids = (0..11).map(|n| format!("c{n}")).collect();
    let mut pages = client.pages(Filter { cids, ..Filter::default() });
    let mut counts = Vec::new();
    while let Some(page) = pages.next().await.unwrap() {
        counts.push(page.results.len());
    }
    assert_eq!(counts, [2, 1, 0]);
    let came = came.lock().unwrap();
    assert!(came[0].starts_with("GET /psa/pins?limit=100&cid=c0%2Cc1%2C"), "{}", came[0]);
    assert!(came[1].contains("&before=t2 "), "{}", came[1]);
    assert!(came[2].starts_with("GET /psa/pins?limit=100&cid=c10 "), "{}", came[2]);
}

#[tokio::test]
async fn a_service_that_pages_in_a_circle_is_left() {
    let again = page(9, &[told("1", "pinned", "t")]);
    let (client, _) = service(vec![again.clone(), again, page(7, &[])]).await;
    let mut pages = client.pages(Filter::default());
    assert!(pages.next().await.unwrap().is_some());
    let error = pages.next().await.unwrap_err().to_string();
    assert!(error.contains("\"mine\"") && error.contains("ends there, too"), "{error}");
    let error = client.pages(Filter::default()).next().await.unwrap_err().to_string();
    assert!(error.contains("7 requests, and none of them"), "{error}");
}

#[tokio::test]
async fn refusals_are_told_in_the_words_of_the_service() {
    let failure = r#"{"error":{"reason":"UNAUTHORIZED","details":"access\u001b denied"}}"#;
    let (client, _) = service(vec![
        reply("401 Unauthorized", failure),
        reply("404 Not Found", "<html>\n\nnothing"),
        reply("200 OK", "<html>"),
        reply("200 OK", &told("other", "pinned", "t")),
        String::new(),
    ])
    .await;
    let error = client.count(Status::Pinned).await.unwrap_err().to_string();
    let words = "pinning service \"mine\" returned http error 401: reason: \"UNAUTHORIZED\", \
                 details: \"access  denied\"";
    assert_eq!(error, words);
    let error = client.count(Status::Pinned).await.unwrap_err().to_string();
    assert!(error.ends_with("http error 404: Not Found <html>  nothing"), "{error}");
    let error = client.count(Status::Pinned).await.unwrap_err();
    assert!(matches!(error, RemoteError::Malformed { .. }), "{error}");
    let error = client.until_done("mine").await.unwrap_err().to_string();
    assert!(error.contains("it tells of the request \"other\""), "{error}");
    let error = client.count(Status::Pinned).await.unwrap_err();
    assert!(matches!(error, RemoteError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("SECRET"));
}

#[tokio::test]
async fn a_connection_that_the_service_closed_is_made_anew() {
    let closing = "HTTP/1.1 200 OK\r\nContent-Length: 24\r\n\r\n{\"count\":7,\"results\":[]}";
    let (client, came) = service(vec![closing.into(), String::new(), closing.into()]).await;
    // The second request goes out and finds nobody; it may be said again.
    assert_eq!(client.count(Status::Pinned).await.unwrap(), 7);
    assert_eq!(client.count(Status::Pinned).await.unwrap(), 7);
    assert_eq!(came.lock().unwrap().len(), 3);
}

#[tokio::test]
async fn an_endless_reply_is_cut() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1u64 << 40);
    let (client, _) = service(vec![head + &" ".repeat(17 << 20)]).await;
    let error = client.count(Status::Pinned).await.unwrap_err().to_string();
    assert!(error.contains("its reply broke off"), "{error}");
}

#[tokio::test]
async fn keys_and_hosts_that_cannot_be_are_refused() {
    let endpoint: Endpoint = "http://127.0.0.1:1".parse().unwrap();
    let error = Client::new("mine", endpoint.clone(), "a\nb").err().unwrap().to_string();
    assert!(error.contains("\"mine\"") && !error.contains("a\n"), "{error}");
    let client = Client::new("mine", endpoint, "key").unwrap();
    let error = client.count(Status::Queued).await.unwrap_err().to_string();
    assert!(error.contains("dial 127.0.0.1:1: "), "{error}");
    let endpoint = "https://invalid-service.invalid".parse().unwrap();
    let client = Client::new("mine", endpoint, "key").unwrap();
    let error = client.count(Status::Queued).await.unwrap_err().to_string();
    assert!(error.contains("no such host"), "{error}");
}

#[tokio::test]
async fn a_service_that_speaks_no_tls_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap()).parse().unwrap();
    crate::task::detach(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    });
    let client = Client::new("mine", endpoint, "key").unwrap();
    let error = client.count(Status::Queued).await.unwrap_err().to_string();
    // A machine without certificates cannot ask at all, and says so.
    let why = ["no secure connection", "trusts no certificates"];
    assert!(why.iter().any(|why| error.contains(why)), "{error}");
}
