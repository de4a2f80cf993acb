//! The node's key pair, in the form Kubo keeps it in the configuration.
//!
//! Owns making, reading and checking `Identity.PeerID` and `Identity.PrivKey`. Does not own other
//! keys (the keystore does) or how the document guards the private one (`command`, `repo`).

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE32_NOPAD, BASE64};
use libp2p_identity::{Keypair, PeerId};

use super::file::Config;

/// Kinds of key that `init` knows by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Algorithm {
    /// The default.
    #[default]
    Ed25519,
    /// Can be read, not made.
    Rsa,
    /// The curve of many blockchains.
    Secp256k1,
}

impl Algorithm {
    /// The name `init --algorithm` takes.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::Rsa => "rsa",
            Algorithm::Secp256k1 => "secp256k1",
        }
    }
}

impl FromStr for Algorithm {
    type Err = IdentityError;

    fn from_str(name: &str) -> Result<Algorithm, IdentityError> {
        match name {
            "ed25519" => Ok(Algorithm::Ed25519),
            "rsa" => Ok(Algorithm::Rsa),
            "secp256k1" => Ok(Algorithm::Secp256k1),
            other => Err(IdentityError::UnknownAlgorithm(other.to_owned())),
        }
    }
}

/// Why an identity could not be made or read. Carries no part of a key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// `--algorithm` names none of [`Algorithm`].
    #[error("unrecognized key type: {0}")]
    UnknownAlgorithm(String),
    /// RSA keys are read, not made.
    #[error("RSA keys cannot be generated yet: use --algorithm ed25519")]
    RsaNotSupported,
    /// A size was asked for that the algorithm does not have.
    #[error("invalid key size {bits}: {algorithm} keys are always 256 bits")]
    KeySize {
        /// The algorithm's name.
        algorithm: &'static str,
        /// The size that was asked for, in bits.
        bits: u32,
    },
    /// The configuration holds no key.
    #[error("Identity.PrivKey is not set")]
    NoKey,
    /// The key's text is not base64.
    #[error("Identity.PrivKey is not base64")]
    NotBase64,
    /// The key's bytes are not a private key.
    #[error("Identity.PrivKey is not a libp2p private key: {0}")]
    NotAKey(libp2p_identity::DecodingError),
    /// The peer ID is not the key's.
    #[error("Identity.PeerID is {found}, but Identity.PrivKey belongs to {derived}")]
    Mismatch {
        /// What the configuration says.
        found: String,
        /// What follows from the key.
        derived: PeerId,
    },
    /// The new key has no encoding.
    #[error("the new key could not be encoded: {0}")]
    Encode(libp2p_identity::DecodingError),
}

/// A key pair and the text it is stored as. `Debug` prints the peer only.
#[derive(Clone)]
pub struct Identity {
    keypair: Keypair,
    /// Kept as read: libp2p-identity reads RSA keys but does not write them.
    private_key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer_id", &self.peer_id()).finish_non_exhaustive()
    }
}

impl Identity {
    /// Makes a key pair. `bits` may repeat the one size that ed25519 and secp256k1 have (256). RSA
    /// is refused.
    pub fn generate(algorithm: Algorithm, bits: Option<u32>) -> Result<Identity, IdentityError> {
        if algorithm == Algorithm::Rsa {
            return Err(IdentityError::RsaNotSupported);
        }
        if let Some(bits) = bits.filter(|bits| *bits != 256) {
            return Err(IdentityError::KeySize { algorithm: algorithm.name(), bits });
        }
        let keypair = match algorithm {
            Algorithm::Secp256k1 => Keypair::generate_secp256k1(),
            Algorithm::Ed25519 | Algorithm::Rsa => Keypair::generate_ed25519(),
        };
        let bytes = keypair.to_protobuf_encoding().map_err(IdentityError::Encode)?;
        Ok(Identity { keypair, private_key: BASE64.encode(&bytes) })
    }

    /// Reads `Identity.PrivKey`: base64, with padding, of the libp2p protobuf. Ed25519, secp256k1
    /// and RSA.
    pub fn from_private_key(text: &str) -> Result<Identity, IdentityError> {
        if text.is_empty() {
            return Err(IdentityError::NoKey);
        }
        let bytes = BASE64.decode(text.as_bytes()).map_err(|_| IdentityError::NotBase64)?;
        let keypair = Keypair::from_protobuf_encoding(&bytes).map_err(IdentityError::NotAKey)?;
        Ok(Identity { keypair, private_key: text.to_owned() })
    }

    /// The identity of a configuration. Fails without a key, and when `Identity.PeerID` is set to
    /// another's.
    pub fn from_config(config: &Config) -> Result<Identity, IdentityError> {
        let identity =
            Identity::from_private_key(config.text("Identity.PrivKey").unwrap_or_default())?;
        let derived = identity.peer_id();
        match config.peer_id() {
            Some(found) if !found.is_empty() && decode_peer_id(found) != Some(derived) => {
                Err(IdentityError::Mismatch { found: found.to_owned(), derived })
            }
            _ => Ok(identity),
        }
    }

    /// The peer whose public key this is.
    pub fn peer_id(&self) -> PeerId {
        self.keypair.public().to_peer_id()
    }

    /// For the swarm and for signing names.
    pub fn keypair(&self) -> &Keypair {
        &self.keypair
    }

    /// The text of `Identity.PrivKey`. A secret.
    pub fn private_key_text(&self) -> &str {
        &self.private_key
    }
}

/// Characters a peer ID may have in any base; the longest real ones have 65.
const MAX_PEER_ID_CHARS: usize = 128;

/// Reads a peer ID as people write them: base58 (`12D3Koo...`, `Qm...`) or a CIDv1 of codec
/// libp2p-key in base36 (`k51...`) or base32 (`bafz...`). None for anything else.
pub fn decode_peer_id(text: &str) -> Option<PeerId> {
    if text.len() > MAX_PEER_ID_CHARS {
        return None;
    }
    let cid = match text.split_at_checked(1)? {
        ("k", digits) => base36(digits)?,
        ("b", digits) => BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).ok()?,
        _ => return PeerId::from_str(text).ok(),
    };
    match cid.as_slice() {
        [0x01, 0x72, multihash @ ..] => PeerId::from_bytes(multihash).ok(),
        _ => None,
    }
}

/// Lower-case base36 as multibase has it. Quadratic, which `MAX_PEER_ID_CHARS` bounds.
fn base36(digits: &str) -> Option<Vec<u8>> {
    let mut little_endian: Vec<u8> = Vec::new();
    for digit in digits.chars() {
        let mut carry = digit.to_digit(36).filter(|_| !digit.is_ascii_uppercase())?;
        for byte in &mut little_endian {
            carry = u32::from(*byte).checked_mul(36)?.checked_add(carry)?;
            *byte = carry.to_le_bytes().first().copied()?;
            carry >>= 8;
        }
        if carry > 0 {
            little_endian.push(u8::try_from(carry).ok()?);
        }
    }
    little_endian.reverse();
    Some(little_endian)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn encode_base36(bytes: &[u8]) -> String {
        let mut digits = vec![0_u32];
        for byte in bytes {
            let mut carry = u32::from(*byte);
            for digit in &mut digits {
                carry += *digit * 256;
                *digit = carry % 36;
                carry /= 36;
            }
            while carry > 0 {
                digits.push(carry % 36);
                carry /= 36;
            }
        }
        digits.iter().rev().filter_map(|digit| char::from_digit(*digit, 36)).collect()
    }

    #[test]
    fn made_identities_read_back() {
        for (algorithm, prefix) in
            [(Algorithm::Ed25519, "12D3Koo"), (Algorithm::Secp256k1, "16Uiu2HA")]
        {
            let made = Identity::generate(algorithm, Some(256)).unwrap();
            let read = Identity::from_private_key(made.private_key_text()).unwrap();
            assert_eq!(made.peer_id(), read.peer_id());
            assert!(made.peer_id().to_base58().starts_with(prefix));
            assert!(!format!("{made:?}").contains(made.private_key_text()));
        }
        // Key type and length as go-libp2p writes an ed25519 key: 08 01 12 40.
        let made = Identity::generate(Algorithm::Ed25519, None).unwrap();
        assert!(made.private_key_text().starts_with("CAESQ"));
    }

    #[test]
    fn what_cannot_be_made_is_said() {
        let rsa = Identity::generate(Algorithm::Rsa, Some(2048)).unwrap_err().to_string();
        assert_eq!(rsa, "RSA keys cannot be generated yet: use --algorithm ed25519");
        let size = Identity::generate(Algorithm::Ed25519, Some(2048)).unwrap_err().to_string();
        assert_eq!(size, "invalid key size 2048: ed25519 keys are always 256 bits");
        assert!("dsa".parse::<Algorithm>().is_err());
        assert!(matches!(Identity::from_private_key(""), Err(IdentityError::NoKey)));
        assert!(matches!(Identity::from_private_key("%"), Err(IdentityError::NotBase64)));
        assert!(matches!(Identity::from_private_key("AAAA"), Err(IdentityError::NotAKey(_))));
    }

    #[test]
    fn a_peer_id_of_another_key_is_refused() {
        let [a, b] = [(); 2].map(|()| Identity::generate(Algorithm::Ed25519, None).unwrap());
        let config = |peer: &str| {
            Config::from_value(
                json!({"Identity": {"PeerID": peer, "PrivKey": a.private_key_text()}}),
            )
            .unwrap()
        };
        assert!(Identity::from_config(&config(&a.peer_id().to_base58())).is_ok());
        assert!(Identity::from_config(&config("")).is_ok());
        assert!(matches!(
            Identity::from_config(&config(&b.peer_id().to_base58())),
            Err(IdentityError::Mismatch { .. })
        ));
    }

    #[test]
    fn peer_ids_are_read_in_every_form() {
        let peer = Identity::generate(Algorithm::Ed25519, None).unwrap().peer_id();
        let cid = [&[0x01, 0x72][..], &peer.to_bytes()].concat();
        assert_eq!(decode_peer_id(&peer.to_base58()), Some(peer));
        assert_eq!(decode_peer_id(&format!("k{}", encode_base36(&cid))), Some(peer));
        assert_eq!(
            decode_peer_id(&format!("b{}", BASE32_NOPAD.encode(&cid).to_lowercase())),
            Some(peer)
        );
        for bad in ["", "k", "b", "kK", "é", "12D3Koo", &"k5".repeat(1000)] {
            assert_eq!(decode_peer_id(bad), None, "{bad}");
        }
    }
}
