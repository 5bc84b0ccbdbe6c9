use std::convert::Infallible;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_std::channel::{self, Sender};
use async_std::task;
use futures_util::future::{Either, select};
use sessionwire::transport::Scheme;
use sessionwire::{Connection, Listener, Router};

use crate::arguments::ServeOptions;
use crate::failure::Failure;
use crate::output::{note, say};
use crate::protocol::{self, Stopping};
use crate::signals::Interruption;

/// The command `serve`.
pub(crate) async fn run(options: &ServeOptions) -> Result<ExitCode, Failure> {
    let interruption = Interruption::listen()?;
    let mut listener = Listener::new(
        protocol::config(protocol::LARGEST_SIZE, protocol::MOST_CHANNELS),
        options.transport()?,
    );
    for endpoint in &options.endpoints {
        listener = listener.and(endpoint).await?;
    }
    for endpoint in listener.endpoints() {
        if endpoint.scheme() == Scheme::Memory {
            note(&format!(
                "note: {endpoint} can be reached only from within this process"
            ));
        }
        say(&format!("listening on {endpoint}"))?;
    }
    let server = Server::new(options.drain);
    let ended = match select(
        pin!(server.accept_from(listener)),
        pin!(interruption.wait()),
    )
    .await
    {
        Either::Left((failure, _)) => Err(failure),
        Either::Right(_) => Ok(ExitCode::SUCCESS),
    };
    server.shut_down().await;
    ended
}

/// Connections being served, until it is shut down.
pub(crate) struct Server {
    router: Arc<Router>,
    drain: Duration,
    stop: Sender<()>,
    stopping: Stopping,
    /// Held by each connection's task; nothing is ever sent.
    alive: Sender<Infallible>,
    ended: channel::Receiver<Infallible>,
}

impl Server {
    /// A server whose channels may take `drain` to finish when it is shut down.
    pub(crate) fn new(drain: Duration) -> Self {
        let (stop, stopping) = channel::bounded(1);
        let (alive, ended) = channel::bounded(1);
        Self {
            router: Arc::new(protocol::router(&stopping)),
            drain,
            stop,
            stopping,
            alive,
            ended,
        }
    }

    /// Serves whoever connects, until the listener breaks.
    pub(crate) async fn accept_from(&self, mut listener: Listener) -> Failure {
        loop {
            match listener.accept().await {
                Ok(connection) => self.serve(connection),
                Err(error) => return error.into(),
            }
        }
    }

    /// Lets open channels finish, and resolves when all connections have ended.
    pub(crate) async fn shut_down(self) {
        self.stop.close();
        drop(self.alive);
        // An error says that no task is left which could send something.
        let _ = self.ended.recv().await;
    }

    fn serve(&self, connection: Connection) {
        let (router, drain) = (Arc::clone(&self.router), self.drain);
        let (stopping, alive) = (self.stopping.clone(), self.alive.clone());
        task::spawn(async move {
            // Channels that were opened before the peer knows of the drain are served, too.
            let serving = pin!(router.serve(&connection));
            let draining = pin!(async {
                let _ = stopping.recv().await;
                connection.drain(drain).await
            });
            select(serving, draining).await;
            // Serving ends with the connection: what is said last may still be on its way then.
            let ended = connection.closed().await;
            if stopping.is_closed() && !ended.is_clean() {
                note(&format!("note: a connection did not end cleanly: {ended}"));
            }
            drop(alive);
        });
    }
}
