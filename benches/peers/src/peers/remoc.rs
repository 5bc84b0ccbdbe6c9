//! remoc in its default configuration and with its default codec: a pair of `rch::mpsc` channels for each channel,
//! sent over the base channel. Its `send` takes the message by value, so the sender clones it.

use std::net::{SocketAddr, TcpListener};

use futures::future::RemoteHandle;
use remoc::rch::{base, mpsc};
use tokio::net::TcpStream;

use crate::message::Message;
use crate::network::{Network, Tokio};
use crate::peer::{End, Keep, Peer, Result, Runtime, Side};

type Pair = (mpsc::Sender<Message>, mpsc::Receiver<Message>);

#[derive(Debug, Clone, Copy)]
pub struct Remoc;

pub struct RemocEnd {
    sender: mpsc::Sender<Message>,
    receiver: mpsc::Receiver<Message>,
}

impl End for RemocEnd {
    async fn feed(&mut self, message: &Message) -> Result<()> {
        self.sender
            .send(message.clone())
            .await
            .map_err(|error| error.to_string())?;
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    async fn receive(&mut self, sequence: u64, size: usize) -> Result<()> {
        self.receiver
            .recv()
            .await?
            .ok_or("the channel ended")?
            .check(sequence, size)
    }
}

struct Connection {
    base_sender: base::Sender<Pair>,
    base_receiver: base::Receiver<Pair>,
    driver: RemoteHandle<()>,
}

impl Connection {
    async fn over(stream: TcpStream) -> Result<Self> {
        let (input, output) = stream.into_split();
        let (connection, base_sender, base_receiver) =
            remoc::Connect::io(remoc::Cfg::default(), input, output).await?;
        let driver = Runtime::Tokio.spawn(async move {
            let _ = connection.await;
        });
        Ok(Self {
            base_sender,
            base_receiver,
            driver,
        })
    }

    fn keep(self) -> Keep {
        Box::new((self.base_sender, self.base_receiver, self.driver))
    }
}

impl Peer for Remoc {
    type End = RemocEnd;

    fn name(&self) -> &'static str {
        "remoc"
    }

    fn runtime(&self) -> Runtime {
        Runtime::Tokio
    }

    fn multiplexes(&self) -> bool {
        true
    }

    async fn open(&self, address: SocketAddr, channels: usize) -> Result<Side<Self::End>> {
        let mut connection = Connection::over(Tokio::dial(address).await?.into_inner()).await?;
        let mut ends = Vec::new();
        for _ in 0..channels {
            let (sender, remote_receiver) = mpsc::channel();
            let (remote_sender, receiver) = mpsc::channel();
            let sent = connection
                .base_sender
                .send((remote_sender, remote_receiver))
                .await;
            sent.map_err(|error| error.to_string())?;
            ends.push(RemocEnd { sender, receiver });
        }
        Ok(Side {
            ends,
            keep: connection.keep(),
        })
    }

    async fn accept(&self, listener: TcpListener, channels: usize) -> Result<Side<Self::End>> {
        let mut connection = Connection::over(Tokio::accept(&listener).await?.into_inner()).await?;
        let mut ends = Vec::new();
        for _ in 0..channels {
            let (sender, receiver) = connection
                .base_receiver
                .recv()
                .await?
                .ok_or("the connection ended")?;
            ends.push(RemocEnd { sender, receiver });
        }
        Ok(Side {
            ends,
            keep: connection.keep(),
        })
    }
}
