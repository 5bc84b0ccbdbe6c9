//! Reaching the network through somebody else's proxy.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use data_encoding::BASE64;
use http::{HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use self::exempt::Exempt;
pub(super) use self::tunnel::open;
use super::{Endpoint, TransportError};

mod exempt;
mod prefixed;
#[cfg(test)]
mod tests;
mod tunnel;

/// Where the proxy is named in the environment, the first one that is set and not empty.
const VARIABLES: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
/// Where it is said what is dialled without it.
const EXEMPT_VARIABLES: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// An HTTP proxy that a client dials through, as where nothing else leads out of a network.
///
/// Set as [`TransportConfig::proxy`](super::TransportConfig#structfield.proxy), it is asked to connect to the host and
/// port of each `tcp://`, `tls://`, `ws://` and `wss://` endpoint, by `CONNECT` (RFC 9110, section 9.3.6). It also
/// looks up the host's name. What is said then, it passes on unread: TLS is between the two ends. Many
/// proxies let only port 443 through, and some nothing but TLS: `wss://` on that port gets farthest.
///
/// In a browser it has no effect: there, the browser's own settings count.
///
/// ```
/// use sessionwire::transport::{HttpProxy, TransportConfig};
///
/// let proxy = HttpProxy::new("http://proxy.example.org:3128")?
///     .credentials("ada", "secret")?
///     .exempt("internal.example.org");
/// let config = TransportConfig::default().proxy(proxy);
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HttpProxy {
    endpoint: Endpoint,
    authorization: Option<HeaderValue>,
    exempt: Vec<Exempt>,
}

impl HttpProxy {
    /// The proxy at a URL such as `http://proxy.example.org:3128` or `http://user:password@10.0.0.1:3128`. The port is
    /// 80 if there is none, and the scheme `http`. Special characters of user and password are percent-encoded.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`](TransportError::InvalidProxy), also for proxies of other kinds: those that are spoken to over
    /// TLS (`https://`), and SOCKS.
    pub fn new(url: &str) -> Result<Self, TransportError> {
        let invalid = |problem| TransportError::InvalidProxy { problem };
        let whole = match url.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => url.to_owned(),
            Some(_) => return Err(invalid("only http:// proxies are spoken to")),
            None => format!("http://{url}"),
        };
        // What follows it would be dropped, as no part of the place.
        if whole.contains('#') {
            return Err(invalid("it has a #, which in a password is written %23"));
        }
        let uri: Uri = whole.parse().map_err(|_| invalid("it is no URL"))?;
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if uri.path() != "/" || uri.query().is_some() {
            return Err(invalid("it has a path, which proxies have not"));
        }
        let (user, place) = match authority.as_str().rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority.as_str()),
        };
        let default_port = if place == authority.host() { ":80" } else { "" };
        let endpoint = format!("tcp://{place}{default_port}").parse();
        let endpoint = endpoint.ok().filter(|at: &Endpoint| at.port() != Some(0));
        let proxy = Self {
            endpoint: endpoint.ok_or_else(|| invalid("its host or port is none"))?,
            authorization: None,
            exempt: Vec::new(),
        };
        let Some(user) = user else {
            return Ok(proxy);
        };
        let (user, password) = user.split_once(':').unwrap_or((user, ""));
        let decoded = |text| percent_decode_str(text).decode_utf8();
        match (decoded(user), decoded(password)) {
            (Ok(user), Ok(password)) => proxy.credentials(&user, &password),
            _ => Err(invalid("its user or password is no UTF-8")),
        }
    }

    /// The proxy that the environment names, if it names one: by `https_proxy`, `HTTPS_PROXY`, `all_proxy` or
    /// `ALL_PROXY`, the first of them that is not empty, as of [`new`](Self::new). `no_proxy` or `NO_PROXY` may list
    /// what to [exempt](Self::exempt), with commas or blanks between.
    ///
    /// Nothing reads the environment but this.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn from_env() -> Result<Option<Self>, TransportError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Says who it is asked by (Basic authentication, RFC 7617). Who listens on the way to the proxy
    /// can read that.
    ///
    /// # Errors
    ///
    /// [`InvalidProxy`](TransportError::InvalidProxy) for a user with a colon.
    pub fn credentials(mut self, user: &str, password: &str) -> Result<Self, TransportError> {
        let problem = "its user has a colon, which cannot be told from the one before the password";
        if user.contains(':') {
            return Err(TransportError::InvalidProxy { problem });
        }
        let pair = BASE64.encode(format!("{user}:{password}").as_bytes());
        let value = HeaderValue::from_str(&format!("Basic {pair}"));
        let mut value = value.map_err(|_| TransportError::InvalidProxy { problem })?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Dials some hosts without it: a name such as `example.org` and all that end with `.example.org`, an
    /// address, all addresses of a network such as `10.0.0.0/8`, or all hosts, `*`.
    ///
    /// Names are compared as they are written, without regard to case and to a dot at the end; a name that is dialled
    /// is not looked up to compare its addresses. All ports of a host are exempt: there is no way to name one.
    #[must_use]
    pub fn exempt(mut self, hosts: &str) -> Self {
        self.exempt.extend(Exempt::parse(hosts));
        self
    }

    fn from_variables(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Self>, TransportError> {
        let first = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| variable(name));
            values.find(|value| !value.trim().is_empty())
        };
        let Some(url) = first(&VARIABLES) else {
            return Ok(None);
        };
        let proxy = Self::new(url.trim())?;
        let exempt = first(&EXEMPT_VARIABLES).unwrap_or_default();
        let exempt = exempt.split(|letter: char| letter == ',' || letter.is_whitespace());
        Ok(Some(exempt.fold(proxy, Self::exempt)))
    }

    /// Whether the endpoint is dialled through it.
    pub(super) fn serves(&self, endpoint: &Endpoint) -> bool {
        let Some(host) = endpoint.host() else {
            return false;
        };
        let address: Option<IpAddr> = host.parse().ok();
        !self
            .exempt
            .iter()
            .any(|exempt| exempt.covers(host, address))
    }

    /// What went wrong on the way to it or through it, as an error that names it where it has to do with that.
    pub(super) fn failed(&self, cause: TransportError) -> TransportError {
        match cause {
            TransportError::OutOfFiles { .. } => cause,
            cause => TransportError::Proxy {
                proxy: self.to_string(),
                cause: Arc::new(cause),
            },
        }
    }

    /// Where it is itself.
    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

/// Without the password.
impl fmt::Debug for HttpProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("HttpProxy")
            .field("endpoint", &self.endpoint)
            .field("authorization", &self.authorization)
            .field("exempt", &self.exempt)
            .finish()
    }
}

/// Its URL, without user and password.
impl fmt::Display for HttpProxy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.to_string();
        let place = endpoint.strip_prefix("tcp://").unwrap_or(&endpoint);
        write!(formatter, "http://{place}")
    }
}
