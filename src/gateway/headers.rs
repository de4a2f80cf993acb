//! Headers that say where content comes from, how long it may be kept, and who may read it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, HeaderMap, HeaderName, HeaderValue,
};

use super::escape;
use super::request::METHODS;
use crate::ipld::cid::Cid;

/// Content under `/ipfs` never changes.
pub const IMMUTABLE: &str = "public, max-age=29030400, immutable";
/// A listing is made anew by each release: a week, and a month while it is asked for again.
pub const LISTING: &str = "public, max-age=604800, stale-while-revalidate=2678400";
/// Longest list of roots that is sent, in bytes: clients bound their headers.
const ROOTS_MAX_BYTES: usize = 6 << 10;

/// Headers of every reply: what lets pages of every origin read it, since all of it is public, and
/// what the operator adds.
#[derive(Clone, Debug)]
pub struct Added(HeaderMap);

impl Default for Added {
    fn default() -> Self {
        let mut map = HeaderMap::new();
        for (name, value) in [
            (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
            (ACCESS_CONTROL_ALLOW_METHODS, METHODS),
            (ACCESS_CONTROL_ALLOW_HEADERS, "Content-Type, Range, User-Agent, X-Requested-With"),
            (
                ACCESS_CONTROL_EXPOSE_HEADERS,
                "Content-Length, Content-Range, X-Chunked-Output, X-Ipfs-Path, X-Ipfs-Roots, \
                 X-Stream-Output",
            ),
        ] {
            map.insert(name, HeaderValue::from_static(value));
        }
        Self(map)
    }
}

impl Added {
    /// Adds a header with its values. The lists of headers that pages may send and read grow by
    /// them, any other header that is there gives way.
    ///
    /// # Errors
    /// A name or a value that HTTP does not carry.
    pub fn add(&mut self, name: &str, values: &[String]) -> Result<(), String> {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let parsed = parsed.map_err(|_| format!("{name:?} is no name of a header"))?;
        let kept = match parsed {
            ACCESS_CONTROL_ALLOW_HEADERS | ACCESS_CONTROL_EXPOSE_HEADERS => self.0.get(&parsed),
            _ => None,
        };
        let kept = kept.and_then(|value| value.to_str().ok()).map(str::to_owned);
        self.0.remove(&parsed);
        let all = kept.iter().chain(values);
        let joined = match kept.is_some() {
            true => vec![all.cloned().collect::<Vec<_>>().join(", ")],
            false => values.to_vec(),
        };
        for value in joined {
            let bad = |_| format!("{value:?} is no value of the header {name}");
            self.0.append(parsed.clone(), HeaderValue::from_str(&value).map_err(bad)?);
        }
        Ok(())
    }

    /// Puts them into a reply; what it says itself stays.
    pub fn put_into(&self, headers: &mut HeaderMap) {
        for name in self.0.keys() {
            if !headers.contains_key(name) {
                self.0.get_all(name).iter().for_each(|value| {
                    headers.append(name.clone(), value.clone());
                });
            }
        }
    }
}

/// A header's value of any text: control characters are percent-encoded.
pub fn value(text: &str) -> HeaderValue {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => safe.push_str(&escape::encode(c.encode_utf8(&mut [0; 4]).as_bytes())),
            false => safe.push(c),
        }
    }
    HeaderValue::from_bytes(safe.as_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// The blocks along a path; `None` when there are too many for a header.
pub fn roots(cids: &[Cid]) -> Option<HeaderValue> {
    let text = cids.iter().map(Cid::to_string).collect::<Vec<_>>().join(",");
    (text.len() <= ROOTS_MAX_BYTES).then(|| value(&text))
}

/// Whether a browser shows content or saves it, and under which name: once for those that know
/// ASCII alone, once for all others.
pub fn disposition(kind: &str, name: &str) -> HeaderValue {
    let plain: String = name
        .chars()
        .map(|c| match c {
            '"' | '\\' => '_',
            ' '..='~' => c,
            _ => '_',
        })
        .collect();
    let full = escape::encode(name.as_bytes());
    value(&format!("{kind}; filename=\"{plain}\"; filename*=UTF-8''{full}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn names_are_safe_in_a_header() {
        for (name, text) in [
            ("a b.txt", "inline; filename=\"a b.txt\"; filename*=UTF-8''a%20b.txt"),
            (
                "testтест.jpg",
                "inline; filename=\"test____.jpg\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.jpg",
            ),
            ("a\"\r\nX: y", "inline; filename=\"a___X: y\"; filename*=UTF-8''a%22%0D%0AX%3A%20y"),
        ] {
            assert_eq!(disposition("inline", name).to_str().unwrap(), text);
        }
    }

    #[test]
    fn roots_are_listed_while_they_fit() {
        let dir = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        assert_eq!(roots(&[dir, dir]).unwrap(), format!("{dir},{dir}").as_str());
        assert_eq!(roots(&[dir; 200]), None);
    }

    #[test]
    fn operators_add_headers_and_replies_keep_their_own() {
        let mut added = Added::default();
        let list = |values: &[&str]| values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>();
        added.add("X-Any", &list(&["a", "b"])).unwrap();
        added.add("access-control-allow-origin", &list(&["https://x.example"])).unwrap();
        added.add("Access-Control-Expose-Headers", &list(&["X-Any"])).unwrap();
        added.add("Cache-Control", &list(&["no-store"])).unwrap();
        assert!(added.add("X Y", &[]).is_err() && added.add("X", &list(&["a\nb"])).is_err());
        let mut map = HeaderMap::new();
        map.insert("cache-control", HeaderValue::from_static(IMMUTABLE));
        added.put_into(&mut map);
        assert_eq!(map.get_all("x-any").iter().count(), 2);
        assert_eq!(map["access-control-allow-origin"], "https://x.example");
        assert!(map["access-control-expose-headers"].to_str().unwrap().ends_with("Output, X-Any"));
        assert_eq!(map["cache-control"], IMMUTABLE);
        assert_eq!(map["access-control-allow-methods"], METHODS);
    }

    #[test]
    fn any_text_makes_a_value() {
        assert_eq!(value("a\r\nb\u{7f}\u{85}").as_bytes(), b"a%0D%0Ab%7F%C2%85");
        assert_eq!(value("ą").as_bytes(), "ą".as_bytes());
    }
}
