//! Which values the DHT takes: IPNS records and public keys, and no others.
//!
//! Source: ipfs/specs src/routing/kad-dht.md (validators of `/ipns/` and `/pk/`).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use libp2p::PeerId;
use libp2p_identity::PublicKey;

use crate::ipns::record::{RECORD_MAX_BYTES, Record, RecordError};
use crate::ipns::time::Moment;

/// What the keys of IPNS records begin with.
pub const IPNS: &[u8] = b"/ipns/";
/// What the keys of public keys begin with.
pub const PK: &[u8] = b"/pk/";

/// Why a value is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// The key is of no namespace that has a validator, or names no peer.
    #[error("the DHT keeps no values under this key")]
    Namespace,
    /// The public key is not that of the peer its key names.
    #[error("the public key is not that of its name")]
    Key,
    /// The IPNS record is not to be believed.
    #[error(transparent)]
    Ipns(#[from] RecordError),
}

/// Whether a value may stand under a key at a time, in seconds since 1970.
///
/// # Errors
/// [`InvalidValue`] says why not.
pub fn validate(key: &[u8], value: &[u8], now: u64) -> Result<(), InvalidValue> {
    match name(key)? {
        (IPNS, name) => Ok(Record::decode(value)?.validate(&name, moment(now))?),
        (_, name) => {
            let fits = value.len() <= RECORD_MAX_BYTES;
            let key = PublicKey::try_decode_protobuf(value).ok().filter(|_| fits);
            match key.is_some_and(|key| key.to_peer_id() == name) {
                true => Ok(()),
                false => Err(InvalidValue::Key),
            }
        }
    }
}

/// Whether a valid value replaces another valid one. Public keys never change: the same again
/// renews.
pub fn is_better(key: &[u8], new: &[u8], old: &[u8]) -> bool {
    if new == old || !key.starts_with(IPNS) {
        return true;
    }
    match (Record::decode(new), Record::decode(old)) {
        (Ok(new), Ok(old)) => new.is_better(&old),
        (new, _) => new.is_ok(),
    }
}

/// A namespace and the peer that a key names.
fn name(key: &[u8]) -> Result<(&'static [u8], PeerId), InvalidValue> {
    let split = |space: &'static [u8]| Some((space, key.strip_prefix(space)?));
    let (space, id) = split(IPNS).or_else(|| split(PK)).ok_or(InvalidValue::Namespace)?;
    let peer = PeerId::from_bytes(id).map_err(|_| InvalidValue::Namespace)?;
    Ok((space, peer))
}

fn moment(seconds: u64) -> Moment {
    Moment { seconds: i64::try_from(seconds).unwrap_or(i64::MAX), nanos: 0 }
}

#[cfg(test)]
mod tests {
    use libp2p_identity::Keypair;

    use super::*;
    use crate::ipns::record::Content;

    const NOW: u64 = 1_800_000_000;

    fn under(space: &[u8], peer: &PeerId) -> Vec<u8> {
        [space, &peer.to_bytes()].concat()
    }

    #[test]
    fn keys_stand_under_their_own_name() {
        let key = Keypair::generate_ed25519().public();
        let bytes = key.encode_protobuf();
        let name = under(PK, &key.to_peer_id());
        assert_eq!(validate(&name, &bytes, NOW), Ok(()));
        assert_eq!(validate(&under(PK, &PeerId::random()), &bytes, NOW), Err(InvalidValue::Key));
        assert_eq!(validate(&name, b"?", NOW), Err(InvalidValue::Key));
        for key in [&b"/pk/"[..], b"/pk/short", b"/other/x", b"", b"/ipns/"] {
            assert_eq!(validate(key, &bytes, NOW), Err(InvalidValue::Namespace));
        }
        assert!(is_better(&name, &bytes, &bytes));
    }

    #[test]
    fn records_stand_under_the_name_that_signed_them() {
        let key = Keypair::generate_ed25519();
        let name = under(IPNS, &key.public().to_peer_id());
        let sign = |sequence| {
            let content = Content { value: "/ipfs/x", eol: moment(NOW + 60), sequence, ttl_ns: 1 };
            Record::sign(&key, &content).unwrap()
        };
        let (old, new) = (sign(1), sign(2));
        assert_eq!(validate(&name, &new, NOW), Ok(()));
        let late = Err(InvalidValue::Ipns(RecordError::Expired));
        assert_eq!(validate(&name, &new, NOW + 61), late);
        assert!(is_better(&name, &new, &old) && !is_better(&name, &old, &new));
        assert!(is_better(&name, &new, b"?") && !is_better(&name, b"?", &new));
    }
}
