use std::sync::Arc;

use redis::{FromRedisValue, Pipeline};

use super::address::{Address, Login};
use super::config::RedisConfig;
use super::connection::{Connection, Opened, driven, lost};
use super::refusal;
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::runtime::SharedRuntime;
use crate::transport::{self, Endpoint, TransportError};

/// A Redis server, and how it is spoken to.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) endpoint: Endpoint,
    pub(super) config: RedisConfig,
    pub(super) runtime: SharedRuntime,
    login: Option<Login>,
    database: u32,
}

impl Server {
    /// What the address says goes before what is configured.
    pub(super) fn new(address: Address, config: RedisConfig, runtime: SharedRuntime) -> Self {
        Self {
            endpoint: address.endpoint,
            login: address.login.or_else(|| config.login.clone()),
            database: address.database.unwrap_or(config.database),
            config,
            runtime,
        }
    }

    /// A connection that is logged in, to the database that was asked for.
    pub(super) async fn connect(&self) -> Result<Opened, BackplaneError> {
        let established = transport::connect(&self.endpoint, &self.config.transport).await?;
        let runtime = Arc::clone(&self.runtime);
        let time = self.config.answer_timeout;
        let opened = Connection::over(established.stream, time, runtime).await;
        let (connection, mut driver) = opened.map_err(unreachable)?;
        let id = driven(&mut driver, self.greet(&connection)).await;
        let id = id.unwrap_or_else(|| Err(lost())).map_err(unreachable)?;
        Ok(Opened {
            connection,
            driver,
            id,
        })
    }

    /// Logs in, and answers what Redis calls the connection, if it may be known.
    async fn greet(&self, connection: &Connection) -> Result<Option<i64>, BackplaneError> {
        let mut greeting = Pipeline::new();
        if let Some(Login { user, password }) = &self.login {
            greeting.cmd("AUTH").arg(user.as_deref()).arg(password);
        }
        if self.database > 0 {
            greeting.cmd("SELECT").arg(self.database);
        }
        greeting.cmd("CLIENT").arg("ID");
        let mut answers = connection.ask_all(&greeting).await?.into_iter();
        if let Some(Login { password, .. }) = &self.login {
            let answer = answers.next().unwrap_or_else(|| Err(lost()));
            answer.map_err(|error| refusal::of_login(error, password))?;
        }
        if self.database > 0 {
            let answer = answers.next().unwrap_or_else(|| Err(lost()));
            answer.map_err(|error| match error {
                BackplaneError::Refused(words) => BackplaneError::DatabaseRefused {
                    database: self.database,
                    words,
                },
                other => other,
            })?;
        }
        match answers.next().unwrap_or_else(|| Err(lost())) {
            Ok(id) => Ok(i64::from_redis_value(id).ok()),
            Err(BackplaneError::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What went wrong before anything else than the login was asked.
fn unreachable(error: BackplaneError) -> BackplaneError {
    let protocol = "redis";
    BackplaneError::Unreachable(match error {
        BackplaneError::Io(cause) => TransportError::HandshakeBroken { protocol, cause },
        BackplaneError::TimedOut { after } => TransportError::HandshakeTimeout { protocol, after },
        BackplaneError::Unexpected(problem) => TransportError::HandshakeInvalid {
            protocol,
            problem: problem.to_owned(),
        },
        refused => return refused,
    })
}
