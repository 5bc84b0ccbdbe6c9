//! Requests and answers of 64 B, so many in flight, all over one connection.

use std::net::{SocketAddr, TcpListener};

use futures::StreamExt;
use jsonrpsee::core::client::ClientT;
use jsonrpsee::rpc_params;
use jsonrpsee::server::{RpcModule, Server};
use jsonrpsee::ws_client::{WsClient, WsClientBuilder};
use sessionwire::Router;
use sessionwire::rpc::{
    CallLimits, Caller, Client, ClientConfig, Fault, Interface, Link, Never, Service, ServiceLimits,
};
use std::sync::Arc;
use tarpc::server::{BaseChannel, Channel as _};
use tarpc::tokio_serde::formats::Bincode;

use crate::measure::ROUND_TRIP_SIZE;
use crate::message::Message;
use crate::ours::{self, Ours, Wire};
use crate::peer::{Keep, Result, Runtime};
use crate::sessions::{self, Contender, Conversing, Side};

/// Requests in flight.
pub const IN_FLIGHT: [usize; 3] = [1, 64, 1024];

pub const OURS_TCP: &str = "ours-calls-tcp";
pub const OURS_TCP_TOKIO: &str = "ours-calls-tcp-tokio";
pub const OURS_WEBSOCKET: &str = "ours-calls-ws";
pub const OURS_WEBSOCKET_TOKIO: &str = "ours-calls-ws-tokio";
pub const TARPC: &str = "tarpc";
pub const JSONRPSEE: &str = "jsonrpsee-ws";

/// More than are in flight.
const LIMIT: usize = 4096;

pub fn table() -> Vec<Box<dyn Conversing>> {
    let ours = |name, runtime, wire| Box::new(Contender(Calls(Ours::new(name, runtime, wire))));
    vec![
        ours(OURS_TCP, Runtime::AsyncStd, Wire::Tcp),
        ours(OURS_TCP_TOKIO, Runtime::Tokio, Wire::Tcp),
        ours(OURS_WEBSOCKET, Runtime::AsyncStd, Wire::WebSocket),
        ours(OURS_WEBSOCKET_TOKIO, Runtime::Tokio, Wire::WebSocket),
        Box::new(Contender(Tarpc)),
        Box::new(Contender(JsonRpsee)),
    ]
}

#[derive(Clone, Copy)]
struct Calls(Ours);

struct Echo;

impl Interface for Echo {
    const NAME: &'static str = "echo/1";
    type Request = Message;
    type Response = Message;
    type Topic = Never;
    type Item = Never;
}

impl Service for Echo {
    type Interface = Self;

    async fn call(&self, _: Caller, message: Message) -> std::result::Result<Message, Fault> {
        Ok(message)
    }
}

#[derive(Clone)]
struct Asks(Client<Echo>);

impl sessions::Client for Asks {
    async fn converse(&self) -> Result<()> {
        let answer = self.0.call(&Message::new(ROUND_TRIP_SIZE)).await?;
        answer.check(0, ROUND_TRIP_SIZE)
    }
}

impl Side for Calls {
    type Client = Asks;

    fn name(&self) -> &'static str {
        self.0.name
    }

    fn runtime(&self) -> Runtime {
        self.0.runtime
    }

    async fn dial(&self, address: SocketAddr) -> Result<(Asks, Keep)> {
        let stream = self.0.dial(address).await?;
        let link = Link::over(ours::connection(stream, sessionwire::Role::Dialer));
        let config = ClientConfig::default().calls_at_once(LIMIT);
        Ok((Asks(Client::with_config(&link, &config)), Box::new(())))
    }

    async fn answer(&self, listener: TcpListener) -> Result<Keep> {
        let stream = self.0.answer(listener).await?;
        let connection = ours::connection(stream, sessionwire::Role::Acceptor);
        let limits = CallLimits::default().calls_at_once(LIMIT);
        let limits = ServiceLimits::default().calls(limits);
        let router = Router::new().on_service_with(Echo, limits);
        let serving = self
            .0
            .runtime
            .spawn(async move { router.serve(&connection).await });
        Ok(Box::new(serving))
    }
}

/// TCP and bincode; a task for each request, as its documentation shows.
#[derive(Clone, Copy)]
struct Tarpc;

#[tarpc::service]
trait Echoing {
    async fn echo(message: Message) -> Message;
}

#[derive(Clone)]
struct EchoServer;

impl Echoing for EchoServer {
    async fn echo(self, _: tarpc::context::Context, message: Message) -> Message {
        message
    }
}

impl sessions::Client for EchoingClient {
    async fn converse(&self) -> Result<()> {
        let message = Message::new(ROUND_TRIP_SIZE);
        let answer = self.echo(tarpc::context::current(), message).await?;
        answer.check(0, ROUND_TRIP_SIZE)
    }
}

impl Side for Tarpc {
    type Client = EchoingClient;

    fn name(&self) -> &'static str {
        TARPC
    }

    fn runtime(&self) -> Runtime {
        Runtime::Tokio
    }

    async fn dial(&self, address: SocketAddr) -> Result<(EchoingClient, Keep)> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let transport = tarpc::serde_transport::Transport::from((stream, Bincode::default()));
        let mut config = tarpc::client::Config::default();
        config.max_in_flight_requests = LIMIT;
        config.pending_request_buffer = LIMIT;
        let client = EchoingClient::new(config, transport).spawn();
        Ok((client, Box::new(())))
    }

    async fn answer(&self, listener: TcpListener) -> Result<Keep> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let transport = tarpc::serde_transport::Transport::from((stream, Bincode::default()));
        let channel = BaseChannel::with_defaults(transport);
        let serving = Runtime::Tokio.spawn(channel.execute(EchoServer.serve()).for_each(
            |response| async move {
                tokio::spawn(response);
            },
        ));
        Ok(Box::new(serving))
    }
}

/// WebSocket and JSON: the payload is a string of as many letters.
#[derive(Clone, Copy)]
struct JsonRpsee;

#[derive(Clone)]
struct JsonClient(Arc<WsClient>);

impl sessions::Client for JsonClient {
    async fn converse(&self) -> Result<()> {
        let payload = "x".repeat(ROUND_TRIP_SIZE);
        let (sequence, answer): (u64, String) =
            self.0.request("echo", rpc_params![0_u64, payload]).await?;
        if sequence == 0 && answer.len() == ROUND_TRIP_SIZE {
            Ok(())
        } else {
            Err("another answer".into())
        }
    }
}

impl Side for JsonRpsee {
    type Client = JsonClient;

    fn name(&self) -> &'static str {
        JSONRPSEE
    }

    fn runtime(&self) -> Runtime {
        Runtime::Tokio
    }

    async fn dial(&self, address: SocketAddr) -> Result<(JsonClient, Keep)> {
        let client = WsClientBuilder::default()
            .max_concurrent_requests(LIMIT)
            .max_buffer_capacity_per_subscription(LIMIT)
            .build(format!("ws://{address}"))
            .await?;
        Ok((JsonClient(Arc::new(client)), Box::new(())))
    }

    async fn answer(&self, listener: TcpListener) -> Result<Keep> {
        let mut module = RpcModule::new(());
        module.register_method("echo", |params, (), _| params.parse::<(u64, String)>())?;
        listener.set_nonblocking(true)?;
        let server = Server::builder().build_from_tcp(listener)?;
        Ok(Box::new(server.start(module)))
    }
}
