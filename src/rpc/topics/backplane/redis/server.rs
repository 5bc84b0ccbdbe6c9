use std::sync::Arc;

use redis::{FromRedisValue, cmd};

use super::address::{Address, Login};
use super::commands::{self, Question};
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
        let (mut connection, mut driver) = opened.map_err(unreachable)?;
        let told = driven(&mut driver, self.greet(&connection)).await;
        let (id, run) = told.unwrap_or_else(|| Err(lost())).map_err(unreachable)?;
        connection.run = run;
        Ok(Opened {
            connection,
            driver,
            id,
        })
    }

    /// Logs in, and answers what Redis calls the connection, if it may be known, and its own run.
    async fn greet(
        &self,
        connection: &Connection,
    ) -> Result<(Option<i64>, String), BackplaneError> {
        let mut greeting: Vec<Question> = Vec::new();
        if let Some(Login { user, password }) = &self.login {
            let login = &mut cmd("AUTH");
            login.arg(user.as_deref()).arg(password);
            greeting.push(login.take().into());
        }
        if self.database > 0 {
            greeting.push(cmd("SELECT").arg(self.database).take().into());
        }
        greeting.push(cmd("CLIENT").arg("ID").take().into());
        greeting.push(cmd("INFO").arg("server").take().into());
        let mut answers = connection.ask_all(greeting).await?.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(lost()));
        if let Some(Login { password, .. }) = &self.login {
            next().map_err(|error| refusal::of_login(error, password))?;
        }
        if self.database > 0 {
            next().map_err(|error| match error {
                BackplaneError::Refused(words) => BackplaneError::DatabaseRefused {
                    database: self.database,
                    words,
                },
                other => other,
            })?;
        }
        let id = match next() {
            Ok(id) => i64::from_redis_value(id).ok(),
            Err(BackplaneError::Forbidden(_)) => None,
            Err(error) => return Err(error),
        };
        Ok((id, commands::run(next()?)?))
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
