//! Tenants and tokens: what a secret opens, for how long, and that nothing of a tenant that is gone
//! opens another of its name.

use std::time::Duration;

use super::super::{About, Need, Refused, Scopes, Service, TokenAsk};
use super::*;

const ABOUT: About<'static> = About { from: None, what: "a test" };

/// A service whose audit lies in a folder.
async fn service(store: &Store, folder: &tempfile::TempDir) -> Service {
    let settings =
        Settings { repo_root: folder.path().to_owned(), ..node(store).settings().clone() };
    let service = Node::new(settings, store.clone()).service();
    service.load().await.unwrap();
    service
}

fn pins(tenant: &str) -> TokenAsk {
    let scopes = Scopes { pin: true, ..Scopes::default() };
    TokenAsk { tenant: Some(tenant.to_owned()), scopes, ..TokenAsk::default() }
}

async fn issued(service: &Service, ask: TokenAsk) -> (String, String) {
    let (token, secret) = service.token_issue(ask).await.unwrap();
    (token.id.clone(), secret)
}

#[tokio::test]
async fn a_secret_opens_what_its_token_says_and_so_long_as_it_lives() {
    let (store, folder) = (Store::in_memory().unwrap(), tempfile::tempdir().unwrap());
    let first = service(&store, &folder).await;
    first.tenant_add("acme", Limits::default()).await.unwrap();
    let (id, secret) = issued(&first, pins("acme")).await;
    let read = TokenAsk { scopes: Scopes::of(["read"]).unwrap(), ..pins("acme") };
    let (_, reader) = issued(&first, TokenAsk { rate: Some(1), ..read }).await;
    let brief = TokenAsk { lasts: Some(Duration::from_secs(1)), ..pins("acme") };
    let (_, brief) = issued(&first, brief).await;
    let own = TokenAsk { tenant: None, scopes: Scopes::of(["admin"]).unwrap(), ..pins("") };
    let (_, own) = issued(&first, own).await;
    // A process later.
    let second = service(&store, &folder).await;
    let opens = |secret: &str, need| second.admit(secret, need, &ABOUT).map(drop);
    assert_eq!(second.admit(&secret, Need::Pin, &ABOUT).unwrap().tenant.name, "acme");
    assert_eq!(opens(&secret, Need::Admin), Err(Refused::Scope));
    assert_eq!(opens(&secret[..secret.len() - 1], Need::Read), Err(Refused::Unknown));
    assert_eq!(
        (opens("", Need::Read), opens(&own, Need::Read)),
        (Err(Refused::Unknown), Err(Refused::Unknown))
    );
    assert_eq!(second.admit_operator(&own, Need::Admin, &ABOUT), Ok(()));
    assert_eq!(second.admit_operator(&secret, Need::Read, &ABOUT), Err(Refused::Scope));
    // What it may not do counts as a call, too.
    assert_eq!(
        (opens(&reader, Need::Pin), opens(&reader, Need::Read)),
        (Err(Refused::Scope), Ok(()))
    );
    assert!(matches!(opens(&reader, Need::Read), Err(Refused::Rate { .. })));
    second.token_revoke(&[id]).await.unwrap();
    assert_eq!(opens(&secret, Need::Read), Err(Refused::Unknown));
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(opens(&brief, Need::Read), Err(Refused::Unknown));
    let third = service(&store, &folder).await;
    assert_eq!(third.admit(&secret, Need::Read, &ABOUT).map(drop), Err(Refused::Unknown));
    let tokens = third.token_ls(Some("acme")).await.unwrap();
    let mut states: Vec<_> = tokens.iter().map(|token| token.state().name()).collect();
    states.sort_unstable();
    assert_eq!(states, ["expired", "live", "revoked"]);
}

#[tokio::test]
async fn nothing_of_a_tenant_that_is_gone_opens_another_of_its_name() {
    let (store, folder) = (Store::in_memory().unwrap(), tempfile::tempdir().unwrap());
    let service = service(&store, &folder).await;
    let tenant = service.tenant_add("acme", Limits::default()).await.unwrap();
    assert!(service.tenant_add("acme", Limits::default()).await.is_err());
    let (_, secret) = issued(&service, pins("acme")).await;
    let who = service.admit(&secret, Need::Pin, &ABOUT).unwrap();
    let made = service.add(&who, ask(leaf(1, 8).cid())).await.unwrap();
    assert!(service.tenant_rm("acme", false).await.is_err(), "it has a request");
    // It was not closed by that.
    service.add(&who, ask(leaf(2, 8).cid())).await.unwrap();
    service.remove(&who, &made.id).await.unwrap();
    // Two at once, and somebody who wants a token meanwhile.
    let (one, two, late) = tokio::join!(
        service.tenant_rm("acme", true),
        service.tenant_rm("acme", true),
        service.token_issue(pins("acme")),
    );
    assert!(one.is_ok() && two.is_err() && late.is_err(), "{one:?} {two:?} {late:?}");
    let again = service.tenant_add("acme", Limits::default()).await.unwrap();
    assert_ne!(again.number, tenant.number);
    assert_eq!(service.admit(&secret, Need::Read, &ABOUT).map(drop), Err(Refused::Unknown));
    assert!(service.token_ls(None).await.unwrap().is_empty());
    assert!(service.add(&who, ask(leaf(3, 8).cid())).await.is_err(), "an old proof");
    let (_, secret) = issued(&service, pins("acme")).await;
    let who = service.admit(&secret, Need::Pin, &ABOUT).unwrap();
    assert_eq!(service.find(&who, &all()).await.unwrap().count, 0);
    service.add(&who, ask(leaf(1, 8).cid())).await.unwrap();
}
