//! Links of a process that has as many files open as it may: they wait, say why, and come up when there
//! are files again.
#![cfg(all(
    target_os = "linux",
    feature = "async-std",
    feature = "smol",
    feature = "tls",
    feature = "tokio",
    feature = "websocket"
))]

use std::env;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sessionwire::rpc::{Link, LinkConfig, LinkState};
use sessionwire::transport::{Identity, TlsServer, TransportConfig};
use sessionwire::{Channel, ChannelError, Config, Listener, Router};

/// Fewer than that are enough for one that works.
const MOST_FILES: usize = 64;
/// `EMFILE`.
const TOO_MANY_OPEN_FILES: i32 = 24;
/// Where the links go, and what runs them.
const ENDPOINTS: &str = "SESSIONWIRE_TEST_ENDPOINTS";
const RUNTIME: &str = "SESSIONWIRE_TEST_RUNTIME";

#[test]
fn links_out_of_files_wait_and_say_so_and_come_up_when_there_are_some() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let name = format!("few-files-{}", std::process::id());
    let (certificate, socket) = (folder.join(format!("{name}.pem")), folder.join(name));
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    fs::write(&certificate, made.cert.pem()).expect("to write the certificate");
    let key = made.signing_key.serialize_pem();
    let identity = Identity::from_pem(made.cert.pem().as_bytes(), key.as_bytes());
    let server = TlsServer::builder(identity.expect("an identity")).build();
    let transport = TransportConfig::default().tls_server(server.expect("a server"));

    let unix = format!("unix://{}", socket.display());
    let wanted = [
        "tcp://127.0.0.1:0",
        "tcp://localhost:0",
        "ws://127.0.0.1:0/wire",
        "tls://127.0.0.1:0",
        &unix,
    ];
    let listening = async {
        let mut listener = Listener::new(Config::default(), transport);
        for endpoint in wanted {
            listener = listener.and(endpoint).await.expect("to listen");
        }
        listener
    };
    let mut listener = async_std::task::block_on(listening);
    let endpoints: Vec<String> = listener
        .endpoints()
        .iter()
        .map(ToString::to_string)
        .collect();
    async_std::task::spawn(async move {
        let router = Router::new().on("double/1", double);
        listener.serve(&router).await
    });

    let script =
        format!("ulimit -n {MOST_FILES}; exec \"$0\" --exact few_files --ignored --nocapture");
    for runtime in ["async-std", "smol", "tokio"] {
        let child = Command::new("sh")
            .args(["-c", &script])
            .arg(env::current_exe().expect("this program"))
            .env(ENDPOINTS, endpoints.join(" "))
            .env(RUNTIME, runtime)
            .env("SSL_CERT_FILE", &certificate)
            .status();
        assert!(child.expect("a shell").success(), "on {runtime}");
    }
    fs::remove_file(certificate).ok();
}

async fn double(mut channel: Channel<u64, u64>) -> Result<(), ChannelError> {
    while let Some(number) = channel.recv().await? {
        channel.send(&(number * 2)).await?;
    }
    channel.finish();
    Ok(())
}

#[test]
#[ignore = "a process of its own, which the test above starts with few files"]
fn few_files() {
    let endpoints = env::var(ENDPOINTS).expect("endpoints");
    match env::var(RUNTIME).as_deref() {
        Ok("async-std") => async_std::task::block_on(links(&endpoints)),
        Ok("smol") => smol::block_on(links(&endpoints)),
        _ => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(links(&endpoints));
        }
    }
}

async fn links(endpoints: &str) {
    const FAILURES: u32 = 10;
    let pause = Duration::from_millis(20);
    let config = LinkConfig::default().backoff_base(pause).backoff_cap(pause);
    let first = endpoints.split(' ').next().expect("an endpoint");
    // What the runtime needs files for, it has then.
    let before = Link::to(first, config.clone()).expect("an endpoint");
    assert_eq!(ask(&before).await, Some(42));

    let files = all_files();
    let begun = Instant::now();
    let links: Vec<_> = endpoints
        .split(' ')
        .map(|endpoint| Link::to(endpoint, config.clone()).expect("an endpoint"))
        .collect();
    for link in &links {
        let mut watch = link.watch();
        loop {
            match watch.changed().await {
                LinkState::Connecting { .. } => {}
                LinkState::Waiting { attempt, why, .. } => {
                    let why = why.expect("a reason").to_string();
                    assert!(why.contains("as many files open as it may"), "{why}");
                    assert!(why.contains("(ulimit -n)"), "{why}");

                    if attempt > FAILURES {
                        break;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    // A tenth of the pauses' mean: ten that are drawn evenly are less once in a thousand million times.
    assert!(begun.elapsed() > pause * FAILURES / 20, "they spin");
    assert_eq!(
        ask(&before).await,
        Some(42),
        "who has a connection keeps it"
    );
    drop(files);
    for link in &links {
        assert_eq!(ask(link).await, Some(42));
    }
}

/// Opens files until there are no more to be had.
fn all_files() -> Vec<File> {
    let mut files = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(TOO_MANY_OPEN_FILES), "{error}");
                return files;
            }
        }
    }
}

async fn ask(link: &Link) -> Option<u64> {
    let connection = link.connection().await.expect("a connection");
    let mut channel: Channel<u64, u64> = connection.open("double/1").await.expect("a channel");
    channel.send(&21).await.expect("to be read");
    channel.recv().await.expect("an answer")
}
