//! Arguments and options of a request.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use serde::de::DeserializeOwned;

use super::{Error, query};
use crate::ipld::cid::{self, Base, Cid};
use crate::ipld::path::Path;

/// A parsed query string.
pub struct Args {
    pairs: Vec<(String, String)>,
    arguments: Vec<String>,
    base: Option<Base>,
    upgrade: bool,
}

impl Args {
    /// Takes a query apart.
    ///
    /// # Errors
    /// A query that is not URL-encoded, or an unknown `cid-base`.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let refuse = |e: serde_html_form::de::Error| Error::refused(format!("bad query: {e}"));
        let pairs: Vec<(String, String)> = serde_html_form::from_str(query).map_err(refuse)?;
        let (mut arguments, mut base, mut upgrade) = (Vec::new(), None, None);
        for (key, value) in &pairs {
            match key.as_str() {
                "arg" => arguments.push(value.clone()),
                "cid-base" => {
                    let unknown = || Error::invalid(format!("no such multibase: {value:?}"));
                    base = Some(cid::base_by_name(value).ok_or_else(unknown)?);
                }
                "upgrade-cidv0-in-output" => {
                    upgrade = Some(matches!(value.as_str(), "" | "1" | "true"))
                }
                _ => {}
            }
        }
        // Asking for a base other than v0's own asks for v1.
        let implied = base.is_some_and(|base| base != Base::Base58Btc);
        Ok(Self { pairs, arguments, base, upgrade: upgrade.unwrap_or(implied) })
    }

    /// The options, by their long or short names; unknown ones are ignored, as Kubo does.
    ///
    /// # Errors
    /// Names the option whose value does not parse.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, Error> {
        query::options(&self.pairs).map_err(|e| Error::refused(e.to_string()))
    }

    /// Every argument.
    pub fn all(&self) -> &[String] {
        &self.arguments
    }

    /// Every argument, of which there is at least one.
    ///
    /// # Errors
    /// Kubo's words for none.
    pub fn some(&self, name: &str) -> Result<&[String], Error> {
        match self.arguments.is_empty() {
            false => Ok(&self.arguments),
            true => Err(Error::refused(format!("argument {name:?} is required"))),
        }
    }

    /// The only argument.
    ///
    /// # Errors
    /// Kubo's words for none, and for too many.
    pub fn one(&self, name: &str) -> Result<&str, Error> {
        match self.some(name)? {
            [one] => Ok(one),
            more => Err(Error::refused(format!("expected 1 argument, got {}", more.len()))),
        }
    }

    /// Every argument as a path, at least one.
    ///
    /// # Errors
    /// The first that is none.
    pub fn paths(&self, name: &str) -> Result<Vec<Path>, Error> {
        let parse = |text: &String| Path::parse(text).map_err(Error::from);
        self.some(name)?.iter().map(parse).collect()
    }

    /// Prints a CID in the base that was asked for.
    pub fn cid(&self, cid: &Cid) -> String {
        printer(self.base, self.upgrade)(cid)
    }

    /// The same, for streams that outlive the arguments.
    pub fn printer(&self) -> impl Fn(&Cid) -> String + Send + Sync + Clone + 'static {
        printer(self.base, self.upgrade)
    }
}

fn printer(
    base: Option<Base>,
    upgrade: bool,
) -> impl Fn(&Cid) -> String + Send + Sync + Clone + 'static {
    move |cid| match base {
        None if !upgrade => cid.to_string(),
        None => cid::print(cid, Base::Base32Lower, true),
        Some(base) => cid::print(cid, base, upgrade),
    }
}
