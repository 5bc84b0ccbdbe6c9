use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{AsyncReadExt, AsyncWriteExt};

use super::RedisConfig;
use super::resp::{Reply, put_command, take_reply};
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::runtime::{SharedRuntime, timeout};
use crate::transport::{self, BoxedStream, Endpoint};

/// A connection to Redis, where one command is answered after the other.
pub(super) struct Wire {
    stream: BoxedStream,
    runtime: SharedRuntime,
    received: BytesMut,
    time: Duration,
}

impl Wire {
    pub(super) async fn connect(
        endpoint: &Endpoint,
        config: &RedisConfig,
        runtime: &SharedRuntime,
    ) -> Result<Self, BackplaneError> {
        let established = transport::connect(endpoint, &config.transport).await?;
        let mut wire = Self {
            stream: established.stream,
            runtime: Arc::clone(runtime),
            received: BytesMut::new(),
            time: config.time,
        };
        if let Some((user, password)) = &config.login {
            let words = [&b"AUTH"[..], user.as_bytes(), password.as_bytes()];
            wire.ask(&words).await?;
        }
        if config.database > 0 {
            let database = config.database.to_string();
            wire.ask(&[b"SELECT", database.as_bytes()]).await?;
        }
        Ok(wire)
    }

    /// Asks, and waits for the answer: a failure of any kind, or a cancellation, makes the connection
    /// useless.
    pub(super) async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, BackplaneError> {
        self.ask_patiently(words, Duration::ZERO).await
    }

    /// The same for what takes some time before it is answered.
    pub(super) async fn ask_patiently(
        &mut self,
        words: &[&[u8]],
        more: Duration,
    ) -> Result<Reply, BackplaneError> {
        let runtime = Arc::clone(&self.runtime);
        let time = self.time.saturating_add(more);
        let asking = async {
            let mut command = BytesMut::new();
            put_command(&mut command, words);
            self.stream.write_all(&command).await?;
            self.stream.flush().await?;
            self.reply().await
        };
        match timeout(&*runtime, time, asking).await {
            Some(Ok(Reply::Error(text))) => Err(BackplaneError::Refused(text.into())),
            Some(answered) => answered,
            None => Err(BackplaneError::TimedOut),
        }
    }

    async fn reply(&mut self) -> Result<Reply, BackplaneError> {
        let mut piece = vec![0; PIECE];
        loop {
            if let Some(reply) = take_reply(&mut self.received)? {
                return Ok(reply);
            }
            let length = self.stream.read(&mut piece).await?;
            if length == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            self.received
                .extend_from_slice(piece.get(..length).unwrap_or_default());
        }
    }
}

const PIECE: usize = 16 * 1024;
