use std::io;
use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, RedisConnectionInfo, Value};
use tokio_util::compat::FuturesAsyncReadCompatExt;

use super::commands::Question;
use super::refusal;
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::runtime::{SharedRuntime, Task, timeout};
use crate::transport::BoxedStream;

/// A connection to Redis.
pub(super) struct Connection {
    inner: MultiplexedConnection,
    time: Duration,
    runtime: SharedRuntime,
    /// What the server calls its run, from its start to its end; empty if it does not say.
    pub(super) run: String,
}

/// A connection and what it needs to go on.
pub(super) struct Opened {
    pub(super) connection: Connection,
    /// Reads and writes, for as long as it is polled; ends when the connection is lost.
    pub(super) driver: Task,
    /// What Redis calls the connection, if the user may know.
    pub(super) id: Option<i64>,
}

impl Connection {
    /// Over a stream on which nothing was said yet.
    pub(super) async fn over(
        stream: BoxedStream,
        time: Duration,
        runtime: SharedRuntime,
    ) -> Result<(Self, Task), BackplaneError> {
        // The timeouts of the crate need a runtime of tokio's.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        // Nothing is said by the crate itself: its errors leave out what Redis answered.
        let nobody = RedisConnectionInfo::default().set_skip_set_lib_name();
        let opened = MultiplexedConnection::new_with_config(&nobody, stream.compat(), config).await;
        let (inner, driver) = opened.map_err(failure)?;
        let connection = Self {
            inner,
            time,
            runtime,
            run: String::new(),
        };
        Ok((connection, Box::pin(driver.fuse())))
    }

    /// Asks, and waits for the answer: after an error that is no refusal, the connection is useless.
    pub(super) async fn ask(&self, question: Question) -> Result<Value, BackplaneError> {
        self.ask_patiently(question, Duration::ZERO).await
    }

    /// The same for what takes some time before it is answered.
    pub(super) async fn ask_patiently(
        &self,
        question: Question,
        more: Duration,
    ) -> Result<Value, BackplaneError> {
        let time = self.time.saturating_add(more);
        let answers = self.answers([question], time).await?;
        let answer = answers.into_iter().next();
        answer.unwrap_or(Err(BackplaneError::Unexpected("no answer")))
    }

    /// Asks several things at once; each is refused or answered, or else all fail.
    pub(super) async fn ask_all(
        &self,
        questions: impl IntoIterator<Item = Question>,
    ) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
        self.answers(questions, self.time).await
    }

    async fn answers(
        &self,
        questions: impl IntoIterator<Item = Question>,
        time: Duration,
    ) -> Result<Vec<Result<Value, BackplaneError>>, BackplaneError> {
        let mut commands = Pipeline::new();
        for question in questions {
            commands.add_command(question.command(&self.run));
        }
        let mut inner = self.inner.clone();
        let answers = inner.send_packed_commands(&commands, 0, commands.len());
        let answers = timeout(&*self.runtime, time, answers).await;
        let answers = answers.ok_or(BackplaneError::TimedOut { after: time })?;
        let answers = answers.map_err(failure)?;
        Ok(answers.into_iter().map(refusal::of).collect())
    }
}

/// The output of what is done over a connection, or `None` if the connection was lost and nothing was
/// being done.
pub(super) async fn driven<T>(
    driver: impl Future<Output = ()> + Unpin,
    work: impl Future<Output = T>,
) -> Option<T> {
    match select(driver, pin!(work)).await {
        // What waits for an answer is told why there is none.
        Either::Left(((), work)) => work.now_or_never(),
        Either::Right((output, _)) => Some(output),
    }
}

/// The connection went away.
pub(super) fn lost() -> BackplaneError {
    io::Error::from(io::ErrorKind::ConnectionAborted).into()
}

fn failure(error: redis::RedisError) -> BackplaneError {
    if error.is_io_error() {
        io::Error::other(error).into()
    } else {
        BackplaneError::Unexpected("what is no reply")
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[test]
    fn a_lost_connection_ends_what_waits_for_nothing_and_answers_what_waits_for_it() {
        let idle = driven(ready(()), pending::<u8>());
        assert_eq!(idle.now_or_never(), Some(None));
        let told = driven(ready(()), ready(7));
        assert_eq!(told.now_or_never(), Some(Some(7)));
        let done = driven(pending(), ready(7));
        assert_eq!(done.now_or_never(), Some(Some(7)));
        assert_eq!(driven(pending(), pending::<u8>()).now_or_never(), None);
    }
}
