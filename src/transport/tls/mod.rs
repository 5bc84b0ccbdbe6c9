//! TLS over any stream, by rustls and ring.

use std::pin::pin;
use std::sync::Arc;

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
use super::farewell::{FAREWELL, part};
use super::read_ahead::ReadAhead;
use super::{Endpoint, Scheme, TlsInfo, TransportError};

mod client;
mod failure;
mod identity;
mod pin;
mod server;
mod stream;
#[cfg(test)]
mod tests;

const PROTOCOL: &str = "TLS";
/// Bytes read from the stream below at once, while much comes.
const READ_AHEAD: usize = 64 * 1024;

pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    endpoint: &Endpoint,
    client: &TlsClient,
    deadline: &Deadline,
) -> Result<(TlsStream<S>, TlsInfo), TransportError> {
    let name = client.server_name(endpoint)?;
    let connector = TlsConnector::from(client.config(endpoint));
    let connected = deadline
        .keep(PROTOCOL, pin!(connector.connect(name, read_ahead(stream))))
        .await?;
    let stream = connected.map_err(failure::failed)?;
    let info = info(stream.get_ref().1);
    Ok((TlsStream::new(stream.into()), info))
}

pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    endpoint: &Endpoint,
    server: &TlsServer,
    deadline: &Deadline,
) -> Result<(TlsStream<S>, TlsInfo), TransportError> {
    let acceptor = TlsAcceptor::from(server.config(endpoint));
    let mut stream = read_ahead(stream);
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
        Err((error, mut stream)) => {
            let parting = pin!(part(&mut stream));
            let _parted = deadline.keep_within(FAREWELL, parting).await;
            Err(error)
        }
    }
}

/// rustls itself asks for 4 KiB at a time.
fn read_ahead<S>(stream: S) -> ReadAhead<S> {
    ReadAhead::new(stream, READ_AHEAD)
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
    content-length: 47\r\n\
    connection: close\r\n\
    \r\n\
    this port speaks TLS; use wss:// (or https://)\n";

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
    fn with_alpn(config: &C, alpn: Option<&[Vec<u8>]>, set: impl Fn(&mut C, Vec<Vec<u8>>)) -> Self {
        let with = |default: &[u8]| {
            let mut config = config.clone();
            set(
                &mut config,
                alpn.map_or_else(|| vec![default.to_vec()], <[_]>::to_vec),
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
