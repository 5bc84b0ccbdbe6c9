//! Who gets a WebSocket, and what is known of them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use futures::StreamExt;

use super::*;

#[test]
fn the_example_of_the_rfc_is_answered_in_these_bytes() {
    let (info, heard) = welcome(&TransportConfig::default(), &request(""));
    assert_eq!(
        heard,
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-accept: {ACCEPT}\r\n\r\n"
        )
    );
    let websocket = info.websocket.unwrap();
    assert_eq!((websocket.path.as_str(), websocket.query), ("/chat", None));
    assert_eq!(websocket.headers["host"], "server.example.com");
    assert_eq!(websocket.subprotocol, None);
}

#[test]
fn compression_is_declined_by_silence() {
    let offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
    let (_info, heard) = welcome(&TransportConfig::default(), &request(offer));
    assert!(!heard.to_lowercase().contains("extensions"), "{heard}");
}

#[test]
fn what_browsers_and_proxies_write_is_understood() {
    let config = TransportConfig::default();
    let table = [
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        (
            "Connection: Upgrade",
            "Connection: keep-alive\r\nConnection: upgrade",
        ),
        ("Connection: Upgrade", "cOnNeCtIoN:upgrade"),
        ("Upgrade: websocket", "Upgrade: WebSocket"),
        ("/chat", "http://server.example.com/chat"),
        ("/chat", "/chat?token=1"),
        (
            "Host: server.example.com",
            "Host: server.example.com\r\nContent-Length: 0",
        ),
    ];
    for (from, to) in table {
        welcome(&config, &request("").replacen(from, to, 1));
    }
}

#[test]
fn the_servers_wish_decides_between_subprotocols() {
    let server = WsServer::default().subprotocol("v2").subprotocol("v1");
    let config = TransportConfig::default().ws_server(server);
    let table = [
        ("", None),
        ("Sec-WebSocket-Protocol: other\r\n", None),
        ("Sec-WebSocket-Protocol: v1\r\n", Some("v1")),
        ("Sec-WebSocket-Protocol: v1,v2\r\n", Some("v2")),
        (
            "Sec-WebSocket-Protocol: v1\r\nSec-WebSocket-Protocol: v2\r\n",
            Some("v2"),
        ),
    ];
    for (offer, chosen) in table {
        let (info, heard) = welcome(&config, &request(offer));
        assert_eq!(info.websocket.unwrap().subprotocol.as_deref(), chosen);
        let line = chosen.map(|chosen| format!("sec-websocket-protocol: {chosen}\r\n"));
        assert_eq!(heard.contains("protocol:"), chosen.is_some(), "{heard}");
        assert!(heard.contains(&line.unwrap_or_default()), "{heard}");
    }
}

#[test]
fn what_the_check_learned_stays_with_the_connection() {
    #[derive(Clone, Debug, PartialEq)]
    struct User(String);
    let server = WsServer::default().any_path(true).check(|request, info| {
        assert_eq!(request.subprotocol, None);
        assert_eq!(info.local, Some("ws://here:1/".parse().unwrap()));
        let user = request
            .query
            .clone()
            .ok_or_else(|| WsRefusal::new(400, "who?"))?;
        info.extensions.insert(User(user));
        info.peer = Some("tcp://192.0.2.7:1".parse().unwrap());
        Ok(())
    });
    let config = TransportConfig::default().ws_server(server);
    let (here, mut raw) = pipe(ROOM);
    let deadline = deadline(&VirtualClock::new());
    let info = ConnectionInfo {
        local: Some("ws://here:1/".parse().unwrap()),
        ..ConnectionInfo::default()
    };
    let said = request("").replace("/chat", "/anywhere?ada");
    let client = async {
        raw.write_all(said.as_bytes()).await.unwrap();
        read_answer(&mut raw).await
    };
    let accepting = accept(here, "/chat", info, &config, &deadline);
    let (accepted, _heard) = block_on(future::join(accepting, client));
    let (_stream, info) = accepted.unwrap();
    assert_eq!(info.extensions.get(), Some(&User("ada".to_owned())));
    assert_eq!(info.peer.unwrap().to_string(), "tcp://192.0.2.7:1");
    assert_eq!(info.websocket.unwrap().path, "/anywhere");
}

#[test]
fn a_check_may_wait_for_something_else() {
    let (asking, mut asked) = futures::channel::mpsc::unbounded();
    let server = WsServer::default()
        .check(|request, info| {
            info.extensions.insert(request.path.len());
            Ok(())
        })
        .check_async(move |request, mut info| {
            let (answer, answered) = futures::channel::oneshot::channel::<u16>();
            asking.unbounded_send((request.path, answer)).unwrap();
            async move {
                let status = answered.await.unwrap();
                let before: Option<usize> = info.extensions.remove();
                info.extensions.insert((before, status));
                match status {
                    200 => Ok(info),
                    _ => Err(WsRefusal::new(status, "the database says no")),
                }
            }
        });
    let config = TransportConfig::default().ws_server(server);
    for status in [200, 403] {
        let (here, mut raw) = pipe(ROOM);
        let deadline = deadline(&VirtualClock::new());
        let database = async {
            let (path, answer) = asked.next().await.unwrap();
            assert_eq!(path, "/chat");
            answer.send(status).unwrap();
        };
        let client = async move {
            raw.write_all(request("").as_bytes()).await.unwrap();
            read_answer(&mut raw).await
        };
        let info = ConnectionInfo::default();
        let accepting = accept(here, "/chat", info, &config, &deadline);
        let (accepted, heard, ()) = block_on(future::join3(accepting, client, database));
        if status == 200 {
            let learned = accepted.unwrap().1;
            assert_eq!(learned.extensions.get(), Some(&(Some(5_usize), 200_u16)));
        } else {
            assert!(heard.starts_with("HTTP/1.1 403 "), "{heard}");
            assert!(accepted.is_err());
        }
    }
}

#[test]
fn a_check_that_takes_too_long_is_given_up() {
    let server = WsServer::default().check_async(|_, _| future::pending());
    let config = TransportConfig::default().ws_server(server);
    let (here, mut raw) = pipe(ROOM);
    let clock = VirtualClock::new();
    let deadline = deadline(&clock);
    block_on(raw.write_all(request("").as_bytes())).unwrap();
    let info = ConnectionInfo::default();
    let mut accepting = pin!(accept(here, "/chat", info, &config, &deadline));
    let mut context = Context::from_waker(Waker::noop());
    assert!(accepting.as_mut().poll(&mut context).is_pending());
    clock.advance(Duration::from_secs(60));
    let Poll::Ready(Err(error)) = accepting.poll(&mut context) else {
        panic!("it waits for ever");
    };
    assert!(
        matches!(error, TransportError::HandshakeTimeout { .. }),
        "{error}"
    );
}

/// However the bytes come: what follows the head belongs to the stream.
#[test]
fn frames_right_behind_the_request_are_read() {
    let mut said = request("").into_bytes();
    // A masked binary message "hi" and a Close 1000, both with a mask of zeros.
    said.extend([0x82, 0x82, 0, 0, 0, 0, b'h', b'i']);
    said.extend([0x88, 0x82, 0, 0, 0, 0, 3, 232]);
    let config = TransportConfig::default();
    for piece in [1, 7, 100, said.len()] {
        let (here, mut raw) = pipe(ROOM);
        let clock = VirtualClock::new();
        let deadline = deadline(&clock);
        let client = async {
            for piece in said.chunks(piece) {
                raw.write_all(piece).await.unwrap();
            }
            read_answer(&mut raw).await
        };
        let info = ConnectionInfo::default();
        let accepting = accept(here, "/chat", info, &config, &deadline);
        let (accepted, _heard) = block_on(future::join(accepting, client));
        let mut stream = accepted.unwrap().0;
        let mut heard = Vec::new();
        block_on(stream.read_to_end(&mut heard)).unwrap();
        assert_eq!(heard, b"hi", "in pieces of {piece}");
    }
}

#[test]
fn a_client_that_leaves_is_no_refusal() {
    for said in ["", "GET /chat HT", request("").trim_end()] {
        let (here, mut raw) = pipe(ROOM);
        let config = TransportConfig::default();
        let deadline = deadline(&VirtualClock::new());
        block_on(raw.write_all(said.as_bytes())).unwrap();
        drop(raw);
        let info = ConnectionInfo::default();
        let accepted = block_on(accept(here, "/chat", info, &config, &deadline));
        let text = accepted.unwrap_err().to_string();
        assert!(
            text.starts_with("the connection broke during the websocket handshake"),
            "{text}"
        );
    }
}

#[test]
fn who_has_an_http_server_has_the_same_answers() {
    let server = WsServer::default()
        .subprotocol("v1")
        .check(|request, info| match request.query.as_deref() {
            Some(user) => {
                info.extensions.insert(user.to_owned());
                Ok(())
            }
            None => Err(WsRefusal::new(401, "who are you?")),
        });
    let request = |change: fn(&mut http::Request<&'static str>)| {
        let mut request = http::Request::get("/anywhere?ada")
            .header("Host", "here")
            .header("Connection", "keep-alive")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("Sec-WebSocket-Protocol", "v1")
            .body("of any kind")
            .unwrap();
        change(&mut request);
        block_on(server.answer(&request, ConnectionInfo::default()))
    };
    let (response, info) = request(|_| {}).unwrap();
    assert_eq!(response.status(), 101);
    assert_eq!(
        response.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(response.headers()["sec-websocket-protocol"], "v1");
    assert_eq!(info.extensions.get::<String>().unwrap(), "ada");
    assert_eq!(info.websocket.unwrap().path, "/anywhere");

    let refused = [
        (
            405,
            request(|request| *request.method_mut() = http::Method::POST),
        ),
        (
            505,
            request(|request| *request.version_mut() = http::Version::HTTP_2),
        ),
        (
            400,
            request(|request| drop(request.headers_mut().remove("host"))),
        ),
        (
            426,
            request(|request| drop(request.headers_mut().remove("upgrade"))),
        ),
        (
            403,
            request(|request| {
                let origin = "http://there".parse().unwrap();
                request.headers_mut().insert("origin", origin);
            }),
        ),
        (
            401,
            request(|request| *request.uri_mut() = "/".parse().unwrap()),
        ),
    ];
    for (status, answer) in refused {
        let response = answer.unwrap_err().to_response();
        assert_eq!(response.status(), status, "{}", response.body());
        assert!(!response.body().is_empty());
    }
}
