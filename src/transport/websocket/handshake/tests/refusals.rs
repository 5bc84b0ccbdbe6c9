//! Who is refused, and how: each row of the table in the documentation of `WsServer`.

use http::header;

use super::*;

fn changed(from: &str, to: &str) -> String {
    let request = request("");
    assert!(request.contains(from), "{from}");
    request.replace(from, to)
}

fn without(name: &str) -> String {
    let request = request("");
    let kept: String = request
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with(name))
        .collect();
    assert_ne!(kept, request);
    kept
}

#[test]
fn a_refusal_is_these_bytes() {
    let config = TransportConfig::default();
    let table = [
        (
            changed("/chat", "/other"),
            "HTTP/1.1 404 Not Found\r\n\
             content-type: text/plain; charset=utf-8\r\ncontent-length: 15\r\nconnection: close\r\n\r\n\
             nothing is here",
        ),
        (
            changed("GET", "POST"),
            "HTTP/1.1 405 Method Not Allowed\r\nallow: GET\r\n\
             content-type: text/plain; charset=utf-8\r\ncontent-length: 23\r\nconnection: close\r\n\r\n\
             only GET is served here",
        ),
        (
            changed("Version: 13", "Version: 8"),
            "HTTP/1.1 426 Upgrade Required\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             content-type: text/plain; charset=utf-8\r\ncontent-length: 43\r\nconnection: close\r\n\r\n\
             only version 13 of WebSocket is spoken here",
        ),
    ];
    for (request, expected) in table {
        let (accepted, heard) = ask(&config, request.as_bytes());
        assert!(accepted.is_err());
        assert_eq!(heard, expected);
    }
}

#[test]
fn what_is_no_handshake() {
    let upgrade = "this is a WebSocket endpoint, and no Upgrade came; a proxy in between must pass Upgrade and Connection on";
    let version = "only version 13 of WebSocket is spoken here";
    let key = "its Sec-WebSocket-Key is not 16 bytes in base64";
    let host = "it must have one Host header";
    let body = "it must not have a body";
    let first = "its first line is malformed";
    let twice = "it has a header twice that may be there once";
    let table = [
        (without("Upgrade"), 426, upgrade),
        (without("Connection"), 426, upgrade),
        (changed("Upgrade: websocket", "Upgrade: h2c"), 426, upgrade),
        (
            changed("Connection: Upgrade", "Connection: close"),
            426,
            upgrade,
        ),
        (without("Sec-WebSocket-Version"), 426, version),
        (changed("Version: 13", "Version: 7, 13"), 426, version),
        (without("Sec-WebSocket-Key"), 400, key),
        (changed(KEY, "c2hvcnQ="), 400, key),
        (changed(KEY, "!!!!!!!!!!!!!!!!!!!!!!!!"), 400, key),
        (without("Host"), 400, host),
        (request("Host: another.example.com\r\n"), 400, host),
        (request("Content-Length: 1\r\n"), 400, body),
        (request("Transfer-Encoding: chunked\r\n"), 400, body),
        (
            request(&format!("Sec-WebSocket-Key: {KEY}\r\n")),
            400,
            twice,
        ),
        (request("Sec-WebSocket-Version: 13\r\n"), 400, twice),
        (
            changed("HTTP/1.1", "HTTP/1.0"),
            505,
            "only HTTP/1.1 is spoken here, and by proxies in between",
        ),
        (
            changed("HTTP/1.1", "HTTP/2.0"),
            505,
            "only HTTP/1.1 is spoken here, and by proxies in between",
        ),
        (changed("GET /chat", "GET"), 400, first),
        (changed("/chat", "//"), 404, "nothing is here"),
        (changed("/chat", "/chat/"), 404, "nothing is here"),
        (changed("/chat", "/CHAT"), 404, "nothing is here"),
        (changed("/chat", "/%63hat"), 404, "nothing is here"),
        (changed("/chat", "*"), 404, "nothing is here"),
        (changed("/chat", "http://["), 400, "its target is malformed"),
        (
            changed("Host:", "Host :"),
            400,
            "a header's name is malformed",
        ),
        (
            changed("Host: ", "Host: \u{1}"),
            400,
            "a header's value is malformed",
        ),
        (changed("GET", "HEAD"), 405, "only GET is served here"),
        (changed("GET", "CONNECT"), 405, "only GET is served here"),
        (
            request("").replace("\r\n", "\n"),
            400,
            "its lines must end with CR and LF",
        ),
        (
            changed("\r\nHost", "\nHost"),
            400,
            "its lines must end with CR and LF",
        ),
        ("\r\n\r\n".to_owned(), 400, first),
        (
            "\u{16}\u{3}\u{1}\n\n".to_owned(),
            400,
            "its lines must end with CR and LF",
        ),
        ("\u{16}\u{3}\u{1}\r\n\r\n".to_owned(), 400, first),
    ];
    for (request, status, text) in table {
        let found = refusal(&TransportConfig::default(), &request);
        assert_eq!(found, (status, text.to_owned()), "{request}");
    }
}

#[test]
fn the_head_is_bounded_in_bytes() {
    let config = TransportConfig::default();
    let padded = |length: usize| {
        let padding = length - request("X: \r\n").len();
        request(&format!("X: {}\r\n", "x".repeat(padding)))
    };
    let longest = padded(8 * 1024);
    assert_eq!(longest.len(), 8 * 1024);
    welcome(&config, &longest);
    let (status, text) = refusal(&config, &padded(8 * 1024 + 1));
    assert_eq!(status, 431);
    assert_eq!(
        text,
        "its head is too long; at most 8192 are taken (max_http_head)"
    );
    let small = config.max_http_head(1000);
    welcome(&small, &padded(1000));
    assert_eq!(refusal(&small, &padded(1001)).0, 431);
}

#[test]
fn headers_are_bounded_in_number() {
    let config = TransportConfig::default();
    let with = |number: usize| request(&"a: b\r\n".repeat(number - 5));
    assert_eq!(
        welcome(&config, &with(64))
            .0
            .websocket
            .unwrap()
            .headers
            .len(),
        64
    );
    let (status, text) = refusal(&config, &with(65));
    assert_eq!(status, 431);
    assert_eq!(
        text,
        "too many headers; at most 64 are taken (max_http_headers)"
    );
}

/// Far more than is read: the answer must get through all the same.
#[test]
fn a_bomb_is_answered_before_it_is_over() {
    let bomb = request(&"bomb: boom\r\n".repeat(4000));
    assert!(bomb.len() < ROOM);
    assert_eq!(refusal(&TransportConfig::default(), &bomb).0, 431);
}

/// It waits for an answer, and has said all that it will say until then.
#[test]
fn who_dials_with_another_kind_of_endpoint_is_told_at_once() {
    let hello = "\0\0\0\u{17}\0yamx";
    let (status, text) = refusal(&TransportConfig::default(), hello);
    assert_eq!(
        (status, text.as_str()),
        (400, "its first line is malformed")
    );
}

#[test]
fn web_pages_of_other_hosts_are_refused() {
    let same = OriginPolicy::SameHost;
    let listed = OriginPolicy::Allow(vec![
        "https://app.example.com".to_owned(),
        "http://localhost:3000".to_owned(),
    ]);
    let sandboxed = OriginPolicy::Allow(vec!["null".to_owned()]);
    let any = OriginPolicy::Any;
    // The `Host` is server.example.com.
    let table = [
        (&same, "http://server.example.com", true),
        (&same, "https://server.example.com", true),
        (&same, "HTTPS://Server.Example.COM", true),
        (&same, "https://server.example.com:443", true),
        (&same, "http://server.example.com:80", true),
        (&same, "https://server.example.com:80", false),
        (&same, "https://server.example.com:8443", false),
        (&same, "https://example.com", false),
        (&same, "https://server.example.com.evil.org", false),
        (&same, "https://evil.org", false),
        (&same, "https://evil.org#server.example.com", false),
        (&same, "server.example.com", false),
        (&same, "null", false),
        (&same, "", false),
        (&same, "https://server.example.com, https://evil.org", false),
        (&listed, "https://app.example.com", true),
        (&listed, "https://APP.example.com:443", true),
        (&listed, "http://app.example.com", false),
        (&listed, "https://app.example.com:444", false),
        (&listed, "http://localhost:3000", true),
        (&listed, "http://localhost", false),
        (&listed, "https://server.example.com", false),
        (&listed, "null", false),
        (&sandboxed, "null", true),
        (&any, "https://evil.org", true),
        (&any, "null", true),
    ];
    for (policy, origin, allowed) in table {
        let server = WsServer::default().origin(policy.clone());
        let config = TransportConfig::default().ws_server(server);
        let request = request(&format!("Origin: {origin}\r\n"));
        if allowed {
            welcome(&config, &request);
        } else {
            let text = "pages of that origin may not connect here (a proxy in between must pass Host on as it came)".to_owned();
            assert_eq!(
                refusal(&config, &request),
                (403, text),
                "{policy:?} {origin}"
            );
        }
        welcome(&config, &super::request(""));
    }
}

#[test]
fn a_port_in_the_host_counts() {
    let config = TransportConfig::default();
    let at = |host: &str, origin: &str| {
        let request = request(&format!("Origin: {origin}\r\n"));
        request.replace(
            "server.example.com\r\nUpgrade",
            &format!("{host}\r\nUpgrade"),
        )
    };
    welcome(&config, &at("localhost:9000", "http://localhost:9000"));
    welcome(&config, &at("[::1]:9000", "http://[::1]:9000"));
    for origin in [
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:9000",
    ] {
        assert_eq!(
            refusal(&config, &at("localhost:9000", origin)).0,
            403,
            "{origin}"
        );
    }
}

#[test]
fn two_origins_are_none() {
    let two = request("Origin: http://server.example.com\r\nOrigin: http://evil.org\r\n");
    assert_eq!(refusal(&TransportConfig::default(), &two).0, 403);
}

#[test]
fn a_subprotocol_may_be_required() {
    let server = WsServer::default()
        .subprotocol("wire.v2")
        .subprotocol("wire.v1")
        .require_subprotocol(true);
    let config = TransportConfig::default().ws_server(server);
    let text = "offer one of these in Sec-WebSocket-Protocol: wire.v2, wire.v1".to_owned();
    for offer in [
        "",
        "Sec-WebSocket-Protocol: chat\r\n",
        "Sec-WebSocket-Protocol: WIRE.v1\r\n",
    ] {
        assert_eq!(
            refusal(&config, &request(offer)),
            (400, text.clone()),
            "{offer}"
        );
    }
    welcome(
        &config,
        &request("Sec-WebSocket-Protocol: chat, wire.v1\r\n"),
    );
}

#[test]
fn the_check_refuses_in_its_own_words() {
    let server = WsServer::default().check(|request, _info| {
        let reason = format!("no {} for you\n", request.path);
        let challenge = "Bearer".parse().unwrap();
        Err(WsRefusal::new(401, reason).header(header::WWW_AUTHENTICATE, challenge))
    });
    let config = TransportConfig::default().ws_server(server);
    let (accepted, heard) = ask(&config, request("").as_bytes());
    assert_eq!(
        heard,
        "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Bearer\r\n\
         content-type: text/plain; charset=utf-8\r\ncontent-length: 17\r\nconnection: close\r\n\r\n\
         no /chat for you\n"
    );
    assert_eq!(
        accepted.unwrap_err().to_string(),
        "the client was refused with HTTP status 401: no /chat for you\n"
    );
}

#[test]
fn a_refusal_is_always_one() {
    for (status, sent) in [
        (200, 500),
        (101, 500),
        (299, 500),
        (300, 300),
        (599, 599),
        (600, 500),
    ] {
        assert_eq!(WsRefusal::new(status, "").status(), sent, "{status}");
    }
    let long = WsRefusal::new(403, "ä".repeat(1000)).to_bytes();
    let long = String::from_utf8(long).unwrap();
    assert!(long.contains("content-length: 1024\r\n"), "{long}");
    let odd = http::HeaderValue::from_bytes(b"\xff").unwrap();
    let odd = WsRefusal::new(403, "no")
        .header(header::SERVER, odd)
        .to_bytes();
    assert!(odd.starts_with(b"HTTP/1.1 500 "));
}
