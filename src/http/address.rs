//! Where to listen, as the configuration writes it: a multiaddr of a TCP port or a Unix socket.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A listener's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `/ip4/…/tcp/…` or `/ip6/…/tcp/…`.
    Tcp(SocketAddr),
    /// `/unix/path`.
    Unix(PathBuf),
}

impl Address {
    /// Whether only this machine can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The address that a client on this machine connects to: a wildcard becomes the loopback.
    pub fn reachable(&self) -> Self {
        match self {
            Self::Tcp(address) if address.ip().is_unspecified() => {
                let loopback: IpAddr = match address.ip() {
                    IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                    IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                Self::Tcp(SocketAddr::new(loopback, address.port()))
            }
            other => other.clone(),
        }
    }

    /// Its URL, for TCP.
    pub fn url(&self) -> Option<String> {
        match self {
            Self::Tcp(address) => Some(format!("http://{address}")),
            Self::Unix(_) => None,
        }
    }

    /// The same address with a port that the system chooses.
    pub fn on_any_port(&self) -> Self {
        match self {
            Self::Tcp(address) => Self::Tcp(SocketAddr::new(address.ip(), 0)),
            Self::Unix(path) => Self::Unix(path.clone()),
        }
    }

    /// The port, for TCP.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(address) => Some(address.port()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(SocketAddr::V4(a)) => write!(f, "/ip4/{}/tcp/{}", a.ip(), a.port()),
            Self::Tcp(SocketAddr::V6(a)) => write!(f, "/ip6/{}/tcp/{}", a.ip(), a.port()),
            Self::Unix(path) => {
                write!(f, "/unix/{}", path.display().to_string().trim_start_matches('/'))
            }
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("invalid address {text:?}: expected /ip4/…/tcp/… or /unix/…");
        if let Some(path) = text.strip_prefix("/unix/") {
            return Ok(Self::Unix(PathBuf::from(format!("/{path}"))));
        }
        let parts: Vec<&str> = text.trim_end_matches("/http").split('/').collect();
        let ["", family, host, "tcp", port] = parts.as_slice() else { return Err(refuse()) };
        let host = match (*family, *host) {
            ("dns" | "dns4", "localhost") => "127.0.0.1",
            ("dns6", "localhost") => "::1",
            ("ip4" | "ip6", host) => host,
            _ => return Err(refuse()),
        };
        let ip: IpAddr = host.parse().map_err(|_| refuse())?;
        if ip.is_ipv4() != matches!(*family, "ip4" | "dns" | "dns4") {
            return Err(refuse());
        }
        Ok(Self::Tcp(SocketAddr::new(ip, port.parse().map_err(|_| refuse())?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["/ip4/127.0.0.1/tcp/5001", "/ip6/::1/tcp/0", "/unix/run/henge.sock"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        for bad in ["", "/ip4/::1/tcp/1", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/99999", "x"] {
            assert!(bad.parse::<Address>().unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn wildcards_are_reached_on_the_loopback_and_are_not_local() {
        let any: Address = "/ip4/0.0.0.0/tcp/80".parse().unwrap();
        assert!(!any.is_local());
        assert_eq!(any.reachable().url().as_deref(), Some("http://127.0.0.1:80"));
        assert_eq!(any.reachable().to_string(), "/ip4/127.0.0.1/tcp/80");
        assert!("/unix/x".parse::<Address>().unwrap().is_local());
    }
}
