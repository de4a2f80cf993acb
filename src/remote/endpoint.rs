//! Where a pinning service is: an HTTP URL without what does not belong to it.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// The base URL of a service, below which `/pins` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Host and port as the URL writes them: what `Host` says.
    pub authority: String,
    /// The path, clean: nothing, or with a slash before it and none at its end.
    pub path: String,
}

/// Why a URL is no endpoint, in the words of Kubo where it has some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Not a URL, or one of another scheme.
    #[error("service endpoint must be a valid HTTP URL")]
    Url,
    /// It has a query.
    #[error("service endpoint should be provided without any query parameters")]
    Query,
    /// It names what stands below it.
    #[error("service endpoint should be provided without the /pins suffix")]
    Suffix,
    /// It has a user, or a password: the endpoint is shown, and the key is the secret.
    #[error("service endpoint should be provided without user and password")]
    User,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let uri: Uri = text.parse().map_err(|_| EndpointError::Url)?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(EndpointError::Url),
        };
        let authority = uri.authority().ok_or(EndpointError::Url)?;
        if authority.as_str().contains('@') {
            return Err(EndpointError::User);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(EndpointError::Url);
        }
        if uri.query().is_some_and(|query| !query.is_empty()) {
            return Err(EndpointError::Query);
        }
        let path = clean(uri.path());
        if path.ends_with("/pins") {
            return Err(EndpointError::Suffix);
        }
        let port = authority.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, authority: authority.as_str().to_owned(), path })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// A path without empty segments and dots, and without a slash at its end.
fn clean(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    kept.into_iter().flat_map(|segment| ["/", segment]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_cleaned_as_kubo_cleans_them() {
        for (text, clean, port) in [
            ("https://a.example", "https://a.example", 443),
            ("http://a.example/", "http://a.example", 80),
            ("https://a.example:8443/api//v1/./x/../", "https://a.example:8443/api/v1", 8443),
            ("http://[::1]:5000/psa", "http://[::1]:5000/psa", 5000),
            ("https://a.example/pins/x", "https://a.example/pins/x", 443),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.to_string().as_str(), endpoint.port), (clean, port), "{text}");
        }
        assert_eq!("http://[::1]:5000/psa".parse::<Endpoint>().unwrap().host, "::1");
    }

    #[test]
    fn what_is_no_endpoint_is_refused() {
        for (text, error) in [
            ("", EndpointError::Url),
            ("a.example", EndpointError::Url),
            ("xyz://a.example", EndpointError::Url),
            ("https:///x", EndpointError::Url),
            ("https://a b", EndpointError::Url),
            ("https://me:secret@a.example", EndpointError::User),
            ("https://a.example/?x=1", EndpointError::Query),
            ("https://a.example/v1/pins/", EndpointError::Suffix),
        ] {
            assert_eq!(text.parse::<Endpoint>(), Err(error), "{text}");
        }
    }
}
