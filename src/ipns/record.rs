//! IPNS records: making one, judging one, choosing between two.
//!
//! Only the signature over the CBOR document counts; the fields of the first version are written
//! for old readers and must agree where they are present.
//!
//! Source: ipfs/specs src/ipns/ipns-record.md; boxo `ipns` where deployed nodes differ.
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
use libp2p_identity::{Keypair, PeerId, PublicKey};
use prost::Message as _;

use super::time::{self, Moment};
use crate::ipld::codec::{Value, dag_cbor};
use crate::proto::ipns::IpnsEntry;

/// Largest record that is read, in bytes.
pub const RECORD_MAX_BYTES: usize = 10 << 10;
/// What is signed begins with this.
const SIGNED_PREFIX: &[u8] = b"ipns-signature:";
/// Multihash function whose digest is the data: such a name holds its key.
const IDENTITY: u64 = 0;
/// The only kind of validity there is: until a moment.
const UNTIL: i32 = 0;

/// A record whose fields were read; [`Record::validate`] says whether they are to be believed.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// A path: `/ipfs/..` or `/ipns/..`. As signed, not parsed.
    pub value: Bytes,
    /// The record is good until then.
    pub eol: Moment,
    /// The higher one replaces the lower.
    pub sequence: u64,
    /// How long the record may be believed without asking again, in nanoseconds.
    pub ttl_ns: u64,
    entry: IpnsEntry,
}

/// Why a record is not to be believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// It is longer than [`RECORD_MAX_BYTES`].
    #[error("an IPNS record of {0} bytes is too long")]
    TooLong(usize),
    /// Its protobuf or its CBOR does not parse, or a field is missing.
    #[error("the IPNS record does not parse: {0}")]
    Malformed(String),
    /// The name holds no key, and neither does the record.
    #[error("the IPNS record lacks the public key of its name")]
    NoKey,
    /// The key is not that of the name, or of no kind that henge knows.
    #[error("the key of the IPNS record is not that of its name")]
    Key,
    /// The signature is missing or wrong.
    #[error("the signature of the IPNS record is wrong")]
    Signature,
    /// A field of the first version differs from the signed one.
    #[error("field {0} of the IPNS record differs from what is signed")]
    Differs(&'static str),
    /// Its time is over.
    #[error("the IPNS record has expired")]
    Expired,
    /// The key cannot sign.
    #[error("the IPNS record could not be signed: {0}")]
    Sign(String),
}

/// What a new record says.
#[derive(Clone, Debug)]
pub struct Content<'a> {
    /// A path.
    pub value: &'a str,
    /// Until when.
    pub eol: Moment,
    /// Higher than that of the record it replaces.
    pub sequence: u64,
    /// Nanoseconds; at most `i64::MAX`, since Go reads it so.
    pub ttl_ns: u64,
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// [`RecordError::TooLong`] and [`RecordError::Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > RECORD_MAX_BYTES {
            return Err(RecordError::TooLong(bytes.len()));
        }
        let malformed = |cause: &str| RecordError::Malformed(cause.to_owned());
        let entry = IpnsEntry::decode(bytes).map_err(|e| malformed(&e.to_string()))?;
        let data = entry.data.as_ref().filter(|data| !data.is_empty());
        let data = data.ok_or_else(|| malformed("it has no CBOR document"))?;
        let document = dag_cbor::decode(data).map_err(|e| malformed(&e.to_string()))?;
        if integer(&document, "ValidityType")? != UNTIL as u64 {
            return Err(malformed("its validity is of an unknown kind"));
        }
        let validity = field(&document, "Validity")?;
        let text = std::str::from_utf8(&validity).ok();
        let eol = text.and_then(time::parse).ok_or_else(|| malformed("Validity is no time"))?;
        let value = field(&document, "Value")?;
        let sequence = integer(&document, "Sequence")?;
        let ttl_ns = integer(&document, "TTL")?;
        let record = Self { value, eol, sequence, ttl_ns, entry };
        record.agrees(&validity)?;
        Ok(record)
    }

    /// Whether the fields of the first version, where any is present, say what is signed.
    fn agrees(&self, validity: &Bytes) -> Result<(), RecordError> {
        let is_set = |field: &Option<Bytes>| field.as_ref().is_some_and(|field| !field.is_empty());
        let entry = &self.entry;
        if !is_set(&entry.value) && !is_set(&entry.signature_v1) {
            return Ok(());
        }
        let checks = [
            ("value", entry.value.clone().unwrap_or_default() == self.value),
            ("validity", entry.validity.clone().unwrap_or_default() == *validity),
            ("validityType", entry.validity_type.unwrap_or(UNTIL) == UNTIL),
            ("sequence", entry.sequence.unwrap_or(0) == self.sequence),
            ("ttl", entry.ttl.unwrap_or(0) == self.ttl_ns),
        ];
        match checks.into_iter().find(|(_, same)| !same) {
            Some((name, _)) => Err(RecordError::Differs(name)),
            None => Ok(()),
        }
    }

    /// Whether the record was signed by the key of `name` and is still good at `now`.
    ///
    /// # Errors
    /// [`RecordError::NoKey`], [`RecordError::Key`], [`RecordError::Signature`] and
    /// [`RecordError::Expired`].
    pub fn validate(&self, name: &PeerId, now: Moment) -> Result<(), RecordError> {
        let key = self.key(name)?;
        let signature = self.entry.signature_v2.as_deref().unwrap_or_default();
        let data = self.entry.data.as_deref().unwrap_or_default();
        // The verifier itself refuses RSA keys of more than 8192 bits, whose signatures burn
        // processor time (CVE-2023-39533).
        if signature.is_empty() || !key.verify(&[SIGNED_PREFIX, data].concat(), signature) {
            return Err(RecordError::Signature);
        }
        if now > self.eol { Err(RecordError::Expired) } else { Ok(()) }
    }

    /// The public key of the name: the one that the record brings, or the one in the name.
    fn key(&self, name: &PeerId) -> Result<PublicKey, RecordError> {
        let brought = self.entry.pub_key.as_ref().filter(|key| !key.is_empty());
        let key = match brought {
            Some(key) => PublicKey::try_decode_protobuf(key).map_err(|_| RecordError::Key)?,
            None => {
                let hash = name.as_ref();
                if hash.code() != IDENTITY {
                    return Err(RecordError::NoKey);
                }
                PublicKey::try_decode_protobuf(hash.digest()).map_err(|_| RecordError::Key)?
            }
        };
        if key.to_peer_id() == *name { Ok(key) } else { Err(RecordError::Key) }
    }

    /// Makes a record of both versions and signs it, as Kubo does.
    ///
    /// # Errors
    /// [`RecordError::Sign`]; [`RecordError::TooLong`] for a value that leaves no room.
    pub fn sign(key: &Keypair, content: &Content<'_>) -> Result<Bytes, RecordError> {
        let validity = time::format(content.eol);
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let number = |n: u64| Value::Integer(i128::from(n));
        let document = Value::Map(vec![
            ("TTL".to_owned(), number(content.ttl_ns)),
            ("Value".to_owned(), Value::Bytes(bytes(content.value))),
            ("Sequence".to_owned(), number(content.sequence)),
            ("Validity".to_owned(), Value::Bytes(bytes(&validity))),
            ("ValidityType".to_owned(), number(0)),
        ]);
        let failed = |cause: String| RecordError::Sign(cause);
        let data = dag_cbor::encode(&document).map_err(|e| failed(e.to_string()))?;
        let sign = |parts: &[&[u8]]| {
            let signature = key.sign(&parts.concat()).map_err(|e| failed(e.to_string()))?;
            Ok::<_, RecordError>(Some(Bytes::from(signature)))
        };
        let public = key.public();
        let embedded = public.to_peer_id().as_ref().code() == IDENTITY;
        let entry = IpnsEntry {
            signature_v1: sign(&[content.value.as_bytes(), validity.as_bytes(), b"0"])?,
            signature_v2: sign(&[SIGNED_PREFIX, &data])?,
            value: Some(bytes(content.value)),
            validity_type: Some(UNTIL),
            validity: Some(bytes(&validity)),
            sequence: Some(content.sequence),
            ttl: Some(content.ttl_ns),
            pub_key: (!embedded).then(|| public.encode_protobuf().into()),
            data: Some(data.into()),
        };
        let record = entry.encode_to_vec();
        match record.len() > RECORD_MAX_BYTES {
            true => Err(RecordError::TooLong(record.len())),
            false => Ok(record.into()),
        }
    }

    /// Which of two valid records of one name to keep: the higher sequence, then the later end.
    /// Equal ones are ordered by their bytes, so that everybody keeps the same.
    pub fn is_better(&self, than: &Self) -> bool {
        let rank = |record: &Self| (record.sequence, record.eol);
        let bytes = |record: &Self| record.entry.encode_to_vec();
        match rank(self).cmp(&rank(than)) {
            std::cmp::Ordering::Equal => bytes(self) > bytes(than),
            order => order.is_gt(),
        }
    }
}

fn field(document: &Value, name: &str) -> Result<Bytes, RecordError> {
    match document.get(name) {
        Some(Value::Bytes(bytes)) => Ok(bytes.clone()),
        _ => Err(RecordError::Malformed(format!("{name} is missing or of another type"))),
    }
}

fn integer(document: &Value, name: &str) -> Result<u64, RecordError> {
    let number = match document.get(name) {
        Some(Value::Integer(number)) => u64::try_from(*number).ok(),
        _ => None,
    };
    number.ok_or_else(|| RecordError::Malformed(format!("{name} is missing or out of range")))
}

#[cfg(test)]
mod tests {
    use libp2p::multihash::Multihash;

    use super::*;

    const NOW: Moment = Moment { seconds: 1_800_000_000, nanos: 0 };

    fn content(value: &str) -> Content<'_> {
        let eol = Moment { seconds: NOW.seconds + 60, nanos: 5 };
        Content { value, eol, sequence: 7, ttl_ns: 300_000_000_000 }
    }

    fn judge(bytes: &[u8], name: &PeerId) -> Result<(), RecordError> {
        Record::decode(bytes)?.validate(name, NOW)
    }

    #[test]
    fn what_is_signed_is_believed() {
        for key in [Keypair::generate_ed25519(), Keypair::generate_secp256k1()] {
            let name = key.public().to_peer_id();
            let bytes = Record::sign(&key, &content("/ipfs/bafyaabakaieac")).unwrap();
            let record = Record::decode(&bytes).unwrap();
            assert_eq!(record.validate(&name, NOW), Ok(()));
            assert_eq!(record.value, "/ipfs/bafyaabakaieac");
            assert_eq!((record.sequence, record.ttl_ns), (7, 300_000_000_000));
            let late = Moment { seconds: NOW.seconds + 61, nanos: 0 };
            assert_eq!(record.validate(&name, late), Err(RecordError::Expired));
            let hashed = Multihash::wrap(0x12, &[7; 32]).unwrap();
            let hashed = PeerId::from_multihash(hashed).unwrap();
            assert_eq!(judge(&bytes, &hashed), Err(RecordError::NoKey));
            let other = Keypair::generate_ed25519().public().to_peer_id();
            assert_eq!(judge(&bytes, &other), Err(RecordError::Signature));
        }
    }

    /// Security case 39: nothing but the signature over CBOR counts, and nothing may differ from it.
    #[test]
    fn no_field_can_be_changed() {
        let key = Keypair::generate_ed25519();
        let name = key.public().to_peer_id();
        let bytes = Record::sign(&key, &content("/ipfs/bafyaabakaieac")).unwrap();
        let tampered = |change: fn(&mut IpnsEntry)| {
            let mut entry = IpnsEntry::decode(&bytes[..]).unwrap();
            change(&mut entry);
            judge(&entry.encode_to_vec(), &name)
        };
        assert_eq!(tampered(|_| {}), Ok(()));
        assert_eq!(
            tampered(|e| e.value = Some("/ipfs/x".into())),
            Err(RecordError::Differs("value"))
        );
        assert_eq!(tampered(|e| e.sequence = Some(8)), Err(RecordError::Differs("sequence")));
        assert_eq!(tampered(|e| e.ttl = None), Err(RecordError::Differs("ttl")));
        assert_eq!(
            tampered(|e| e.validity = Some("2999".into())),
            Err(RecordError::Differs("validity"))
        );
        assert_eq!(tampered(|e| e.signature_v2 = None), Err(RecordError::Signature));
        assert_eq!(
            tampered(|e| e.signature_v2 = e.signature_v1.clone()),
            Err(RecordError::Signature)
        );
        assert!(matches!(tampered(|e| e.data = None), Err(RecordError::Malformed(_))));
        assert_eq!(tampered(|e| e.pub_key = Some("key".into())), Err(RecordError::Key));
        // Without any field of the first version nothing is there to differ.
        let only_v2 = tampered(|e| {
            (e.value, e.signature_v1, e.validity, e.sequence, e.ttl) = Default::default();
        });
        assert_eq!(only_v2, Ok(()));
        let good = Record::decode(&bytes).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1;
            // The first version's signature is not looked at, and a zero may be left out.
            if judge(&bad, &name).is_ok() {
                let read = Record::decode(&bad).unwrap();
                assert_eq!((read.value, read.eol), (good.value.clone(), good.eol), "byte {at}");
                assert_eq!((read.sequence, read.ttl_ns), (good.sequence, good.ttl_ns));
            }
        }
        for cut in 0..bytes.len() {
            let _ = judge(&bytes[..cut], &name);
        }
        assert_eq!(judge(&[0; 10_241], &name), Err(RecordError::TooLong(10_241)));
    }

    /// Records that Kubo made, some of them broken on purpose; the file's name is the record's.
    #[test]
    fn records_of_kubo_are_judged_as_kubo_does() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/ipns");
        let mut seen = 0;
        for file in std::fs::read_dir(dir).unwrap() {
            let path = file.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let (name, what) = stem.split_once('_').unwrap_or((&stem, ""));
            let hash = crate::ipld::cid::parse(name).unwrap().hash().to_bytes();
            let judged = judge(&std::fs::read(&path).unwrap(), &PeerId::from_bytes(&hash).unwrap());
            match what {
                "v1" => assert!(matches!(judged, Err(RecordError::Malformed(_))), "{stem}"),
                "v1-v2-broken-signature-v2" => assert_eq!(judged, Err(RecordError::Signature)),
                "v1-v2-broken-v1-value" => assert_eq!(judged, Err(RecordError::Differs("value"))),
                // The first version's signature is of no account; the unnamed one is of an RSA key.
                "v2" | "v1-v2" | "v1-v2-broken-signature-v1" | "" => assert_eq!(judged, Ok(())),
                other => panic!("{other}"),
            }
            seen += 1;
        }
        assert_eq!(seen, 7);
    }

    #[test]
    fn the_newer_record_wins() {
        let key = Keypair::generate_ed25519();
        let make = |sequence, seconds| {
            let eol = Moment { seconds, nanos: 0 };
            let content = Content { value: "/ipfs/x", eol, sequence, ttl_ns: 1 };
            Record::decode(&Record::sign(&key, &content).unwrap()).unwrap()
        };
        let (old, long, new) = (make(1, 100), make(1, 101), make(2, 50));
        assert!(new.is_better(&long) && long.is_better(&old) && new.is_better(&old));
        assert!(!old.is_better(&long) && !long.is_better(&new) && !old.is_better(&old));
    }
}
