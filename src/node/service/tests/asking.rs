//! Whom a fetch asks, as its tenant and the operator are told.

use super::*;
use crate::exchange::{Status as Tried, Tally};
use crate::node::swarm::PeerId;

const MS: Duration = Duration::from_millis(1);

/// Peers with names that send nothing before they are let.
struct Gated {
    names: Vec<PeerId>,
    open: CancellationToken,
    peers: Peers,
}

impl Session for Gated {
    fn fetch(&self, cid: Cid) -> BoxFuture<'_, Result<Block, ExchangeError>> {
        Box::pin(async move {
            self.open.cancelled().await;
            self.peers.fetch(cid).await
        })
    }

    fn progress(&self) -> BoxFuture<'_, Progress> {
        let tally = Tally { searches: 1, providers: 7, ..Tally::default() };
        let status = Tried { wants: 1, connected: 5, tally, ..Tried::default() };
        let progress = Progress { status, peers: self.names.clone(), failure: None };
        Box::pin(async move { progress })
    }
}

#[tokio::test]
async fn whom_a_fetch_asks_is_told_until_it_is_pinned() {
    let (ours, theirs) = (Store::in_memory().unwrap(), Store::in_memory().unwrap());
    theirs.core().put_unpinned(&[leaf(1, 100)]).unwrap();
    let (sent, asked, open) = (Arc::default(), Asked::default(), CancellationToken::new());
    let names: Vec<PeerId> = (0..5).map(|_| PeerId::random()).collect();
    let peers = Peers { theirs, ours: ours.clone(), delay: MS, sent, asked };
    let session = Gated { names: names.clone(), open: open.clone(), peers };
    let mut node = node(&ours);
    node.dag = Dag::new(ours.clone()).asking(Box::new(session), Patience::Endless);
    let service = node.service();
    let who = access(&service, 1, Limits::default());
    let worker = Worker::start(&service, Working::default());
    let id = service.add(&who, ask(leaf(1, 100).cid())).await.unwrap().id;
    let [a, b, c, ..] = &names[..] else { unreachable!() };
    let wanted = format!("asking {a}, {b}, {c} and 2 more; searched for providers once: found 7");
    let since = Instant::now();
    loop {
        let request = service.request(&who, &id).await.unwrap();
        let details = &request.info["status_details"];
        if details.starts_with("0 blocks, ") && details.ends_with(&format!("; {wanted}")) {
            assert_eq!(request.status, Status::Pinning);
            break;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "{details}");
        tokio::time::sleep(5 * MS).await;
    }
    assert_eq!(service.queue()[0].fetching[0].asking, wanted);
    open.cancel();
    until(&service, &who, Status::Pinned, 1).await;
    let details = service.request(&who, &id).await.unwrap().info.remove("status_details");
    assert_eq!(details.as_deref(), Some("1 blocks, 100 B"));
    worker.stop().await;
    assert!(service.queue().is_empty());
}
