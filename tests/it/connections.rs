//! Many connections, slow ones and broken ones: memory stays bounded, others are served, nothing
//! panics.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::daemon::peak;
use crate::harness::{Daemon, Repo, keystream, soak};
use crate::http_client::{Connection, head, multipart, post, upload};
use crate::surface::HELLO;

/// Connections that say nothing.
const IDLE: usize = 500;
/// Connections that ask all the time.
const BUSY: usize = 200;
/// Readers that stop in the middle, at the gateway and at the RPC each.
const SLEEPERS: usize = 50;
/// Uploads that stop in the middle.
const HALF_OPEN: usize = 50;

/// A daemon that holds a small file.
fn served() -> (Repo, Daemon) {
    // Both sides of every connection are ours.
    henge::machine::raise_open_files();
    let repo = Repo::for_daemon();
    let daemon = Daemon::offline(&repo);
    assert_eq!(upload(&daemon.api(), "/api/v0/add", b"hello\n").json()["Hash"], HELLO);
    (repo, daemon)
}

/// Checks that the daemon said nothing of a panic, and gives its peak of memory.
fn sound(repo: &Repo, daemon: &Daemon) -> u64 {
    let log = std::fs::read_to_string(repo.path("daemon.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
    peak(daemon.pid())
}

/// The peak of a daemon's memory once it has caught up with what was asked of it: a busy machine
/// serves late what the test has long sent, and its memory would be put down to the next phase.
fn settled(daemon: &Daemon) -> u64 {
    let mut last = peak(daemon.pid());
    let mut since = Instant::now();
    let end = since + Duration::from_secs(20);
    while since.elapsed() < Duration::from_millis(500) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
        let now = peak(daemon.pid());
        if now != last {
            (last, since) = (now, Instant::now());
        }
    }
    last
}

/// A connection that has asked, and reads no more than the head of the reply.
fn sleeper(address: &str, method: &str, target: &str) -> Connection {
    let mut reader = Connection::open(address);
    reader.write(ask(method, target, address).as_bytes());
    assert_eq!(reader.head().0, 200, "{target}");
    reader
}

/// A request under the host's number, which the gateway serves without sending it elsewhere.
fn ask(method: &str, target: &str, address: &str) -> String {
    head(method, target, &[]).replace("Host: localhost", &format!("Host: {address}"))
}

/// An upload whose file never ends.
fn half_open(api: &str) -> Connection {
    let mut connection = Connection::open(api);
    let (kind, body) = multipart("f", &[7; 4096]);
    let headers = [("Content-Type", kind), ("Content-Length", "1000000")];
    connection.write(head("POST", "/api/v0/add", &headers).as_bytes());
    connection.write(&body[..3000]);
    connection
}

/// Asks again and again over a share of the busy connections; gives the longest time of one.
fn busy(api: &str, gateway: &str, connections: usize, rounds: usize) -> Duration {
    let open = |n: usize| Connection::open(if n.is_multiple_of(2) { api } else { gateway });
    let mut connections: Vec<Connection> = (0..connections).map(open).collect();
    let cat = ask("POST", &format!("/api/v0/cat?arg={HELLO}"), api);
    let get = ask("GET", &format!("/ipfs/{HELLO}"), gateway);
    let mut longest = Duration::ZERO;
    for _ in 0..rounds {
        // All at a time: each has a request under way before the first is answered.
        let since = Instant::now();
        for (n, connection) in connections.iter_mut().enumerate() {
            let text = if n.is_multiple_of(2) { &cat } else { &get };
            assert!(connection.write(text.as_bytes()));
        }
        for connection in &mut connections {
            let answer = connection.answer();
            assert_eq!((answer.status, answer.text().as_str()), (200, "hello\n"));
        }
        longest = longest.max(since.elapsed());
    }
    longest
}

#[test]
fn idle_busy_and_slow_connections_take_bounded_memory() {
    let (repo, daemon) = served();
    let (api, gateway) = (daemon.api(), daemon.gateway.clone());
    let large = upload(&api, "/api/v0/add", &keystream("sleepers", 16 << 20)).json();
    let root = large["Hash"].as_str().unwrap();
    let before = settled(&daemon);
    let idle: Vec<TcpStream> = (0..IDLE)
        .map(|n| TcpStream::connect(if n.is_multiple_of(2) { &api } else { &gateway }).unwrap())
        .collect();
    let after_idle = settled(&daemon);
    let sleepers: Vec<Connection> = (0..SLEEPERS)
        .flat_map(|_| {
            let content = sleeper(&gateway, "GET", &format!("/ipfs/{root}"));
            [content, sleeper(&api, "POST", &format!("/api/v0/cat?arg={root}"))]
        })
        .collect();
    let uploads: Vec<Connection> = (0..HALF_OPEN).map(|_| half_open(&api)).collect();
    let after_slow = settled(&daemon);
    let rounds = if soak() { 200 } else { 10 };
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (api, gateway) = (api.clone(), gateway.clone());
            std::thread::spawn(move || busy(&api, &gateway, BUSY / 4, rounds))
        })
        .collect();
    let longest = threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap();
    // A further upload is taken, too.
    assert_eq!(upload(&api, "/api/v0/add", b"hello\n").json()["Hash"], HELLO);
    let after = sound(&repo, &daemon);
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "peak {} MiB; {IDLE} idle {}; {} sleeping readers and {HALF_OPEN} half uploads {}; {BUSY} \
         busy {}; {} answers at a time in {longest:?}",
        mib(before),
        mib(after_idle),
        2 * SLEEPERS,
        mib(after_slow),
        mib(after),
        BUSY / 4,
    );
    // An idle connection takes 10 KiB, and 20 where a busy machine accepts many before it serves the
    // first; a sleeping reader the pieces between store and socket, some 13 of a chunk each; the rest
    // of it is room for the machine's mood.
    assert!(after_idle - before <= (IDLE as u64 * 32) << 10, "{} MiB", mib(after_idle - before));
    let chunks = 2 * SLEEPERS as u64 * 16 * (256 << 10);
    assert!(after_slow - after_idle <= chunks, "{} MiB", mib(after_slow - after_idle));
    assert!(after - after_slow <= 64 << 20, "{} MiB", mib(after - after_slow));
    assert!(longest < Duration::from_secs(10), "{longest:?}");
    drop((idle, sleepers, uploads));
}

/// Writes up to so many bytes of one line that never ends; gives the status, or nothing where the
/// connection was cut before it could be read.
fn endless(address: &str, begin: &str, most: usize) -> Option<u16> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(begin.as_bytes()).unwrap();
    let piece = [b'x'; 64 << 10];
    let mut sent = 0;
    while sent < most && stream.write_all(&piece).is_ok() {
        sent += piece.len();
    }
    let mut text = Vec::new();
    // What was sent and not read makes the system cut the connection, maybe before the reply.
    let _ = stream.read_to_end(&mut text);
    String::from_utf8_lossy(&text).split(' ').nth(1)?.parse().ok()
}

#[test]
fn heads_without_end_are_refused_and_take_no_memory() {
    let (repo, daemon) = served();
    let before = settled(&daemon);
    let most = if soak() { 1 << 30 } else { 4 << 20 };
    for address in [daemon.api(), daemon.gateway.clone()] {
        for (begin, statuses) in [
            ("POST /api/v0/version HTTP/1.1\r\nHost: x\r\nX-Long: ", [431, 431]),
            ("GET /ipfs/", [414, 431]),
            ("POST /api/v0/cat?arg=", [414, 431]),
            ("x", [400, 431]),
        ] {
            if let Some(status) = endless(&address, begin, most) {
                assert!(statuses.contains(&status), "{begin:?}: {status}");
            }
        }
        // Within what is read before it is looked at, the status arrives.
        let long = "x".repeat(200 << 10);
        let mut connection = Connection::open(&address);
        assert_eq!(connection.request("GET", "/", &[("X-Long", &long)]).status, 431);
        let mut connection = Connection::open(&address);
        let many = "A: b\r\n".repeat(1000);
        connection.write(format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
        assert_eq!(connection.answer().status, 431);
        for garbage in ["\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET\r\n\r\n"] {
            let mut connection = Connection::open(&address);
            connection.write(garbage.as_bytes());
            assert_eq!(connection.answer().status, 400, "{garbage:?}");
        }
    }
    assert_eq!(post(&daemon.api(), "/api/v0/version").status, 200);
    let grown = sound(&repo, &daemon) - before;
    println!("heads of {} MiB each: {} KiB more", most >> 20, grown >> 10);
    assert!(grown <= 16 << 20, "{} KiB", grown >> 10);
}

#[test]
fn a_daemon_answers_soon_however_much_it_holds() {
    let repo = Repo::for_daemon();
    let blocks = if soak() { 100_000 } else { 2_000 };
    repo.file("many", keystream("many", blocks << 10));
    repo.ok(["add", "-Q", "--chunker=size-1024", "many"]);
    // The best of a few: the machine may be busy with other tests.
    let starts = (0..5).map(|_| {
        let since = Instant::now();
        let daemon = Daemon::offline(&repo);
        assert_eq!(post(&daemon.api(), "/api/v0/version").status, 200);
        let time = since.elapsed();
        daemon.stop();
        time
    });
    let best = starts.min().unwrap();
    println!("start to first answer over {blocks} blocks: {best:?}");
    assert!(best < Duration::from_millis(300), "{best:?}");
}
