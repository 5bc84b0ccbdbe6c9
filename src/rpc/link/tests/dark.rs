//! A link whose network goes dark: nobody says that the connection is gone.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_io::{AsyncRead, AsyncWrite};

use super::{Fate, World, seconds, up};
use crate::mux::{Config, ConnectionError, Timeout};
use crate::rpc::link::{Link, LinkState};
use crate::runtime::{Instant, Runtime as _};
use crate::transport::MemoryStream;

/// Whether it is dark, and whether the system's send buffer has no room.
#[derive(Debug, Clone, Default)]
pub(super) struct Darkness(Arc<(AtomicBool, AtomicBool)>);

impl Darkness {
    fn falls(&self, is_full: bool) {
        self.0.1.store(is_full, Ordering::SeqCst);
        self.0.0.store(true, Ordering::SeqCst);
    }

    fn lifts(&self) {
        self.0.0.store(false, Ordering::SeqCst);
    }

    fn is_dark(&self) -> bool {
        self.0.0.load(Ordering::SeqCst)
    }

    fn is_full(&self) -> bool {
        self.0.1.load(Ordering::SeqCst)
    }
}

/// From when on it is dark, it hears nothing, and loses what it is given or takes no more.
#[derive(Debug)]
pub(super) struct Dark {
    inner: MemoryStream,
    darkness: Darkness,
    /// A stream that was in the dark once is not found again.
    is_lost: bool,
}

impl Dark {
    pub(super) fn new(inner: MemoryStream, darkness: Darkness) -> Self {
        Self {
            inner,
            darkness,
            is_lost: false,
        }
    }

    fn is_lost(&mut self) -> bool {
        self.is_lost |= self.darkness.is_dark();
        self.is_lost
    }
}

impl AsyncRead for Dark {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_lost() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for Dark {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.is_lost() {
            true if self.darkness.is_full() => Poll::Pending,
            true => Poll::Ready(Ok(buffer.len())),
            false => Pin::new(&mut self.inner).poll_write(context, buffer),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_lost() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_lost() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_close(context)
    }
}

/// How the client behaves in the dark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Silent,
    SendsEachSecond,
    HasItsBufferFull,
}

/// What the darkness came to, and how long after it had fallen the connection was given up and the
/// link was up again.
fn noticed(config: Config, client: Client) -> (Timeout, Duration, Duration) {
    let world = World::with(config);
    world.always(Fate::UpInDanger);
    let link = world.link();
    world.pass(seconds(60));
    let (_, connection) = up(&link).expect("a connection");
    let mut channel = world
        .run(connection.open_raw("a/1"))
        .expect("at once")
        .unwrap();
    world
        .run(channel.send("before".into()))
        .expect("room")
        .unwrap();
    world.settle();

    world
        .peer
        .darkness
        .falls(client == Client::HasItsBufferFull);
    let start = world.clock.now();
    let mut since_sent = Duration::ZERO;
    while up(&link).is_some() {
        let due = client == Client::SendsEachSecond && since_sent >= seconds(1);
        let first = client == Client::HasItsBufferFull && world.clock.now() == start;
        if due || first {
            // A full buffer takes no more; what is lost, nobody learns.
            let _ = world.run(channel.send(Bytes::from_static(b"into the dark")));
            since_sent = Duration::ZERO;
        }
        world.pass(Duration::from_millis(100));
        since_sent += Duration::from_millis(100);
        assert!(
            world.clock.now() - start < seconds(600),
            "{client:?}: never"
        );
    }
    let given_up = world.clock.now() - start;
    let Some(ConnectionError::TimedOut(timeout)) = world.run(connection.spent()).expect("an end")
    else {
        panic!("{client:?}: another end");
    };
    world.peer.darkness.lifts();
    (timeout, given_up, until_up(&world, &link, start))
}

fn until_up(world: &World, link: &Link, start: Instant) -> Duration {
    while !matches!(link.state(), LinkState::Up { epoch: 2, .. }) {
        world.pass(Duration::from_millis(25));
        assert!(world.clock.now() - start < seconds(600), "never up");
    }
    world.clock.now() - start
}

#[test]
fn a_link_in_the_dark_is_noticed_in_the_time_that_is_set_and_made_again() {
    let quick = Config::default()
        .ping_interval(seconds(10))
        .idle_timeout(seconds(25))
        .write_timeout(seconds(20));
    for (config, silence, write) in [(Config::default(), 45, 30), (quick, 25, 20)] {
        for (client, timeout, latest) in [
            (Client::Silent, Timeout::Silence, silence),
            (Client::SendsEachSecond, Timeout::Silence, silence),
            (Client::HasItsBufferFull, Timeout::Write, write),
        ] {
            let (found, given_up, up) = noticed(config.clone(), client);
            assert_eq!(found, timeout, "{client:?}");
            assert!(given_up <= seconds(latest + 1), "{client:?}: {given_up:?}");
            assert!(
                up <= given_up + Duration::from_millis(250),
                "{client:?}: {up:?}"
            );
        }
    }
}
