use std::io;
use std::pin::pin;
use std::sync::Arc;

use futures_util::AsyncWriteExt;

use super::HttpProxy;
use super::prefixed::Prefixed;
use crate::runtime::{self, timeout};
use crate::transport::farewell::FAREWELL;
use crate::transport::http1::Response;
use crate::transport::http1::head::Limits;
use crate::transport::{BoxedStream, Endpoint, TransportConfig, TransportError};

const PROTOCOL: &str = "HTTP CONNECT";

/// A stream to the endpoint, made of one to the proxy.
pub(in crate::transport) async fn open(
    mut stream: BoxedStream,
    proxy: &HttpProxy,
    endpoint: &Endpoint,
    config: &TransportConfig,
) -> Result<BoxedStream, TransportError> {
    let unusable = |cause| TransportError::Proxy {
        proxy: proxy.to_string(),
        cause: Arc::new(cause),
    };
    let request = proxy.request(endpoint);
    ask(&mut stream, &request).await.map_err(unusable)?;
    let limits = Limits::of(config);
    let receiving = Response::receive(&mut stream, limits, PROTOCOL).await;
    let (response, received) = receiving.map_err(unusable)?;
    if (200..300).contains(&response.status) {
        return Ok(if received.is_empty() {
            stream
        } else {
            Box::new(Prefixed::new(received, stream))
        });
    }
    let mut text = received.to_vec();
    // However far it came: the refusal counts, not its text.
    let reading = response.read_text(&mut stream, &mut text);
    let _came = timeout(&*runtime::current(), FAREWELL, pin!(reading)).await;
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

async fn ask(stream: &mut BoxedStream, request: &[u8]) -> Result<(), TransportError> {
    let broken = |cause: io::Error| TransportError::HandshakeBroken {
        protocol: PROTOCOL,
        cause: Arc::new(cause),
    };
    stream.write_all(request).await.map_err(broken)?;
    stream.flush().await.map_err(broken)
}
