//! Addresses: which path a request means, and where one at the wrong address is sent.

use super::*;
use crate::gateway::hostname::Hosts;

const V0: &str = "QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn";
const V1: &str = "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354";

fn get(host: &str, uri: &str) -> Request {
    let request = hyper::Request::builder().uri(uri).header("host", host).body(()).unwrap();
    Request::parse(&request.into_parts().0).unwrap()
}

fn sent(host: &str, uri: &str) -> Result<Option<String>, u16> {
    let request = get(host, uri);
    elsewhere(&request, &hostname::site(&request.host, &Hosts::default()))
        .map_err(|e| e.status.as_u16())
}

#[test]
fn content_at_the_wrong_address_is_sent_to_its_own() {
    let own = format!("http://{V1}.ipfs.localhost:8080");
    for (host, uri, target) in [
        ("127.0.0.1:8080", format!("/ipfs/{V0}/a"), None),
        ("localhost:8080", format!("/ipfs/{V0}"), Some(format!("{own}/"))),
        ("localhost:8080", format!("/ipfs/{V0}/"), Some(format!("{own}/"))),
        ("localhost:8080", format!("/ipfs/{V0}/a%20b?x=y"), Some(format!("{own}/a%20b?x=y"))),
        ("LOCALHOST:8080", format!("/ipfs/{V1}/a/"), Some(format!("{own}/a/"))),
        ("localhost:8080", "/version".into(), None),
        (&format!("{V0}.ipfs.localhost:8080"), "/a?x".into(), Some(format!("{own}/a?x"))),
        (&format!("{V1}.ipfs.localhost:8080"), "/a".into(), None),
        ("127.0.0.1", format!("/ipfs/ipfs/{V0}/a?x"), Some(format!("/ipfs/{V0}/a?x"))),
        ("127.0.0.1", format!("/ipfs/?uri=ipfs%3A%2F%2F{V0}%2Fa"), Some(format!("/ipfs/{V0}/a"))),
    ] {
        assert_eq!(sent(host, &uri), Ok(target), "{host} {uri}");
    }
    assert_eq!(sent("nonsense.ipfs.localhost", "/"), Err(400));
    assert_eq!(sent("localhost", "/ipfs/nonsense"), Err(400));
    assert_eq!(sent("x", "/ipfs/?uri=https%3A%2F%2Fevil.example"), Err(400));
    assert_eq!(sent("x", "/ipfs/?uri=%2F%2Fevil.example"), Err(400));
}

#[test]
fn paths_come_from_the_address_or_the_host() {
    let path = |host: &str, uri: &str| {
        let request = get(host, uri);
        content_path(&request, &hostname::site(host, &Hosts::default()))
            .map_err(|e| e.status.as_u16())
    };
    let (full, base) = (format!("/ipfs/{V0}/a"), format!("/ipfs/{V0}"));
    assert_eq!(path("127.0.0.1", &full), Ok((full.clone(), base)));
    let own = format!("{V1}.ipfs.localhost");
    assert_eq!(path(&own, "/a/"), Ok((format!("/ipfs/{V1}/a/"), String::new())));
    // On a host of its own every path is one of its content: the RPC's, too.
    let inner = format!("/ipfs/{V1}/api/v0/id");
    assert_eq!(path(&own, "/api/v0/id"), Ok((inner, String::new())));
    for nothing in ["/", "/ipfs", "/ipfs/", "/api/v0/id", "/ipld/x", "//ipfs/x"] {
        assert_eq!(path("127.0.0.1", nothing), Err(404), "{nothing}");
    }
}

#[test]
fn workers_are_kept_out_of_bare_roots() {
    assert!(is_bare("/ipfs/x"));
    assert!(!is_bare("/ipfs/x/") && !is_bare("/ipfs/x/sw.js"));
}
