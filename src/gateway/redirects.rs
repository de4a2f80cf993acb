//! The file `_redirects`: its rules, and which of them a path meets.
//!
//! Pure. Rules come from strangers: the file is bounded, a path is compared with each rule once, and
//! what a rule makes of a path is bounded, too.
//!
//! Source: ipfs/specs web-redirects-file.md.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use super::escape::segment;

/// Largest file, in bytes.
pub const FILE_MAX_BYTES: u64 = 64 << 10;
/// Longest target that a rule makes of a path, in bytes: a rule may name what it caught many times.
const TARGET_MAX_BYTES: usize = 32 << 10;
/// The statuses there are.
const STATUSES: [u16; 9] = [200, 301, 302, 303, 307, 308, 404, 410, 451];

/// One line: what is asked for, what is given in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    from: String,
    to: String,
    status: u16,
}

/// What a rule makes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A path below the root, or an address.
    pub to: String,
    /// How it is given: itself, by a redirect, or in place of an error.
    pub status: u16,
}

/// Reads a file.
///
/// # Errors
/// Names the first line that is no rule.
pub fn parse(text: &str) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let rule = rule(line).map_err(|cause| format!("line {number}: {cause}"))?;
        rules.push(rule);
    }
    Ok(rules)
}

fn rule(line: &str) -> Result<Rule, String> {
    let mut words = line.split_whitespace();
    let (Some(from), Some(to)) = (words.next(), words.next()) else {
        return Err("expected 'from to [status]'".into());
    };
    let status = match (words.next(), words.next()) {
        (None, _) => 301,
        (Some(status), None) => {
            status.parse().map_err(|_| format!("invalid status code {status:?}"))?
        }
        _ => return Err("expected 'from to [status]'".into()),
    };
    if !STATUSES.contains(&status) {
        return Err(format!("unsupported status code {status}"));
    }
    if !from.starts_with('/') {
        return Err("the path to redirect from must begin with '/'".into());
    }
    if from.find('*').is_some_and(|at| at.saturating_add(1) != from.len()) {
        return Err("'*' must be the end of the path to redirect from".into());
    }
    let elsewhere = to.starts_with("https://") || to.starts_with("http://");
    let moves = (300..400).contains(&status);
    if !(to.starts_with('/') || elsewhere && moves) {
        return Err("the target must begin with '/', or be the URL of a redirect".into());
    }
    Ok(Rule { from: from.to_owned(), to: to.to_owned(), status })
}

/// The target of the first rule that a path meets. The path is decoded, and without a slash at its
/// end. `None` without such a rule.
///
/// # Errors
/// A target that is too long.
pub fn find(rules: &[Rule], path: &str) -> Result<Option<Target>, String> {
    let met = rules.iter().find_map(|rule| Some((rule, caught(&rule.from, path)?)));
    let Some((rule, caught)) = met else { return Ok(None) };
    // What was caught is a part of a path, and must not become more in an address.
    let moves = (300..400).contains(&rule.status);
    let value = |text: &str| match moves {
        true => text.split('/').map(|n| segment(n.as_bytes())).collect::<Vec<_>>().join("/"),
        false => text.to_owned(),
    };
    let caught: Vec<_> = caught.into_iter().map(|(name, text)| (name, value(text))).collect();
    let to = fill(&rule.to, &caught).ok_or("the target of a rule is too long")?;
    Ok(Some(Target { to, status: rule.status }))
}

/// What the placeholders of a pattern catch of a path, if it fits.
fn caught<'a>(pattern: &'a str, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let mut caught = Vec::new();
    let mut rest = path.strip_prefix('/')?;
    let pattern = pattern.strip_prefix('/')?;
    let pattern = if pattern.len() > 1 { pattern.trim_end_matches('/') } else { pattern };
    let mut wanted = pattern.split('/').peekable();
    while let Some(want) = wanted.next() {
        if want == "*" {
            caught.push(("splat", rest));
            return Some(caught);
        }
        let (name, below) = rest.split_once('/').map_or((rest, None), |(n, b)| (n, Some(b)));
        match want.strip_prefix(':') {
            Some(placeholder) if !placeholder.is_empty() && !name.is_empty() => {
                caught.push((placeholder, name));
            }
            None if want == name => {}
            // A star behind the beginning of a name.
            None if want.ends_with('*') => {
                let begun = want.trim_end_matches('*');
                caught.push(("splat", rest.strip_prefix(begun)?));
                return Some(caught);
            }
            _ => return None,
        }
        match (below, wanted.peek()) {
            (Some(below), Some(_)) => rest = below,
            (None, None) => return Some(caught),
            _ => return None,
        }
    }
    None
}

/// A target with what was caught in place of its placeholders. A colon that begins no known name
/// stands for itself.
fn fill(to: &str, caught: &[(&str, String)]) -> Option<String> {
    let mut out = String::new();
    let mut rest = to;
    while let Some((before, after)) = rest.split_once(':') {
        out.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let (name, behind) = after.split_at(end.unwrap_or(after.len()));
        match caught.iter().find(|(known, _)| *known == name) {
            Some((_, value)) => out.push_str(value),
            None => {
                out.push(':');
                out.push_str(name);
            }
        }
        rest = behind;
        if out.len() > TARGET_MAX_BYTES {
            return None;
        }
    }
    out.push_str(rest);
    (out.len() <= TARGET_MAX_BYTES).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\n/one /two\r\n/here /there 302\n/posts/:year/:title /:title/of/:year 301\n\
                        /splat/* /other/:splat 307\n/gone/* /410.html 410\n/pre* /post/:splat\n\
                        /away/:x https://example.com:8080/:x?y=:z 308\n/* /index.html 200\n";

    #[test]
    fn the_first_rule_that_fits_is_taken() {
        let rules = parse(FILE).unwrap();
        for (path, to, status) in [
            ("/one", "/two", 301),
            ("/here", "/there", 302),
            ("/posts/2022/hello", "/hello/of/2022", 301),
            ("/posts/2022", "/index.html", 200),
            ("/posts/2022/a/b", "/index.html", 200),
            ("/splat/a/b", "/other/a/b", 307),
            ("/splat/", "/other/", 307),
            ("/gone/x", "/410.html", 410),
            ("/prefix/y", "/post/fix/y", 301),
            ("/away/a", "https://example.com:8080/a?y=:z", 308),
            ("/", "/index.html", 200),
            ("/ą/ę", "/index.html", 200),
            ("/splat/a b/?x#y\\", "/other/a%20b/%3Fx%23y%5C", 307),
        ] {
            let found = find(&rules, path).unwrap().unwrap();
            assert_eq!((found.to.as_str(), found.status), (to, status), "{path}");
        }
        let page = find(&parse("/a/* /b/:splat 200").unwrap(), "/a/b c").unwrap().unwrap();
        assert_eq!(page.to, "/b/b c");
        assert_eq!(find(&parse("/a /b").unwrap(), "/c"), Ok(None));
        assert_eq!(find(&parse("/a/* /b").unwrap(), "/a"), Ok(None));
    }

    #[test]
    fn what_is_no_rule_is_named_by_its_line() {
        for (text, cause) in [
            ("/a", "line 1: expected"),
            ("\n/a /b 301 x", "line 2: expected"),
            ("/a /b 301!", "line 1: invalid status"),
            ("/a /b 999", "line 1: unsupported status"),
            ("/a /b 99999", "line 1: invalid status"),
            ("a /b", "line 1: the path"),
            ("/a/*/b /c", "line 1: '*'"),
            ("/a b", "line 1: the target"),
            ("/a javascript:alert(1)", "line 1: the target"),
            ("/a https://x.example 200", "line 1: the target"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(cause), "{text}: {error}");
        }
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn targets_do_not_grow_without_bound() {
        let rules = parse(&format!("/* /{}", ":splat".repeat(5000))).unwrap();
        assert!(find(&rules, &format!("/{}", "a".repeat(10_000))).is_err());
        // Many rules, one long path: each is looked at once.
        let many = parse(&"/:a/:b /x\n".repeat(6000)).unwrap();
        let since = std::time::Instant::now();
        assert_eq!(find(&many, &"/a".repeat(8000)), Ok(None));
        assert!(since.elapsed().as_secs() < 2);
    }
}
