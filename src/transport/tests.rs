//! Whole connections, over every transport and on every runtime.

use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, future};

use super::*;

const LENGTH: usize = 300_000;

fn pattern(seed: usize) -> Vec<u8> {
    (0..LENGTH)
        .map(|index| ((index * 31 + seed) % 253).try_into().unwrap())
        .collect()
}

#[cfg(not(feature = "tls"))]
fn config() -> TransportConfig {
    TransportConfig::default()
}

#[cfg(feature = "tls")]
fn config() -> TransportConfig {
    let made = rcgen::generate_simple_self_signed(Vec::new()).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let identity = Identity::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap();
    let client = TlsClient::builder().pin(identity.fingerprint());
    TransportConfig::default()
        .tls_client(client.build().unwrap())
        .tls_server(TlsServer::builder(identity).build().unwrap())
}

/// Both directions at once, more than any buffer holds, then a clean end.
async fn exchange(endpoint: &str) {
    let endpoint: Endpoint = endpoint.parse().unwrap();
    let config = config();
    let mut listener = Listener::bind(&endpoint, &config).await.unwrap();
    let endpoint = listener.endpoint().clone();
    let accept = async { listener.accept().await.unwrap().handshake().await.unwrap() };
    let (client, server) = future::join(connect(&endpoint, &config), accept).await;
    let client = client.unwrap();
    assert_eq!(client.info.peer, Some(endpoint.clone()));
    assert_eq!(server.info.local, Some(endpoint.clone()));
    assert_eq!(client.info.local, server.info.peer);
    assert_eq!(server.info.peer.is_some(), endpoint.port().is_some());
    future::join(half(client.stream, 1, 2), half(server.stream, 2, 1)).await;
}

async fn half(stream: BoxedStream, sends: usize, expects: usize) {
    let (mut reader, mut writer) = stream.split();
    let write = async {
        let sent = pattern(sends);
        let (first, rest) = sent.split_at(10_000);
        let written = writer
            .write_vectored(&[std::io::IoSlice::new(first)])
            .await
            .unwrap();
        writer.write_all(&first[written..]).await.unwrap();
        for chunk in rest.chunks(70_001) {
            writer.write_all(chunk).await.unwrap();
        }
        writer.flush().await.unwrap();
    };
    let read = async {
        let mut heard = vec![0; LENGTH];
        reader.read_exact(&mut heard).await.unwrap();
        assert!(heard == pattern(expects), "the bytes differ");
    };
    future::join(write, read).await;
    writer.close().await.unwrap();
    assert_eq!(reader.read(&mut [0]).await.unwrap(), 0, "a clean end");
}

#[test]
fn on_an_executor_without_sockets() {
    futures::executor::block_on(exchange("memory://tests-bare"));
}

#[cfg(any(feature = "async-std", feature = "smol", feature = "tokio"))]
async fn exchange_everywhere(runtime: &str) {
    exchange(&format!("memory://tests-{runtime}")).await;
    exchange("tcp://127.0.0.1:0").await;
    exchange("tcp://localhost:0").await;
    #[cfg(feature = "websocket")]
    exchange("ws://127.0.0.1:0/wire?token=1").await;
    #[cfg(feature = "tls")]
    exchange("tls://127.0.0.1:0").await;
    #[cfg(all(feature = "tls", feature = "websocket"))]
    exchange("wss://localhost:0/wire?token=1").await;
    #[cfg(unix)]
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(format!("{runtime}.sock"));
        exchange(&format!("unix://{}", file.display())).await;
    }
}

#[cfg(feature = "async-std")]
#[test]
fn on_async_std() {
    async_std::task::block_on(exchange_everywhere("async-std"));
}

#[cfg(feature = "smol")]
#[test]
fn on_smol() {
    smol::block_on(exchange_everywhere("smol"));
}

#[cfg(feature = "tokio")]
#[test]
fn on_tokio() {
    let multi = ::tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    multi.block_on(async { ::tokio::spawn(exchange_everywhere("tokio")).await.unwrap() });
    let single = ::tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    single.block_on(exchange_everywhere("tokio-single"));
}

#[cfg(all(feature = "tokio", not(feature = "async-std"), not(feature = "smol")))]
#[test]
fn outside_of_the_only_runtime_the_error_says_so() {
    let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
    let bound = Listener::bind(&endpoint, &TransportConfig::default())
        .now_or_never()
        .unwrap();
    assert!(
        bound
            .unwrap_err()
            .to_string()
            .contains("not inside of tokio")
    );
}

#[cfg(not(any(feature = "async-std", feature = "smol", feature = "tokio")))]
#[test]
fn without_sockets_the_error_names_the_features() {
    let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
    let bound = Listener::bind(&endpoint, &TransportConfig::default())
        .now_or_never()
        .unwrap();
    assert!(
        bound
            .unwrap_err()
            .to_string()
            .contains("`async-std`, `smol` or `tokio`")
    );
    assert!(
        connect(&endpoint, &TransportConfig::default())
            .now_or_never()
            .unwrap()
            .is_err()
    );
}

/// Programs hold them on their stacks, often several at once.
#[test]
fn the_futures_are_small() {
    let endpoint: Endpoint = "memory://tests-small".parse().unwrap();
    let config = TransportConfig::default();
    let dialling = size_of_val(&connect(&endpoint, &config));
    let mut listener = Listener::bind(&endpoint, &config)
        .now_or_never()
        .unwrap()
        .unwrap();
    let _client = connect(&endpoint, &config).now_or_never().unwrap();
    let incoming = listener.accept().now_or_never().unwrap().unwrap();
    let accepting = size_of_val(&incoming.handshake());
    assert!(dialling < 8 * 1024, "{dialling} bytes");
    assert!(accepting < 8 * 1024, "{accepting} bytes");
}

#[test]
fn nobody_listening_is_told_at_once() {
    let endpoint = "memory://tests-nobody".parse().unwrap();
    let error = connect(&endpoint, &TransportConfig::default())
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert!(
        error.to_string().contains("memory://tests-nobody"),
        "{error}"
    );
}

#[test]
fn futures_and_streams_can_be_sent_to_other_threads() {
    fn sendable<T: Send>(_: &T) {}
    let endpoint: Endpoint = "memory://tests-send".parse().unwrap();
    let config = TransportConfig::default();
    sendable(&connect(&endpoint, &config));
    sendable(&Listener::bind(&endpoint, &config));
    let mut listener = Listener::bind(&endpoint, &config)
        .now_or_never()
        .unwrap()
        .unwrap();
    let _client = connect(&endpoint, &config).now_or_never().unwrap().unwrap();
    sendable(&listener.accept());
    let incoming = listener.accept().now_or_never().unwrap().unwrap();
    sendable(&incoming.handshake());
}

#[cfg(feature = "async-std")]
mod with_sockets {
    use async_std::task::block_on;

    use super::*;

    #[test]
    fn a_refused_connection_is_no_timeout() {
        block_on(async {
            let config = TransportConfig::default();
            let listener = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), &config).await;
            let endpoint = listener.unwrap().endpoint().clone();
            let error = connect(&endpoint, &config).await.unwrap_err();
            assert!(matches!(error, TransportError::Connect { .. }), "{error}");
        });
    }

    #[test]
    fn a_port_in_use_is_refused() {
        block_on(async {
            let config = TransportConfig::default();
            let first = Listener::bind(&"tcp://127.0.0.1:0".parse().unwrap(), &config).await;
            let first = first.unwrap();
            let error = Listener::bind(first.endpoint(), &config).await.unwrap_err();
            assert!(matches!(error, TransportError::Bind { .. }), "{error}");
        });
    }

    #[test]
    fn an_accept_that_was_given_up_loses_no_connection() {
        block_on(async {
            let config = TransportConfig::default();
            let endpoint = "tcp://127.0.0.1:0".parse().unwrap();
            let mut listener = Listener::bind(&endpoint, &config).await.unwrap();
            assert!(listener.accept().now_or_never().is_none());
            let endpoint = listener.endpoint().clone();
            let client = connect(&endpoint, &config).await.unwrap();
            let server = listener.accept().await.unwrap().handshake().await.unwrap();
            assert_eq!(client.info.local, server.info.peer);
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_replaces_the_dead_spares_the_living_and_cleans_up() {
        block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("stale.sock");
            let endpoint: Endpoint = format!("unix://{}", file.display()).parse().unwrap();
            let config = TransportConfig::default();
            // The standard library leaves the file behind.
            drop(std::os::unix::net::UnixListener::bind(&file).unwrap());
            let living = Listener::bind(&endpoint, &config).await.unwrap();
            let error = Listener::bind(&endpoint, &config).await.unwrap_err();
            assert!(matches!(error, TransportError::InUse { .. }), "{error}");
            assert!(
                connect(&endpoint, &config).await.is_ok(),
                "the living one is unharmed"
            );
            drop(living);
            assert!(!file.exists());
            std::fs::write(&file, "precious").unwrap();
            let error = Listener::bind(&endpoint, &config).await.unwrap_err();
            assert!(matches!(error, TransportError::Bind { .. }), "{error}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        });
    }

    #[cfg(feature = "websocket")]
    #[test]
    fn another_path_is_answered_404() {
        block_on(async {
            let config = TransportConfig::default();
            let endpoint = "ws://127.0.0.1:0/right".parse().unwrap();
            let mut listener = Listener::bind(&endpoint, &config).await.unwrap();
            let wrong = listener
                .endpoint()
                .to_string()
                .replace("right", "wrong")
                .parse()
                .unwrap();
            let accept = async { listener.accept().await.unwrap().handshake().await };
            let (client, server) = future::join(connect(&wrong, &config), accept).await;
            let (client, server) = (client.unwrap_err(), server.unwrap_err());
            assert!(
                matches!(&client, TransportError::Refused { status: 404, text } if text == "nothing is here"),
                "{client}"
            );
            assert!(
                matches!(&server, TransportError::WrongPath { path, requested }
                    if path == "/right" && requested == "/wrong"),
                "{server}"
            );
        });
    }

    #[cfg(feature = "websocket")]
    #[test]
    fn a_silent_client_holds_up_only_itself() {
        block_on(async {
            let config =
                TransportConfig::default().handshake_timeout(std::time::Duration::from_millis(50));
            let endpoint = "ws://127.0.0.1:0/".parse().unwrap();
            let mut listener = Listener::bind(&endpoint, &config).await.unwrap();
            let endpoint = listener.endpoint().clone();
            let address = endpoint.address().unwrap();
            let _silent = std::net::TcpStream::connect(address).unwrap();
            let silent = listener.accept().await.unwrap();
            let accept = async { listener.accept().await.unwrap().handshake().await };
            let patient = TransportConfig::default();
            let (quick, client, silent) =
                future::join3(accept, connect(&endpoint, &patient), silent.handshake()).await;
            assert!(quick.is_ok() && client.is_ok());
            let error = silent.unwrap_err();
            assert!(
                matches!(error, TransportError::HandshakeTimeout { .. }),
                "{error}"
            );
        });
    }
}

#[cfg(all(feature = "tls", feature = "websocket"))]
#[test]
fn what_is_known_of_a_connection_can_be_logged_without_its_secrets() {
    let headers = [("authorization", "Bearer secret"), ("cookie", "secret=1")];
    let headers = headers.map(|(name, value)| {
        let name: http::HeaderName = name.parse().unwrap();
        (name, value.parse().unwrap())
    });
    let info = ConnectionInfo {
        peer: Some("wss://example.org/wire?token=secret".parse().unwrap()),
        tls: Some(TlsInfo {
            peer_certificates: vec![vec![7; 1000]],
            alpn: Some(b"http/1.1".to_vec()),
            server_name: None,
        }),
        websocket: Some(WsInfo {
            path: "/wire".to_owned(),
            query: Some("token=secret".to_owned()),
            headers: headers.into_iter().collect(),
            subprotocol: None,
        }),
        ..ConnectionInfo::default()
    };
    let text = format!("{info:?}");
    for shown in [
        "wss://example.org/wire",
        "authorization",
        "[1000]",
        "http/1.1",
    ] {
        assert!(text.contains(shown), "{shown}: {text}");
    }
    assert!(!text.contains("secret") && text.len() < 400, "{text}");
}
