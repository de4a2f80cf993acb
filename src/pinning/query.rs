//! Which requests `GET /pins` asks for: the parameters of the API, checked as its schema has them.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::BTreeMap;
use std::collections::HashSet;

use super::error::Refusal;
use crate::clock;
use crate::ipld::cid::{self, Cid};
use crate::node::service::request::{META_MAX, NAME_MAX_CHARS};
use crate::node::service::{Filter, Match, Status};

/// Most results of a page, and most CIDs in one question.
const LIMIT_MAX: usize = 1000;
const CIDS_MAX: usize = 10;

/// The filter of a query. Parameters that the API does not have are ignored.
///
/// # Errors
/// 400 names the parameter.
pub fn filter(query: &str) -> Result<Filter, Refusal> {
    let refuse = |e: serde_html_form::de::Error| Refusal::bad(format!("bad query: {e}"));
    let pairs: Vec<(String, String)> = serde_html_form::from_str(query).map_err(refuse)?;
    let (mut filter, mut how, mut name) = (Filter::default(), None, None);
    let mut seen: HashSet<&str> = HashSet::new();
    for (key, value) in &pairs {
        let again = !seen.insert(key.as_str());
        let lists = matches!(key.as_str(), "cid" | "status");
        let known =
            matches!(key.as_str(), "name" | "match" | "before" | "after" | "limit" | "meta");
        if again && known && !lists {
            return Err(Refusal::bad(format!("{key}: it is given twice")));
        }
        match key.as_str() {
            "cid" => cids(value, &mut filter.cids)?,
            "status" => statuses(value, &mut filter.status)?,
            "name" => name = Some(checked_name(value)?),
            "match" => how = Some(matching(value)?),
            "before" => filter.before = Some(moment(key, value)?.1),
            "after" => filter.after = Some(moment(key, value)?.0),
            "limit" => filter.limit = limit(value)?,
            "meta" => filter.meta.extend(meta(value)?),
            _ => member(key, value, &mut filter)?,
        }
    }
    filter.name = name.map(|name| (how.unwrap_or_default(), name));
    Ok(filter)
}

fn cids(value: &str, cids: &mut Vec<Cid>) -> Result<(), Refusal> {
    for text in value.split(',') {
        let bad = |e| Refusal::bad(format!("cid: {:?}: {e}", short(text)));
        let cid = cid::parse(text).map_err(bad)?;
        if cids.contains(&cid) {
            return Err(Refusal::bad(format!("cid: {text} is given twice")));
        }
        if cids.len() >= CIDS_MAX {
            return Err(Refusal::bad(format!("cid: more than {CIDS_MAX}")));
        }
        cids.push(cid);
    }
    Ok(())
}

fn statuses(value: &str, statuses: &mut Vec<Status>) -> Result<(), Refusal> {
    for word in value.split(',') {
        let Ok(status) = word.parse::<Status>() else {
            let text = "status: queued, pinning, pinned or failed is expected";
            return Err(Refusal::bad(format!("{text}, not {:?}", short(word))));
        };
        if statuses.contains(&status) {
            return Err(Refusal::bad(format!("status: {word} is given twice")));
        }
        statuses.push(status);
    }
    Ok(())
}

fn checked_name(value: &str) -> Result<String, Refusal> {
    match value.chars().count() > NAME_MAX_CHARS {
        true => Err(Refusal::bad(format!("name: longer than {NAME_MAX_CHARS} characters"))),
        false => Ok(value.to_owned()),
    }
}

fn matching(value: &str) -> Result<Match, Refusal> {
    match value {
        "exact" => Ok(Match::Exact),
        "iexact" => Ok(Match::Iexact),
        "partial" => Ok(Match::Partial),
        "ipartial" => Ok(Match::Ipartial),
        other => {
            let text = "match: exact, iexact, partial or ipartial is expected";
            Err(Refusal::bad(format!("{text}, not {:?}", short(other))))
        }
    }
}

fn limit(value: &str) -> Result<usize, Refusal> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|n| digits && (1..=LIMIT_MAX).contains(n));
    number.ok_or_else(|| Refusal::bad(format!("limit: a number from 1 to {LIMIT_MAX} is expected")))
}

/// A time in microseconds since 1970, rounded down and up: what was made at a whole microsecond is
/// after the one, or before the other, exactly when it is after or before the time.
fn moment(key: &str, value: &str) -> Result<(u64, u64), Refusal> {
    let bad = || {
        let text = "a time as in 2020-07-27T17:32:28.276Z is expected";
        Refusal::bad(format!("{key}: {text}, not {:?}", short(value)))
    };
    // A plus sign that was not escaped is a space by now.
    let (seconds, nanos) = clock::moment(&value.replace(' ', "+")).ok_or_else(bad)?;
    let Ok(seconds) = u64::try_from(seconds) else { return Ok((0, 0)) };
    let whole = seconds.saturating_mul(1_000_000);
    let [down, up] = [nanos / 1000, nanos.div_ceil(1000)];
    Ok((whole.saturating_add(u64::from(down)), whole.saturating_add(u64::from(up))))
}

/// An entry of meta by itself, `meta[key]=value`: so clients write it that were generated for JavaScript.
fn member(key: &str, value: &str, filter: &mut Filter) -> Result<(), Refusal> {
    let Some(name) = key.strip_prefix("meta[").and_then(|rest| rest.strip_suffix(']')) else {
        return Ok(());
    };
    if filter.meta.insert(name.to_owned(), value.to_owned()).is_some() {
        return Err(Refusal::bad(format!("meta: {:?} is given twice", short(name))));
    }
    Ok(())
}

fn meta(value: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let bad = |e| Refusal::bad(format!("meta: a JSON object of strings is expected: {e}"));
    let meta: BTreeMap<String, String> = serde_json::from_str(value).map_err(bad)?;
    match meta.len() > META_MAX {
        true => Err(Refusal::bad(format!("meta: more than {META_MAX} entries"))),
        false => Ok(meta),
    }
}

/// The beginning of a stranger's text.
fn short(text: &str) -> String {
    const CHARS: usize = 100;
    text.chars().take(CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const V0: &str = "QmZULkCELmmk5XNfCgTnCyFgAVxBRBXyDHGGMVoLFLiXEN";

    fn refused(query: &str) -> String {
        let refusal = filter(query).unwrap_err();
        assert_eq!(refusal.status.as_u16(), 400, "{query}");
        refusal.details
    }

    #[test]
    fn every_parameter_is_read() {
        let query = format!(
            "cid={V0},bafkqaaa&name=a%20b&match=ipartial&status=queued,failed&status=pinned\
             &before=2020-07-27T17:32:28.2765Z&after=1970-01-01T00:00:01.0000005%2B00:00&limit=1000\
             &meta=%7B%22k%22%3A%22v%22%7D&meta%5Bj%5D=w&other=1&other=2"
        );
        let read = filter(&query).unwrap();
        let cids: Vec<String> = read.cids.iter().map(ToString::to_string).collect();
        assert_eq!(cids, [V0, "bafkqaaa"]);
        assert_eq!(read.name, Some((Match::Ipartial, "a b".into())));
        assert_eq!(read.status, [Status::Queued, Status::Failed, Status::Pinned]);
        assert_eq!((read.before, read.after), (Some(1_595_871_148_276_500), Some(1_000_000)));
        assert_eq!(read.limit, 1000);
        assert_eq!((read.meta["k"].as_str(), read.meta["j"].as_str()), ("v", "w"));
        assert_eq!(filter("").unwrap(), Filter::default());
    }

    #[test]
    fn what_the_schema_does_not_have_is_refused_by_name() {
        let eleven: Vec<String> = (0..11u8)
            .map(|n| {
                let hash = cid::digest(0x12, &[n]).unwrap();
                Cid::new_v1(0x55, hash).to_string()
            })
            .collect();
        for (query, word) in [
            ("cid=", "cid: "),
            ("cid=nonsense", "nonsense"),
            ("cid=bafkqaaa,bafkqaaa", "twice"),
            (&format!("cid={}", eleven.join(",")), "more than 10"),
            ("status=", "status: "),
            ("status=Pinned", "\"Pinned\""),
            ("status=queued&status=queued", "twice"),
            ("match=", "match: "),
            ("name=a&name=b", "name: it is given twice"),
            (&format!("name={}", "%C4%85".repeat(256)), "255 characters"),
            ("limit=0", "limit: "),
            ("limit=1001", "limit: "),
            ("limit=%2B5", "limit: "),
            ("limit=5&limit=5", "limit: it is given twice"),
            ("before=yesterday", "before: "),
            ("after=2020-02-30T00:00:00Z", "after: "),
            ("meta=x", "meta: "),
            ("meta=%7B%22k%22%3A1%7D", "meta: "),
            ("meta=[]", "meta: "),
            ("meta%5Ba%5D=1&meta%5Ba%5D=2", "twice"),
        ] {
            let details = refused(query);
            assert!(details.contains(word), "{query}: {details}");
        }
        assert!(filter(&format!("name={}", "%C4%85".repeat(255))).is_ok());
    }

    #[test]
    fn times_before_1970_find_nothing_or_everything() {
        let read = filter("before=0001-01-01T00:00:00Z&after=1969-12-31T23:59:59Z").unwrap();
        assert_eq!((read.before, read.after), (Some(0), Some(0)));
        let plus = filter("before=2020-07-27T17:32:28+02:00").unwrap().before;
        assert_eq!(plus, filter("before=2020-07-27T15:32:28Z").unwrap().before);
    }
}
