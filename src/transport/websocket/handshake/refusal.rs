use async_tungstenite::tungstenite::handshake::server::write_response;
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::AsyncWriteExt;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

use crate::transport::TransportError;
use crate::transport::farewell::part;
use crate::transport::http1::head::Malformed;

/// Bytes of the reason that are sent.
const LONGEST_REASON: usize = 1024;

/// Why a client gets no WebSocket: the HTTP answer that it gets instead.
///
/// ```
/// use sessionwire::transport::{WsRefusal, http::header};
///
/// let refusal = WsRefusal::new(401, "who are you?")
///     .header(header::WWW_AUTHENTICATE, "Bearer".parse()?);
/// assert_eq!(refusal.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WsRefusal {
    status: StatusCode,
    reason: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl WsRefusal {
    /// An answer with that status, from 300 to 599 (500 in place of any other), and with `reason` as
    /// its text, of which at most 1 KiB is sent.
    pub fn new(status: u16, reason: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status)
            .ok()
            .filter(|status| (300..600).contains(&status.as_u16()))
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self {
            status,
            reason: reason.into(),
            headers: Vec::new(),
        }
    }

    /// Adds a header to the answer. `Connection` and those that describe the text are made here.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The HTTP status code.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }

    /// The text.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The answer, for an HTTP server of yours to send: see [`WsServer::answer`](super::WsServer::answer).
    pub fn to_response(&self) -> Response<String> {
        let mut end = self.reason.len().min(LONGEST_REASON);
        while !self.reason.is_char_boundary(end) {
            end = end.saturating_sub(1);
        }
        let text = self.reason.get(..end).unwrap_or_default();
        let mut response = Response::new(text.to_owned());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.append(name.clone(), value.clone());
        }
        let plain = HeaderValue::from_static("text/plain; charset=utf-8");
        headers.insert(header::CONTENT_TYPE, plain);
        for made_later in [
            header::CONTENT_LENGTH,
            header::CONNECTION,
            header::TRANSFER_ENCODING,
        ] {
            headers.remove(made_later);
        }
        response
    }

    pub(super) fn wrong_method() -> Self {
        let allow = HeaderValue::from_static("GET");
        Self::new(405, "only GET is served here").header(header::ALLOW, allow)
    }

    pub(super) fn wrong_version() -> Self {
        Self::new(
            505,
            "only HTTP/1.1 is spoken here, and by proxies in between",
        )
    }

    pub(super) fn upgrade_required(reason: &'static str) -> Self {
        Self::new(426, reason)
            .header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .header(
                header::SEC_WEBSOCKET_VERSION,
                HeaderValue::from_static("13"),
            )
    }

    pub(super) fn too_large(problem: &str, most: usize, limit: &str) -> Self {
        Self::new(
            431,
            format!("{problem}; at most {most} are taken ({limit})"),
        )
    }

    pub(super) fn malformed(problem: Malformed, most_headers: usize) -> Self {
        match problem {
            Malformed::TooManyHeaders => {
                Self::too_large("too many headers", most_headers, "max_http_headers")
            }
            Malformed::Version => Self::wrong_version(),
            Malformed::Other(problem) => Self::new(400, problem),
        }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let (mut parts, text) = self.to_response().into_parts();
        parts
            .headers
            .insert(header::CONTENT_LENGTH, text.len().into());
        parts
            .headers
            .insert(header::CONNECTION, HeaderValue::from_static("close"));
        let mut bytes = Vec::new();
        // A header that is no text cannot be written, and is not worth failing for.
        if write_response(&mut bytes, &Response::from_parts(parts, ())).is_err() {
            return Self::new(500, "").to_bytes();
        }
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    /// Sends the answer, and waits for the client to have read it.
    pub(super) async fn send<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: &mut S) {
        match stream.write_all(&self.to_bytes()).await {
            Ok(()) => part(stream).await,
            Err(error) => tracing::debug!(%error, "a refused client did not take its answer"),
        }
    }
}

impl From<&WsRefusal> for TransportError {
    fn from(refusal: &WsRefusal) -> Self {
        Self::Rejected {
            status: refusal.status(),
            reason: refusal.reason.clone(),
        }
    }
}
