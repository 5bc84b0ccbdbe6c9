//! TLS over any stream, by rustls and ring.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_rustls::rustls::crypto::{CryptoProvider, ring};
use futures_rustls::rustls::{CommonState, Error};
use futures_rustls::{TlsAcceptor, TlsConnector};
use futures_util::{AsyncReadExt, AsyncWriteExt};

pub use self::client::{TlsClient, TlsClientBuilder};
use self::failure::explain;
pub use self::identity::{Fingerprint, Identity};
pub use self::server::{TlsServer, TlsServerBuilder};
use self::stream::TlsStream;
use super::deadline::Deadline;
use super::{Endpoint, Scheme, TlsInfo, TransportError};

mod client;
mod failure;
mod identity;
mod pin;
mod server;
mod stream;

const PROTOCOL: &str = "TLS";

/// How long a refused client has to take the alert and to close, and how many of its bytes are dropped.
const FAREWELL: (Duration, usize) = (Duration::from_secs(2), 64 * 1024);

pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    endpoint: &Endpoint,
    client: &TlsClient,
    deadline: &Deadline,
) -> Result<(TlsStream<S>, TlsInfo), TransportError> {
    let name = client.server_name(endpoint)?;
    let connector = TlsConnector::from(client.config(endpoint));
    let connected = deadline
        .keep(PROTOCOL, pin!(connector.connect(name, stream)))
        .await?;
    let stream = connected.map_err(failure::failed)?;
    let info = info(stream.get_ref().1);
    Ok((TlsStream::new(stream.into()), info))
}

pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    endpoint: &Endpoint,
    server: &TlsServer,
    deadline: &Deadline,
) -> Result<(TlsStream<S>, TlsInfo), TransportError> {
    let acceptor = TlsAcceptor::from(server.config(endpoint));
    let shake = async {
        let first = match check_first_bytes(&mut stream).await {
            Ok(first) => first,
            Err(error) => return Err((error, stream)),
        };
        let accepting = acceptor.accept_with(stream, |session| {
            // Five bytes that are the beginning of a record always fit.
            let _taken = session.read_tls(&mut &first[..]);
        });
        let accepted = accepting.into_fallible().await;
        accepted.map_err(|(error, stream)| (failure::failed(error), stream))
    };
    match deadline.keep(PROTOCOL, pin!(shake)).await? {
        Ok(stream) => {
            let server_name = stream.get_ref().1.server_name().map(str::to_owned);
            let info = TlsInfo {
                server_name,
                ..info(stream.get_ref().1)
            };
            Ok((TlsStream::new(stream.into()), info))
        }
        Err((error, stream)) => {
            let _told = deadline.keep_within(FAREWELL.0, pin!(part(stream))).await;
            Err(error)
        }
    }
}

/// The head of the first record.
async fn check_first_bytes<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
) -> Result<[u8; 5], TransportError> {
    const HANDSHAKE: u8 = 22;
    let mut first = [0; 5];
    stream
        .read_exact(&mut first)
        .await
        .map_err(failure::failed)?;
    match &first {
        [HANDSHAKE, 3, ..] => Ok(first),
        b"GET /" | b"HEAD " | b"POST " | b"PUT /" | b"OPTIO" | b"PRI *" | b"CONNE" => {
            // It may be a browser, or a client that was given ws:// in place of wss://.
            let _told = stream.write_all(PLAIN_HTTP).await;
            Err(failure::no_tls(
                "it sent an HTTP request in plain text; let the client use wss:// or https://",
            ))
        }
        _ => Err(failure::no_tls(
            "what it sent first is no TLS; let the client use tls:// or wss://",
        )),
    }
}

const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    content-length: 48\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks TLS; use wss:// (or https://) \n";

/// Closes, and reads what is still coming: a reset of TCP could otherwise eat what was said last.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    if stream.close().await.is_err() {
        return;
    }
    let mut rubbish = [0; 1024];
    let mut left = FAREWELL.1;
    while left > 0 {
        match stream.read(&mut rubbish).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}

fn info(session: &CommonState) -> TlsInfo {
    let certificates = session.peer_certificates().unwrap_or_default();
    TlsInfo {
        peer_certificates: certificates
            .iter()
            .map(|certificate| certificate.to_vec())
            .collect(),
        alpn: session.alpn_protocol().map(<[u8]>::to_vec),
        server_name: None,
    }
}

/// One configuration for `tls://`, and one for `wss://`.
#[derive(Debug)]
struct ForScheme<C> {
    bare: Arc<C>,
    websocket: Arc<C>,
}

impl<C> ForScheme<C> {
    fn same(config: Arc<C>) -> Self {
        Self {
            bare: Arc::clone(&config),
            websocket: config,
        }
    }

    fn of(&self, scheme: Scheme) -> Arc<C> {
        Arc::clone(if scheme.is_websocket() {
            &self.websocket
        } else {
            &self.bare
        })
    }
}

impl<C: Clone> ForScheme<C> {
    /// ALPN keeps a server of one protocol from being taken for one of another with the same
    /// certificate.
    fn with_alpn(
        config: &C,
        alpn: Option<Vec<Vec<u8>>>,
        set: impl Fn(&mut C, Vec<Vec<u8>>),
    ) -> Self {
        let with = |default: &[u8]| {
            let mut config = config.clone();
            set(
                &mut config,
                alpn.clone().unwrap_or_else(|| vec![default.to_vec()]),
            );
            Arc::new(config)
        };
        Self {
            bare: with(b"sessionwire/1"),
            websocket: with(b"http/1.1"),
        }
    }
}

impl<C> Clone for ForScheme<C> {
    fn clone(&self) -> Self {
        Self {
            bare: Arc::clone(&self.bare),
            websocket: Arc::clone(&self.websocket),
        }
    }
}

/// Named at each use, so that whatever the program installs as its default has no effect here.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn setup(problem: String) -> TransportError {
    TransportError::TlsSetup { problem }
}

fn unusable_identity(error: &Error) -> TransportError {
    setup(match error {
        Error::InconsistentKeys(_) => {
            "the private key does not belong to the certificate; take the two files that were made together"
                .to_owned()
        }
        other => format!("the certificate or its private key cannot be used: {other}"),
    })
}
