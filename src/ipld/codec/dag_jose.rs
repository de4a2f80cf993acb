//! The dag-jose codec: signed (JWS) and encrypted (JWE) objects as dag-cbor of one strict shape.
//!
//! Owns the shape, and the two forms of it: in a block, whatever JOSE writes as base64url is bytes; in
//! the data model it is base64url text, and a JWS has `link`, the CID that its payload is. Reads only
//! the general serialization, which blocks hold; writes from the flattened one, too, as Kubo does.
//!
//! Verifies no signature and decrypts nothing.
//!
//! Source: ipld/ipld `specs/codecs/dag-jose`; RFC 7515, RFC 7516; where the specification is silent,
//! ceramicnetwork/go-dag-jose, which Kubo has built in: `signatures`, `iv`, `protected`, `recipients`
//! and `tag` may be absent. Unlike it, text in a block where bytes are due is refused.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;

use super::dag_cbor;
use super::value::{DecodeError, Value};
use crate::ipld::cid::{self, Cid};

type Entries = Vec<(String, Value)>;

/// Why bytes are not a dag-jose block.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoseError {
    /// They are not even dag-cbor.
    #[error(transparent)]
    Cbor(#[from] DecodeError),
    /// The value is neither a JWS nor a JWE.
    #[error("{cause}, at byte {at}")]
    Shape {
        /// Offset in the block of the value that does not fit.
        at: usize,
        /// What does not fit.
        cause: String,
    },
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Form {
    /// Bytes in a block, base64url in the data model.
    Octets,
    /// A map of whatever its maker likes.
    Header,
    /// A list of objects with fields of their own.
    Each(&'static [Field]),
}

struct Field {
    name: &'static str,
    form: Form,
    required: bool,
}

const fn wanted(name: &'static str) -> Field {
    Field { name, form: Form::Octets, required: true }
}

const fn octets(name: &'static str) -> Field {
    Field { name, form: Form::Octets, required: false }
}

const fn header(name: &'static str) -> Field {
    Field { name, form: Form::Header, required: false }
}

const fn each(name: &'static str, fields: &'static [Field]) -> Field {
    Field { name, form: Form::Each(fields), required: false }
}

const SIGNATURE: &[Field] = &[header("header"), octets("protected"), wanted("signature")];
const RECIPIENT: &[Field] = &[octets("encrypted_key"), header("header")];
const JWS: &[Field] = &[wanted("payload"), each("signatures", SIGNATURE)];
const JWE: &[Field] = &[
    octets("aad"),
    wanted("ciphertext"),
    octets("iv"),
    octets("protected"),
    each("recipients", RECIPIENT),
    octets("tag"),
    header("unprotected"),
];

/// What does not fit, and the way to it from the root: keys, and indices in decimal.
struct Fault {
    way: Vec<String>,
    cause: String,
}

impl Fault {
    fn here(cause: impl Into<String>) -> Self {
        Self { way: Vec::new(), cause: cause.into() }
    }

    /// The same, seen from one level up.
    fn under(mut self, name: impl Into<String>) -> Self {
        self.way.insert(0, name.into());
        self
    }

    /// One line for whoever wrote the value.
    fn told(self) -> String {
        if self.way.is_empty() {
            self.cause
        } else {
            format!("{}: {}", self.way.join("/"), self.cause)
        }
    }
}

/// Reads a block into the data model. Memory is a small multiple of the block's size.
///
/// # Errors
/// [`JoseError`], naming the offset.
pub fn decode(block: &Bytes) -> Result<Value, JoseError> {
    read(dag_cbor::decode(block)?).map_err(|fault| JoseError::Shape {
        at: dag_cbor::offset(block, &fault.way),
        cause: fault.cause,
    })
}

/// Calls `visit` for every link of a block: the payload of a JWS, then those in headers, in order.
///
/// # Errors
/// As [`decode`]; then no link has been visited.
pub fn links(block: &Bytes, visit: &mut dyn FnMut(Cid)) -> Result<(), JoseError> {
    decode(block)?.links().into_iter().for_each(visit);
    Ok(())
}

/// Writes an object in the canonical form. `link` may be there if it is the payload's CID.
///
/// # Errors
/// A text that names the first field that does not fit.
pub fn encode(value: &Value) -> Result<Vec<u8>, String> {
    let general = general(value).map_err(Fault::told)?;
    dag_cbor::encode(&general).map_err(|e| e.to_string())
}

fn read(value: Value) -> Result<Value, Fault> {
    let (fields, entries) = object(value)?;
    let link = match entries.iter().find(|(key, _)| key == "payload") {
        Some((_, payload)) => Some(linked(payload).map_err(|fault| fault.under("payload"))?),
        None => None,
    };
    let shown = fit(entries, fields, &|value| match value {
        Value::Bytes(bytes) => Ok(Value::String(BASE64URL_NOPAD.encode(&bytes))),
        _ => Err(Fault::here("bytes are due")),
    })?;
    let link = link.map(|cid| ("link".to_owned(), Value::Link(Box::new(cid))));
    Ok(Value::Map(link.into_iter().chain(shown).collect()))
}

/// The value as a block holds it.
fn general(value: &Value) -> Result<Value, Fault> {
    let (fields, mut entries) = object(value.clone())?;
    let signed = entries.iter().any(|(key, _)| key == "payload");
    let (list, parts) = match signed {
        true => ("signatures", SIGNATURE),
        false => ("recipients", RECIPIENT),
    };
    // `protected` of a JWE is its own.
    let flat = |key: &str| parts.iter().any(|part| part.name == key);
    let told = match entries.iter().find(|(key, _)| key == list) {
        Some((_, Value::List(items))) => Some(!blank(items)),
        Some(_) => Some(true),
        None => None,
    };
    if told.is_none() {
        let (inner, rest): (Entries, Entries) = entries.into_iter().partition(|(key, _)| flat(key));
        entries = rest;
        if signed || !inner.is_empty() {
            entries.push((list.to_owned(), Value::List(vec![Value::Map(inner)])));
        }
    } else if told == Some(false) && !signed {
        entries.retain(|(key, _)| key != list);
    }
    let link = entries.iter().position(|(key, _)| signed && key == "link");
    let link = link.map(|at| entries.remove(at).1);
    let kept = fit(entries, fields, &|value| match value {
        Value::String(text) => match BASE64URL_NOPAD.decode(text.as_bytes()) {
            Ok(bytes) => Ok(Value::Bytes(bytes.into())),
            Err(_) => Err(Fault::here("no base64url")),
        },
        _ => Err(Fault::here("base64url is due")),
    })?;
    if let Some((_, payload)) = kept.iter().find(|(key, _)| key == "payload") {
        let cid = linked(payload).map_err(|fault| fault.under("payload"))?;
        if link.is_some_and(|link| link != Value::Link(Box::new(cid))) {
            return Err(Fault::here("it is not the payload's CID").under("link"));
        }
    }
    Ok(Value::Map(kept))
}

/// No recipients, or one of whom nothing is said: Kubo writes neither.
fn blank(items: &[Value]) -> bool {
    items.first().is_none_or(|first| matches!(first, Value::Map(fields) if fields.is_empty()))
}

/// Which of the two objects a value is, by the field that makes it one.
fn object(value: Value) -> Result<(&'static [Field], Entries), Fault> {
    let Value::Map(entries) = value else { return Err(Fault::here("a JOSE object is a map")) };
    let has = |name: &str| entries.iter().any(|(key, _)| key == name);
    match (has("payload"), has("ciphertext")) {
        (true, false) => Ok((JWS, entries)),
        (false, true) => Ok((JWE, entries)),
        (true, true) => Err(Fault::here("a JOSE object has a payload or a ciphertext, not both")),
        (false, false) => Err(Fault::here("a JOSE object has a payload or a ciphertext")),
    }
}

/// The CID that a payload is.
fn linked(payload: &Value) -> Result<Cid, Fault> {
    let Value::Bytes(bytes) = payload else { return Err(Fault::here("bytes are due")) };
    cid::from_bytes(bytes).map_err(|e| Fault::here(format!("a payload is a CID: {e}")))
}

/// The entries in the fields' order, each in its other form. Goes as deep as the fields do.
fn fit(
    mut entries: Entries,
    fields: &'static [Field],
    turn: &dyn Fn(Value) -> Result<Value, Fault>,
) -> Result<Entries, Fault> {
    let known = |key: &str| fields.iter().any(|field| field.name == key);
    if let Some((key, _)) = entries.iter().find(|(key, _)| !known(key)) {
        return Err(Fault::here("no field of that name is due").under(key.as_str()));
    }
    let mut fitting = Vec::with_capacity(entries.len());
    for field in fields {
        let Some(at) = entries.iter().position(|(key, _)| key == field.name) else {
            match field.required {
                true => return Err(Fault::here(format!("it has no {}", field.name))),
                false => continue,
            }
        };
        let (key, value) = entries.swap_remove(at);
        let value = match (field.form, value) {
            (Form::Octets, value) => turn(value),
            (Form::Header, value @ Value::Map(_)) => Ok(value),
            (Form::Header, _) => Err(Fault::here("a map is due")),
            (Form::Each(parts), Value::List(items)) => all(items, parts, turn),
            (Form::Each(_), _) => Err(Fault::here("a list is due")),
        };
        fitting.push((key, value.map_err(|fault| fault.under(field.name))?));
    }
    Ok(fitting)
}

fn all(
    items: Vec<Value>,
    parts: &'static [Field],
    turn: &dyn Fn(Value) -> Result<Value, Fault>,
) -> Result<Value, Fault> {
    let mut fitting = Vec::with_capacity(items.len());
    for (at, item) in items.into_iter().enumerate() {
        let fitted = match item {
            Value::Map(entries) => fit(entries, parts, turn).map(Value::Map),
            _ => Err(Fault::here("a map is due")),
        };
        fitting.push(fitted.map_err(|fault| fault.under(at.to_string()))?);
    }
    Ok(Value::List(fitting))
}

#[cfg(test)]
#[path = "dag_jose_tests.rs"]
mod tests;
