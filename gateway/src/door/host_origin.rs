//! Which names this server answers to, and which web pages may call it.
//!
//! A page in somebody's browser can reach a server on their own machine through a name that it makes point there.
//! The `Host` such a request carries gives it away, and so does its `Origin`.

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};

use crate::error::GatewayError;
use crate::problem::Problem;

/// The hosts and origins let in.
#[derive(Debug, Clone)]
pub(crate) struct Allowed {
    hosts: Vec<(String, Option<u16>)>,
    origins: Vec<Origin>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    /// `None` for any.
    port: Option<u16>,
}

impl Allowed {
    /// Reads the configured lists; the public address is always let in.
    pub(crate) fn try_new(
        public_url: &str,
        hosts: &[String],
        origins: &[String],
    ) -> Result<Self, GatewayError> {
        let refused = |reason: &str| GatewayError::PublicUrl {
            url: public_url.to_owned(),
            reason: reason.to_owned(),
        };
        let public = parse_origin(public_url).ok_or_else(|| refused("it is not scheme://host[:port]"))?;
        if public.scheme != "http" && public.scheme != "https" {
            return Err(refused("its scheme is neither http nor https"));
        }
        let mut allowed = Self {
            hosts: vec![(public.host.clone(), public.port)],
            origins: vec![public],
        };
        for host in hosts {
            let authority =
                parse_authority(host).ok_or_else(|| GatewayError::AllowedHost { host: host.clone() })?;
            allowed.hosts.push(authority);
        }
        for origin in origins {
            let parsed = match origin.strip_suffix(":*") {
                Some(base) => parse_origin(base).map(|origin| Origin { port: None, ..origin }),
                None => parse_origin(origin),
            };
            allowed
                .origins
                .push(parsed.ok_or_else(|| GatewayError::AllowedOrigin {
                    origin: origin.clone(),
                })?);
        }
        Ok(allowed)
    }

    /// Lets a request pass that names an allowed host, and an allowed origin if it names one.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        self.check_host(uri, headers)?;
        let mut origins = headers.get_all(ORIGIN).iter();
        let Some(origin) = origins.next() else {
            return Ok(());
        };
        let is_allowed =
            origins.next().is_none() && origin.to_str().is_ok_and(|origin| self.is_origin_allowed(origin));
        if is_allowed {
            return Ok(());
        }
        Err(Problem::forbidden(
            "origin_not_allowed",
            "web pages of this origin may not call this server",
        ))
    }

    fn check_host(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(HOST).iter();
        let named = match (hosts.next(), hosts.next()) {
            (Some(host), None) => host.to_str().ok().and_then(parse_authority),
            // HTTP/2 names the host in the address.
            (None, _) => uri
                .authority()
                .and_then(|authority| parse_authority(authority.as_str())),
            (Some(_), Some(_)) => None,
        };
        let (host, port) = named.ok_or_else(|| {
            Problem::new(
                StatusCode::BAD_REQUEST,
                "bad_host",
                "the request must name one host in its Host header",
            )
        })?;
        let is_allowed = self
            .hosts
            .iter()
            .any(|(name, only)| *name == host && only.is_none_or(|only| port == Some(only)));
        if is_allowed {
            return Ok(());
        }
        let detail = "this server does not go by the name in the Host header; its operator can allow it";
        Err(Problem::forbidden("host_not_allowed", detail))
    }

    /// Whether pages of `origin` may call.
    pub(crate) fn is_origin_allowed(&self, origin: &str) -> bool {
        parse_origin(origin).is_some_and(|origin| {
            self.origins.iter().any(|allowed| {
                allowed.scheme == origin.scheme
                    && allowed.host == origin.host
                    && (allowed.port.is_none() || allowed.port == origin.port)
            })
        })
    }
}

fn parse_authority(text: &str) -> Option<(String, Option<u16>)> {
    let authority = Authority::try_from(text.trim()).ok()?;
    let host = authority.host().to_ascii_lowercase();
    let port_text = authority.as_str().strip_prefix(authority.host());
    let is_plain = !authority.as_str().contains('@')
        && port_text.is_some_and(|port| port.is_empty() || authority.port_u16().is_some());
    (is_plain && !host.is_empty()).then(|| (host, authority.port_u16()))
}

/// `scheme://host[:port]` and nothing after it; a port left out is the scheme's own.
fn parse_origin(text: &str) -> Option<Origin> {
    let (scheme, rest) = text.trim().split_once("://")?;
    let (host, port) = parse_authority(rest)?;
    let scheme = scheme.to_ascii_lowercase();
    let port = port.or(match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    });
    Some(Origin { scheme, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Allowed {
        let hosts = [
            "localhost".to_owned(),
            "[::1]".to_owned(),
            "mana.example:8443".to_owned(),
        ];
        let origins = ["https://app.example".to_owned(), "http://localhost:*".to_owned()];
        Allowed::try_new("http://127.0.0.1:3069", &hosts, &origins).unwrap()
    }

    fn status(host: &str, origin: Option<&str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        allowed()
            .check(&Uri::from_static("/mcp"), &headers)
            .err()
            .map(|problem| problem.status.as_u16())
    }

    #[test]
    fn hosts_are_let_in_by_name_and_where_named_by_port() {
        for good in [
            "127.0.0.1:3069",
            "localhost",
            "LOCALHOST:9",
            "[::1]:3069",
            "mana.example:8443",
        ] {
            assert_eq!(status(good, None), None, "{good}");
        }
        for evil in [
            "evil.example",
            "127.0.0.1:80",
            "127.0.0.1",
            "localhost.evil.example",
            "mana.example",
            "mana.example:1",
        ] {
            assert_eq!(status(evil, None), Some(403), "{evil}");
        }
        for broken in [
            "",
            "a b",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost:port",
            "http://localhost",
        ] {
            assert_eq!(status(broken, None), Some(400), "{broken}");
        }
    }

    #[test]
    fn origins_are_let_in_by_scheme_host_and_port() {
        for good in [
            "http://127.0.0.1:3069",
            "https://app.example",
            "https://app.example:443",
            "http://localhost:5173",
            "http://localhost",
        ] {
            assert_eq!(status("localhost", Some(good)), None, "{good}");
        }
        for evil in [
            "https://evil.example",
            "http://app.example",
            "https://app.example:8443",
            "https://app.example.evil.example",
            "https://localhost:5173",
            "null",
            "",
            "https://app.example/path",
            "https://user@app.example",
            "app.example",
        ] {
            assert_eq!(status("localhost", Some(evil)), Some(403), "{evil}");
        }
    }

    #[test]
    fn two_hosts_or_two_origins_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost".parse().unwrap());
        headers.append(ORIGIN, "https://app.example".parse().unwrap());
        headers.append(ORIGIN, "https://evil.example".parse().unwrap());
        let refused = |headers: &HeaderMap| {
            allowed()
                .check(&Uri::from_static("/mcp"), headers)
                .unwrap_err()
                .status
                .as_u16()
        };
        assert_eq!(refused(&headers), 403);
        headers.append(HOST, "evil.example".parse().unwrap());
        assert_eq!(refused(&headers), 400);
    }

    #[test]
    fn lists_that_cannot_be_meant_are_refused_at_start() {
        let with = |url: &str, host: &str, origin: &str| {
            Allowed::try_new(url, &[host.to_owned()], &[origin.to_owned()])
        };
        assert!(matches!(
            with("ftp://x", "x", "http://x"),
            Err(GatewayError::PublicUrl { .. })
        ));
        assert!(matches!(
            with("http://x/mcp", "x", "http://x"),
            Err(GatewayError::PublicUrl { .. })
        ));
        assert!(matches!(
            with("http://x", "a b", "http://x"),
            Err(GatewayError::AllowedHost { .. })
        ));
        assert!(matches!(
            with("http://x", "x", "x"),
            Err(GatewayError::AllowedOrigin { .. })
        ));
    }
}
