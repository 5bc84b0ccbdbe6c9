//! Before there is a WebSocket.

use std::time::{Duration, Instant};

use sessionwire::transport::TransportConfig;

use super::server::Server;
use super::stranger::{REQUEST, Stranger};
use super::{report, sockets};

/// Each says a byte more in every round and never gets to the end; the time for handshakes is so long
/// that it helps nobody.
#[test]
fn a_thousand_dribbled_handshakes_hold_up_no_honest_client() {
    let count = sockets(1000);
    let server =
        Server::start(TransportConfig::default().handshake_timeout(Duration::from_hours(1)));
    let mut dribbling: Vec<_> = (0..count)
        .map(|_| Stranger::connect(server.address()))
        .collect();
    let begun = Instant::now();
    for byte in REQUEST.as_bytes().chunks(1).take(10) {
        for stranger in &mut dribbling {
            // Some may be closed in favour of others.
            let _ = stranger.say(byte);
        }
        server.serve_honest_client();
    }
    let took = begun.elapsed() / 10;
    drop(dribbling);
    let peak = server.stop();
    report(&format!(
        "{count} dribbled handshakes: {took:?} for a round with an honest client, {peak} KiB"
    ));
    assert!(peak < 8 * 1024, "{peak} KiB");
}

#[test]
fn endless_heads_are_cut_off() {
    let server = Server::start(TransportConfig::default());
    let line = |length| format!("X-Bomb: {}\r\n", "b".repeat(length)).into_bytes();
    let bombs = [
        ("a thousand headers", line(4).repeat(1000)),
        ("a header of 1 MB", line(1_000_000)),
        ("a line without end", vec![b'b'; 1_000_000]),
        ("1 MB of headers", line(1000).repeat(1000)),
    ];
    let mut strangers = Vec::new();
    for (name, bomb) in &bombs {
        for _ in 0..10 {
            let mut stranger = Stranger::connect(server.address());
            stranger.must_say(REQUEST.as_bytes());
            // It may be cut off in the middle.
            let _ = stranger.say(bomb);
            strangers.push((name, stranger));
        }
    }
    for (name, mut stranger) in strangers {
        let answer = stranger.hear_head();
        assert!(!answer.starts_with("HTTP/1.1 101"), "{name}: {answer}");
        stranger.hear_the_end();
    }
    server.serve_honest_client();
    let peak = server.stop();
    report(&format!("40 heads that are too large: {peak} KiB"));
    assert!(peak < 1024, "{peak} KiB");
}

#[test]
fn what_is_no_handshake_ends_the_connection_and_nothing_else() {
    let server = Server::start(TransportConfig::default());
    let garbage: [&[u8]; 7] = [
        b"",
        b"\0\0\0\x17\x09swir",
        b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /wire\r\n\r\n",
        b"GET /wire HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0, 0, 13, 10, 13, 10],
    ];
    for bytes in garbage {
        let mut stranger = Stranger::connect(server.address());
        stranger.must_say(bytes);
        stranger.finish();
        let answer = stranger.hear_head();
        assert!(!answer.starts_with("HTTP/1.1 101"), "{bytes:x?}: {answer}");
        stranger.hear_the_end();
    }
    server.serve_honest_client();
    server.stop();
}

#[test]
fn a_page_of_another_origin_is_refused() {
    let server = Server::start(TransportConfig::default());
    for origin in [
        "http://evil.example",
        "http://127.0.0.1:1",
        "null",
        "",
        "127.0.0.1",
    ] {
        let mut stranger = Stranger::connect(server.address());
        stranger.must_say(format!("{REQUEST}Origin: {origin}\r\n\r\n").as_bytes());
        let answer = stranger.hear_head();
        assert!(answer.starts_with("HTTP/1.1 403 "), "{origin}: {answer}");
    }
    let mut page = Stranger::connect(server.address());
    page.must_say(format!("{REQUEST}Origin: http://127.0.0.1\r\n\r\n").as_bytes());
    assert!(page.hear_head().starts_with("HTTP/1.1 101 "));
    server.serve_honest_client();
    server.stop();
}
