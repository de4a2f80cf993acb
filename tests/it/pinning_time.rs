//! How soon the pinning service answers over a connection that is kept: a tenant with as many pins as
//! the bars say in the full form, and a few thousand otherwise.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::soak;
use crate::http_client::{Connection, head};
use crate::pinning_api::{Pinning, token_online};

/// Connections over which pins are asked for at a time.
const WRITERS: usize = 16;

/// A CID of identity with a number in it: its block is here at once.
fn cid(n: usize) -> String {
    format!("f01550004{n:08x}")
}

/// Asks over a connection, and gives the time that the reply took to come whole.
fn timed(connection: &mut Connection, token: &str, target: &str, body: &str) -> (Duration, u64) {
    let (bearer, length) = (format!("Bearer {token}"), body.len().to_string());
    let mut headers = vec![("Authorization", bearer.as_str())];
    let method = if body.is_empty() { "GET" } else { "POST" };
    if !body.is_empty() {
        headers.extend([("Content-Type", "application/json"), ("Content-Length", &length)]);
    }
    let request = [head(method, target, &headers).as_bytes(), body.as_bytes()].concat();
    let since = Instant::now();
    assert!(connection.write(&request));
    let answer = connection.answer();
    let time = since.elapsed();
    assert!(matches!(answer.status, 200 | 202), "{target}: {}", answer.text());
    (time, answer.json()["count"].as_u64().unwrap_or_default())
}

/// The time that one in a hundred passes.
fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() - 1 - times.len() / 100]
}

/// Asks for so many pins of each tenant over several connections; gives how long each took.
fn fill(service: &Pinning, tokens: &[String], count: usize) -> Vec<Duration> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                scope.spawn(move || {
                    let mut connection = Connection::open(&service.address);
                    let asked = (writer..count * tokens.len()).step_by(WRITERS).map(|n| {
                        let (n, token) = (n / tokens.len(), &tokens[n % tokens.len()]);
                        let pin = json!({
                            "cid": cid(n), "name": format!("Folder {}/{n}", n % 100),
                            "meta": {"app": (n % 10).to_string(), "n": n.to_string()},
                        });
                        timed(&mut connection, token, "/pins", &pin.to_string()).0
                    });
                    asked.collect::<Vec<Duration>>()
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    })
}

#[test]
fn questions_are_answered_in_time() {
    // What is built without optimisation, beside other tests, says little of time.
    let (tenants, count, rounds, slack) =
        if soak() { (10, 100_000, 500, 1) } else { (2, 2_000, 40, 20) };
    let service = Pinning::start();
    let mut tokens = vec![service.token.clone()];
    for n in 1..tenants {
        tokens.push(token_online(&service, &format!("tenant-{n}")));
    }
    let since = Instant::now();
    let posted = p99(fill(&service, &tokens, count));
    println!(
        "{count} pins of {tenants} tenants asked for in {:?}: p99 {posted:?}",
        since.elapsed()
    );
    let mut connection = Connection::open(&service.address);
    let token = service.token.as_str();
    let since = Instant::now();
    for token in &tokens {
        while timed(&mut connection, token, "/pins?limit=1", "").1 < count as u64 {
            assert!(since.elapsed() < Duration::from_secs(1800), "they are not pinned");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    println!("all of them pinned {:?} later", since.elapsed());
    let (soon, later) = (Duration::from_millis(20 * slack), Duration::from_millis(300 * slack));
    let pages = "before=2100-01-01T00:00:00Z&after=2000-01-01T00:00:00Z&limit=100";
    let of_app = count as u64 / 10;
    for (what, query, found, most) in [
        ("newest ten", String::new(), count as u64, soon),
        ("a cid", format!("cid={}", cid(count / 2)), 1, soon),
        ("a name", format!("name=Folder%20{}/{}", count / 2 % 100, count / 2), 1, soon),
        ("a status", "status=failed,queued".to_owned(), 0, soon),
        ("a span of time", pages.to_owned(), count as u64, soon),
        (
            "a part of a name",
            "name=folder%207/&match=ipartial".to_owned(),
            count as u64 / 100,
            later,
        ),
        ("meta", "meta=%7B%22app%22:%227%22%7D".to_owned(), of_app, later),
        (
            "a part of a name, and meta",
            "name=older%207/&match=partial&meta=%7B%22app%22:%227%22%7D".to_owned(),
            count as u64 / 100,
            later,
        ),
    ] {
        let rounds = if most == later { rounds / 4 } else { rounds };
        let asked = (0..rounds).map(|_| {
            let (time, given) = timed(&mut connection, token, &format!("/pins?{query}"), "");
            assert_eq!(given, found, "{what}");
            time
        });
        let time = p99(asked.collect());
        println!("{what}: p99 {time:?} of {count}");
        assert!(time < most, "{what}: {time:?}");
    }
    let posted = (0..rounds).map(|n| {
        let pin = json!({"cid": cid(count + n)}).to_string();
        timed(&mut connection, &service.token, "/pins", &pin).0
    });
    let time = p99(posted.collect());
    println!("POST: p99 {time:?}");
    assert!(time < soon, "POST: {time:?}");
}
