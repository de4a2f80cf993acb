//! Escapes: percent-encoding for addresses, entities for HTML, and names made fit to be shown.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

/// Undoes percent-encoding; `None` when the result is not UTF-8. A `%` that begins no escape
/// stands for itself.
pub fn decode(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, below @ ..] = rest {
        let escaped = match (first, below) {
            (b'%', [high, low, after @ ..]) => hex(*high, *low).map(|byte| (byte, after)),
            _ => None,
        };
        let (byte, after) = escaped.unwrap_or((*first, below));
        out.push(byte);
        rest = after;
    }
    String::from_utf8(out).ok()
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some((digit(high)? << 4) | digit(low)?)
}

/// Percent-encodes everything that has a meaning of its own anywhere in an address, in HTML or in a
/// header.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(*byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// A name of a path for an address: as [`encode`], but what has no meaning there stays readable.
pub fn segment(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name {
        match byte {
            b'$' | b'+' | b',' | b':' | b';' | b'=' | b'@' => out.push(char::from(*byte)),
            _ => out.push_str(&encode(&[*byte])),
        }
    }
    out
}

/// The names of a path, each encoded and behind a slash.
pub fn encode_path<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("/{}", segment(name.as_bytes()))).collect()
}

/// A name for people to read, in HTML: no markup, and none of the characters that hide or reorder
/// what stands around them.
pub fn show(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for c in String::from_utf8_lossy(name).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if misleads(c) => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, and Unicode's marks of direction.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_encoding_round_trips() {
        for text in ["", "a b", "ą/ę", "100%", "a+b", "\"<>'\\", "\u{0}\n"] {
            assert_eq!(decode(&encode(text.as_bytes())).as_deref(), Some(text));
        }
        assert_eq!(encode("a b/ą'".as_bytes()), "a%20b%2F%C4%85%27");
        assert_eq!(segment("a=b+c&\"ą".as_bytes()), "a=b+c%26%22%C4%85");
        assert_eq!(decode("100%").as_deref(), Some("100%"));
        assert_eq!(decode("%zz%4").as_deref(), Some("%zz%4"));
        assert_eq!(decode("%2f%2F").as_deref(), Some("//"));
        assert_eq!(decode("%ff"), None);
    }

    #[test]
    fn names_lose_their_markup() {
        assert_eq!(show(b"<b onclick='x'>&\""), "&lt;b onclick=&#39;x&#39;&gt;&amp;&quot;");
        assert_eq!(show("a\u{202e}gnp.exe\r\n".as_bytes()), "a\u{fffd}gnp.exe\u{fffd}\u{fffd}");
        assert_eq!(show(b"\xff\x00"), "\u{fffd}\u{fffd}");
        assert_eq!(show("ąę 日本".as_bytes()), "ąę 日本");
    }
}
