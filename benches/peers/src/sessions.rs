//! Short conversations on one connection: opened, used for one request and its answer, closed.

use std::future::{Future, poll_fn};
use std::net::{SocketAddr, TcpListener};
use std::task::Poll;
use std::time::{Duration, Instant};

use asynchronous_codec::Framed;
use futures::channel::{mpsc, oneshot};
use futures::future::{BoxFuture, try_join};
use futures::{FutureExt, SinkExt, StreamExt};
use hdrhistogram::Histogram;
use sessionwire::session::{Limits, Server};
use sessionwire::transport::TokioStream;
use sessionwire::{
    Channel, ChannelError, Config, Connection, Role, Router, Session, SessionError, protocol,
};

use crate::measure::ROUND_TRIP_SIZE;
use crate::message::Message;
use crate::network::{AsyncStd, Network, Tokio};
use crate::ours;
use crate::peer::{Keep, Result, Runtime};
use crate::peers::framing::BincodeCodec;

/// Sessions at once.
pub const AT_ONCE: [usize; 2] = [1, 64];

/// Our plain channels, to tell what the types cost.
pub const CHANNELS: &str = "ours-channels";

/// Whoever can hold such conversations. Calls at the same time share the connection.
pub trait Conversing: Send + Sync {
    fn name(&self) -> &'static str;
    fn runtime(&self) -> Runtime;
    fn sessions(&self, at_once: usize, seconds: f64) -> BoxFuture<'static, Result<Conversations>>;
}

/// What came of a run.
pub struct Conversations {
    pub per_second: f64,
    /// How long each took, in nanoseconds, to a hundredth.
    pub times: Histogram<u32>,
}

pub fn table() -> Vec<Box<dyn Conversing>> {
    vec![
        Box::new(Contender(Sessions(AsyncStd))),
        Box::new(Contender(Sessions(Tokio))),
        Box::new(Contender(Channels)),
        Box::new(Contender(Yamux(AsyncStd))),
        Box::new(Contender(Yamux(Tokio))),
    ]
}

pub trait Client: Clone + Send + Sync + 'static {
    fn converse(&self) -> impl Future<Output = Result<()>> + Send;
}

pub trait Side: Copy + Send + Sync + 'static {
    type Client: Client;

    fn name(&self) -> &'static str;
    fn runtime(&self) -> Runtime;
    fn dial(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = Result<(Self::Client, Keep)>> + Send;
    /// Accepts a connection and answers on it for as long as what this answers is kept.
    fn answer(&self, listener: TcpListener) -> impl Future<Output = Result<Keep>> + Send;
}

pub struct Contender<S>(pub S);

impl<S: Side> Conversing for Contender<S> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn runtime(&self) -> Runtime {
        self.0.runtime()
    }

    fn sessions(&self, at_once: usize, seconds: f64) -> BoxFuture<'static, Result<Conversations>> {
        measured(self.0, at_once, Duration::from_secs_f64(seconds)).boxed()
    }
}

/// A fifth of the time goes by unmeasured first.
async fn measured<S: Side>(side: S, at_once: usize, time: Duration) -> Result<Conversations> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let ((client, _dialed), _answers) = try_join(side.dial(address), side.answer(listener)).await?;
    converse_at_once(side, &client, at_once, time / 5).await?;
    converse_at_once(side, &client, at_once, time).await
}

async fn converse_at_once<S: Side>(
    side: S,
    client: &S::Client,
    at_once: usize,
    time: Duration,
) -> Result<Conversations> {
    let start = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            side.runtime()
                .spawn(converse_until(client.clone(), start + time))
        })
        .collect();
    let mut times = Histogram::new(DIGITS)?;
    for task in tasks {
        times.add(task.await?)?;
    }
    let per_second = times.len() as f64 / start.elapsed().as_secs_f64();
    Ok(Conversations { per_second, times })
}

/// So many digits of a time are kept.
const DIGITS: u8 = 2;

async fn converse_until(client: impl Client, until: Instant) -> Result<Histogram<u32>> {
    let mut times = Histogram::new(DIGITS)?;
    let mut now = Instant::now();
    while now < until {
        client.converse().await?;
        let began = std::mem::replace(&mut now, Instant::now());
        times.record((now - began).as_nanos() as u64)?;
    }
    Ok(times)
}

fn request() -> Message {
    Message::new(ROUND_TRIP_SIZE)
}

protocol! {
    Asking = "asking" version 1;
    Idle: Client(secs(10), 4 * KIB) { 0 Ask: Message => Asked }
    Asked: Server(secs(10), 4 * KIB) { 0 Answer: Message => End }
}

#[derive(Clone, Copy)]
struct Sessions<N>(N);

#[derive(Clone)]
struct Asks(Connection);

impl Client for Asks {
    async fn converse(&self) -> Result<()> {
        let session = self.0.open_session(Asking).await?;
        let Asked::Answer(answer, session) = session.send(request()).await?.recv().await?;
        session.close();
        answer.check(0, ROUND_TRIP_SIZE)
    }
}

async fn answer(session: Session<Idle<Server>>) -> std::result::Result<(), SessionError> {
    let Idle::Ask(message, session) = session.recv().await?;
    session.send(message).await?.close();
    Ok(())
}

impl<N: Network> Side for Sessions<N>
where
    N::Stream: IntoOurs,
{
    type Client = Asks;

    fn name(&self) -> &'static str {
        match N::RUNTIME {
            Runtime::AsyncStd => ours::TCP,
            Runtime::Tokio => ours::TCP_TOKIO,
        }
    }

    fn runtime(&self) -> Runtime {
        N::RUNTIME
    }

    async fn dial(&self, address: SocketAddr) -> Result<(Asks, Keep)> {
        let connection = N::dial(address).await?.connected(Role::Dialer);
        Ok((Asks(connection), Box::new(())))
    }

    async fn answer(&self, listener: TcpListener) -> Result<Keep> {
        let connection = N::accept(&listener).await?.connected(Role::Acceptor);
        let limits = Limits::default().sessions(1024);
        let router = Router::new().on_session_with(Asking, limits, answer);
        Ok(Box::new(
            N::RUNTIME.spawn(async move { router.serve(&connection).await }),
        ))
    }
}

#[derive(Clone, Copy)]
struct Channels;

#[derive(Clone)]
struct Opens(Connection);

impl Client for Opens {
    async fn converse(&self) -> Result<()> {
        let mut channel: Channel<Message, Message> = self.0.open("asking").await?;
        channel.send(&request()).await?;
        channel.finish();
        let answer = channel.recv().await?.ok_or("the channel ended")?;
        answer.check(0, ROUND_TRIP_SIZE)
    }
}

async fn answer_plainly(
    mut channel: Channel<Message, Message>,
) -> std::result::Result<(), ChannelError> {
    if let Some(message) = channel.recv().await? {
        channel.send(&message).await?;
    }
    channel.finish();
    Ok(())
}

impl Side for Channels {
    type Client = Opens;

    fn name(&self) -> &'static str {
        CHANNELS
    }

    fn runtime(&self) -> Runtime {
        Runtime::AsyncStd
    }

    async fn dial(&self, address: SocketAddr) -> Result<(Opens, Keep)> {
        let connection = AsyncStd::dial(address).await?.connected(Role::Dialer);
        Ok((Opens(connection), Box::new(())))
    }

    async fn answer(&self, listener: TcpListener) -> Result<Keep> {
        let connection = AsyncStd::accept(&listener).await?.connected(Role::Acceptor);
        let router = Router::new().on("asking", answer_plainly);
        Ok(Box::new(
            Runtime::AsyncStd.spawn(async move { router.serve(&connection).await }),
        ))
    }
}

/// A stream that a connection of ours runs over.
trait IntoOurs {
    fn connected(self, role: Role) -> Connection;
}

impl IntoOurs for async_std::net::TcpStream {
    fn connected(self, role: Role) -> Connection {
        let (connection, driver) = Connection::new(self, role, Config::default());
        driver.spawn();
        connection
    }
}

impl IntoOurs for tokio_util::compat::Compat<tokio::net::TcpStream> {
    fn connected(self, role: Role) -> Connection {
        let stream = TokioStream::new(self.into_inner());
        let (connection, driver) = Connection::new(stream, role, Config::default());
        driver.spawn();
        connection
    }
}

/// Streams of yamux with the same framing; one task a side drives the connection.
#[derive(Clone, Copy)]
struct Yamux<N>(N);

type Opened = oneshot::Sender<yamux::Stream>;

#[derive(Clone)]
struct Streams(mpsc::UnboundedSender<Opened>);

impl Client for Streams {
    async fn converse(&self) -> Result<()> {
        let (opened, stream) = oneshot::channel();
        self.0.unbounded_send(opened)?;
        let mut framed = Framed::new(stream.await?, BincodeCodec);
        framed.send(&request()).await?;
        let answer = framed.next().await.ok_or("the stream ended")??;
        SinkExt::<&Message>::close(&mut framed).await?;
        answer.check(0, ROUND_TRIP_SIZE)
    }
}

async fn answer_stream(stream: yamux::Stream) -> Result<()> {
    let mut framed = Framed::new(stream, BincodeCodec);
    let message = framed.next().await.ok_or("the stream ended")??;
    framed.send(&message).await?;
    SinkExt::<&Message>::close(&mut framed).await
}

impl<N: Network> Side for Yamux<N> {
    type Client = Streams;

    fn name(&self) -> &'static str {
        match N::RUNTIME {
            Runtime::AsyncStd => "yamux",
            Runtime::Tokio => "yamux-tokio",
        }
    }

    fn runtime(&self) -> Runtime {
        N::RUNTIME
    }

    async fn dial(&self, address: SocketAddr) -> Result<(Streams, Keep)> {
        let stream = N::dial(address).await?;
        let mut connection =
            yamux::Connection::new(stream, yamux::Config::default(), yamux::Mode::Client);
        let (sender, mut wanted) = mpsc::unbounded::<Opened>();
        let mut waiting: Option<Opened> = None;
        let driver = N::RUNTIME.spawn(poll_fn(move |context| {
            loop {
                if waiting.is_none()
                    && let Poll::Ready(Some(opened)) = wanted.poll_next_unpin(context)
                {
                    waiting = Some(opened);
                }
                if waiting.is_some()
                    && let Poll::Ready(Ok(stream)) = connection.poll_new_outbound(context)
                {
                    if let Some(opened) = waiting.take() {
                        // Whoever asked may have gone.
                        let _ = opened.send(stream);
                    }
                    continue;
                }
                match connection.poll_next_inbound(context) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(_) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        }));
        Ok((Streams(sender), Box::new(driver)))
    }

    async fn answer(&self, listener: TcpListener) -> Result<Keep> {
        let stream = N::accept(&listener).await?;
        let mut connection =
            yamux::Connection::new(stream, yamux::Config::default(), yamux::Mode::Server);
        Ok(Box::new(N::RUNTIME.spawn(async move {
            while let Some(Ok(stream)) =
                poll_fn(|context| connection.poll_next_inbound(context)).await
            {
                N::RUNTIME.spawn(answer_stream(stream).map(drop)).forget();
            }
        })))
    }
}
