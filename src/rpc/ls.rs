//! `ls`.

use futures_util::{StreamExt as _, stream};
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router, reply};
use crate::clock;
use crate::ipld::cid::Cid;
use crate::node::ls::{LsEntry, LsOptions};
use crate::node::{About, What};

/// The bits of Go's file modes that stand elsewhere than Unix's: folder, symlink, setuid, setgid,
/// sticky.
const GO_BITS: [u32; 5] = [1 << 31, 1 << 27, 1 << 23, 1 << 22, 1 << 20];
/// How Go writes a time that nobody told.
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// The entries of folders: one object a path, or one an entry when they are streamed.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: LsOptions = args.options()?;
    let texts = args.some("ipfs-path")?.to_vec();
    let paths = args.paths("ipfs-path")?;
    if !options.stream {
        let mut objects = Vec::with_capacity(paths.len());
        for (text, path) in texts.iter().zip(&paths) {
            let mut links = Vec::new();
            let mut entries = router.node.ls(path, &options).await?;
            while let Some(entry) = entries.recv().await {
                links.push(entry.map_err(Error::from)?);
            }
            links.sort_by(|a, b| a.name.cmp(&b.name));
            let print = args.printer();
            let links: Vec<Value> = links.iter().map(|entry| ls_link(entry, &print)).collect();
            objects.push(json!({ "Hash": text, "Links": links }));
        }
        return Ok(Reply::Value(json!({ "Objects": objects })));
    }
    let mut streams = Vec::with_capacity(paths.len());
    for (text, path) in texts.into_iter().zip(&paths) {
        let print = args.printer();
        let entries = reply::receive(router.node.ls(path, &options).await?);
        streams.push(entries.map(move |entry| {
            let link = ls_link(&entry.map_err(Error::from)?, &print);
            Ok(json!({ "Objects": [{ "Hash": text, "Links": [link] }] }))
        }));
    }
    Ok(Reply::Lines(Box::pin(stream::iter(streams).flatten())))
}

/// One entry in Kubo's shape; its numbers for types are those of the UnixFS protobuf, its mode is
/// Go's.
fn ls_link(entry: &LsEntry, print: &impl Fn(&Cid) -> String) -> Value {
    let (kind, size, target) = match entry.about.as_ref().map(|about| &about.what) {
        Some(What::Directory) => (1, 0, String::new()),
        Some(What::File(size)) => (2, *size, String::new()),
        Some(What::Symlink(to)) => (4, 0, String::from_utf8_lossy(to).into_owned()),
        Some(What::Other) | None => (0, 0, String::new()),
    };
    let mtime = entry.about.as_ref().and_then(|about| about.mtime);
    let mtime = mtime.and_then(|mtime| clock::rfc3339_of(mtime.seconds, mtime.nanos));
    json!({
        "Name": String::from_utf8_lossy(&entry.name),
        "Hash": print(&entry.cid),
        "Size": size,
        "Type": kind,
        "Target": target,
        "Mode": entry.about.as_ref().map_or(0, go_mode),
        "ModTime": mtime.as_deref().unwrap_or(NO_TIME),
    })
}

/// A mode as Go's `os.FileMode`; 0 when none is told.
fn go_mode(about: &About) -> u32 {
    let Some(mode) = about.mode else { return 0 };
    let [folder, symlink, setuid, setgid, sticky] = GO_BITS;
    let kind = match about.what {
        What::Directory => folder,
        What::Symlink(_) => symlink,
        What::File(_) | What::Other => 0,
    };
    let high = [(0o4000, setuid), (0o2000, setgid), (0o1000, sticky)];
    let high = high.into_iter().filter(|(unix, _)| mode & unix != 0);
    high.fold(kind | (mode & 0o777), |sum, (_, go)| sum | go)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        // Made with Go's os package: FileMode(0755)|ModeDir, and so on.
        for (what, mode, go) in [
            (What::Directory, Some(0o755), 2_147_484_141),
            (What::File(0), Some(0o644), 420),
            (What::File(0), Some(0o4755), 8_389_101),
            (What::File(0), Some(0o1777), 1_049_087),
            (What::Symlink("x".into()), Some(0o777), 134_218_239),
            (What::File(0), None, 0),
        ] {
            assert_eq!(go_mode(&About { what, mode, mtime: None }), go);
        }
    }
}
