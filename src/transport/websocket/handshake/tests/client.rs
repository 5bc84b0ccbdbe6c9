//! What a client says, and what it takes for an answer.

use super::*;

type Connected = Result<WsInfo, TransportError>;

/// What comes of a server that answers so; `ACCEPT` stands for what it should be. Also the request.
fn told(config: &TransportConfig, answer: &str) -> (Connected, String) {
    let (here, mut raw) = pipe(ROOM);
    let clock = VirtualClock::new();
    let deadline = deadline(&clock);
    let endpoint: Endpoint = "ws://Example.org:81/wire?a=b".parse().unwrap();
    let server = async move {
        let mut heard = Vec::new();
        let mut byte = [0];
        while !heard.ends_with(b"\r\n\r\n") {
            raw.read_exact(&mut byte).await.unwrap();
            heard.push(byte[0]);
        }
        let heard = String::from_utf8(heard).unwrap();
        let (_, key) = heard.split_once("Sec-WebSocket-Key: ").unwrap();
        let (key, _) = key.split_once("\r\n").unwrap();
        let accept = async_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes());
        let answer = answer.replace("ACCEPT", &accept);
        raw.write_all(answer.as_bytes()).await.unwrap();
        heard
    };
    let connecting = connect(here, &endpoint, config, &deadline);
    let (connected, heard) = block_on(future::join(connecting, server));
    (connected.map(|(_stream, info)| info), heard)
}

fn fails(config: &TransportConfig, answer: &str) -> String {
    told(config, answer).0.unwrap_err().to_string()
}

const WELCOME: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
     Sec-WebSocket-Accept: ACCEPT\r\n";

#[test]
fn it_says_what_it_was_told_to() {
    let client = WsClient::default()
        .bearer("secret")
        .unwrap()
        .header("X-Request-Id", "7")
        .unwrap()
        .subprotocol("v2")
        .subprotocol("v1");
    let config = TransportConfig::default().ws_client(client);
    let answer = format!("{WELCOME}Sec-WebSocket-Protocol: v1\r\nServer: test\r\n\r\n");
    let (connected, heard) = told(&config, &answer);
    let info = connected.unwrap();
    assert_eq!(info.subprotocol.as_deref(), Some("v1"));
    assert_eq!(
        (info.path.as_str(), info.query.as_deref()),
        ("/wire", Some("a=b"))
    );
    assert_eq!(info.headers["server"], "test");
    assert!(
        heard.starts_with("GET /wire?a=b HTTP/1.1\r\nHost: example.org:81\r\n"),
        "{heard}"
    );
    for line in [
        "authorization: Bearer secret\r\n",
        "x-request-id: 7\r\n",
        "Sec-WebSocket-Protocol: v2, v1\r\n",
    ] {
        assert!(heard.contains(line), "{heard}");
    }
    let shown = format!("{config:?}");
    assert!(!shown.contains("secret"), "{shown}");
}

#[test]
fn a_server_of_another_kind_of_endpoint_is_known_by_its_first_byte() {
    let problem = fails(&TransportConfig::default(), "\0\0\0\u{17}\0yamx");
    assert!(problem.contains("is no HTTP/1.1 response"), "{problem}");
    assert!(problem.contains("the same kind of endpoint"), "{problem}");
}

#[test]
fn an_answer_that_is_none() {
    let config = TransportConfig::default();
    let without = |line: &str| format!("{WELCOME}\r\n").replace(line, "");
    let table = [
        (
            without("Upgrade: websocket\r\n"),
            "it upgrades to something else than a websocket",
        ),
        (
            WELCOME.replace("websocket", "h2c") + "\r\n",
            "it upgrades to something else than a websocket",
        ),
        (
            without("Connection: Upgrade\r\n"),
            "it upgrades without saying so in `Connection`",
        ),
        (
            without("Sec-WebSocket-Accept: ACCEPT\r\n"),
            "its Sec-WebSocket-Accept does not answer this client's key, as from a cache",
        ),
        (
            format!("{WELCOME}\r\n").replace("ACCEPT", ACCEPT),
            "its Sec-WebSocket-Accept does not answer this client's key, as from a cache",
        ),
        (
            format!("{WELCOME}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
            "it uses an extension that nobody asked for",
        ),
        (
            format!("{WELCOME}Sec-WebSocket-Protocol: v1\r\n\r\n"),
            "it speaks a subprotocol that nobody asked for",
        ),
        (
            "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
            "its answer is no HTTP/1.1 response",
        ),
        (
            "HTTP/1.0 101 Yes\r\n\r\n".to_owned(),
            "its answer is no HTTP/1.1 response",
        ),
        (
            "HTTP/1.1 101\r\nno colon\r\n\r\n".to_owned(),
            "its answer is no HTTP/1.1 response",
        ),
        (
            format!("HTTP/1.1 101 Yes\r\n{}\r\n", "a: b\r\n".repeat(65)),
            "its answer has more than 64 headers; if they belong there, raise max_http_headers",
        ),
        (
            format!("HTTP/1.1 101 Yes\r\na: {}\r\n\r\n", "b".repeat(8192)),
            "its answer has more than 8192 bytes; if they belong there, raise max_http_head",
        ),
    ];
    for (answer, problem) in table {
        let expected = format!(
            "the peer does not speak websocket: {problem}; \
             check that both ends use the same kind of endpoint"
        );
        assert_eq!(fails(&config, &answer), expected, "{answer}");
    }
}

#[test]
fn a_subprotocol_that_was_asked_for_must_be_chosen() {
    let client = WsClient::default().subprotocol("v1");
    let config = TransportConfig::default().ws_client(client);
    for chosen in [
        "",
        "Sec-WebSocket-Protocol: v2\r\n",
        "Sec-WebSocket-Protocol: v1, v2\r\n",
    ] {
        let text = fails(&config, &format!("{WELCOME}{chosen}\r\n"));
        assert!(text.contains("subprotocol"), "{text}");
    }
}

#[test]
fn a_refused_client_learns_why() {
    let config = TransportConfig::default();
    let long = "x".repeat(5000);
    let table = [
        ("HTTP/1.1 403 Forbidden\r\n\r\n".to_owned(), 403, ""),
        ("HTTP/1.0 403 Forbidden\r\n\r\nno".to_owned(), 403, "no"),
        (
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: 12\r\n\r\nwho are you?and more"
                .to_owned(),
            401,
            "who are you?",
        ),
        (
            "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nthere\r\n0\r\n\r\n"
                .to_owned(),
            404,
            "there",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n<html>\r\n\u{1b}[31mhi</html>".to_owned(),
            200,
            "<html>   [31mhi</html>",
        ),
        (format!("HTTP/1.1 500 Oh\r\n\r\n{long}"), 500, &long[..1024]),
    ];
    for (answer, status, said) in table {
        match told(&config, &answer).0.unwrap_err() {
            TransportError::Refused { status: told, text } => {
                assert_eq!((told, text.as_str()), (status, said), "{answer}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(
        fails(
            &config,
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno"
        ),
        "the server refused the websocket with HTTP status 403 and said \"no\"; \
         give it what it demands, such as a token, and see whether it allows this origin"
    );
}

#[test]
fn headers_that_cannot_be_sent_are_refused_where_they_are_set() {
    let reserved = "the handshake makes it itself; use the endpoint or `subprotocol`";
    let table = [
        ("Host", "evil", reserved),
        ("sec-websocket-key", "x", reserved),
        ("Transfer-Encoding", "chunked", reserved),
        ("X\r\nY", "z", "that is no name of a header"),
        ("", "z", "that is no name of a header"),
        (
            "X",
            "y\r\nZ: evil",
            "its value has characters that no header may have",
        ),
    ];
    for (name, value, problem) in table {
        let error = WsClient::default().header(name, value).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot send the header {name:?}: {problem}")
        );
    }
    assert!(WsClient::default().bearer("a\r\nb").is_err());
    for name in ["", "two words", "a,b", "ä"] {
        let client = WsClient::default().subprotocol(name);
        let endpoint = "ws://h/".parse().unwrap();
        let text = client.request(&endpoint).unwrap_err().to_string();
        assert!(text.contains("subprotocols are tokens"), "{text}");
    }
}
