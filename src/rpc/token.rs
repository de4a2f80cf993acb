//! `token`: what opens the pinning service and the RPC.

use std::time::{Duration, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Args, Error, Reply, Router};
use crate::clock::{self, rfc3339};
use crate::config::units::parse_duration;
use crate::ipld::cid;
use crate::node::service::{Scopes, Token, TokenAsk};

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct IssueOptions {
    tenant: Option<String>,
    scope: Vec<String>,
    cid: Option<String>,
    name_prefix: Option<String>,
    expires_in: Option<String>,
    max_rate: Option<u32>,
    label: String,
}

/// Issues a token; the reply holds its secret, which is told nowhere else.
pub async fn issue(router: &Router, args: Args) -> Result<Reply, Error> {
    let options: IssueOptions = args.options()?;
    let scopes = options.scope.iter().flat_map(|list| list.split(',')).map(str::trim);
    let ask = TokenAsk {
        tenant: options.tenant,
        scopes: Scopes::of(scopes.filter(|name| !name.is_empty()))?,
        cid: options.cid.as_deref().map(cid::parse).transpose()?,
        name_prefix: options.name_prefix,
        lasts: options.expires_in.as_deref().map(time).transpose()?,
        rate: options.max_rate,
        label: options.label,
    };
    let (token, secret) = router.node.service().token_issue(ask).await?;
    let mut value = shown(&token);
    if let Some(value) = value.as_object_mut() {
        value.insert("Secret".into(), secret.into());
    }
    Ok(Reply::Value(value))
}

/// A span of time, or a duration as Go writes it: `30d`, `1h30m`.
fn time(text: &str) -> Result<Duration, Error> {
    let refuse = |why: String| Error::refused(format!("invalid expires-in: {why}"));
    let time = match clock::span(text) {
        Some(span) => span,
        None => parse_duration(text).map_err(|error| refuse(error.to_string()))?,
    };
    match time.as_secs() {
        0 => Err(refuse(format!("{text:?} is less than a second"))),
        _ => Ok(time),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LsOptions {
    tenant: Option<String>,
}

/// Lists tokens, without their secrets, which nobody knows.
pub async fn ls(router: &Router, args: Args) -> Result<Reply, Error> {
    let LsOptions { tenant } = args.options()?;
    let all = router.node.service().token_ls(tenant.as_deref()).await?;
    let tokens: Vec<Value> = all.iter().map(|token| shown(token)).collect();
    Ok(Reply::Value(json!({ "Tokens": tokens })))
}

/// Takes tokens back.
pub async fn revoke(router: &Router, args: Args) -> Result<Reply, Error> {
    let ids = args.some("id")?;
    router.node.service().token_revoke(ids).await?;
    Ok(Reply::Value(json!({ "Revoked": ids })))
}

fn shown(token: &Token) -> Value {
    let at = |seconds: u64| rfc3339(UNIX_EPOCH + Duration::from_secs(seconds));
    json!({
        "Id": token.id,
        "Tenant": token.tenant,
        "Scopes": token.scopes.names(),
        "Cid": token.cid.map(|cid| cid.to_string()),
        "NamePrefix": token.name_prefix,
        "Created": at(token.created),
        "Expires": token.expires.map(at),
        "Rate": token.rate,
        "Label": token.label,
        "State": token.state().name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lasts_a_span_or_a_duration() {
        for (text, seconds) in
            [("1s", 1), ("12h", 43_200), ("30d", 2_592_000), ("1h30m", 5400), ("1.5s", 1)]
        {
            assert_eq!(time(text).ok().map(|time| time.as_secs()), Some(seconds), "{text}");
        }
        for (text, why) in [
            ("0d", "\"0d\" is less than a second"),
            ("999ms", "\"999ms\" is less than a second"),
            ("-1s", "must not be negative"),
            ("1w", "invalid duration \"1w\""),
            ("1d12h", "invalid duration \"1d12h\""),
        ] {
            let refused = time(text).unwrap_err().to_string();
            assert!(refused.contains("invalid expires-in: ") && refused.contains(why), "{refused}");
        }
    }
}
