//! `repo`.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::config::units::parse_duration;
use crate::node::KUBO_REPO;
use crate::node::repo::{Fate, RepoVerified, RepoVerifyOptions};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct StatOptions {
    #[serde(alias = "s")]
    size_only: bool,
}

/// How much there is.
pub async fn stat(router: &Router, args: Args) -> Result<Reply, Error> {
    let StatOptions { size_only } = args.options()?;
    let stat = router.node.repo_stat().await?;
    let mut reply = json!({ "RepoSize": stat.size, "StorageMax": stat.storage_max });
    if let (false, Value::Object(fields)) = (size_only, &mut reply) {
        let path = router.repo.root().display().to_string();
        fields.insert("NumObjects".into(), stat.objects.into());
        fields.insert("RepoPath".into(), path.into());
        fields.insert("Version".into(), format!("fs-repo@{KUBO_REPO}").into());
        // Not Kubo's: of what it is made up.
        fields.insert("LogicalSize".into(), stat.logical.into());
        fields.insert("GarbageSize".into(), stat.garbage.into());
    }
    Ok(Reply::Value(reply))
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct GcOptions {
    dry_run: bool,
}

/// Deletes what nothing holds, or tells what it would delete.
pub async fn gc(router: &Router, args: Args) -> Result<Reply, Error> {
    let print = args.printer();
    let GcOptions { dry_run } = args.options()?;
    let events = match dry_run {
        true => router.node.gc_plan().await,
        false => router.node.gc().await,
    };
    Ok(Reply::lines(events, move |event| json!({ "Key": { "/": print(&event.cid) } })))
}

/// The repository's version: that of Kubo's which it answers for.
pub fn version() -> Reply {
    Reply::Value(json!({ "Version": KUBO_REPO }))
}

/// How long one block is fetched, as in Kubo.
const HEAL_TIME: Duration = Duration::from_secs(30);

/// Reads every block and hashes it again.
pub async fn verify(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: RepoVerifyOptions = args.options()?;
    let print = args.printer();
    let patience = match options.heal_timeout.as_deref() {
        Some(text) => parse_duration(text)
            .map_err(|error| Error::refused(format!("invalid heal-timeout: {error}")))?,
        None => HEAL_TIME,
    };
    let patience = Some(patience).filter(|time| !time.is_zero());
    let told = router.node.repo_verify(&options, patience)?;
    Ok(Reply::lines(told, move |event| {
        let (message, blocks) = match event {
            RepoVerified::Corrupt { cid, cause, fate } => {
                let fate = match fate {
                    Fate::Left => String::new(),
                    Fate::Removed => ", removed".into(),
                    Fate::Healed => ", healed".into(),
                    Fate::Unhealed(why) => format!(", failed to heal ({why})"),
                };
                (format!("block {} was corrupt ({cause}){fate}", print(&cid)), 0)
            }
            RepoVerified::Mended(summary) => (summary, 0),
            RepoVerified::Progress(blocks) => (String::new(), blocks),
            RepoVerified::Sound => ("verify complete, all blocks validated.".into(), 0),
        };
        json!({ "Msg": message, "Progress": blocks })
    }))
}
