use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Endpoint;
use super::refusal_text::quoted;

/// Why a stream could not be made, from either end.
///
/// Each message says whose fault it was and what to do about it. Once a stream exists, its errors are
/// [`io::Error`]s.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The text is no endpoint.
    #[error("endpoint {input:?}: {problem}; write it like {example}")]
    InvalidEndpoint {
        /// What was given.
        input: String,
        /// What is wrong with it.
        problem: &'static str,
        /// A correct endpoint of the same kind.
        example: &'static str,
    },

    /// This program, as it was built or where it was called, cannot use the endpoint.
    #[error("cannot use {endpoint}: {reason}", endpoint = .endpoint.without_query())]
    Unsupported {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// What is missing, and how to get it.
        reason: &'static str,
    },

    /// The host's name has no address.
    #[error("cannot find an address for {endpoint}: {cause}; check the name and the resolver", endpoint = .endpoint.without_query())]
    Resolve {
        /// The endpoint whose host was looked up.
        endpoint: Endpoint,
        /// What the resolver said.
        cause: Arc<io::Error>,
    },

    /// Nobody could be reached at the endpoint.
    #[error("cannot connect to {endpoint}: {cause}; check that a listener runs there", endpoint = .endpoint.without_query())]
    Connect {
        /// The endpoint dialled.
        endpoint: Endpoint,
        /// What the operating system said about the last address tried.
        cause: Arc<io::Error>,
    },

    /// The operating system gives this end no more files, and sockets count as such. Trying again later
    /// is worth it.
    #[error(
        "no connection can be made: this process, or this machine, has as many files open as it may ({cause}); close some, or raise the limit (ulimit -n)"
    )]
    OutOfFiles {
        /// What the operating system said.
        cause: Arc<io::Error>,
    },

    /// The endpoint did not answer in time.
    #[error(
        "no answer from {endpoint} within {after:?}; check the network, or raise connect_timeout",
        endpoint = .endpoint.without_query()
    )]
    ConnectTimeout {
        /// The endpoint dialled.
        endpoint: Endpoint,
        /// The limit that passed.
        after: Duration,
    },

    /// What was set as a proxy is none, or none that can be used. The text is not shown, as a password may be in it.
    #[error(
        "the proxy cannot be used: {problem}; write it like http://proxy.example.org:3128, with user:password@ before the host if it asks for them, special characters of these percent-encoded"
    )]
    InvalidProxy {
        /// What is wrong with it.
        problem: &'static str,
    },

    /// The proxy that this end dials through cannot be reached, does not speak as one, or does not answer in time.
    #[error("through the proxy {proxy}: {cause}")]
    Proxy {
        /// Its URL, without user and password.
        proxy: String,
        /// What went wrong between this end and the proxy. A [`ConnectTimeout`](Self::ConnectTimeout) names whom it is
        /// that did not answer: the proxy, or the endpoint that the proxy was asked for.
        cause: Arc<Self>,
    },

    /// The proxy that this end dials through did not connect it to the endpoint.
    #[error(
        "the proxy {proxy} did not connect to {endpoint}: HTTP status {status}{}; {}",
        quoted(text),
        proxy_advice(*status),
        endpoint = .endpoint.without_query()
    )]
    ProxyRefused {
        /// Its URL, without user and password.
        proxy: String,
        /// The endpoint that it was asked for.
        endpoint: Box<Endpoint>,
        /// The HTTP status code of its answer.
        status: u16,
        /// The start of what else it said, at most 1 KiB; what is no text is replaced.
        text: String,
    },

    /// The endpoint cannot be listened on.
    #[error("cannot listen on {endpoint}: {cause}", endpoint = .endpoint.without_query())]
    Bind {
        /// The endpoint asked for.
        endpoint: Endpoint,
        /// What the operating system said.
        cause: Arc<io::Error>,
    },

    /// Another listener, which is alive, has the endpoint.
    #[error(
        "cannot listen on {endpoint}: another listener has it; stop that one or choose another endpoint",
        endpoint = .endpoint.without_query()
    )]
    InUse {
        /// The endpoint asked for.
        endpoint: Endpoint,
    },

    /// The listener is broken for good.
    #[error("the listener on {endpoint} is broken: {cause}; bind a new one", endpoint = .endpoint.without_query())]
    Accept {
        /// Where it listens.
        endpoint: Endpoint,
        /// What the operating system said.
        cause: Arc<io::Error>,
    },

    /// The peer did not finish the handshake in time.
    #[error(
        "the peer did not finish the {protocol} handshake within {after:?}; it is slow or hostile, or waits because it does not speak {protocol}"
    )]
    HandshakeTimeout {
        /// Which handshake.
        protocol: &'static str,
        /// The limit that passed.
        after: Duration,
    },

    /// The peer had not finished the handshake when too many newer ones had begun.
    #[error(
        "the connection was closed before its handshake was done, for {most} newer ones were waiting; it is slow or hostile, or else raise max_pending_handshakes"
    )]
    HandshakeDisplaced {
        /// The limit that was reached.
        most: usize,
    },

    /// The connection broke during the handshake.
    #[error(
        "the connection broke during the {protocol} handshake: {cause}; does the other end speak {protocol}?"
    )]
    HandshakeBroken {
        /// Which handshake.
        protocol: &'static str,
        /// What broke it.
        cause: Arc<io::Error>,
    },

    /// The peer said something else than the handshake's protocol.
    #[error(
        "the peer does not speak {protocol}: {problem}; check that both ends use the same kind of endpoint"
    )]
    HandshakeInvalid {
        /// Which handshake.
        protocol: &'static str,
        /// What it said.
        problem: String,
    },

    /// The server answered the WebSocket handshake with something else than an upgrade.
    #[error(
        "the server refused the websocket with HTTP status {status}{}; {}",
        quoted(text), advice(*status)
    )]
    Refused {
        /// The HTTP status code.
        status: u16,
        /// The start of what else it said, at most 1 KiB; what is no text is replaced.
        text: String,
    },

    /// This end did not want the client's WebSocket, and told it so by HTTP.
    #[error("the client was refused with HTTP status {status}: {reason}")]
    Rejected {
        /// The HTTP status code that the client got.
        status: u16,
        /// What was wrong.
        reason: String,
    },

    /// The client asked for another path than the one this end listens on, and was told 404.
    #[error(
        "the client asked for {requested:?} but this end listens on {path:?}; correct the client's endpoint"
    )]
    WrongPath {
        /// The path listened on.
        path: String,
        /// The start of the path asked for, at most 256 bytes.
        requested: String,
    },

    /// A header that this program wants to send cannot be sent.
    #[error("cannot send the header {name:?}: {problem}")]
    InvalidHeader {
        /// Its name.
        name: String,
        /// What is wrong with it, and what to do.
        problem: &'static str,
    },

    /// This end's own certificate, key or TLS settings cannot be used.
    #[error("cannot set up TLS: {problem}")]
    TlsSetup {
        /// What is wrong with them, and what to do.
        problem: String,
    },

    /// This end does not trust the certificate that the peer showed.
    #[error("the peer's certificate was not accepted: {problem}")]
    Certificate {
        /// What is wrong with it, and what to do.
        problem: CertificateProblem,
    },

    /// The peer ended the TLS handshake.
    #[error("the peer refused the TLS handshake ({alert}): {advice}")]
    TlsRefused {
        /// The name of the TLS alert that it sent.
        alert: String,
        /// What that means most often, and what to do.
        advice: &'static str,
    },
}

/// Why this end does not trust a certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// Its time is over.
    #[error("it has expired; the peer must renew it (or this machine's clock is wrong)")]
    Expired,

    /// Its time has not come.
    #[error("it is not valid yet; check the clocks of both machines")]
    NotYetValid,

    /// No authority that this end trusts has signed it.
    #[error(
        "nobody that this end trusts has issued it; trust its issuer with `ca_file`, or, if it is self-signed, the certificate itself with `pin`"
    )]
    UnknownIssuer,

    /// It is that of an authority, which issues certificates and is none of a server.
    #[error(
        "it is an authority's own, as `openssl req -x509` makes them if nothing else is said; pin it with `pin`, or have one made with `-addext basicConstraints=critical,CA:FALSE`"
    )]
    Authority,

    /// It is for other hosts than the one that was dialled.
    #[error(
        "it is for {} and not for {expected}; dial a name that it is for, or have it issued for that name too",
        names(presented)
    )]
    WrongName {
        /// The host that was dialled.
        expected: String,
        /// The hosts that it is for, 8 at the most.
        presented: Vec<String>,
    },

    /// It is none of those that this end has pinned.
    #[error(
        "its SHA-256 fingerprint is {found}, which is not pinned; pin that one only if its owner tells you that it is theirs"
    )]
    WrongFingerprint {
        /// The certificate's fingerprint.
        found: String,
    },

    /// The client must show a certificate and has none.
    #[error("there was none; give the client one with `identity`")]
    Missing,

    /// Its issuer has taken it back.
    #[error("it was revoked; the peer must get a new one")]
    Revoked,

    /// Something else.
    #[error("{0}; the peer must get a better one")]
    Invalid(String),
}

/// What to do about an HTTP status in place of a WebSocket (RFC 9110, section 15).
fn advice(status: u16) -> &'static str {
    match status {
        200..=299 => "a web page is there, or a proxy in between does not pass `Upgrade` on",
        300..=399 => "dial the place where it is now",
        401 | 403 => {
            "give it what it demands, such as a token, and see whether it allows this origin"
        }
        404 => "check the path",
        407 => "a proxy in between wants to know who you are",
        426 | 505 => "a proxy in between must pass `Upgrade` and `Connection` on, by HTTP/1.1",
        429 => "there were too many requests",
        502..=504 => {
            "the server is busy, or a proxy in between does not reach the server: see whether it runs"
        }
        _ => "check the path and what the server allows",
    }
}

/// What to do about an HTTP status of a proxy in place of a tunnel.
fn proxy_advice(status: u16) -> &'static str {
    match status {
        407 => "it wants other credentials",
        403 => "its rules forbid that host or port; many let only port 443 through",
        404 | 500 | 502..=504 => {
            "it does not reach that host: check the name, and that a listener runs there"
        }
        _ => "is it a proxy that connects (CONNECT) for others?",
    }
}

fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        "no host".to_owned()
    } else {
        presented.join(", ")
    }
}

/// `ENFILE` and `EMFILE`, or Windows' `WSAEMFILE`.
const OUT_OF_FILES: &[i32] = if cfg!(windows) { &[10024] } else { &[23, 24] };

pub(super) fn is_out_of_files(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code.is_some_and(|code| OUT_OF_FILES.contains(&code))
}

impl TransportError {
    /// Why nobody could be reached.
    pub(super) fn unreachable(endpoint: &Endpoint, error: io::Error) -> Self {
        let cause = Arc::new(error);
        if is_out_of_files(&cause) {
            return Self::OutOfFiles { cause };
        }
        let endpoint = endpoint.clone();
        Self::Connect { endpoint, cause }
    }
}

/// For what turns into an [`Endpoint`] without fail.
impl From<std::convert::Infallible> for TransportError {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}
