//! Messages of the DHT: from bytes, to bytes, and how they are framed on a stream.
//!
//! Pure. Reading is strict about bounds and lenient about addresses: one that does not parse is
//! left out, since new transports must not silence the peers that use them. What a message means
//! is decided by `server` and `lookup`.
//!
//! Source: libp2p/specs kad-dht (RPC messages), ipfs/specs src/routing/kad-dht.md.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::{Buf, Bytes, BytesMut};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use prost::Message as _;

use crate::proto::dht as pb;

/// Largest message that is read, in bytes: that of go-libp2p. Answers of 26 to 43 KB are common.
pub const MESSAGE_MAX_BYTES: usize = 4 << 20;
/// Peers taken of one list of a message. A full answer of go has 20 closer peers and one more;
/// providers of a popular key are more.
pub const PEERS_MAX: usize = 256;
/// Addresses taken of one peer.
pub const ADDRS_MAX: usize = 32;
/// Longest address that is read, in bytes: certificate hashes and relays fit.
pub const ADDR_MAX_BYTES: usize = 512;
/// Longest key of a provider record, in bytes (ipfs/specs kad-dht, ADD_PROVIDER).
pub const KEY_MAX_BYTES: usize = 80;
/// Longest key of any message, in bytes: `/ipns/` before a peer ID that holds an RSA key's hash,
/// or a peer ID that is a key of a kind still to come.
pub const ANY_KEY_MAX_BYTES: usize = 512;

/// What a message asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Store a record.
    PutValue,
    /// Give a record and closer peers.
    GetValue,
    /// Remember that the sender has the content; no answer.
    AddProvider,
    /// Give those who have the content and closer peers.
    GetProviders,
    /// Give closer peers.
    FindNode,
    /// Give a sign of life.
    Ping,
}

impl Kind {
    fn number(self) -> i32 {
        let kind = match self {
            Self::PutValue => pb::message::Type::PutValue,
            Self::GetValue => pb::message::Type::GetValue,
            Self::AddProvider => pb::message::Type::AddProvider,
            Self::GetProviders => pb::message::Type::GetProviders,
            Self::FindNode => pb::message::Type::FindNode,
            Self::Ping => pb::message::Type::Ping,
        };
        kind as i32
    }

    fn of(number: i32) -> Option<Self> {
        Some(match pb::message::Type::try_from(number).ok()? {
            pb::message::Type::PutValue => Self::PutValue,
            pb::message::Type::GetValue => Self::GetValue,
            pb::message::Type::AddProvider => Self::AddProvider,
            pb::message::Type::GetProviders => Self::GetProviders,
            pb::message::Type::FindNode => Self::FindNode,
            pb::message::Type::Ping => Self::Ping,
        })
    }
}

/// A peer and where it can be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who it is.
    pub peer: PeerId,
    /// Addresses without the peer's own `/p2p/` at their end; at most [`ADDRS_MAX`].
    pub addrs: Vec<Multiaddr>,
}

/// A value under a key, as the DHT carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// `/ipns/` or `/pk/` and the binary peer ID.
    pub key: Bytes,
    /// What a validator of the key's namespace accepts.
    pub value: Bytes,
    /// RFC 3339 time at which whoever answers got it; informative only.
    pub time_received: String,
}

/// One message, in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is asked or answered.
    pub kind: Kind,
    /// A multihash, a binary peer ID, or a record's key; empty in a PING.
    pub key: Bytes,
    /// The record that is put or was found.
    pub record: Option<Record>,
    /// Peers nearer to the key.
    pub closer: Vec<Contact>,
    /// Peers that have the content.
    pub providers: Vec<Contact>,
}

/// Why bytes are no message of the DHT.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The frame says it is longer than [`MESSAGE_MAX_BYTES`].
    #[error("a message of {0} bytes is too long")]
    TooLong(u64),
    /// The length before the message is no varint.
    #[error("the length of a message does not parse")]
    Length,
    /// The protobuf does not parse.
    #[error("a message does not parse: {0}")]
    Malformed(String),
    /// A type that this protocol does not have.
    #[error("a message of type {0} is not known")]
    Unknown(i32),
    /// The key is longer than [`ANY_KEY_MAX_BYTES`].
    #[error("a key of {0} bytes is too long")]
    Key(usize),
}

impl Message {
    /// A message with nothing but a key.
    pub fn new(kind: Kind, key: impl Into<Bytes>) -> Self {
        Self { kind, key: key.into(), record: None, closer: Vec::new(), providers: Vec::new() }
    }

    /// Tells `provider` as one who has the content under a multihash.
    pub fn add_provider(key: impl Into<Bytes>, provider: Contact) -> Self {
        Self { providers: vec![provider], ..Self::new(Kind::AddProvider, key) }
    }

    /// Stores a record. The key stands in the message and in the record: go refuses one without
    /// the other.
    pub fn put_value(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        let key = key.into();
        let record = Record { key: key.clone(), value: value.into(), time_received: String::new() };
        Self { record: Some(record), ..Self::new(Kind::PutValue, key) }
    }

    /// The message's protobuf, without its length.
    pub fn encode(&self) -> Vec<u8> {
        let record = self.record.as_ref().map(|record| pb::Record {
            key: record.key.clone(),
            value: record.value.clone(),
            time_received: record.time_received.clone(),
        });
        let message = pb::Message {
            r#type: self.kind.number(),
            key: self.key.clone(),
            record,
            closer_peers: self.closer.iter().map(write_contact).collect(),
            provider_peers: self.providers.iter().map(write_contact).collect(),
            cluster_level_raw: 1,
        };
        message.encode_to_vec()
    }

    /// The message as it goes over a stream: its length as a varint before it.
    pub fn frame(&self) -> Bytes {
        let body = self.encode();
        let mut out = BytesMut::with_capacity(body.len().saturating_add(5));
        prost::encoding::encode_varint(body.len() as u64, &mut out);
        out.extend_from_slice(&body);
        out.freeze()
    }

    /// Reads a message's protobuf.
    ///
    /// # Errors
    /// [`WireError`], except [`WireError::Length`]. Peers and addresses that do not parse, and
    /// those past the bounds of this module, are left out.
    pub fn decode(bytes: Bytes) -> Result<Self, WireError> {
        if bytes.len() > MESSAGE_MAX_BYTES {
            return Err(WireError::TooLong(bytes.len() as u64));
        }
        let message =
            pb::Message::decode(bytes).map_err(|e| WireError::Malformed(e.to_string()))?;
        let kind = Kind::of(message.r#type).ok_or(WireError::Unknown(message.r#type))?;
        if message.key.len() > ANY_KEY_MAX_BYTES {
            return Err(WireError::Key(message.key.len()));
        }
        let record = message.record.map(|record| Record {
            key: record.key,
            value: record.value,
            time_received: record.time_received,
        });
        let read = |peers: Vec<pb::message::Peer>| {
            peers.into_iter().take(PEERS_MAX).filter_map(read_contact).collect()
        };
        Ok(Self {
            kind,
            key: message.key,
            record,
            closer: read(message.closer_peers),
            providers: read(message.provider_peers),
        })
    }
}

/// Takes the first whole frame off a buffer; `None` when more bytes are needed.
///
/// # Errors
/// [`WireError::Length`] and [`WireError::TooLong`], before anything is reserved for the message:
/// the stream is then of no further use.
pub fn split_frame(buffer: &mut BytesMut) -> Result<Option<Bytes>, WireError> {
    let Some((length, head)) = read_varint(buffer)? else { return Ok(None) };
    if length > MESSAGE_MAX_BYTES as u64 {
        return Err(WireError::TooLong(length));
    }
    let length = usize::try_from(length).map_err(|_| WireError::TooLong(length))?;
    if buffer.len().saturating_sub(head) < length {
        return Ok(None);
    }
    buffer.advance(head);
    Ok(Some(buffer.split_to(length).freeze()))
}

/// The varint at the head of a buffer and its length; `None` when it is not all there.
fn read_varint(buffer: &[u8]) -> Result<Option<(u64, usize)>, WireError> {
    let mut value = 0u64;
    for (at, byte) in buffer.iter().take(5).enumerate() {
        let shift = u32::try_from(at).unwrap_or(u32::MAX).saturating_mul(7);
        value |= u64::from(byte & 0x7f).checked_shl(shift).ok_or(WireError::Length)?;
        if byte & 0x80 == 0 {
            return Ok(Some((value, at.saturating_add(1))));
        }
    }
    // Five bytes say 34 GB: no length that is still to be told can be within the bound.
    if buffer.len() >= 5 { Err(WireError::Length) } else { Ok(None) }
}

fn write_contact(contact: &Contact) -> pb::message::Peer {
    pb::message::Peer {
        id: contact.peer.to_bytes().into(),
        addrs: contact.addrs.iter().take(ADDRS_MAX).map(|addr| addr.to_vec().into()).collect(),
        connection: 0,
    }
}

fn read_contact(peer: pb::message::Peer) -> Option<Contact> {
    let id = PeerId::from_bytes(&peer.id).ok()?;
    let addrs = peer.addrs.iter().take(ADDRS_MAX).filter_map(|addr| read_addr(&id, addr));
    Some(Contact { peer: id, addrs: addrs.collect() })
}

fn read_addr(peer: &PeerId, bytes: &[u8]) -> Option<Multiaddr> {
    if bytes.is_empty() || bytes.len() > ADDR_MAX_BYTES {
        return None;
    }
    bare(peer, Multiaddr::try_from(bytes.to_vec()).ok()?)
}

/// An address without the peer's own ID at its end; `None` when it ends in another's, or is empty.
pub fn bare(peer: &PeerId, mut addr: Multiaddr) -> Option<Multiaddr> {
    if let Some(Protocol::P2p(last)) = addr.iter().last() {
        if last != *peer {
            return None;
        }
        addr.pop();
    }
    (!addr.is_empty()).then_some(addr)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(text: &str) -> Contact {
        Contact { peer: PeerId::random(), addrs: vec![text.parse().unwrap()] }
    }

    #[test]
    fn messages_read_back() {
        let mut message = Message::new(Kind::GetProviders, &b"key"[..]);
        message.closer = vec![contact("/ip4/1.2.3.4/tcp/4001"), contact("/dns4/x.org/tcp/443/wss")];
        message.providers = vec![contact("/ip6/2600::1/udp/4001/quic-v1")];
        let mut stream = BytesMut::new();
        let put = Message::put_value(&b"/ipns/x"[..], &b"value"[..]);
        stream.extend_from_slice(&message.frame());
        stream.extend_from_slice(&put.frame());
        for wanted in [message, put] {
            let frame = split_frame(&mut stream).unwrap().unwrap();
            assert_eq!(Message::decode(frame).unwrap(), wanted);
        }
        assert!(stream.is_empty());
    }

    #[test]
    fn trap_09_put_value_names_its_key_twice() {
        let bytes = Message::put_value(&b"/ipns/x"[..], &b"v"[..]).encode();
        let message = pb::Message::decode(&bytes[..]).unwrap();
        assert_eq!(message.key, message.record.unwrap().key);
    }

    #[test]
    fn a_cut_frame_waits_and_a_long_one_is_refused() {
        let frame = Message::new(Kind::FindNode, vec![7; 200]).frame();
        for cut in 0..frame.len() {
            let mut part = BytesMut::from(&frame[..cut]);
            assert_eq!(split_frame(&mut part), Ok(None));
            assert_eq!(part.len(), cut);
        }
        let mut long = BytesMut::from(&[0x81, 0x80, 0x80, 0x02][..]);
        assert_eq!(split_frame(&mut long), Err(WireError::TooLong((4 << 20) + 1)));
        let mut endless = BytesMut::from(&[0xff; 5][..]);
        assert_eq!(split_frame(&mut endless), Err(WireError::Length));
    }

    #[test]
    fn addresses_nobody_knows_are_left_out() {
        let peer = PeerId::random();
        let good: Multiaddr = "/ip4/1.2.3.4/tcp/1".parse().unwrap();
        let own = good.clone().with(Protocol::P2p(peer));
        let foreign = good.clone().with(Protocol::P2p(PeerId::random()));
        let id = pb::message::Peer {
            id: peer.to_bytes().into(),
            // 0xd000 is no protocol; the second one is cut.
            addrs: [vec![0x80, 0xa0, 0x03, 1], vec![4, 1], own.to_vec(), foreign.to_vec(), vec![]]
                .map(Bytes::from)
                .into(),
            connection: 9,
        };
        let nobody = pb::message::Peer { id: Bytes::from_static(b"?"), ..Default::default() };
        let message =
            pb::Message { closer_peers: vec![nobody, id], r#type: 4, ..Default::default() };
        let read = Message::decode(message.encode_to_vec().into()).unwrap();
        assert_eq!(read.closer, [Contact { peer, addrs: vec![good] }]);
    }

    #[test]
    fn damage_is_never_a_panic() {
        use rand::{RngExt as _, SeedableRng as _};
        let mut rng = rand::rngs::StdRng::seed_from_u64(9);
        let mut message = Message::put_value(&b"/ipns/x"[..], &b"value"[..]);
        message.closer = vec![contact("/ip4/1.2.3.4/tcp/4001/ws"); 3];
        message.providers = vec![contact("/dns4/x.org/udp/443/quic-v1")];
        let good = message.frame();
        for _ in 0..20_000 {
            let mut bad = BytesMut::from(&good[..]);
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bad.len());
                bad[at] = rng.random();
            }
            bad.truncate(rng.random_range(0..=good.len()));
            if let Ok(Some(frame)) = split_frame(&mut bad)
                && let Ok(read) = Message::decode(frame)
            {
                let again = Message::decode(read.encode().into());
                assert_eq!(again, Ok(read), "what was read can be written");
            }
        }
    }

    #[test]
    fn lists_and_keys_are_bounded() {
        let addrs = vec![Bytes::from("/ip4/1.2.3.4".parse::<Multiaddr>().unwrap().to_vec()); 99];
        let peer =
            pb::message::Peer { id: PeerId::random().to_bytes().into(), addrs, connection: 0 };
        let message = pb::Message { provider_peers: vec![peer; 999], ..Default::default() };
        let read = Message::decode(message.encode_to_vec().into()).unwrap();
        assert_eq!(read.providers.len(), PEERS_MAX);
        assert!(read.providers.iter().all(|p| p.addrs.len() == ADDRS_MAX));
        let message = pb::Message { key: vec![0; 513].into(), ..Default::default() };
        let read = Message::decode(message.encode_to_vec().into());
        assert_eq!(read, Err(WireError::Key(513)));
        let message = pb::Message { r#type: 6, ..Default::default() };
        assert_eq!(Message::decode(message.encode_to_vec().into()), Err(WireError::Unknown(6)));
    }
}
