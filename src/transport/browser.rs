//! The WebSocket of a browser as a stream of bytes, for programs that run there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_sink::Sink;
use futures_util::{Stream, StreamExt};
use pharos::{Events, Filter, Observable};
use ws_stream_wasm::{WsErr, WsEvent, WsMessage, WsMeta, WsState, WsStream};

use super::messages::MessageStream;
use super::websocket::WsInfo;
use super::{ConnectionInfo, Endpoint, Established, TransportConfig, TransportError};
use crate::runtime::{self, SharedRuntime, Task, timeout};

/// Bytes that the browser may hold before writing waits.
const MOST_BUFFERED: u32 = 1024 * 1024;
/// How often it is asked whether it holds less. It has no event for that.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Has the browser open a WebSocket, TLS and all.
pub(super) async fn connect(
    endpoint: &Endpoint,
    config: &TransportConfig,
) -> Result<Established, TransportError> {
    let subprotocols = config.ws_client.without_headers()?;
    let runtime = runtime::current();
    let opening = WsMeta::connect(
        endpoint.to_string(),
        subprotocols.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let opened = timeout(&*runtime, config.connect_timeout, opening).await;
    let opened = opened.ok_or_else(|| TransportError::ConnectTimeout {
        endpoint: endpoint.clone(),
        after: config.connect_timeout,
    })?;
    let (mut meta, stream) =
        opened.map_err(|error| TransportError::unreachable(endpoint, failure(&error)))?;
    let subprotocol = Some(meta.protocol()).filter(|chosen| !chosen.is_empty());
    if subprotocol.is_none() && !subprotocols.is_empty() {
        return Err(TransportError::HandshakeInvalid {
            protocol: "websocket",
            problem: format!("it chose none of the subprotocols {subprotocols:?}"),
        });
    }
    let closed = meta.observe(Filter::Pointer(WsEvent::is_closed).into());
    let closed = closed.await.map_err(|error| {
        TransportError::unreachable(endpoint, io::Error::other(error.to_string()))
    })?;
    let info = ConnectionInfo {
        peer: Some(endpoint.clone()),
        websocket: Some(WsInfo {
            path: endpoint.path().to_owned(),
            query: endpoint.query().map(str::to_owned),
            headers: http::HeaderMap::new(),
            subprotocol,
        }),
        ..ConnectionInfo::default()
    };
    let socket = Socket {
        stream,
        _meta: meta,
        closed,
        runtime,
        pause: None,
    };
    let (outgoing, incoming) = socket.split();
    let stream = Box::new(MessageStream::new(incoming, outgoing));
    Ok(Established { stream, info })
}

/// An open WebSocket. Dropping it closes it.
struct Socket {
    stream: WsStream,
    /// Tells of the end, which the stream does not.
    closed: Events<WsEvent>,
    /// Without it there would be no events.
    _meta: WsMeta,
    runtime: SharedRuntime,
    pause: Option<Task>,
}

impl Stream for Socket {
    type Item = io::Result<Bytes>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        Poll::Ready(match ready!(self.stream.poll_next_unpin(context)) {
            Some(WsMessage::Binary(data)) => Some(Ok(data.into())),
            Some(WsMessage::Text(_)) => Some(Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the peer sent a text message, where bytes go in binary ones",
            ))),
            None => match ready!(self.closed.poll_next_unpin(context)) {
                Some(WsEvent::Closed(close)) if !close.was_clean => Some(Err(io::Error::new(
                    io::ErrorKind::ConnectionReset,
                    "the connection of the websocket was lost",
                ))),
                _ => None,
            },
        })
    }
}

impl Sink<Bytes> for Socket {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What it holds when it closes, it counts for ever.
        while self.stream.ready_state() == WsState::Open
            && self.stream.wrapped().buffered_amount() >= MOST_BUFFERED
        {
            let this = &mut *self;
            let again = this.runtime.now() + ASK_AGAIN;
            let sleep = || this.runtime.sleep_until(again);
            let pause = this.pause.get_or_insert_with(sleep);
            ready!(pause.as_mut().poll(context));
            this.pause = None;
        }
        Pin::new(&mut self.stream)
            .poll_ready(context)
            .map_err(|error| failure(&error))
    }

    fn start_send(mut self: Pin<&mut Self>, data: Bytes) -> io::Result<()> {
        Pin::new(&mut self.stream)
            .start_send(WsMessage::Binary(data.into()))
            .map_err(|error| failure(&error))
    }

    /// The browser sends by itself.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream)
            .poll_close(context)
            .map_err(|error| failure(&error))
    }
}

fn failure(error: &WsErr) -> io::Error {
    match error {
        WsErr::ConnectionNotOpen => io::ErrorKind::NotConnected.into(),
        WsErr::ConnectionFailed { .. } => io::Error::new(
            io::ErrorKind::ConnectionRefused,
            "the browser tells no program why; its console says more",
        ),
        other => io::Error::other(other.to_string()),
    }
}
