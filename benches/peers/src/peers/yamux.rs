//! yamux in its default configuration, each stream carrying the same framing as plain TCP (`framing.rs`). One task a
//! side drives the connection, as its documentation asks.
//!
//! `Framed` gathers up to 128 KiB before it writes to the stream, which spares yamux nearly all of its work per
//! message. `YamuxFrames` is for comparison what becomes of the same when every message is written to its stream at
//! once and the gathering is left to the multiplexer: one yamux frame per message.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};

use futures::StreamExt;
use futures::channel::mpsc;
use yamux::{Config, Connection, Mode, Stream};

use super::framing::FramedEnd;
use crate::message::Message;
use crate::network::{AsyncStd, Network};
use crate::peer::{End, Keep, Peer, Result, Runtime, Side};

#[derive(Debug, Clone, Copy)]
pub struct Yamux<N>(pub N);

/// One yamux frame per message.
#[derive(Debug, Clone, Copy)]
pub struct YamuxFrames;

impl Peer for YamuxFrames {
    type End = FramedEnd<Stream>;

    fn name(&self) -> &'static str {
        "yamux-frames"
    }

    fn runtime(&self) -> Runtime {
        Runtime::AsyncStd
    }

    fn multiplexes(&self) -> bool {
        true
    }

    async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<Self::End>> {
        let mut side = Yamux(AsyncStd).open(address, channels).await?;
        side.ends.iter_mut().for_each(FramedEnd::gather_nothing);
        Ok(side)
    }

    async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<Self::End>> {
        let mut side = Yamux(AsyncStd).accept(listener, channels).await?;
        side.ends.iter_mut().for_each(FramedEnd::gather_nothing);
        Ok(side)
    }
}

impl<N: Network> Yamux<N> {
    /// Spawns the driver; the streams that the other side opens come out of the receiver.
    fn drive(mut connection: Connection<N::Stream>) -> (Keep, mpsc::UnboundedReceiver<Stream>) {
        let (sender, inbound) = mpsc::unbounded();
        let task = N::RUNTIME.spawn(async move {
            while let Some(Ok(stream)) =
                poll_fn(|context| connection.poll_next_inbound(context)).await
            {
                if sender.unbounded_send(stream).is_err() {
                    break;
                }
            }
        });
        (Box::new(task), inbound)
    }
}

impl<N: Network> Peer for Yamux<N> {
    type End = FramedEnd<Stream>;

    fn name(&self) -> &'static str {
        match N::RUNTIME {
            Runtime::AsyncStd => "yamux",
            Runtime::Tokio => "yamux-tokio",
        }
    }

    fn runtime(&self) -> Runtime {
        N::RUNTIME
    }

    fn multiplexes(&self) -> bool {
        true
    }

    /// A stream exists for the other side once something was written to it: an empty message with its index.
    async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<Self::End>> {
        let mut connection =
            Connection::new(N::dial(address).await?, Config::default(), Mode::Client);
        let mut ends = Vec::new();
        for _ in 0..channels {
            let stream = poll_fn(|context| connection.poll_new_outbound(context)).await?;
            ends.push(FramedEnd::new(stream));
        }
        let (keep, _) = Self::drive(connection);
        for (index, end) in ends.iter_mut().enumerate() {
            end.feed(&Message {
                sequence: index as u64,
                payload: Vec::new(),
            })
            .await?;
            end.flush().await?;
        }
        Ok(Side { ends, keep })
    }

    async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<Self::End>> {
        let connection =
            Connection::new(N::accept(&listener).await?, Config::default(), Mode::Server);
        let (keep, mut inbound) = Self::drive(connection);
        let mut ends = Vec::new();
        for _ in 0..channels {
            let mut end = FramedEnd::new(inbound.next().await.ok_or("the connection ended")?);
            let index = end.next().await?.sequence;
            ends.push((index, end));
        }
        ends.sort_by_key(|(index, _)| *index);
        let ends = ends.into_iter().map(|(_, end)| end).collect();
        Ok(Side {
            ends,
            keep: Box::new((keep, inbound)),
        })
    }
}
