use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures_util::AsyncWriteExt;

use super::HttpProxy;
use super::prefixed::Prefixed;
use crate::transport::deadline::Deadline;
use crate::transport::farewell::FAREWELL;
use crate::transport::http1::Response;
use crate::transport::http1::head::Limits;
use crate::transport::{BoxedStream, Endpoint, TransportConfig, TransportError};

const PROTOCOL: &str = "HTTP CONNECT";

/// Answers that announce another one, such as 100, which may come before that.
const INTERIM_ANSWERS: usize = 5;

/// A stream to the endpoint, made of one to the proxy.
pub(in crate::transport) async fn open(
    stream: BoxedStream,
    proxy: &HttpProxy,
    endpoint: &Endpoint,
    config: &TransportConfig,
    deadline: &Deadline,
) -> Result<BoxedStream, TransportError> {
    let request = proxy.request(endpoint);
    let asking = ask(stream, &request, Limits::of(config));
    let answered = deadline.connect(endpoint, pin!(asking)).await;
    let answered = answered.and_then(|answered| answered);
    let (response, mut stream) = answered.map_err(|cause| proxy.failed(cause))?;
    if (200..300).contains(&response.status) {
        return Ok(stream);
    }
    let mut text = Vec::new();
    // However far it came: the refusal counts, not its text.
    let reading = response.read_text(&mut stream, &mut text);
    let _came = deadline.keep_within(FAREWELL, pin!(reading)).await;
    Err(TransportError::ProxyRefused {
        proxy: proxy.to_string(),
        endpoint: Box::new(endpoint.clone()),
        status: response.status,
        text: response.legible(&text),
    })
}

impl HttpProxy {
    pub(super) fn request(&self, endpoint: &Endpoint) -> Vec<u8> {
        let (host, port) = (endpoint.host().unwrap_or_default(), endpoint.port());
        let port = port.unwrap_or_default();
        let place = if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        };
        let mut request = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n").into_bytes();
        if let Some(authorization) = &self.authorization {
            request.extend_from_slice(b"Proxy-Authorization: ");
            request.extend_from_slice(authorization.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        request
    }
}

/// The answer that counts, and the stream behind its head.
async fn ask(
    mut stream: BoxedStream,
    request: &[u8],
    limits: Limits,
) -> Result<(Response, BoxedStream), TransportError> {
    let broken = |cause: io::Error| TransportError::HandshakeBroken {
        protocol: PROTOCOL,
        cause: Arc::new(cause),
    };
    stream.write_all(request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)?;
    for _ in 0..=INTERIM_ANSWERS {
        let (response, received) = Response::receive(&mut stream, limits, PROTOCOL).await?;
        if !received.is_empty() {
            stream = Box::new(Prefixed::new(received, stream));
        }
        let is_interim = (100..200).contains(&response.status) && response.status != 101;
        if !is_interim {
            return Ok((response, stream));
        }
    }
    Err(TransportError::HandshakeInvalid {
        protocol: PROTOCOL,
        problem: format!("it gives more than {INTERIM_ANSWERS} interim answers"),
    })
}
