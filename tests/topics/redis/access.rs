//! Who is let in, where to, and how the others are told.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use sessionwire::rpc::{Backplane, BackplaneError, RedisBackplane, RedisConfig};
use sessionwire::transport::{TlsClient, TransportConfig, TransportError};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::{process_over, publish, subscribing};
use crate::stage::{client, read_to};
use crate::support::redis::{Redis, free_port};
use crate::support::watched;

const PASSWORD: &str = "correct-horse";
/// Whatever is logged by this process.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn listen() -> Self {
        let log = Self::default();
        tracing::subscriber::set_global_default(log.clone()).expect("to be the only one");
        log
    }

    fn text(&self) -> String {
        self.0.lock().expect("a log").clone()
    }
}

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = self.0.lock().expect("a log");
        writeln!(text, "{field}: {value:?}").expect("a string");
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What the documentation of `RedisConfig::login` says.
const RIGHTS: [&str; 15] = [
    "~sessionwire:*",
    "+eval",
    "+exists",
    "+time",
    "+hmget",
    "+hset",
    "+del",
    "+xinfo|stream",
    "+xadd",
    "+xdel",
    "+xrevrange",
    "+xread",
    "+client|id",
    "+client|unblock",
    "+info",
];

async fn publish_one(backplane: &RedisBackplane) -> Result<u64, BackplaneError> {
    let (topic, item) = (Bytes::from_static(b"topic"), Bytes::from_static(b"item"));
    Ok(backplane.publish(topic, item).await?.sequence())
}

/// The error says nothing that is secret, and that trying again does not help.
fn assert_refused(refused: Result<RedisBackplane, BackplaneError>, code: &str) {
    let error = refused.expect_err("to be refused");
    let told = format!("{error} {error:?}");
    assert!(matches!(error, BackplaneError::LoginRefused(_)), "{told}");
    assert!(error.is_fatal() && told.contains(code), "{told}");
    assert!(
        !told.contains(PASSWORD) && !told.contains("wrong-horse"),
        "{told}"
    );
}

#[tokio::test]
async fn a_password_lets_in_and_a_wrong_one_is_told_at_once() {
    let Some(redis) = Redis::start_with(&["--requirepass", PASSWORD]) else {
        return;
    };
    watched(async {
        let config = RedisConfig::default;
        let right = redis.url(&format!("pass={PASSWORD}"));
        let backplane = redis.connect(&right, config()).await.expect("to be let in");
        assert_eq!(publish_one(&backplane).await.expect("to publish"), 1);
        assert!(!format!("{backplane:?}").contains(PASSWORD));
        let login = config().login("default", PASSWORD);
        assert!(!format!("{login:?}").contains(PASSWORD));
        let backplane = redis.connect(&redis.endpoint(), login).await;
        let backplane = backplane.expect("to be let in");
        assert_eq!(publish_one(&backplane).await.expect("to publish"), 2);

        let wrong = redis.url("pass=wrong-horse");
        assert_refused(redis.connect(&wrong, config()).await, "WRONGPASS");
        // The address goes before what is configured.
        let login = config().login("default", PASSWORD);
        assert_refused(redis.connect(&wrong, login).await, "WRONGPASS");
        assert_refused(redis.connect(&redis.endpoint(), config()).await, "NOAUTH");
    })
    .await;
}

#[tokio::test]
async fn a_password_that_was_changed_is_told_to_who_publishes_and_logged() {
    let Some(mut redis) = Redis::start_with(&["--requirepass", PASSWORD]) else {
        return;
    };
    let log = Log::listen();
    watched(async {
        let config = RedisConfig::default().login("default", PASSWORD);
        let backplane = redis.connect(&redis.endpoint(), config).await;
        let backplane = backplane.expect("to be let in");
        let topics = super::Topics::new(backplane.clone());
        let _feed = topics.open(&1).await.expect("to open");
        redis.restart_with(&["--requirepass", "another"]);
        let error = loop {
            match publish_one(&backplane).await.expect_err("to be refused") {
                BackplaneError::Unreachable(_) | BackplaneError::Io(_) => {
                    tokio::task::yield_now().await;
                }
                error => break error,
            }
        };
        assert!(matches!(error, BackplaneError::LoginRefused(_)), "{error}");
        assert!(!error.may_have_been_published(), "{error}");
        // The one that reads for those who follow says it too.
        while !log.text().contains("refused the login") {
            tokio::task::yield_now().await;
        }
        assert!(!log.text().contains(PASSWORD), "{}", log.text());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_do_what_is_documented_can_do_everything() {
    let password = format!(">{PASSWORD}");
    let user = ["--user", "market", "on", &password];
    let Some(redis) = Redis::start_with(&[&user[..], &RIGHTS].concat()) else {
        return;
    };
    watched(async {
        let url = redis.url(&format!("user=market&pass={PASSWORD}"));
        let backplane = redis.connect(&url, RedisConfig::default()).await;
        let (endpoint, topics) = process_over(backplane.expect("to be let in")).await;
        publish(&topics, 1..=20).await;
        topics
            .open(&2)
            .await
            .expect("the reader to be woken for a second topic");
        let mut subscription = subscribing(&client(&endpoint)).await;
        publish(&topics, 21..=40).await;
        read_to(&mut subscription, &mut 21, 40).await;

        let config = RedisConfig::default().prefix("others:");
        let backplane = redis.connect(&url, config).await.expect("to be let in");
        let error = publish_one(&backplane).await.expect_err("to be forbidden");
        assert!(matches!(error, BackplaneError::Forbidden(_)), "{error}");
        assert!(error.is_fatal() && !error.may_have_been_published());
    })
    .await;
}

/// It would be taken for one that never starts again.
#[tokio::test]
async fn a_user_that_may_not_know_the_run_of_the_server_is_not_let_in() {
    let password = format!(">{PASSWORD}");
    let user = ["--user", "market", "on", &password];
    let Some(redis) = Redis::start_with(&[&user[..], &RIGHTS, &["-info"]].concat()) else {
        return;
    };
    watched(async {
        let url = redis.url(&format!("user=market&pass={PASSWORD}"));
        let error = redis.connect(&url, RedisConfig::default()).await;
        let error = error.expect_err("to be forbidden");
        assert!(matches!(error, BackplaneError::Forbidden(_)), "{error}");
        assert!(
            error.is_fatal() && error.to_string().contains("info"),
            "{error}"
        );
    })
    .await;
}

#[tokio::test]
async fn databases_know_nothing_of_each_other() {
    let Some(redis) = Redis::start() else { return };
    watched(async {
        let config = RedisConfig::default;
        let third = redis.connect(&redis.url("db=3"), config()).await;
        let third = third.expect("a database");
        assert_eq!(publish_one(&third).await.expect("to publish"), 1);
        let zeroth = redis.backplane().await;
        assert_eq!(publish_one(&zeroth).await.expect("to publish"), 1);
        let again = redis.connect(&redis.endpoint(), config().database(3)).await;
        let again = again.expect("a database");
        assert_eq!(publish_one(&again).await.expect("to publish"), 2);
        let error = redis.connect(&redis.url("db=99"), config()).await;
        let error = error.expect_err("there are 16");
        let is_told = matches!(error, BackplaneError::DatabaseRefused { database: 99, .. });
        assert!(is_told && error.is_fatal(), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_server_of_tls_is_spoken_to_if_it_is_trusted() {
    let port = free_port().to_string();
    let folder = tempfile::tempdir().expect("a folder");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]);
    let made = made.expect("a certificate");
    let (certificate, key) = (
        folder.path().join("certificate.pem"),
        folder.path().join("key.pem"),
    );
    std::fs::write(&certificate, made.cert.pem()).expect("to write");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("to write");
    let (file, key) = (
        certificate.to_str().expect("a path"),
        key.to_str().expect("a path"),
    );
    let settings = [
        ["--tls-port", &port],
        ["--tls-cert-file", file],
        ["--tls-key-file", key],
        ["--tls-ca-cert-file", file],
        ["--tls-auth-clients", "no"],
        ["--requirepass", PASSWORD],
    ];
    let Some(redis) = Redis::start_with(settings.as_flattened()) else {
        return;
    };
    watched(async {
        let url = format!("rediss://:{PASSWORD}@localhost:{port}");
        let trusting = TlsClient::builder().ca_file(&certificate);
        let trusting = trusting.expect("a certificate").build().expect("settings");
        let transport = TransportConfig::default().tls_client(trusting);
        let config = RedisConfig::default().transport(transport);
        let backplane = redis.connect(&url, config).await.expect("to be let in");
        assert_eq!(publish_one(&backplane).await.expect("to publish"), 1);

        let error = redis.connect(&url, RedisConfig::default()).await;
        let error = error.expect_err("nobody has signed it");
        let is_told = matches!(
            error,
            BackplaneError::Unreachable(TransportError::Certificate { .. })
        );
        assert!(is_told && error.is_fatal(), "{error}");
        assert!(!format!("{error} {error:?}").contains(PASSWORD));
    })
    .await;
}

#[tokio::test]
async fn a_server_of_a_cluster_says_that_it_is_one() {
    let (port, bus) = (free_port().to_string(), free_port().to_string());
    let settings = [
        ["--port", &port],
        ["--cluster-enabled", "yes"],
        ["--cluster-port", &bus],
    ];
    let Some(redis) = Redis::start_with(settings.as_flattened()) else {
        return;
    };
    watched(async {
        let backplane = redis.backplane().await;
        let error = publish_one(&backplane).await.expect_err("to be refused");
        assert!(matches!(error, BackplaneError::Clustered(_)), "{error}");
        assert!(!error.may_have_been_published() && error.is_fatal());
    })
    .await;
}

#[tokio::test]
async fn a_copy_says_that_it_can_only_be_read() {
    let Some(redis) = Redis::start_with(&["--replicaof", "127.0.0.1", "1"]) else {
        return;
    };
    watched(async {
        let backplane = redis.backplane().await;
        for _ in 0..2 {
            let error = publish_one(&backplane).await.expect_err("to be refused");
            assert!(matches!(error, BackplaneError::ReadOnly(_)), "{error}");
            assert!(!error.may_have_been_published() && !error.is_fatal());
        }
    })
    .await;
}

/// Neither its timers nor its sockets are needed.
#[test]
fn a_runtime_of_tokio_need_not_be_there() {
    let Some(redis) = Redis::start() else { return };
    let publish = async {
        let backplane = redis.backplane().await;
        let first = publish_one(&backplane).await.expect("to publish");
        let topics = super::Topics::new(backplane);
        topics.open(&1).await.expect("to open");
        first
    };
    assert_eq!(async_std::task::block_on(watched(publish)), 1);
    let publish = async { publish_one(&redis.backplane().await).await };
    assert_eq!(smol::block_on(watched(publish)).expect("to publish"), 2);
    let publish = async { publish_one(&redis.backplane().await).await };
    assert_eq!(
        futures::executor::block_on(watched(publish)).expect("to publish"),
        3
    );
}
