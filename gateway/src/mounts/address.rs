//! Which addresses a mounted server may have.
//!
//! A name is looked up when a connection is made, what it stands for is checked, and exactly that is connected to:
//! there is no second lookup in which it could stand for something else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hyper_util::client::legacy::connect::dns;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tower_service::Service;

/// Why an address is not connected to.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    /// It cannot be read, or is not of the web.
    #[error("{0} is not an http(s) address with a host and without a user")]
    NotAnAddress(String),
    /// It is on this machine or in its network.
    #[error(
        "{host} is at a loopback, private, link-local or otherwise special address; set allow_private_addresses for \
         this mount if that is meant"
    )]
    Private {
        /// The name or address.
        host: String,
    },
    /// It stands for nothing.
    #[error("{host} stands for no address")]
    Nowhere {
        /// The name.
        host: String,
    },
}

/// Reads an endpoint, and refuses one that says itself that it is somewhere it may not be.
pub(super) fn endpoint(url: &str, allow_private: bool) -> Result<Url, AddressError> {
    let not_one = || AddressError::NotAnAddress(events::capped(url.split('?').next().unwrap_or(url), 200));
    let parsed = Url::parse(url).map_err(|_| not_one())?;
    let is_web = matches!(parsed.scheme(), "http" | "https");
    let has_user = !parsed.username().is_empty() || parsed.password().is_some();
    let host = parsed
        .host_str()
        .filter(|_| is_web && !has_user)
        .ok_or_else(not_one)?;
    // Addresses in the URL are connected to without a lookup, so they are looked at here.
    let literal = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    if let Ok(address) = literal
        && !allow_private
        && !is_public(address)
    {
        return Err(AddressError::Private {
            host: host.to_owned(),
        });
    }
    Ok(parsed)
}

/// Looks names up for connections, and hands out what may be connected to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lookup {
    pub(super) allow_private: bool,
}

impl Lookup {
    async fn look_up(self, host: String) -> std::io::Result<std::vec::IntoIter<SocketAddr>> {
        let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
        let checked = check(host, found, self.allow_private).map_err(std::io::Error::other)?;
        Ok(checked.into_iter())
    }
}

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        let found = self.look_up(name.as_str().to_owned());
        Box::pin(async move { Ok(Box::new(found.await?) as Addrs) })
    }
}

impl Service<dns::Name> for Lookup {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, std::io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: dns::Name) -> Self::Future {
        Box::pin(self.look_up(name.as_str().to_owned()))
    }
}

/// All of them, or none: a name that stands for a public and a private address is up to something.
fn check(host: String, found: Vec<SocketAddr>, allow_private: bool) -> Result<Vec<SocketAddr>, AddressError> {
    if found.is_empty() {
        return Err(AddressError::Nowhere { host });
    }
    if !allow_private && found.iter().any(|address| !is_public(address.ip())) {
        return Err(AddressError::Private { host });
    }
    Ok(found)
}

/// Whether an address is of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = a == 0
        || a == 10
        || a == 127
        // 100.64.0.0/10, between a provider and its customers; some clouds serve metadata there.
        || (a == 100 && b & 0xc0 == 64)
        // 169.254.0.0/16, link-local, where clouds serve metadata.
        || (a == 169 && b == 254)
        || (a == 172 && b & 0xf0 == 16)
        || (a == 192 && b == 168)
        // 192.0.0.0/24 and 192.0.2.0/24, protocol assignments and documentation.
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 198 && b & 0xfe == 18)
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113)
        // Multicast, reserved, broadcast.
        || a >= 224;
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    // What carries an IPv4 address inside is judged by that: mapped, NAT64, 6to4.
    if let Some(inner) = address.to_ipv4_mapped() {
        return is_public_v4(inner);
    }
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => inner(high, low),
        // Documentation.
        [0x2001, 0xdb8, ..] => false,
        // 2001::/23, protocol assignments, Teredo among them.
        [0x2001, second, ..] if second < 0x200 => false,
        // The public internet is 2000::/3; loopback, unique local, link-local and multicast are elsewhere.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_not_public_are_refused_in_every_spelling() {
        for host in [
            "127.0.0.1",
            "127.1",
            "0x7f000001",
            "0177.0.0.1",
            "2130706433",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "169.254.169.254",
            "0xa9fea9fe",
            "100.64.0.1",
            "100.100.100.200",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[::ffff:127.0.0.1]",
            "[::ffff:a9fe:a9fe]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::1]",
            "[2001:db8::1]",
            "[ff02::1]",
        ] {
            let url = format!("http://{host}/mcp");
            assert!(
                matches!(endpoint(&url, false), Err(AddressError::Private { .. })),
                "{url}"
            );
            assert!(endpoint(&url, true).is_ok(), "{url}");
        }
    }

    #[test]
    fn public_addresses_and_names_pass() {
        for url in [
            "https://example.org/mcp",
            "http://93.184.216.34/mcp",
            "https://[2606:2800:220:1::1]/mcp",
            "http://172.32.0.1/",
            "http://100.128.0.1/",
        ] {
            assert!(endpoint(url, false).is_ok(), "{url}");
        }
    }

    #[test]
    fn what_is_no_address_of_the_web_is_refused() {
        for url in [
            "",
            "mcp",
            "file:///etc/passwd",
            "gopher://example.org/",
            "http://user:secret@example.org/",
            "unix:/run/x",
        ] {
            let refused = endpoint(url, true);
            assert!(matches!(refused, Err(AddressError::NotAnAddress(_))), "{url}");
        }
    }

    #[test]
    fn a_name_that_stands_for_one_private_address_among_public_ones_is_refused() {
        let both = || vec!["93.184.216.34:0".parse().unwrap(), "10.0.0.1:0".parse().unwrap()];
        assert!(check("rebinding.example".to_owned(), both(), false).is_err());
        assert_eq!(
            check("rebinding.example".to_owned(), both(), true).unwrap().len(),
            2
        );
        assert!(check("nowhere.example".to_owned(), Vec::new(), true).is_err());
    }
}
