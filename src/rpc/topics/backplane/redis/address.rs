//! Where a Redis server is, and as whom to speak to it, from one text.

use std::fmt;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

use crate::rpc::topics::backplane::error::BackplaneError;
use crate::transport::{Endpoint, TransportError};

/// What the text says.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) endpoint: Endpoint,
    pub(super) login: Option<Login>,
    pub(super) database: Option<u32>,
}

/// A user, if one is named, and the password, which is never shown.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: Option<String>,
    pub(super) password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Login(..)")
    }
}

impl Address {
    /// From a URL such as `redis://`, or from an endpoint. No error repeats the text, which may have a
    /// password in it.
    pub(super) fn parse(text: &str) -> Result<Self, BackplaneError> {
        match redis::parse_redis_url(text) {
            Some(url) if url.scheme() != "unix" => {
                let scheme = url.scheme();
                let is_secure = matches!(scheme, "rediss" | "valkeys");
                let is_file = scheme.ends_with("+unix");
                if url.fragment().is_some() {
                    return Err(invalid(
                        "it has a fragment: whom to trust over TLS is set on `RedisConfig::transport`",
                    ));
                }
                if !is_file && url.query().is_some() {
                    return Err(invalid("it has a query"));
                }
                let mut url = url;
                // Without TLS of its own, the crate refuses these.
                if is_secure && url.set_scheme("redis").is_err() {
                    return Err(invalid("its scheme is not known"));
                }
                let info = url.into_connection_info();
                Self::told(
                    &info.map_err(|_| invalid("it is not understood"))?,
                    is_secure,
                )
            }
            _ => Self::endpoint(text),
        }
    }

    fn told(info: &ConnectionInfo, is_secure: bool) -> Result<Self, BackplaneError> {
        let endpoint = match info.addr() {
            ConnectionAddr::Tcp(host, port) => {
                let scheme = if is_secure { "tls" } else { "tcp" };
                let is_v6 = host.contains(':');
                let (open, close) = if is_v6 { ("[", "]") } else { ("", "") };
                format!("{scheme}://{open}{host}{close}:{port}")
            }
            ConnectionAddr::Unix(path) => match path.to_str() {
                Some(path) => format!("unix://{path}"),
                None => return Err(invalid("its path is no text")),
            },
            _ => return Err(invalid("it is of an unknown kind")),
        };
        let endpoint = endpoint.parse().map_err(|error| problem(&error))?;
        let settings = info.redis_settings();
        let user = settings.username().map(str::to_owned);
        let login = match (user, settings.password()) {
            (user, Some(password)) => Some(Login {
                user,
                password: password.to_owned(),
            }),
            (Some(_), None) => return Err(invalid("it has a user and no password")),
            (None, None) => None,
        };
        let database = u32::try_from(settings.db());
        let database = database.map_err(|_| invalid("its database is no number"))?;
        Ok(Self {
            endpoint,
            login,
            database: (database > 0).then_some(database),
        })
    }

    fn endpoint(text: &str) -> Result<Self, BackplaneError> {
        let is_local = text.starts_with("unix:") || text.starts_with("memory:");
        // A path may have `@` in it, and what comes behind a `?` may be a password.
        let secret = if is_local { '?' } else { '@' };
        if text.contains(secret) {
            return Err(invalid("a login goes into a URL of Redis"));
        }
        let endpoint: Endpoint = text.parse().map_err(|error| problem(&error))?;
        Ok(Self {
            endpoint,
            login: None,
            database: None,
        })
    }
}

fn invalid(problem: &'static str) -> BackplaneError {
    BackplaneError::InvalidAddress { problem }
}

fn problem(error: &TransportError) -> BackplaneError {
    match error {
        TransportError::InvalidEndpoint { problem, .. } => invalid(problem),
        _ => invalid("it is no endpoint"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The endpoint, the user, the password and the database.
    fn parse(text: &str) -> String {
        let address = Address::parse(text).unwrap();
        let mut parts = vec![address.endpoint.to_string()];
        if let Some(Login { user, password }) = address.login {
            parts.extend([user.unwrap_or_else(|| "nobody".to_owned()), password]);
        }
        parts.extend(address.database.map(|number| number.to_string()));
        parts.join(" ")
    }

    #[test]
    fn the_urls_of_redis_are_understood() {
        let all = [
            ("redis://example.org", "tcp://example.org:6379"),
            (
                "redis://me:p%40ss%2Fword@example.org:7000/3",
                "tcp://example.org:7000 me p@ss/word 3",
            ),
            ("rediss://:secret@[::1]/0", "tls://[::1]:6379 nobody secret"),
            ("valkeys://h:1", "tls://h:1"),
            ("valkey://h:1/2", "tcp://h:1 2"),
            (
                "redis+unix:///run/redis.sock?db=4&user=me&pass=secret",
                "unix:///run/redis.sock me secret 4",
            ),
        ];
        for (text, parts) in all {
            assert_eq!(parse(text), parts);
        }
    }

    #[test]
    fn endpoints_are_understood() {
        let all = [
            "tcp://h:1",
            "tls://h:1",
            "unix:///run/x@y.sock",
            "memory://m",
        ];
        for text in all {
            assert_eq!(parse(text), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_not_repeated() {
        let all = [
            "secret",
            "redis://:secret",
            "redis://secret:x@",
            "redis://user:12/secret@host",
            "redis://user:12#secret@host",
            "redis://user:12?secret@host",
            "redis://user:se/cret@host",
            "redis://secret@host",
            "redis://:secret@host/-1",
            "redis://:secret@host/99999999999",
            "redis://:secret@0.0.0.0",
            "rediss://:secret@host#insecure",
            "tcp://user:secret@host:1",
            "http://user:secret@host",
            "redis-sentinel://:secret@host",
            "redis+unix://?pass=secret",
            "unix:///run/redis.sock?db=1&pass=secret",
            "unix:/run/redis.sock?pass=secret",
        ];
        for text in all {
            let error = Address::parse(text).expect_err(text);
            let invalid = matches!(error, BackplaneError::InvalidAddress { .. });
            assert!(invalid && error.is_fatal(), "{text}: {error}");
            let told = format!("{error} {error:?}");
            assert!(
                !told.contains("secret") && !told.contains("cret@"),
                "{told}"
            );
        }
    }

    #[test]
    fn an_address_does_not_show_its_password() {
        let address = Address::parse("redis://me:secret@host").unwrap();
        assert!(!format!("{address:?}").contains("secret"));
    }
}
