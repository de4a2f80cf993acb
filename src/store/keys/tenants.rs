//! Rows of the family `tenants`: who pins here for others, and what they asked to be pinned.
//!
//! The first byte tells the kind, numbers are big-endian. `T` is a tenant's number. A time counted
//! backwards (`!created`) makes forward order begin with what is newest.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use bytes::{Buf as _, Bytes};

use super::{Cid, codec};

const REQUEST: u8 = b'r';
const BY_CID: u8 = b'c';
const BY_NAME: u8 = b'n';
const BY_EXPIRY: u8 = b'e';
const HELD: u8 = b'h';
const USED: u8 = b'u';
const TENANT: u8 = b't';
const TOKEN: u8 = b'k';
const NEXT: u8 = b'#';

/// What the keys of all tenants begin with.
pub fn tenants() -> &'static [u8] {
    &[TENANT]
}

/// Key of a tenant's row.
pub fn tenant(name: &str) -> Bytes {
    [&[TENANT][..], name.as_bytes()].concat().into()
}

/// The name in such a key.
pub fn split_tenant(key: &[u8]) -> Option<&str> {
    std::str::from_utf8(key.strip_prefix(&[TENANT])?).ok()
}

/// Key of the row that tells the next tenant's number.
pub fn next_tenant() -> &'static [u8] {
    &[NEXT]
}

/// Value of that row.
pub fn number(number: u32) -> Bytes {
    number.to_be_bytes().to_vec().into()
}

/// The number in it.
pub fn split_number(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(<[u8; 4]>::try_from(value).ok()?))
}

/// What the keys of all tokens begin with.
pub fn tokens() -> &'static [u8] {
    &[TOKEN]
}

/// Key of a token's row, by the SHA-256 of its secret.
pub fn token(hash: &[u8; 32]) -> Bytes {
    [&[TOKEN][..], hash].concat().into()
}

/// The hash in such a key.
pub fn split_token(key: &[u8]) -> Option<&[u8; 32]> {
    key.strip_prefix(&[TOKEN])?.try_into().ok()
}

/// What the keys of all rows begin with that tell who holds a DAG.
pub fn holdings() -> &'static [u8] {
    &[HELD]
}

/// DAG and tenant in the key of such a row.
pub fn split_held(key: &[u8]) -> Option<(&[u8], u32)> {
    let (dag, tenant) = key.strip_prefix(&[HELD])?.split_last_chunk::<4>()?;
    Some((dag, u32::from_be_bytes(*tenant)))
}

/// Kind and tenant: what the keys of all rows of one kind of one tenant begin with.
fn of(kind: u8, tenant: u32) -> Vec<u8> {
    [&[kind][..], &tenant.to_be_bytes()].concat()
}

/// What the keys of all requests of a tenant begin with, the newest first.
pub fn requests(tenant: u32) -> Bytes {
    of(REQUEST, tenant).into()
}

/// Key of a request by when it was made, in microseconds since 1970.
pub fn request(tenant: u32, created: u64) -> Bytes {
    [&of(REQUEST, tenant)[..], &(!created).to_be_bytes()].concat().into()
}

/// The time at the end of a key of [`request`], [`by_cid`], [`by_name`] or [`by_expiry`].
pub fn split_created(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|backwards| !u64::from_be_bytes(*backwards))
}

/// The CID under which a DAG is pinned for a tenant, whatever the version of the one it was asked for
/// by.
pub fn pinned_as(cid: &Cid) -> Cid {
    match cid.version() {
        super::Version::V0 => Cid::new_v1(codec::DAG_PB, *cid.hash()),
        super::Version::V1 => *cid,
    }
}

/// A DAG, whatever the version of the CID that names it: multihash and codec.
fn dag(cid: &Cid) -> Vec<u8> {
    [&cid.hash().to_bytes()[..], &pinned_as(cid).codec().to_be_bytes()].concat()
}

/// What the keys of all rows begin with that find a tenant's requests for a DAG.
pub fn of_cid(tenant: u32, cid: &Cid) -> Bytes {
    [of(BY_CID, tenant), dag(cid)].concat().into()
}

/// Key of the row that finds a request by its CID.
pub fn by_cid(tenant: u32, cid: &Cid, created: u64) -> Bytes {
    [&of_cid(tenant, cid)[..], &(!created).to_be_bytes()].concat().into()
}

/// What the keys of all rows begin with that find a tenant's requests by name.
pub fn names(tenant: u32) -> Bytes {
    of(BY_NAME, tenant).into()
}

/// What the keys begin with of rows that find a tenant's requests by exactly this name. One that
/// holds zero bytes has longer ones in the same place: the row's key is 8 bytes longer than this.
pub fn of_name(tenant: u32, name: &str) -> Bytes {
    [&of(BY_NAME, tenant)[..], name.as_bytes(), &[0]].concat().into()
}

/// Key of the row that finds a request by its name.
pub fn by_name(tenant: u32, name: &str, created: u64) -> Bytes {
    [&of_name(tenant, name)[..], &(!created).to_be_bytes()].concat().into()
}

/// The name in such a key.
pub fn split_name(key: &[u8]) -> Option<&str> {
    let end = key.len().checked_sub(9)?;
    std::str::from_utf8(key.get(5..end)?).ok()
}

/// What the keys of all rows begin with that find requests by the time at which they expire.
pub fn expiring() -> Bytes {
    vec![BY_EXPIRY].into()
}

/// Key of the row that finds a request by its expiry, in seconds since 1970; the first to do so
/// first.
pub fn by_expiry(expires: u64, tenant: u32, created: u64) -> Bytes {
    let backwards = (!created).to_be_bytes();
    [&[BY_EXPIRY][..], &expires.to_be_bytes(), &tenant.to_be_bytes(), &backwards].concat().into()
}

/// Expiry and tenant in such a key.
pub fn split_expiry(mut key: &[u8]) -> Option<(u64, u32)> {
    let kind = key.try_get_u8().ok()?;
    let found = (key.try_get_u64().ok()?, key.try_get_u32().ok()?);
    (kind == BY_EXPIRY && key.len() == 8).then_some(found)
}

/// Value of the row of [`used`]: bytes.
pub fn bytes_used(bytes: u64) -> Bytes {
    bytes.to_be_bytes().to_vec().into()
}

/// The bytes in such a value.
pub fn split_used(row: &[u8]) -> Option<u64> {
    <[u8; 8]>::try_from(row).ok().map(u64::from_be_bytes)
}

/// What the keys of the rows begin with that tell who holds a DAG.
pub fn holders(cid: &Cid) -> Bytes {
    [vec![HELD], dag(cid)].concat().into()
}

/// Key of the row that tells how often a tenant holds a DAG.
pub fn held(cid: &Cid, tenant: u32) -> Bytes {
    [&holders(cid)[..], &tenant.to_be_bytes()].concat().into()
}

/// Key of the row that tells what a tenant holds altogether.
pub fn used(tenant: u32) -> Bytes {
    of(USED, tenant).into()
}

/// Whether a key is that of a row of [`held`] or [`used`], which requests tell, too.
pub fn is_sum(key: &[u8]) -> bool {
    matches!(key.first(), Some(&(HELD | USED)))
}

/// A DAG that a tenant holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// Requests that hold it.
    pub requests: u32,
    /// Bytes of the DAG, told as `node::service` weighs it.
    pub bytes: u64,
    /// Blocks of the DAG, counted in the same way.
    pub blocks: u64,
}

impl Holding {
    /// 20 bytes: requests, bytes, blocks.
    pub fn encode(&self) -> Bytes {
        let (bytes, blocks) = (self.bytes.to_be_bytes(), self.blocks.to_be_bytes());
        [&self.requests.to_be_bytes()[..], &bytes, &blocks].concat().into()
    }

    /// `None` for bytes that no version of this layout wrote.
    pub fn decode(mut row: &[u8]) -> Option<Self> {
        let requests = row.try_get_u32().ok()?;
        let held =
            Self { requests, bytes: row.try_get_u64().ok()?, blocks: row.try_get_u64().ok()? };
        row.is_empty().then_some(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipld::cid;

    #[test]
    fn keys_read_back_and_sort() {
        assert!(request(1, 9) < request(1, 8) && request(1, 0) < request(2, u64::MAX));
        assert_eq!(split_created(&request(7, 258)), Some(258));
        for name in ["", "a", "a\0b", "\u{10ffff}"] {
            let key = by_name(7, name, 9);
            assert_eq!((split_name(&key), split_created(&key)), (Some(name), Some(9)));
            assert_eq!(key.len(), of_name(7, name).len() + 8);
        }
        assert_eq!(split_expiry(&by_expiry(5, 7, 9)), Some((5, 7)));
        assert_eq!((split_expiry(b"e"), split_name(b"n"), split_created(b"r")), (None, None, None));
        let held = Holding { requests: 2, bytes: 1 << 40, blocks: 3 };
        assert_eq!(Holding::decode(&held.encode()), Some(held));
        assert_eq!(Holding::decode(&[0; 21]), None);
    }

    #[test]
    fn both_versions_of_a_cid_are_one_dag() {
        let v0 = cid::parse("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn").unwrap();
        let (v1, raw) =
            (Cid::new_v1(codec::DAG_PB, *v0.hash()), Cid::new_v1(codec::RAW, *v0.hash()));
        assert_eq!(held(&v0, 1), held(&v1, 1));
        assert!(held(&v0, 1) != held(&raw, 1) && held(&v0, 1).starts_with(&holders(&v1)));
        assert!(by_cid(1, &v1, 4).starts_with(&of_cid(1, &v0)));
    }
}
