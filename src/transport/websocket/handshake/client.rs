use std::fmt;

use async_tungstenite::tungstenite::client::IntoClientRequest;
use async_tungstenite::tungstenite::error::Error;
use async_tungstenite::tungstenite::handshake::client::generate_request;
use async_tungstenite::tungstenite::handshake::derive_accept_key;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{PROTOCOL, WsInfo};
use crate::transport::http1::{Response, head, single};
use crate::transport::{Endpoint, TransportError};

/// What a client says when it asks for a WebSocket, beside the path and query of its endpoint.
///
/// ```
/// use sessionwire::transport::{TransportConfig, WsClient};
///
/// let client = WsClient::default()
///     .bearer("secret")?
///     .header("X-Request-Id", "7")?
///     .subprotocol("wire.v1");
/// let config = TransportConfig::default().ws_client(client);
/// # Ok::<(), sessionwire::transport::TransportError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct WsClient {
    headers: HeaderMap,
    /// What may be spoken, most wanted first. If there are any, the server must choose one of them.
    /// Default: none.
    pub subprotocols: Vec<String>,
}

impl WsClient {
    /// Adds a header to the request.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`](TransportError::InvalidHeader) for what is no header, and for headers that
    /// the handshake itself makes.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, TransportError> {
        let failed = |problem| TransportError::InvalidHeader {
            name: name.chars().take(256).collect(),
            problem,
        };
        let value = HeaderValue::from_str(value)
            .map_err(|_| failed("its value has characters that no header may have"))?;
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| failed("that is no name of a header"))?;
        if is_reserved(&name) {
            return Err(failed(
                "the handshake makes it itself; use the endpoint or `subprotocol`",
            ));
        }
        self.headers.append(name, value);
        Ok(self)
    }

    /// Adds `Authorization: Bearer` with that token, which no log shows.
    ///
    /// # Errors
    ///
    /// [`InvalidHeader`](TransportError::InvalidHeader) if the token has characters that no header may
    /// have.
    pub fn bearer(mut self, token: &str) -> Result<Self, TransportError> {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| {
            TransportError::InvalidHeader {
                name: "Authorization".to_owned(),
                problem: "the token has characters that no header may have",
            }
        })?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        Ok(self)
    }

    /// Adds one to [`subprotocols`](Self#structfield.subprotocols).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// The request, and the key that the server must answer it with.
    pub(super) fn request(&self, endpoint: &Endpoint) -> Result<(Vec<u8>, String), TransportError> {
        let invalid = |error: Error| TransportError::HandshakeInvalid {
            protocol: PROTOCOL,
            problem: format!("the request cannot be written: {error}"),
        };
        let mut request = endpoint
            .to_string()
            .into_client_request()
            .map_err(invalid)?;
        for (name, value) in &self.headers {
            request.headers_mut().append(name.clone(), value.clone());
        }
        if !self.subprotocols.is_empty() {
            let value = self.subprotocols.join(", ");
            let value = self
                .subprotocols
                .iter()
                .all(|name| head::is_token(name))
                .then(|| HeaderValue::from_str(&value).ok())
                .flatten()
                .ok_or_else(|| TransportError::InvalidHeader {
                    name: "Sec-WebSocket-Protocol".to_owned(),
                    problem: "subprotocols are tokens, such as `wire.v1`",
                })?;
            let headers = request.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        let (bytes, key) = generate_request(request).map_err(invalid)?;
        Ok((bytes, derive_accept_key(key.as_bytes())))
    }

    /// What a server that upgraded the connection answered.
    pub(super) fn verify(
        &self,
        response: Response,
        accept_key: &str,
        endpoint: &Endpoint,
    ) -> Result<WsInfo, TransportError> {
        if response.minor_version == 0 {
            return Err(invalid("its answer is no HTTP/1.1 response"));
        }
        let headers = response.headers;
        let one = |name| single(&headers, &name);
        if !one(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket")) {
            return Err(invalid("it upgrades to something else than a websocket"));
        }
        if !head::list(&headers, &header::CONNECTION)
            .any(|item| item.eq_ignore_ascii_case("upgrade"))
        {
            return Err(invalid("it upgrades without saying so in `Connection`"));
        }
        if one(header::SEC_WEBSOCKET_ACCEPT) != Some(accept_key) {
            return Err(invalid(
                "its Sec-WebSocket-Accept does not answer this client's key, as from a cache",
            ));
        }
        if headers.contains_key(header::SEC_WEBSOCKET_EXTENSIONS) {
            return Err(invalid("it uses an extension that nobody asked for"));
        }
        let subprotocol = self.check_subprotocol(&headers)?;
        let query = endpoint.query().map(str::to_owned);
        Ok(WsInfo {
            path: endpoint.path().to_owned(),
            query,
            headers,
            subprotocol,
        })
    }

    /// The subprotocols, if there is nothing else to say: a browser's programs set no headers.
    #[cfg(target_family = "wasm")]
    pub(in crate::transport) fn without_headers(&self) -> Result<&[String], TransportError> {
        match self.headers.keys().next() {
            None => Ok(&self.subprotocols),
            Some(name) => Err(TransportError::InvalidHeader {
                name: name.to_string(),
                problem: "a browser lets no program set headers of a WebSocket; use a cookie, the endpoint's query or the first message",
            }),
        }
    }

    fn check_subprotocol(&self, headers: &HeaderMap) -> Result<Option<String>, TransportError> {
        if !headers.contains_key(header::SEC_WEBSOCKET_PROTOCOL) {
            return if self.subprotocols.is_empty() {
                Ok(None)
            } else {
                Err(invalid(
                    "it speaks none of the subprotocols that this client asked for",
                ))
            };
        }
        let chosen = single(headers, &header::SEC_WEBSOCKET_PROTOCOL)
            .filter(|chosen| self.subprotocols.iter().any(|asked| asked == chosen));
        match chosen {
            Some(chosen) => Ok(Some(chosen.to_owned())),
            None => Err(invalid("it speaks a subprotocol that nobody asked for")),
        }
    }
}

impl fmt::Debug for WsClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WsClient")
            .field("headers", &self.headers)
            .field("subprotocols", &self.subprotocols)
            .finish()
    }
}

fn invalid(problem: &str) -> TransportError {
    TransportError::HandshakeInvalid {
        protocol: PROTOCOL,
        problem: problem.to_owned(),
    }
}

fn is_reserved(name: &HeaderName) -> bool {
    let ours = [
        header::CONNECTION,
        header::CONTENT_LENGTH,
        header::HOST,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    ours.contains(name) || name.as_str().starts_with("sec-websocket-")
}
