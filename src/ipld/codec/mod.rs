//! Codecs: from block bytes to links and values, and back.
//!
//! Owns the dispatch by codec number. Each format stands in its own file and knows no other.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod dag_cbor;
pub mod dag_jose;
pub mod dag_json;
pub mod dag_pb;
pub mod json;
mod json_text;
pub mod value;

use bytes::Bytes;

use super::cid::{Cid, codec};
pub use value::{DecodeError, EncodeError, Value};

/// Why a block could not be read or written under its codec.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// No reader for this codec.
    #[error("no decoder for codec {}", describe(*.0))]
    Unknown(u64),
    /// The bytes are not what the codec asks for.
    #[error("malformed {}: {cause}", describe(*.codec))]
    Malformed {
        /// The codec that refused.
        codec: u64,
        /// Its reason.
        cause: String,
    },
    /// The value cannot be written in the codec.
    #[error("cannot write {}: {cause}", describe(*.codec))]
    Unwritable {
        /// The codec that refused.
        codec: u64,
        /// Its reason.
        cause: String,
    },
}

/// A codec's name, or its number where it has none here.
fn describe(code: u64) -> String {
    codec::name(code).map_or_else(|| format!("0x{code:x}"), str::to_owned)
}

/// Whether blocks of this codec may have links. The others are leaves whatever their bytes.
pub fn can_link(code: u64) -> bool {
    matches!(code, codec::DAG_PB | codec::DAG_CBOR | codec::DAG_JSON | codec::DAG_JOSE)
}

/// Calls `visit` for each link of a block, in order. A codec that has no links, or that henge does
/// not know, yields none: such a block is a leaf of every walk, as in Kubo.
///
/// # Errors
/// [`CodecError::Malformed`] when a codec that can link refuses the bytes.
pub fn links(code: u64, data: &Bytes, visit: &mut dyn FnMut(Cid)) -> Result<(), CodecError> {
    match code {
        codec::DAG_PB => dag_pb::links(data, visit).map_err(|e| malformed(code, e)),
        codec::DAG_CBOR => dag_cbor::links(data, visit).map_err(|e| malformed(code, e)),
        codec::DAG_JSON => dag_json::links(data, visit).map_err(|e| malformed(code, e)),
        codec::DAG_JOSE => dag_jose::links(data, visit).map_err(|e| malformed(code, e)),
        _ => Ok(()),
    }
}

/// Reads a block into the IPLD data model.
///
/// # Errors
/// [`CodecError::Unknown`] or [`CodecError::Malformed`].
pub fn decode(code: u64, data: &Bytes) -> Result<Value, CodecError> {
    match code {
        codec::RAW => Ok(Value::Bytes(data.clone())),
        codec::DAG_PB => {
            dag_pb::Node::decode(data).map(|n| n.to_value()).map_err(|e| malformed(code, e))
        }
        codec::DAG_CBOR => dag_cbor::decode(data).map_err(|e| malformed(code, e)),
        codec::CBOR => dag_cbor::decode_plain(data).map_err(|e| malformed(code, e)),
        codec::DAG_JSON => dag_json::decode(data).map_err(|e| malformed(code, e)),
        codec::JSON => json::decode(data).map_err(|e| malformed(code, e)),
        codec::DAG_JOSE => dag_jose::decode(data).map_err(|e| malformed(code, e)),
        _ => Err(CodecError::Unknown(code)),
    }
}

/// Writes a value canonically.
///
/// # Errors
/// [`CodecError::Unknown`], or [`CodecError::Unwritable`] for what the codec cannot hold.
pub fn encode(code: u64, value: &Value) -> Result<Vec<u8>, CodecError> {
    let unwritable = |cause: String| CodecError::Unwritable { codec: code, cause };
    match code {
        codec::RAW => match value {
            Value::Bytes(data) => Ok(data.to_vec()),
            _ => Err(unwritable("raw holds bytes and nothing else".into())),
        },
        codec::DAG_PB => {
            let node = dag_pb::Node::from_value(value).map_err(unwritable)?;
            Ok(node.encode())
        }
        codec::DAG_CBOR => dag_cbor::encode(value).map_err(|e| unwritable(e.to_string())),
        codec::CBOR => dag_cbor::encode_plain(value).map_err(|e| unwritable(e.to_string())),
        codec::DAG_JSON => dag_json::encode(value).map_err(|e| unwritable(e.to_string())),
        codec::JSON => json::encode(value).map_err(|e| unwritable(e.to_string())),
        codec::DAG_JOSE => dag_jose::encode(value).map_err(unwritable),
        _ => Err(CodecError::Unknown(code)),
    }
}

fn malformed(code: u64, error: impl std::fmt::Display) -> CodecError {
    CodecError::Malformed { codec: code, cause: error.to_string() }
}
