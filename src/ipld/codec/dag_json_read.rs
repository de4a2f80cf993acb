//! The reading half of dag-json: a JSON parser with an explicit stack that recognises links and
//! bytes.
//!
//! Owns the grammar and what is tolerated in it; the written form is `dag_json.rs`'s.
//!
//! Where the deployed reader (go-ipld-prime 0.24 over refmt) and the specification differ:
//! - A map whose first key is `/` is a link or bytes only in exactly those two shapes; any other
//!   such map stays a map, as in Kubo, although the specification would refuse some of them.
//! - A lone surrogate escape reads as U+FFFD, as in Go. Raw bytes that are not UTF-8 are refused,
//!   where Go would replace them and so change the data silently.
//! - Kubo also takes `nope` for `null`, `[1,]` for `[1]` and zero bytes after the value. Those are
//!   accidents of its parser and are refused here.
//!
//! Memory: JSON declares no lengths, so lists and maps grow by doubling and are trimmed when they
//! close. Per byte of input that is at most 72 bytes of heap while one long list of digits is being
//! read, 48 for a list of `[0]`, and no more than half of that afterwards.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use std::sync::LazyLock;

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, Encoding};

use super::super::value::{Assembler, DecodeError, INTEGER_RANGE, Inside, Value};
use crate::ipld::cid::{self, Cid};

/// Longest text that is tried as a CID, in characters: base58 is quadratic.
const CID_TEXT_MAX_CHARS: usize = 2 * cid::CID_MAX_BYTES;
/// Every way to write the key `/`, with the quotes.
const SLASH_KEYS: [&[u8]; 4] = [b"\"/\"", b"\"\\/\"", b"\"\\u002f\"", b"\"\\u002F\""];
/// Base64 without and with padding, as lenient as Go's: line breaks and stray low bits pass.
static BASE64_LAX: LazyLock<[Encoding; 2]> = LazyLock::new(|| {
    [BASE64_NOPAD, BASE64].map(|strict| {
        let mut lax = strict.specification();
        lax.check_trailing_bits = false;
        lax.ignore.push_str("\r\n");
        lax.encoding().unwrap_or(strict)
    })
});

/// Reads a block.
///
/// # Errors
/// [`DecodeError`], naming the offset.
pub fn decode(block: &Bytes) -> Result<Value, DecodeError> {
    read(block, true)
}

/// The same where `/` means nothing: plain JSON has no links and no bytes.
///
/// # Errors
/// [`DecodeError`], naming the offset.
pub fn decode_plain(block: &Bytes) -> Result<Value, DecodeError> {
    read(block, false)
}

fn read(block: &Bytes, wraps: bool) -> Result<Value, DecodeError> {
    let mut reader = Reader { block, at: 0, tree: Assembler::default(), wraps };
    let mut due = Due::Value;
    loop {
        reader.skip_space();
        due = match due {
            Due::Value => reader.value()?,
            Due::ValueOrEnd if reader.eat(b']') => reader.close()?,
            Due::ValueOrEnd => reader.value()?,
            Due::Key => reader.key()?,
            Due::KeyOrEnd if reader.eat(b'}') => reader.close()?,
            Due::KeyOrEnd => reader.key()?,
            Due::Separator => match reader.tree.inside() {
                Inside::Root => break,
                Inside::List => reader.separator(b']', Due::Value)?,
                Inside::Map => reader.separator(b'}', Due::Key)?,
            },
        };
    }
    if reader.at < block.len() {
        return Err(DecodeError::Trailing { at: reader.at });
    }
    reader.tree.into_root().ok_or(DecodeError::Truncated { at: 0 })
}

/// What the grammar allows next.
enum Due {
    /// A value.
    Value,
    /// A value, or the end of a list that has just begun.
    ValueOrEnd,
    /// A key.
    Key,
    /// A key, or the end of a map that has just begun.
    KeyOrEnd,
    /// A comma or the end of the container; the end of the block after the root.
    Separator,
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
    tree: Assembler,
    /// Maps may stand for links and bytes.
    wraps: bool,
}

impl Reader<'_> {
    fn value(&mut self) -> Result<Due, DecodeError> {
        let at = self.at;
        let value = match self.peek().ok_or(DecodeError::Truncated { at })? {
            b'n' => self.literal("null", Value::Null)?,
            b't' => self.literal("true", Value::Bool(true))?,
            b'f' => self.literal("false", Value::Bool(false))?,
            b'"' => Value::String(self.string()?),
            b'-' | b'0'..=b'9' => self.number()?,
            b'[' => {
                self.pass(1);
                self.tree.open_list(at, 0)?;
                return Ok(Due::ValueOrEnd);
            }
            b'{' => {
                self.pass(1);
                self.tree.check_depth(at)?;
                let body = self.at;
                match self.wrapped()? {
                    Some(value) => value,
                    None => {
                        self.at = body;
                        self.tree.open_map(at, 0)?;
                        return Ok(Due::KeyOrEnd);
                    }
                }
            }
            _ => {
                return Err(DecodeError::Syntax { at, expected: "a value" });
            }
        };
        self.tree.put(value);
        Ok(Due::Separator)
    }

    fn key(&mut self) -> Result<Due, DecodeError> {
        let at = self.at;
        match self.peek() {
            None => return Err(DecodeError::Truncated { at }),
            Some(b'"') => {}
            Some(b'{' | b'[' | b'-' | b'0'..=b'9' | b'n' | b't' | b'f') => {
                return Err(DecodeError::KeyNotString { at });
            }
            Some(_) => {
                return Err(DecodeError::Syntax { at, expected: "a map key" });
            }
        }
        let key = self.string()?;
        self.skip_space();
        self.demand(b':', "':'")?;
        self.tree.key(key);
        Ok(Due::Value)
    }

    fn close(&mut self) -> Result<Due, DecodeError> {
        self.tree.close()?;
        Ok(Due::Separator)
    }

    fn separator(&mut self, end: u8, after_comma: Due) -> Result<Due, DecodeError> {
        if self.eat(end) {
            return self.close();
        }
        self.demand(b',', "',' or the end of the list or map")?;
        Ok(after_comma)
    }

    /// Reads the rest of `{"/":"cid"}` or `{"/":{"bytes":"base64"}}`, if this is one. The caller
    /// restores the position if it is not; so a string is read twice at most.
    fn wrapped(&mut self) -> Result<Option<Value>, DecodeError> {
        if !self.wraps {
            return Ok(None);
        }
        self.skip_space();
        let rest = self.rest();
        let Some(key) = SLASH_KEYS.iter().find(|key| rest.starts_with(key)) else {
            return Ok(None);
        };
        self.pass(key.len());
        if !self.eat_spaced(b':') {
            return Ok(None);
        }
        self.skip_space();
        let at = self.at;
        if self.peek() == Some(b'"') {
            let text = self.string()?;
            if !self.eat_spaced(b'}') {
                return Ok(None);
            }
            return link(&text, at).map(|cid| Some(Value::Link(Box::new(cid))));
        }
        self.wrapped_bytes()
    }

    /// Reads from the inner brace of `{"/":{"bytes":"base64"}}`, if it is there.
    fn wrapped_bytes(&mut self) -> Result<Option<Value>, DecodeError> {
        if !self.eat(b'{') || !self.at_string() || self.string()? != "bytes" {
            return Ok(None);
        }
        if !self.eat_spaced(b':') || !self.at_string() {
            return Ok(None);
        }
        let at = self.at;
        let text = self.string()?;
        if !self.eat_spaced(b'}') || !self.eat_spaced(b'}') {
            return Ok(None);
        }
        let decoded = BASE64_LAX.iter().find_map(|base| base.decode(text.as_bytes()).ok());
        let bytes = decoded.ok_or(DecodeError::BadBase64 { at })?;
        Ok(Some(Value::Bytes(bytes.into())))
    }

    fn literal(&mut self, word: &'static str, value: Value) -> Result<Value, DecodeError> {
        let (at, rest) = (self.at, self.rest());
        if rest.starts_with(word.as_bytes()) {
            self.pass(word.len());
            return Ok(value);
        }
        match word.as_bytes().starts_with(rest) {
            true => Err(DecodeError::Truncated { at }),
            false => Err(DecodeError::Syntax { at, expected: word }),
        }
    }

    /// A number: a float if it has a point or an exponent, else an exact integer (`-0` is 0).
    fn number(&mut self) -> Result<Value, DecodeError> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        let mut is_float = false;
        if self.eat(b'.') {
            is_float = true;
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            is_float = true;
            let _sign = self.eat(b'+') || self.eat(b'-');
            self.digits()?;
        }
        let text = self.block.get(start..self.at).unwrap_or_default();
        let text = str::from_utf8(text).unwrap_or_default();
        if is_float {
            let float = text.parse().ok().filter(|float: &f64| float.is_finite());
            return float.map(Value::Float).ok_or(DecodeError::NonFinite { at: start });
        }
        let integer = text.parse().ok().filter(|integer| INTEGER_RANGE.contains(integer));
        integer.map(Value::Integer).ok_or(DecodeError::IntegerRange { at: start })
    }

    /// Passes over one digit or more.
    fn digits(&mut self) -> Result<(), DecodeError> {
        let at = self.at;
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.pass(count);
        match (count, self.peek()) {
            (0, None) => Err(DecodeError::Truncated { at }),
            (0, Some(_)) => Err(DecodeError::Syntax { at, expected: "a digit" }),
            _ => Ok(()),
        }
    }

    /// Reads a string from its opening quote to past its closing one.
    fn string(&mut self) -> Result<String, DecodeError> {
        let start = self.at;
        self.demand(b'"', "a string")?;
        let mut text = String::new();
        loop {
            let rest = self.rest();
            let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
            let end = end.ok_or(DecodeError::Truncated { at: start })?;
            let plain = str::from_utf8(rest.get(..end).unwrap_or_default()).map_err(|e| {
                DecodeError::BadUtf8 { at: self.at.saturating_add(e.valid_up_to()) }
            })?;
            text.push_str(plain);
            self.pass(end);
            if self.eat(b'"') {
                return Ok(text);
            }
            let at = self.at;
            self.demand(b'\\', "a control character to be escaped")?;
            text.push(self.escape(at)?);
        }
    }

    /// Reads what follows a backslash at `at`.
    fn escape(&mut self, at: usize) -> Result<char, DecodeError> {
        let byte = self.peek().ok_or(DecodeError::Truncated { at })?;
        self.pass(1);
        match byte {
            b'"' | b'\\' | b'/' => Ok(char::from(byte)),
            b'b' => Ok('\u{8}'),
            b'f' => Ok('\u{c}'),
            b'n' => Ok('\n'),
            b'r' => Ok('\r'),
            b't' => Ok('\t'),
            b'u' => {
                let unit = self.hex4();
                self.pass(4);
                let unit = unit.ok_or(DecodeError::Syntax { at, expected: "4 hex digits" })?;
                Ok(self.unit(unit))
            }
            _ => Err(DecodeError::Syntax { at, expected: "an escape sequence" }),
        }
    }

    /// The character of a UTF-16 unit and, of a surrogate pair, the unit escaped after it.
    fn unit(&mut self, unit: u16) -> char {
        if let Some(character) = char::from_u32(u32::from(unit)) {
            return character;
        }
        let after = self.at;
        if self.eat(b'\\')
            && self.eat(b'u')
            && let Some(low) = self.hex4()
            && let Some(Ok(character)) = char::decode_utf16([unit, low]).next()
        {
            self.pass(4);
            return character;
        }
        self.at = after; // What follows a lone surrogate is read for itself.
        char::REPLACEMENT_CHARACTER
    }

    fn hex4(&self) -> Option<u16> {
        let digits = self.rest().get(..4).filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    }

    fn rest(&self) -> &[u8] {
        self.block.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn pass(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.pass(1);
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.pass(usize::from(found));
        found
    }

    fn eat_spaced(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.eat(byte)
    }

    fn at_string(&mut self) -> bool {
        self.skip_space();
        self.peek() == Some(b'"')
    }

    fn demand(&mut self, byte: u8, expected: &'static str) -> Result<(), DecodeError> {
        let at = self.at;
        match (self.eat(byte), self.peek()) {
            (true, _) => Ok(()),
            (false, None) => Err(DecodeError::Truncated { at }),
            (false, Some(_)) => Err(DecodeError::Syntax { at, expected }),
        }
    }
}

/// The CID of a link, in any base. Unlike [`cid::parse`] this takes every hash function: whether
/// one is allowed is asked when the block is fetched, and dag-cbor carries such links too.
fn link(text: &str, at: usize) -> Result<Cid, DecodeError> {
    let bad = |cause: String| DecodeError::BadCid { at, cause };
    if text.len() > CID_TEXT_MAX_CHARS {
        return Err(bad(format!("{} characters are too many", text.len())));
    }
    let bytes = match text.len() == 46 && text.starts_with("Qm") {
        true => cid::Base::Base58Btc.decode(text),
        false => multibase::decode(text).map(|(_, bytes)| bytes),
    };
    // The reason may quote the text, and an error message is one line.
    let bytes = bytes.map_err(|e| bad(e.to_string().escape_debug().to_string()))?;
    cid::from_bytes(&bytes).map_err(|e| bad(e.to_string()))
}
