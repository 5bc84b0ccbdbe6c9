use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use async_tungstenite::tungstenite::error::{Error, ProtocolError};
use async_tungstenite::tungstenite::handshake::server::{create_response, write_response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version, header};

use super::WsInfo;
use super::origin::OriginPolicy;
use super::refusal::WsRefusal;
use crate::transport::http1::head::{self, Limits, Malformed};
use crate::transport::{ConnectionInfo, TransportError};

type Check = dyn Fn(&WsInfo, &mut ConnectionInfo) -> Result<(), WsRefusal> + Send + Sync;
type Checked = Pin<Box<dyn Future<Output = Result<ConnectionInfo, WsRefusal>> + Send>>;
type SlowCheck = dyn Fn(WsInfo, ConnectionInfo) -> Checked + Send + Sync;

/// Which clients a server gives a WebSocket; the rest get an HTTP answer that says why not.
///
/// By default: those that ask for the path of the endpoint, whatever their query, and that are no web
/// page of another host. In this order, a client is refused
///
/// | with status | if its request |
/// |---|---|
/// | 400 | is malformed, has a body, or has not exactly one `Host` |
/// | 405 | has another method than GET |
/// | 431 | exceeds [`max_http_head`](crate::transport::TransportConfig#structfield.max_http_head) or [`max_http_headers`](crate::transport::TransportConfig#structfield.max_http_headers) |
/// | 505 | is not HTTP/1.1 |
/// | 404 | is for another path |
/// | 426 | asks for no upgrade, or for another version of WebSocket than 13 |
/// | 403 | has an `Origin` that [`origin`](Self#structfield.origin) does not allow |
/// | 400 | offers none of the [`subprotocols`](Self#structfield.subprotocols), and one is required |
/// | any | is not to the liking of [`check`](Self::check), or of [`check_async`](Self::check_async) |
///
/// Extensions that a client offers, compression for one, are never taken up.
///
/// ```
/// use sessionwire::transport::{TransportConfig, WsRefusal, WsServer};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// let server = WsServer::default().subprotocol("wire.v1").check(|request, info| {
///     let token = request.headers.get("authorization").and_then(|value| value.to_str().ok());
///     match token {
///         Some("Bearer secret") => info.extensions.insert(User("ada".to_owned())),
///         _ => return Err(WsRefusal::new(401, "who are you?")),
///     };
///     Ok(())
/// });
/// let config = TransportConfig::default().ws_server(server);
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct WsServer {
    /// Whether clients may ask for any path, for [`check`](Self::check) to look at. Default: no, only
    /// for that of the endpoint.
    pub any_path: bool,
    /// Which web pages may connect. Default: those of the same host.
    pub origin: OriginPolicy,
    /// What may be spoken, most wanted first; the first that the client offers is chosen. Default: none.
    pub subprotocols: Vec<String>,
    /// Whether a client that offers none of them is refused. Default: no, it is given none.
    pub require_subprotocol: bool,
    check: Option<Arc<Check>>,
    slow_check: Option<Arc<SlowCheck>>,
}

impl WsServer {
    /// Sets [`any_path`](Self#structfield.any_path).
    #[must_use]
    pub fn any_path(mut self, any_path: bool) -> Self {
        self.any_path = any_path;
        self
    }

    /// Sets [`origin`](Self#structfield.origin).
    #[must_use]
    pub fn origin(mut self, origin: OriginPolicy) -> Self {
        self.origin = origin;
        self
    }

    /// Adds one to [`subprotocols`](Self#structfield.subprotocols).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocols.push(name.into());
        self
    }

    /// Sets [`require_subprotocol`](Self#structfield.require_subprotocol).
    #[must_use]
    pub fn require_subprotocol(mut self, require_subprotocol: bool) -> Self {
        self.require_subprotocol = require_subprotocol;
        self
    }

    /// Has the last word about each client: called with what it asked for, and with who it is, which
    /// the call may correct or extend; [`Connection::info`](crate::mux::Connection::info) tells it later.
    ///
    /// It must not block: what has to wait is for [`check_async`](Self::check_async). A second call
    /// replaces the first.
    #[must_use]
    pub fn check(
        mut self,
        check: impl Fn(&WsInfo, &mut ConnectionInfo) -> Result<(), WsRefusal> + Send + Sync + 'static,
    ) -> Self {
        self.check = Some(Arc::new(check));
        self
    }

    /// Has the last word about each client after waiting for something, a look into a database say. It
    /// is called with what the client asked for and with who it is, and answers who it is, corrected or
    /// extended.
    ///
    /// It comes after [`check`](Self::check), and counts against the time for the whole handshake. A second
    /// call replaces the first.
    ///
    /// ```
    /// use sessionwire::transport::{WsRefusal, WsServer};
    ///
    /// # async fn look_up(token: Option<String>) -> Option<u64> { None }
    /// let server = WsServer::default().check_async(|request, mut info| async move {
    ///     let token = request.query.filter(|query| query.len() < 100);
    ///     let user: u64 = look_up(token).await.ok_or_else(|| WsRefusal::new(401, "who are you?"))?;
    ///     info.extensions.insert(user);
    ///     Ok(info)
    /// });
    /// ```
    ///
    /// # Cancel safety
    ///
    /// The future is dropped when the time for the handshake is up.
    #[must_use]
    pub fn check_async<Checking>(
        mut self,
        check: impl Fn(WsInfo, ConnectionInfo) -> Checking + Send + Sync + 'static,
    ) -> Self
    where
        Checking: Future<Output = Result<ConnectionInfo, WsRefusal>> + Send + 'static,
    {
        self.slow_check = Some(Arc::new(move |request, info| {
            Box::pin(check(request, info))
        }));
        self
    }

    /// The answer to a request that an HTTP server of yours has read, with what is known of the client
    /// then, or why it gets no WebSocket: [`WsRefusal::to_response`] says so by HTTP. Once the answer is
    /// sent, [`WsStream::new`](crate::transport::WsStream::new) takes over the connection.
    ///
    /// All that the table above lists is looked at, but for the path, by which your server chose to call
    /// this, and for the sizes, which it has limited. `info` is what else is known, for
    /// [`check`](Self::check) to see.
    ///
    /// ```
    /// use sessionwire::transport::{ConnectionInfo, WsServer, http::Request};
    ///
    /// let request = Request::get("/wire")
    ///     .header("Host", "example.org")
    ///     .header("Origin", "https://evil.example")
    ///     .header("Connection", "Upgrade")
    ///     .header("Upgrade", "websocket")
    ///     .header("Sec-WebSocket-Version", "13")
    ///     .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    ///     .body(())?;
    /// # futures::executor::block_on(async {
    /// let answer = WsServer::default().answer(&request, ConnectionInfo::default()).await;
    /// assert_eq!(answer.unwrap_err().to_response().status(), 403);
    /// # });
    /// # Ok::<(), sessionwire::transport::http::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The refusal, with a status of the table above.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what [`check_async`](Self::check_async) waits for.
    pub fn answer<Body>(
        &self,
        request: &Request<Body>,
        info: ConnectionInfo,
    ) -> impl Future<Output = Result<(Response<()>, ConnectionInfo), WsRefusal>> + Send + use<'_, Body>
    {
        let head = head_of(request);
        async move { self.agree(head?, info).await }
    }

    /// The answer for a client, and what is known of it then.
    pub(super) async fn judge(
        &self,
        request: Request<()>,
        path: &str,
        info: ConnectionInfo,
    ) -> Result<(Vec<u8>, ConnectionInfo), Rejection> {
        self.check_path(&request, path)?;
        let (response, info) = self.agree(request, info).await?;
        let mut bytes = Vec::new();
        write_response(&mut bytes, &response)
            .map_err(|_| WsRefusal::new(500, "this server's answer is malformed"))?;
        Ok((bytes, info))
    }

    async fn agree(
        &self,
        request: Request<()>,
        mut info: ConnectionInfo,
    ) -> Result<(Response<()>, ConnectionInfo), WsRefusal> {
        let (response, websocket) = self.choose_answer(request)?;
        if let Some(check) = &self.check {
            check(&websocket, &mut info)?;
        }
        if let Some(check) = &self.slow_check {
            info = check(websocket.clone(), info).await?;
        }
        info.websocket = Some(websocket);
        Ok((response, info))
    }

    fn choose_answer(&self, request: Request<()>) -> Result<(Response<()>, WsInfo), WsRefusal> {
        let mut response = upgrade(&request)?;
        if !self.origin.allows(request.headers()) {
            return Err(WsRefusal::new(
                403,
                "pages of that origin may not connect here (a proxy in between must pass Host on as it came)",
            ));
        }
        let subprotocol = self.choose(request.headers())?;
        if let Some(subprotocol) = subprotocol {
            let value = HeaderValue::from_str(subprotocol)
                .map_err(|_| WsRefusal::new(500, "this server's subprotocol is malformed"))?;
            let headers = response.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value);
        }
        let (parts, ()) = request.into_parts();
        let websocket = WsInfo {
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            headers: parts.headers,
            subprotocol: subprotocol.map(str::to_owned),
        };
        Ok((response, websocket))
    }

    fn check_path(&self, request: &Request<()>, path: &str) -> Result<(), Rejection> {
        if self.any_path || request.uri().path() == path {
            return Ok(());
        }
        Err(Rejection {
            refusal: WsRefusal::new(404, "nothing is here"),
            error: Box::new(TransportError::WrongPath {
                path: path.to_owned(),
                requested: request.uri().path().chars().take(256).collect(),
            }),
        })
    }

    fn choose(&self, headers: &HeaderMap) -> Result<Option<&str>, WsRefusal> {
        let offered: Vec<&str> = head::list(headers, &header::SEC_WEBSOCKET_PROTOCOL).collect();
        let mut wanted = self.subprotocols.iter().map(String::as_str);
        match wanted.find(|wanted| offered.contains(wanted)) {
            None if self.require_subprotocol => Err(WsRefusal::new(
                400,
                format!(
                    "offer one of these in Sec-WebSocket-Protocol: {}",
                    self.subprotocols.join(", ")
                ),
            )),
            chosen => Ok(chosen),
        }
    }
}

impl fmt::Debug for WsServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("WsServer")
            .field("any_path", &self.any_path)
            .field("origin", &self.origin)
            .field("subprotocols", &self.subprotocols)
            .field("require_subprotocol", &self.require_subprotocol)
            .field("check", &self.check.is_some())
            .field("check_async", &self.slow_check.is_some())
            .finish()
    }
}

/// What another HTTP server has read, as far as it matters here.
fn head_of<Body>(request: &Request<Body>) -> Result<Request<()>, WsRefusal> {
    if request.method() != Method::GET {
        return Err(WsRefusal::wrong_method());
    }
    if request.version() != Version::HTTP_11 {
        return Err(WsRefusal::wrong_version());
    }
    let mut head = Request::new(());
    *head.uri_mut() = request.uri().clone();
    *head.headers_mut() = request.headers().clone();
    check_headers(&mut head).map_err(|problem| WsRefusal::new(400, problem))?;
    Ok(head)
}

/// What a refused client is told, and what this end is.
#[derive(Debug)]
pub(super) struct Rejection {
    pub(super) refusal: WsRefusal,
    pub(super) error: Box<TransportError>,
}

impl From<WsRefusal> for Rejection {
    fn from(refusal: WsRefusal) -> Self {
        let error = Box::new(TransportError::from(&refusal));
        Self { refusal, error }
    }
}

/// A request that HTTP allows, whatever it asks for.
pub(super) fn parse(head: &Bytes, limits: Limits) -> Result<Request<()>, WsRefusal> {
    let malformed = |problem| WsRefusal::malformed(problem, limits.headers);
    let other = |problem| WsRefusal::new(400, problem);
    if !head::has_whole_lines(head) {
        return Err(other("its lines must end with CR and LF"));
    }
    let mut headers = vec![httparse::EMPTY_HEADER; limits.headers];
    let mut parsed = httparse::Request::new(&mut headers);
    let complete = parsed
        .parse(head)
        .map_err(|error| malformed(Malformed::from(error)))?;
    if complete.is_partial() {
        return Err(other("its first line is malformed"));
    }
    if parsed.method != Some("GET") {
        return Err(WsRefusal::wrong_method());
    }
    if parsed.version != Some(1) {
        return Err(malformed(Malformed::Version));
    }
    let mut request = Request::new(());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = parsed
        .path
        .and_then(|target| target.parse().ok())
        .ok_or_else(|| other("its target is malformed"))?;
    *request.headers_mut() = head::map(parsed.headers).map_err(malformed)?;
    check_headers(&mut request).map_err(other)?;
    Ok(request)
}

fn check_headers(request: &mut Request<()>) -> Result<(), &'static str> {
    let headers = request.headers_mut();
    if headers.get_all(header::HOST).iter().count() != 1 {
        return Err("it must have one Host header");
    }
    let length = headers.get(header::CONTENT_LENGTH);
    if length.is_some_and(|length| length != "0") || headers.contains_key(header::TRANSFER_ENCODING)
    {
        return Err("it must not have a body");
    }
    for name in [header::SEC_WEBSOCKET_KEY, header::SEC_WEBSOCKET_VERSION] {
        if headers.get_all(&name).iter().count() > 1 {
            return Err("it has a header twice that may be there once");
        }
    }
    // What several headers of that name say, one can say too, and only one is looked at.
    let connection: Vec<&str> = head::list(headers, &header::CONNECTION).collect();
    if let Ok(connection) = HeaderValue::from_str(&connection.join(", ")) {
        headers.insert(header::CONNECTION, connection);
    }
    Ok(())
}

fn upgrade(request: &Request<()>) -> Result<Response<()>, WsRefusal> {
    create_response(request).map_err(|error| match error {
        Error::Protocol(
            ProtocolError::MissingConnectionUpgradeHeader
            | ProtocolError::MissingUpgradeWebSocketHeader,
        ) => WsRefusal::upgrade_required("this is a WebSocket endpoint, and no Upgrade came; a proxy in between must pass Upgrade and Connection on"),
        Error::Protocol(ProtocolError::MissingSecWebSocketVersionHeader) => {
            WsRefusal::upgrade_required("only version 13 of WebSocket is spoken here")
        }
        Error::Protocol(
            ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey,
        ) => WsRefusal::new(400, "its Sec-WebSocket-Key is not 16 bytes in base64"),
        _ => WsRefusal::new(400, "it is no WebSocket handshake"),
    })
}
