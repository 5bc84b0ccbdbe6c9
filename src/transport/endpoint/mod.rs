use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::str::FromStr;

use super::TransportError;

#[cfg(test)]
mod tests;

/// Where to connect to or listen on.
///
/// | endpoint | what it is |
/// |---|---|
/// | `memory://name` | a listener within this process |
/// | `tcp://host:port` | plain TCP |
/// | `tls://host:port` | TLS over TCP |
/// | `unix:///path/to/socket`, `unix://relative/path` | a Unix socket |
/// | `ws://host:port/path` | WebSocket over TCP, port 80 and path `/` if absent |
/// | `wss://host:port/path` | WebSocket over TLS, port 443 and path `/` if absent |
///
/// A host is a name, an IPv4 address, or an IPv6 address in brackets. To listen, `0.0.0.0` and `[::]`
/// stand for every address, and port 0 for a free port. Two endpoints are equal if they are written
/// the same after default ports and paths are filled in and scheme and host are lowercased.
///
/// ```
/// use sessionwire::transport::Endpoint;
///
/// let endpoint: Endpoint = "WS://Example.org/wire".parse()?;
/// assert_eq!(endpoint, "ws://example.org:80/wire".parse()?);
/// assert_eq!(endpoint.to_string(), "ws://example.org/wire");
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    scheme: Scheme,
    /// The host without brackets; empty without a network.
    host: String,
    port: u16,
    /// The name, the file, or the HTTP path and query.
    path: String,
}

/// The first word of an [`Endpoint`]: how bytes get there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `memory://`
    Memory,
    /// `tcp://`
    Tcp,
    /// `tls://`
    Tls,
    /// `unix://`
    Unix,
    /// `ws://`
    Ws,
    /// `wss://`
    Wss,
}

impl Endpoint {
    /// How bytes get there.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host, without the brackets of an IPv6 address; `None` for `memory://` and `unix://`.
    pub fn host(&self) -> Option<&str> {
        self.scheme.is_network().then_some(self.host.as_str())
    }

    /// The port, the scheme's own if none was written; `None` for `memory://` and `unix://`.
    pub fn port(&self) -> Option<u16> {
        self.scheme.is_network().then_some(self.port)
    }

    /// What follows the host: the HTTP path (never empty) without the query, the file of a Unix
    /// socket, or the name in `memory://name`; empty for `tcp://` and `tls://`.
    pub fn path(&self) -> &str {
        match (self.scheme, self.path.split_once('?')) {
            (Scheme::Ws | Scheme::Wss, Some((path, _query))) => path,
            _ => &self.path,
        }
    }

    /// The query of an HTTP path, without its question mark.
    pub fn query(&self) -> Option<&str> {
        match (self.scheme, self.path.split_once('?')) {
            (Scheme::Ws | Scheme::Wss, Some((_path, query))) => Some(query),
            _ => None,
        }
    }

    /// The endpoint for logs and errors: without the query of a `ws://` or `wss://`, where those write tokens who
    /// cannot set a header.
    #[must_use]
    pub fn without_query(&self) -> Self {
        Self {
            path: self.path().to_owned(),
            ..self.clone()
        }
    }
}

#[cfg_attr(
    not(any(feature = "async-std", feature = "smol", feature = "tokio")),
    expect(dead_code, reason = "only sockets have addresses and files")
)]
impl Endpoint {
    pub(super) fn tcp(address: SocketAddr) -> Self {
        Self {
            scheme: Scheme::Tcp,
            host: address.ip().to_string(),
            port: address.port(),
            path: String::new(),
        }
    }

    pub(super) fn with_port(&self, port: u16) -> Self {
        Self {
            port,
            ..self.clone()
        }
    }

    /// The address, if the host is one.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        let host: IpAddr = self.host()?.parse().ok()?;
        Some(SocketAddr::new(host, self.port))
    }

    pub(super) fn file(&self) -> &Path {
        Path::new(&self.path)
    }
}

impl TryFrom<&str> for Endpoint {
    type Error = TransportError;

    fn try_from(text: &str) -> Result<Self, TransportError> {
        text.parse()
    }
}

impl TryFrom<&String> for Endpoint {
    type Error = TransportError;

    fn try_from(text: &String) -> Result<Self, TransportError> {
        text.parse()
    }
}

impl From<&Self> for Endpoint {
    fn from(endpoint: &Self) -> Self {
        endpoint.clone()
    }
}

impl FromStr for Endpoint {
    type Err = TransportError;

    fn from_str(input: &str) -> Result<Self, TransportError> {
        parse(input).map_err(|(problem, example)| TransportError::InvalidEndpoint {
            input: input.chars().take(MAX_LENGTH).collect(),
            problem,
            example,
        })
    }
}

/// Its text [without the query](Endpoint::without_query).
impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.without_query().to_string();
        formatter.debug_tuple("Endpoint").field(&text).finish()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://", self.scheme)?;
        if self.host.contains(':') {
            write!(formatter, "[{}]", self.host)?;
        } else {
            formatter.write_str(&self.host)?;
        }
        if self.scheme.is_network() && self.scheme.default_port() != Some(self.port) {
            write!(formatter, ":{}", self.port)?;
        }
        formatter.write_str(&self.path)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Memory => "memory",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
            Self::Unix => "unix",
            Self::Ws => "ws",
            Self::Wss => "wss",
        })
    }
}

impl Scheme {
    #[cfg(any(feature = "tls", feature = "websocket"))]
    pub(super) fn is_websocket(self) -> bool {
        matches!(self, Self::Ws | Self::Wss)
    }

    fn is_network(self) -> bool {
        !matches!(self, Self::Memory | Self::Unix)
    }

    fn default_port(self) -> Option<u16> {
        match self {
            Self::Ws => Some(80),
            Self::Wss => Some(443),
            _ => None,
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Memory => "memory://name",
            Self::Tcp => "tcp://127.0.0.1:9000",
            Self::Tls => "tls://example.org:9000",
            Self::Unix => "unix:///run/app/wire.sock",
            Self::Ws => "ws://127.0.0.1:9000/wire",
            Self::Wss => "wss://example.org/wire",
        }
    }
}

const MAX_LENGTH: usize = 2048;

const ALL: [Scheme; 6] = [
    Scheme::Memory,
    Scheme::Tcp,
    Scheme::Tls,
    Scheme::Unix,
    Scheme::Ws,
    Scheme::Wss,
];

fn parse(input: &str) -> Result<Endpoint, (&'static str, &'static str)> {
    let any = "tcp://127.0.0.1:9000, ws://127.0.0.1:9000/wire, unix:///run/app/wire.sock or memory://name";
    if input.len() > MAX_LENGTH {
        return Err(("it is longer than 2048 bytes", any));
    }
    let (word, rest) = input.split_once("://").ok_or(("it has no scheme", any))?;
    let scheme = ALL
        .into_iter()
        .find(|scheme| word.eq_ignore_ascii_case(&scheme.to_string()))
        .ok_or((
            "its scheme is not one of memory, tcp, tls, unix, ws, wss",
            any,
        ))?;
    let parsed = match scheme {
        Scheme::Memory => parse_name(rest),
        Scheme::Unix => parse_file(rest),
        Scheme::Tcp | Scheme::Tls | Scheme::Ws | Scheme::Wss => parse_network(scheme, rest),
    };
    parsed.map_err(|problem| (problem, scheme.example()))
}

fn parse_name(name: &str) -> Result<Endpoint, &'static str> {
    if name.is_empty() {
        return Err("it has no name");
    }
    if name
        .chars()
        .any(|character| character.is_whitespace() || character.is_control())
    {
        return Err("its name has blanks or control characters");
    }
    Ok(Endpoint {
        scheme: Scheme::Memory,
        host: String::new(),
        port: 0,
        path: name.to_owned(),
    })
}

fn parse_file(file: &str) -> Result<Endpoint, &'static str> {
    if file.is_empty() || file.ends_with('/') {
        return Err("it names no file");
    }
    if file.contains('\0') {
        return Err("its file has a NUL character");
    }
    Ok(Endpoint {
        scheme: Scheme::Unix,
        host: String::new(),
        port: 0,
        path: file.to_owned(),
    })
}

fn parse_network(scheme: Scheme, rest: &str) -> Result<Endpoint, &'static str> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (host, port) = parse_authority(authority)?;
    let port = port
        .or_else(|| scheme.default_port())
        .ok_or("it has no port")?;
    let path = match scheme {
        Scheme::Ws | Scheme::Wss => parse_path(path)?,
        _ if path.is_empty() => String::new(),
        _ => return Err("it has something after the port, where nothing may be"),
    };
    Ok(Endpoint {
        scheme,
        host,
        port,
        path,
    })
}

fn parse_authority(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    if authority.contains('@') {
        return Err("it has a user or password, which this crate never sends");
    }
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed
            .split_once(']')
            .ok_or("its bracket [ is never closed")?;
        let host: Ipv6Addr = host
            .parse()
            .map_err(|_| "what is in the brackets is no IPv6 address")?;
        let port = match port.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if port.is_empty() => None,
            None => return Err("between ] and the port there must be a colon"),
        };
        return Ok((host.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            return Err("it has several colons; an IPv6 address goes in brackets, as in [::1]");
        }
        Some((host, port)) => (host, Some(parse_port(port)?)),
        None => (authority, None),
    };
    Ok((parse_host(host)?, port))
}

fn parse_host(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if !host.bytes().all(is_name) {
        return Err("its host has characters that no host name has");
    }
    let numeric = host
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    if numeric && host.parse::<Ipv4Addr>().is_err() {
        return Err("its host is no IPv4 address");
    }
    Ok(host.to_ascii_lowercase())
}

fn parse_port(port: &str) -> Result<u16, &'static str> {
    if port.is_empty() || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("its port is no number");
    }
    port.parse().map_err(|_| "its port is above 65535")
}

fn parse_path(path: &str) -> Result<String, &'static str> {
    let is_legal =
        |byte: u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:@/?".contains(&byte);
    if path.contains('#') {
        return Err("it has a fragment (#), which is never sent");
    }
    if !path.bytes().all(is_legal) {
        return Err("its path has characters that must be percent-encoded");
    }
    Ok(match path.strip_prefix('?') {
        Some(_) => format!("/{path}"),
        None if path.is_empty() => "/".to_owned(),
        None => path.to_owned(),
    })
}
