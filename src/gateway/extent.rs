//! What a request for a CAR asks for: how much of the DAG, in which order, with or without repeats.
//!
//! Pure. The query comes first, then the parameters of the type in `Accept` (IPIP-523).
//!
//! Source: ipfs/specs trustless-gateway.md, IPIP-402, IPIP-412.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::error::Refusal;
use crate::node::car::{Extent, Scope, Span};

/// Parameters of the type in `Accept` that have a form in the query, and that form.
pub const PARAMETERS: [(&str, &str); 3] =
    [("version", "car-version"), ("order", "car-order"), ("dups", "car-dups")];

/// A CAR that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CarForm {
    /// What is in it.
    pub extent: Extent,
    /// What the reply says of the order: blocks come depth first whatever was asked for.
    order: &'static str,
}

impl CarForm {
    /// Reads pairs of a query and of a type's parameters.
    ///
    /// # Errors
    /// 400 for a value that is none of those there are.
    pub fn parse(
        query: &[(String, String)],
        accepted: &[(String, String)],
    ) -> Result<Self, Refusal> {
        let asked = |name: &str| find(query, name);
        // An empty value says as much as none.
        let parameter = |name: &str, long: &str| {
            let chosen = asked(long).filter(|value| !value.is_empty());
            chosen.or_else(|| find(accepted, name)).filter(|value| !value.is_empty())
        };
        let [version, order, dups] = PARAMETERS.map(|(name, long)| parameter(name, long));
        if let Some(version) = version.filter(|version| *version != "1") {
            return Err(Refusal::bad(format!("CARs are written in version 1, not {version:?}")));
        }
        let order = match order {
            None | Some("dfs") => "dfs",
            Some("unk") => "unk",
            Some(other) => return Err(Refusal::bad(format!("order={other:?}: dfs or unk"))),
        };
        let repeats = match dups {
            None | Some("n") => false,
            Some("y") => true,
            Some(other) => return Err(Refusal::bad(format!("dups={other:?}: y or n"))),
        };
        let span = asked("entity-bytes").map(span).transpose()?;
        let scope = match (asked("dag-scope"), span) {
            (Some("block"), _) => Scope::Block,
            (Some("all"), _) | (None, None) => Scope::All,
            (Some("entity"), span) | (None, span) => Scope::Entity(span),
            (Some(other), _) => {
                return Err(Refusal::bad(format!("dag-scope={other:?}: block, entity or all")));
            }
        };
        Ok(Self { extent: Extent { scope, repeats }, order })
    }

    /// The reply's type.
    pub fn media(&self) -> String {
        let dups = if self.extent.repeats { "y" } else { "n" };
        format!("application/vnd.ipld.car; version=1; order={}; dups={dups}", self.order)
    }
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// First and last byte, negative from the end, `*` for the last one there is.
fn span(text: &str) -> Result<Span, Refusal> {
    let bad = || Refusal::bad(format!("entity-bytes={text:?}: <first>:<last>, or <first>:*"));
    let (from, to) = text.split_once(':').ok_or_else(bad)?;
    let number = |text: &str| text.parse::<i64>().map_err(|_| bad());
    let from = number(from)?;
    let to = if to == "*" { None } else { Some(number(to)?) };
    match to {
        // Numbers that count from the same end can be told to be in the wrong order.
        Some(to) if (from < 0) == (to < 0) && from > to => Err(bad()),
        to => Ok(Span { from, to }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        serde_html_form::from_str(text).unwrap()
    }

    fn form(query: &str, accepted: &str) -> Result<CarForm, u16> {
        CarForm::parse(&pairs(query), &pairs(accepted)).map_err(|e| e.status.as_u16())
    }

    #[test]
    fn the_query_comes_before_accept() {
        let media = |order: &str, dups: &str| {
            format!("application/vnd.ipld.car; version=1; order={order}; dups={dups}")
        };
        for (query, accepted, order, dups) in [
            ("", "", "dfs", "n"),
            ("", "version=1&order=unk&dups=y", "unk", "y"),
            ("car-order=dfs&car-dups=n", "order=unk&dups=y", "dfs", "n"),
            ("car-version=1&car-order=&car-dups=", "order=unk", "unk", "n"),
            ("order=unk&dups=y", "", "dfs", "n"),
        ] {
            assert_eq!(form(query, accepted).unwrap().media(), media(order, dups), "{query}");
        }
    }

    #[test]
    fn scopes_and_spans_are_read() {
        let span = |from, to| Scope::Entity(Some(Span { from, to }));
        for (query, scope) in [
            ("", Scope::All),
            ("dag-scope=all", Scope::All),
            ("dag-scope=block", Scope::Block),
            ("dag-scope=entity", Scope::Entity(None)),
            ("entity-bytes=0:*", span(0, None)),
            ("dag-scope=entity&entity-bytes=5:9", span(5, Some(9))),
            ("entity-bytes=-9:-5", span(-9, Some(-5))),
            ("entity-bytes=-9:5", span(-9, Some(5))),
            ("entity-bytes=499:-1000", span(499, Some(-1000))),
            ("dag-scope=all&entity-bytes=0:5", Scope::All),
            ("dag-scope=block&entity-bytes=0:5", Scope::Block),
        ] {
            assert_eq!(form(query, "").unwrap().extent.scope, scope, "{query}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for query in [
            "dag-scope=some",
            "dag-scope=",
            "car-version=2",
            "car-order=bfs",
            "car-dups=yes",
            "entity-bytes=",
            "entity-bytes=5",
            "entity-bytes=*:5",
            "entity-bytes=9:5",
            "entity-bytes=-5:-9",
            "entity-bytes=a:b",
            "entity-bytes=0:5:6",
            "entity-bytes=0:99999999999999999999",
            "dag-scope=block&entity-bytes=x",
        ] {
            assert_eq!(form(query, ""), Err(400), "{query}");
        }
        for accepted in ["version=2", "order=bfs", "dups=maybe"] {
            assert_eq!(form("", accepted), Err(400), "{accepted}");
        }
    }
}
