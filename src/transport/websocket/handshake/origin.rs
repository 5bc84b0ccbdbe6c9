use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri, header};

/// The web pages that may connect, by the `Origin` that their browsers send.
///
/// A browser lets any page open a WebSocket to any server, with that server's cookies; only the server
/// can refuse (CWE-1385). A client that sends no `Origin` is no browser, and always allowed: it could
/// have sent any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginPolicy {
    /// Pages of the host and port that the client's `Host` header names: the same that it dialled.
    #[default]
    SameHost,
    /// Pages of these origins, written like `https://example.org` or `http://localhost:3000`; default
    /// ports may be left out, case does not matter, and `null` is what sandboxed pages send.
    Allow(Vec<String>),
    /// Any page. Only for servers that need no cookies, client certificates or private networks.
    Any,
}

impl OriginPolicy {
    /// Whether the client that sent these headers may connect, for who answers the handshake without
    /// [`WsServer`](super::WsServer). The headers are to be all that it sent, `Host` among them.
    ///
    /// ```
    /// use sessionwire::transport::{OriginPolicy, http::HeaderMap};
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.insert("host", "example.org".parse()?);
    /// assert!(OriginPolicy::SameHost.allows(&headers));
    /// headers.insert("origin", "https://evil.example".parse()?);
    /// assert!(!OriginPolicy::SameHost.allows(&headers));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn allows(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).into_iter();
        let (origin, another) = (origins.next(), origins.next());
        let Some(origin) = origin else {
            return true;
        };
        match self {
            Self::Any => true,
            _ if another.is_some() => false,
            Self::SameHost => is_same_host(origin, headers.get(header::HOST)),
            Self::Allow(allowed) => allowed.iter().any(|allowed| is_same(allowed, origin)),
        }
    }
}

/// Both without a port stand for the default port of the page's scheme: behind a proxy that does the
/// TLS, this end cannot know its own.
fn is_same_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let Some((scheme, origin)) = origin.to_str().ok().and_then(parse) else {
        return false;
    };
    let host = host
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<Authority>().ok());
    host.is_some_and(|host| {
        host.host().eq_ignore_ascii_case(origin.host())
            && port(&scheme, &host) == port(&scheme, &origin)
    })
}

fn is_same(allowed: &str, origin: &HeaderValue) -> bool {
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    match (parse(allowed), parse(origin)) {
        (Some((scheme, one)), Some((another, other))) => {
            scheme == another
                && one.host().eq_ignore_ascii_case(other.host())
                && port(&scheme, &one) == port(&scheme, &other)
        }
        _ => allowed.eq_ignore_ascii_case(origin),
    }
}

fn parse(origin: &str) -> Option<(String, Authority)> {
    let parts = origin.parse::<Uri>().ok()?.into_parts();
    let scheme = parts.scheme?.as_str().to_ascii_lowercase();
    Some((scheme, parts.authority?))
}

fn port(scheme: &str, authority: &Authority) -> Option<u16> {
    authority.port_u16().or(match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    })
}
