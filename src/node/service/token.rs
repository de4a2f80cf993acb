//! Tokens: what a secret opens. Only hashes of secrets are kept; a secret is shown once, when it is
//! issued.
//!
//! A tenant's token opens the tenant's requests. One that is nobody's is the operator's own, and opens
//! the RPC.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use data_encoding::{BASE32_NOPAD, HEXLOWER};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Service;
use super::account::lock;
use super::audit::{About, Outcome};
use super::rate::Bucket;
pub use super::scope::{Need, Scopes};
use super::tenant::Tenant;
use crate::ipld::cid::{self, Cid};
use crate::node::Error;
use crate::store::keys::tenants as keys;
use crate::store::pin::now;
use crate::store::tenants::TenantBatch;
use crate::store::{Core, StoreError};

/// How secrets begin, so that they are known where they leak.
pub const PREFIX: &str = "hgt_";
/// Random bytes of a secret: too many to be guessed, so that a plain hash of it says nothing.
const SECRET_BYTES: usize = 32;
/// Random bytes of an id.
const ID_BYTES: usize = 8;
/// Most tokens of a node; beyond it, revoked and expired ones are forgotten.
const TOKENS_MAX: usize = 100_000;
/// Longest label and prefix of names, in bytes.
const TEXT_MAX_BYTES: usize = 255;

/// What is known of a token; its secret is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is called where it is listed and revoked.
    pub id: String,
    /// Whose it is; `None` for the node's own operator.
    pub tenant: Option<String>,
    /// What it is good for.
    pub scopes: Scopes,
    /// The only CID that it may pin.
    pub cid: Option<Cid>,
    /// How the names of what it pins must begin.
    pub name_prefix: Option<String>,
    /// When it was issued, in seconds since 1970.
    pub created: u64,
    /// From when on it opens nothing, in seconds since 1970.
    pub expires: Option<u64>,
    /// Calls a second, over the time of a burst.
    pub rate: Option<u32>,
    /// What somebody says of it.
    pub label: String,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// What a token is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenAsk {
    /// See [`Token::tenant`].
    pub tenant: Option<String>,
    /// See [`Token::scopes`].
    pub scopes: Scopes,
    /// See [`Token::cid`].
    pub cid: Option<Cid>,
    /// See [`Token::name_prefix`].
    pub name_prefix: Option<String>,
    /// How long it opens anything; for good with `None`.
    pub lasts: Option<Duration>,
    /// See [`Token::rate`].
    pub rate: Option<u32>,
    /// See [`Token::label`].
    pub label: String,
}

/// A token's row, as JSON.
#[derive(Serialize, Deserialize)]
struct Row {
    id: String,
    tenant: Option<String>,
    scopes: Scopes,
    cid: Option<String>,
    name_prefix: Option<String>,
    created: u64,
    expires: Option<u64>,
    rate: Option<u32>,
    label: String,
    revoked: bool,
}

impl Token {
    fn row(&self) -> Bytes {
        let Self { id, tenant, scopes, cid, name_prefix, created, expires, rate, label, revoked } =
            self.clone();
        let cid = cid.map(|cid| cid.to_string());
        let row =
            Row { id, tenant, scopes, cid, name_prefix, created, expires, rate, label, revoked };
        serde_json::to_vec(&row).unwrap_or_default().into()
    }

    fn read(value: &[u8]) -> Option<Self> {
        let Row { id, tenant, scopes, cid, name_prefix, created, expires, rate, label, revoked } =
            serde_json::from_slice(value).ok()?;
        let cid = match cid {
            Some(text) => Some(cid::parse(&text).ok()?),
            None => None,
        };
        Some(Self { id, tenant, scopes, cid, name_prefix, created, expires, rate, label, revoked })
    }

    /// What it is good for now.
    pub fn state(&self) -> TokenState {
        match self.expires {
            _ if self.revoked => TokenState::Revoked,
            Some(expires) if expires <= now() => TokenState::Expired,
            _ => TokenState::Live,
        }
    }
}

/// Whether a token opens anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// It opens what it is for.
    Live,
    /// Its time is over.
    Expired,
    /// It was taken back.
    Revoked,
}

impl TokenState {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// Proof that a secret was looked at and opens something.
#[derive(Clone, Debug)]
pub struct Access {
    /// Whose requests it opens.
    pub tenant: Arc<Tenant>,
    /// By what.
    pub token: Arc<Token>,
}

impl Access {
    /// What the node itself does for a tenant, by no token.
    pub(super) fn own(tenant: Arc<Tenant>) -> Self {
        let token = Token {
            id: String::new(),
            tenant: Some(tenant.name.clone()),
            scopes: Scopes { admin: true, ..Scopes::default() },
            cid: None,
            name_prefix: None,
            created: 0,
            expires: None,
            rate: None,
            label: String::new(),
            revoked: false,
        };
        Self { tenant, token: Arc::new(token) }
    }
}

/// Why a secret opens nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such secret, or it is expired or revoked: which of them is not told.
    Unknown,
    /// It opens something else.
    Scope,
    /// Too many calls.
    Rate {
        /// Whole seconds after which the next one may come.
        wait: u64,
    },
}

/// SHA-256 of a secret.
type Hash = [u8; 32];

/// A token, and how often it was used of late.
#[derive(Debug)]
struct Known {
    hash: Hash,
    token: RwLock<Arc<Token>>,
    bucket: Mutex<Bucket>,
}

impl Known {
    fn token(&self) -> Arc<Token> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The tokens there are, by the hash of their secret.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    all: RwLock<HashMap<Hash, Arc<Known>>>,
    /// What tenants have called, by number.
    tenants: Mutex<HashMap<u32, Bucket>>,
}

impl Tokens {
    fn know(&self, hash: Hash, token: Token) -> Arc<Token> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let token = Arc::new(token);
        match all.get(&hash) {
            Some(known) => {
                *known.token.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&token);
            }
            None => {
                let bucket = Mutex::new(Bucket::full(Instant::now()));
                let known = Known { hash, token: RwLock::new(Arc::clone(&token)), bucket };
                all.insert(hash, Arc::new(known));
            }
        }
        token
    }

    /// Knows some of them no longer; gives the hashes of their secrets.
    pub(super) fn forget(&self, which: impl Fn(&Token) -> bool) -> Vec<Hash> {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let gone = all.extract_if(|_, known| which(&known.token()));
        gone.map(|(hash, _)| hash).collect()
    }

    fn list(&self) -> Vec<Arc<Known>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The live token of a secret. What is compared is a hash, whose closeness to another tells
    /// nothing about the secret; and the one that is found is compared in constant time.
    fn find(&self, secret: &str) -> Option<Arc<Known>> {
        let hash: Hash = Sha256::digest(secret.as_bytes()).into();
        let all = self.all.read().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(&hash).cloned();
        drop(all);
        known.filter(|known| {
            let differ = known.hash.iter().zip(&hash).fold(0, |seen, (x, y)| seen | (x ^ y));
            differ == 0 && known.token().state() == TokenState::Live
        })
    }
}

impl Service {
    /// Reads the rows of tokens.
    pub(super) fn read_tokens(&self, core: &Core) -> Result<(), StoreError> {
        core.each_tenant_row(keys::tokens(), keys::tokens(), &mut |key, value| {
            match keys::split_token(key).zip(Token::read(value)) {
                Some((hash, token)) => drop(self.state().tokens.know(*hash, token)),
                None => tracing::warn!("the row of a token does not parse, and opens nothing"),
            }
            Ok(true)
        })
    }

    /// Looks at a secret of a tenant: whose requests it opens, and whether it is enough. Noted in the
    /// audit.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit(&self, secret: &str, need: Need, about: &About<'_>) -> Result<Access, Refused> {
        let known = self.state().tokens.find(secret);
        let token = known.as_ref().map(|known| known.token());
        let tenant = token.as_ref().and_then(|token| token.tenant.as_deref());
        let tenant = tenant.and_then(|name| self.state().tenants.named(name));
        let (Some(known), Some(token), Some(tenant)) = (known, token, tenant) else {
            self.state().audit.note(about, None, Outcome::Unknown);
            return Err(Refused::Unknown);
        };
        let admitted = self.enough(&known, &token, need).and_then(|()| self.in_time(&tenant));
        self.state().audit.note(about, Some(&token), Outcome::of(&admitted));
        admitted.map(|()| Access { tenant, token })
    }

    /// The same for the RPC, which the operator's own tokens open: those of tenants do not, and
    /// neither do those for one CID or some names.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn admit_operator(
        &self,
        secret: &str,
        need: Need,
        about: &About<'_>,
    ) -> Result<(), Refused> {
        let Some(known) = self.state().tokens.find(secret) else {
            self.state().audit.note(about, None, Outcome::Unknown);
            return Err(Refused::Unknown);
        };
        let token = known.token();
        let own = token.tenant.is_none() && token.cid.is_none() && token.name_prefix.is_none();
        let admitted = match own {
            true => self.enough(&known, &token, need),
            false => Err(Refused::Scope),
        };
        self.state().audit.note(about, Some(&token), Outcome::of(&admitted));
        admitted
    }

    /// Whether a token may do this now. What it may not do counts as a call, too.
    fn enough(&self, known: &Known, token: &Token, need: Need) -> Result<(), Refused> {
        if let Some(rate) = token.rate {
            let taken = lock(&known.bucket).take(rate, Instant::now());
            taken.map_err(|wait| Refused::Rate { wait })?;
        }
        match token.scopes.allow(need) {
            true => Ok(()),
            false => Err(Refused::Scope),
        }
    }

    fn in_time(&self, tenant: &Tenant) -> Result<(), Refused> {
        let Some(rate) = tenant.limits.rate else { return Ok(()) };
        let now = Instant::now();
        let mut buckets = lock(&self.state().tokens.tenants);
        let bucket = buckets.entry(tenant.number).or_insert_with(|| Bucket::full(now));
        bucket.take(rate, now).map_err(|wait| Refused::Rate { wait })
    }

    /// Issues a token; durable when this returns. Also gives the secret, which is kept nowhere.
    ///
    /// # Errors
    /// [`Error::Absent`] for a tenant that is not there; [`Error::Invalid`] for what cannot be meant;
    /// the store's.
    pub async fn token_issue(&self, ask: TokenAsk) -> Result<(Arc<Token>, String), Error> {
        self.load().await?;
        let refuse = |why: String| Err(Error::Invalid(why));
        if ask.tenant.is_some() && ask.scopes.admin {
            return refuse("a tenant's token reads and pins: admin is the operator's".into());
        }
        if ask.tenant.is_none() && (ask.cid.is_some() || ask.name_prefix.is_some()) {
            return refuse("only a tenant's token is for one CID or some names: name it".into());
        }
        let texts = [Some(&ask.label), ask.name_prefix.as_ref()];
        if texts.into_iter().flatten().any(|text| text.len() > TEXT_MAX_BYTES) {
            return refuse(format!("labels and prefixes have at most {TEXT_MAX_BYTES} bytes"));
        }
        let _one = self.state().changing.lock().await;
        // Now that it cannot go away.
        if let Some(name) = &ask.tenant {
            self.tenant(name).await?;
        }
        if self.state().tokens.list().len() >= TOKENS_MAX {
            self.forget_dead().await?;
        }
        if self.state().tokens.list().len() >= TOKENS_MAX {
            return Err(Error::Quota(format!("a node has at most {TOKENS_MAX} tokens")));
        }
        let random: [u8; SECRET_BYTES] = rand::random();
        let secret = format!("{PREFIX}{}", BASE32_NOPAD.encode(&random).to_lowercase());
        let id: [u8; ID_BYTES] = rand::random();
        let created = now();
        let token = Token {
            id: HEXLOWER.encode(&id),
            tenant: ask.tenant,
            scopes: ask.scopes,
            cid: ask.cid,
            name_prefix: ask.name_prefix,
            created,
            expires: ask.lasts.map(|lasts| created.saturating_add(lasts.as_secs())),
            rate: ask.rate,
            label: ask.label,
            revoked: false,
        };
        let hash: Hash = Sha256::digest(secret.as_bytes()).into();
        self.put_tokens(vec![(hash, token.clone())]).await?;
        Ok((self.state().tokens.know(hash, token), secret))
    }

    /// All tokens of a tenant, or all there are, in the order in which they were issued.
    ///
    /// # Errors
    /// The store's.
    pub async fn token_ls(&self, tenant: Option<&str>) -> Result<Vec<Arc<Token>>, Error> {
        self.load().await?;
        let mut tokens: Vec<Arc<Token>> =
            self.state().tokens.list().iter().map(|known| known.token()).collect();
        tokens.retain(|token| tenant.is_none() || token.tenant.as_deref() == tenant);
        tokens.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(tokens)
    }

    /// Takes tokens back, by their ids: all of them or none. They open nothing from then on; durable
    /// when this returns.
    ///
    /// # Errors
    /// [`Error::Absent`] names the first that is not there; the store's.
    pub async fn token_revoke(&self, ids: &[String]) -> Result<(), Error> {
        self.load().await?;
        let _one = self.state().changing.lock().await;
        let all = self.state().tokens.list();
        let mut revoked = Vec::with_capacity(ids.len());
        for id in ids {
            let found = all.iter().find(|known| known.token().id == *id);
            let Some(known) = found else {
                let shown: String = id.chars().take(80).collect();
                return Err(Error::Absent(format!("no token {shown:?}")));
            };
            revoked.push((known.hash, Token { revoked: true, ..Token::clone(&known.token()) }));
        }
        self.revoke(revoked).await
    }

    /// Forgets tokens that open nothing any more.
    async fn forget_dead(&self) -> Result<(), Error> {
        let dead = self.state().tokens.forget(|token| token.state() != TokenState::Live);
        let write = move |core: &Core| {
            let mut batch = TenantBatch::default();
            dead.iter().for_each(|hash| batch.delete(keys::token(hash)));
            core.write_tenants(batch)
        };
        Ok(self.node.store().run(write).await?)
    }

    /// Takes all tokens of a tenant back, for whoever changes tenants.
    pub(super) async fn revoke_all(&self, tenant: &str) -> Result<(), Error> {
        let of = |known: &Arc<Known>| {
            let token = known.token();
            let theirs = token.tenant.as_deref() == Some(tenant);
            theirs.then(|| (known.hash, Token { revoked: true, ..Token::clone(&token) }))
        };
        let revoked = self.state().tokens.list().iter().filter_map(of).collect();
        self.revoke(revoked).await
    }

    async fn revoke(&self, revoked: Vec<(Hash, Token)>) -> Result<(), Error> {
        self.put_tokens(revoked.clone()).await?;
        for (hash, token) in revoked {
            self.state().tokens.know(hash, token);
        }
        Ok(())
    }

    async fn put_tokens(&self, tokens: Vec<(Hash, Token)>) -> Result<(), Error> {
        let write = move |core: &Core| {
            let mut batch = TenantBatch::default();
            for (hash, token) in &tokens {
                batch.put(keys::token(hash), token.row());
            }
            core.write_tenants(batch)
        };
        Ok(self.node.store().run(write).await?)
    }
}
