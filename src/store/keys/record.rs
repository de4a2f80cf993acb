//! Rows of the family `records`: what the network told, and what it was told. Peers and addresses
//! are bytes here; the router knows what they mean.

use bytes::{Buf as _, Bytes};

const PROVIDER: u8 = b'p';
const ADDRESSES: u8 = b'a';
const VALUE: u8 = b'v';
const PEER: u8 = b's';
const ANNOUNCED: u8 = b'o';
const QUEUED: u8 = b'q';
const MARK: u8 = b'm';

/// SHA-256 of what a row is about.
pub type Digest = [u8; 32];

/// What the keys of all provider rows of a scope begin with.
pub fn providers(scope: u8) -> Bytes {
    vec![PROVIDER, scope].into()
}

/// What the keys of all provider rows of one multihash begin with.
pub fn providers_of(scope: u8, digest: &Digest) -> Bytes {
    [&[PROVIDER, scope][..], digest].concat().into()
}

/// Key of a provider row.
pub fn provider(scope: u8, digest: &Digest, peer: &[u8]) -> Bytes {
    [&[PROVIDER, scope][..], digest, peer].concat().into()
}

/// Digest and peer in the key of a provider row.
pub fn split_provider(key: &[u8]) -> Option<(&Digest, &[u8])> {
    key.get(2..)?.split_first_chunk()
}

/// Key of the addresses of a provider; without a peer the prefix of all of them.
pub fn addresses(scope: u8, peer: &[u8]) -> Bytes {
    [&[ADDRESSES, scope][..], peer].concat().into()
}

/// Key of a value; [`values`] is the prefix of all of them.
pub fn value(scope: u8, digest: &Digest) -> Bytes {
    [&[VALUE, scope][..], digest].concat().into()
}

/// What the keys of all values of a scope begin with.
pub fn values(scope: u8) -> Bytes {
    vec![VALUE, scope].into()
}

/// Key of a peer seen before; without a peer the prefix of all of them.
pub fn peer(peer: &[u8]) -> Bytes {
    [&[PEER], peer].concat().into()
}

/// The peer in the key of [`peer`], or of [`addresses`] without its scope.
pub fn split_peer(key: &[u8]) -> Option<&[u8]> {
    key.strip_prefix(&[PEER])
}

/// The peer in a key of [`addresses`].
pub fn split_addresses(key: &[u8]) -> Option<&[u8]> {
    key.get(2..)
}

/// Key of a multihash that this node announced; without a digest the prefix of all of them.
pub fn announced(digest: &[u8]) -> Bytes {
    [&[ANNOUNCED], digest].concat().into()
}

/// Key of a multihash that this node is to announce; without a digest the prefix of all of its
/// queue.
pub fn queued(queue: u8, digest: &[u8]) -> Bytes {
    [&[QUEUED, queue][..], digest].concat().into()
}

/// Key of a named mark.
pub fn mark(name: &str) -> Bytes {
    [&[MARK], name.as_bytes()].concat().into()
}

/// Value of a provider row: 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProviderRow {
    /// When it counts as absent, in seconds since 1970.
    pub expiry: u64,
    /// Tag of the peer's IP group when it told.
    pub group: u32,
}

impl ProviderRow {
    /// Expiry, then group.
    pub fn encode(&self) -> Bytes {
        [&self.expiry.to_be_bytes()[..], &self.group.to_be_bytes()].concat().into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut value: &[u8]) -> Option<Self> {
        let row = Self { expiry: value.try_get_u64().ok()?, group: value.try_get_u32().ok()? };
        value.is_empty().then_some(row)
    }
}

/// Value of a provider's addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressRow {
    /// When the addresses count as absent, in seconds since 1970.
    pub expiry: u64,
    /// Provider rows of the peer, for its limit.
    pub rows: u32,
    /// Binary multiaddrs.
    pub addrs: Vec<Bytes>,
}

impl AddressRow {
    /// Expiry, rows, addresses.
    pub fn encode(&self) -> Bytes {
        let mut out = self.expiry.to_be_bytes().to_vec();
        out.extend_from_slice(&self.rows.to_be_bytes());
        put_addrs(&mut out, &self.addrs);
        out.into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut value: Bytes) -> Option<Self> {
        let (expiry, rows) = (value.try_get_u64().ok()?, value.try_get_u32().ok()?);
        Some(Self { expiry, rows, addrs: get_addrs(value)? })
    }
}

/// Value of a peer seen before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerRow {
    /// When it was last seen, in seconds since 1970.
    pub seen: u64,
    /// When it counts as absent, in seconds since 1970.
    pub expiry: u64,
    /// Binary multiaddrs.
    pub addrs: Vec<Bytes>,
}

impl PeerRow {
    /// Seen, expiry, addresses.
    pub fn encode(&self) -> Bytes {
        let mut out = self.seen.to_be_bytes().to_vec();
        out.extend_from_slice(&self.expiry.to_be_bytes());
        put_addrs(&mut out, &self.addrs);
        out.into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut value: Bytes) -> Option<Self> {
        let (seen, expiry) = (value.try_get_u64().ok()?, value.try_get_u64().ok()?);
        Some(Self { seen, expiry, addrs: get_addrs(value)? })
    }
}

/// A value of the DHT as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueRow {
    /// When it was received, in seconds since 1970.
    pub received: u64,
    /// Its key, at most 65,535 bytes.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

impl ValueRow {
    /// Received, length of the key, key, value; `None` when the key is too long.
    pub fn encode(&self) -> Option<Bytes> {
        let mut out = self.received.to_be_bytes().to_vec();
        out.extend_from_slice(&u16::try_from(self.key.len()).ok()?.to_be_bytes());
        out.extend_from_slice(&self.key);
        out.extend_from_slice(&self.value);
        Some(out.into())
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let (received, length) = (bytes.try_get_u64().ok()?, bytes.try_get_u16().ok()?);
        let length = usize::from(length);
        if bytes.len() < length {
            return None;
        }
        let key = bytes.split_to(length);
        Some(Self { received, key, value: bytes })
    }
}

/// A time and a multihash: value of what was announced, and of what is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimedHash {
    /// Seconds since 1970.
    pub time: u64,
    /// A multihash in binary.
    pub hash: Bytes,
}

impl TimedHash {
    /// Time, then multihash.
    pub fn encode(&self) -> Bytes {
        [&self.time.to_be_bytes()[..], &self.hash].concat().into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let time = bytes.try_get_u64().ok()?;
        Some(Self { time, hash: bytes })
    }
}

/// Addresses longer than a length can say are left out: none is read that long.
fn put_addrs(out: &mut Vec<u8>, addrs: &[Bytes]) {
    for addr in addrs {
        if let Ok(length) = u16::try_from(addr.len()) {
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(addr);
        }
    }
}

fn get_addrs(mut bytes: Bytes) -> Option<Vec<Bytes>> {
    let mut addrs = Vec::new();
    while !bytes.is_empty() {
        let length = usize::from(bytes.try_get_u16().ok()?);
        if bytes.len() < length {
            return None;
        }
        addrs.push(bytes.split_to(length));
    }
    Some(addrs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back() {
        let row = ProviderRow { expiry: 1_800_000_000, group: 7 };
        assert_eq!(ProviderRow::decode(&row.encode()), Some(row));
        assert_eq!(ProviderRow::decode(&[0; 13]), None);
        let addrs = vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![1; 300])];
        let row = AddressRow { expiry: 1, rows: 2, addrs: addrs.clone() };
        assert_eq!(AddressRow::decode(row.encode()), Some(row.clone()));
        assert_eq!(AddressRow::decode(row.encode().slice(..16)), None);
        let row = PeerRow { seen: 1, expiry: 2, addrs };
        assert_eq!(PeerRow::decode(row.encode()), Some(row));
        let (key, value) = (Bytes::from_static(b"/pk/x"), Bytes::from_static(b"v"));
        let row = ValueRow { received: 3, key, value };
        assert_eq!(ValueRow::decode(row.encode().unwrap()), Some(row.clone()));
        assert_eq!(ValueRow::decode(row.encode().unwrap().slice(..12)), None);
        let row = TimedHash { time: 9, hash: Bytes::from_static(b"hash") };
        assert_eq!(TimedHash::decode(row.encode()), Some(row));
        let key = provider(1, &[7; 32], b"peer");
        assert_eq!(split_provider(&key), Some((&[7; 32], &b"peer"[..])));
        assert!(key.starts_with(&providers_of(1, &[7; 32])));
        assert_eq!(split_peer(&peer(b"me")), Some(&b"me"[..]));
        assert_eq!(split_addresses(&addresses(0, b"me")), Some(&b"me"[..]));
    }
}
