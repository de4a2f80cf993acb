//! Calls of the crate `ipfs-api-backend-hyper`, each checked; prints `ok <call>` for each.

use std::io::Cursor;

use futures_util::TryStreamExt as _;
use ipfs_api_backend_hyper::{IpfsApi as _, IpfsClient, TryFromUri as _};

const TEXT: &str = "hello from the crate\n";

async fn bytes<E: std::fmt::Debug, B: AsRef<[u8]>>(
    stream: impl futures_util::Stream<Item = Result<B, E>>,
) -> Vec<u8> {
    let pieces: Vec<B> = stream.try_collect().await.unwrap();
    pieces.iter().flat_map(|piece| piece.as_ref().to_vec()).collect()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let client = IpfsClient::from_str(&url).unwrap();
    content(&client).await;
    node(&client).await;
}

/// What is added and had back.
async fn content(client: &IpfsClient) {
    let added = client.add(Cursor::new(TEXT)).await.unwrap();
    assert!(added.hash.starts_with("Qm"), "{}", added.hash);
    println!("ok add");

    assert_eq!(bytes(client.cat(&added.hash)).await, TEXT.as_bytes());
    println!("ok cat");

    let archive = bytes(client.get(&added.hash)).await;
    assert_eq!(&archive[..added.hash.len()], added.hash.as_bytes());
    println!("ok get");

    let folder = tempdir();
    std::fs::write(folder.join("a.txt"), TEXT).unwrap();
    let all = client.add_path(&folder).await.unwrap();
    let root = all.last().unwrap().hash.clone();
    let listed = client.ls(&root).await.unwrap();
    assert!(listed.objects[0].links.iter().any(|link| link.name == "a.txt"));
    println!("ok add_path\nok ls");

    let put = client.block_put(Cursor::new("block")).await.unwrap();
    assert_eq!(put.size, 5);
    assert_eq!(bytes(client.block_get(&put.key)).await, b"block");
    assert_eq!(client.block_stat(&put.key).await.unwrap().size, 5);
    println!("ok block_put\nok block_get\nok block_stat");

    let dag = client.dag_put(Cursor::new(r#"{"a":1}"#)).await.unwrap();
    assert!(bytes(client.dag_get(&dag.cid.cid_string)).await.starts_with(br#"{"a":1}"#));
    println!("ok dag_put\nok dag_get");

    let pinned = client.pin_add(&put.key, true).await.unwrap();
    assert_eq!(pinned.pins, [put.key.as_str()]);
    let pins = client.pin_ls(None, Some("recursive")).await.unwrap();
    assert!(pins.keys.contains_key(&put.key) && pins.keys.contains_key(&added.hash));
    client.pin_rm(&put.key, true).await.unwrap();
    println!("ok pin_add\nok pin_ls\nok pin_rm");
}

/// What the node tells of itself.
async fn node(client: &IpfsClient) {
    let version = client.version().await.unwrap();
    assert!(version.version.starts_with("0."), "{}", version.version);
    println!("ok version");

    let id = client.id(None).await.unwrap();
    assert!(id.id.starts_with("12D3Koo"), "{}", id.id);
    println!("ok id");

    let local: Vec<_> = client.refs_local().try_collect().await.unwrap();
    assert!(!local.is_empty());
    println!("ok refs_local");

    assert!(client.stats_repo().await.unwrap().num_objects > 0);
    println!("ok stats_repo");

    client.config_get_string("Addresses.Gateway").await.unwrap();
    println!("ok config_get_string");

    client.bootstrap_list().await.unwrap();
    client.swarm_peers().await.unwrap();
    println!("ok bootstrap_list\nok swarm_peers");

    let logs = client.log_ls().await.unwrap();
    assert!(!logs.strings.is_empty());
    println!("ok log_ls");

    client.commands().await.unwrap();
    println!("ok commands");

    let missing = client.block_get("nonsense");
    assert!(missing.try_collect::<Vec<_>>().await.is_err());
    println!("ok an error");
}

fn tempdir() -> std::path::PathBuf {
    let folder = std::env::temp_dir().join(format!("client-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}
