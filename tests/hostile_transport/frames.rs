//! Within a WebSocket.

use std::time::Duration;

use sessionwire::transport::{TransportConfig, WsConfig};

use super::report;
use super::server::Server;
use super::stranger::{
    BINARY, FIRST_FRAGMENT, FRAGMENT, LAST_FRAGMENT, PING, PONG, Said, Stranger, frame, header,
};
use super::support::wire;

/// Frames of a flood. With six bytes each, they are a second of a home's uplink.
const FLOOD: usize = 1_000_000;

#[test]
fn unmasked_frames_are_refused() {
    let server = Server::start(TransportConfig::default());
    let mut stranger = Stranger::upgraded(server.address());
    stranger.must_say(&[BINARY, 5, b'h', b'e', b'l', b'l', b'o']);
    assert_eq!(stranger.hear_close(), Some(1002));
    server.serve_honest_client();
    server.stop();
}

/// A socket that is closed with bytes unread is reset, and what it said is lost.
#[test]
fn who_sends_on_after_a_breach_is_told_all_the_same() {
    let server = Server::start(TransportConfig::default());
    for _ in 0..10 {
        let mut stranger = Stranger::upgraded(server.address());
        stranger.must_say(&header(BINARY, (64 << 20) + 1));
        stranger.must_say(&vec![0; 8 << 20]);
        assert_eq!(stranger.hear_close(), Some(1009));
        stranger.finish();
        stranger.hear_the_end();
    }
    server.serve_honest_client();
    server.stop();
}

#[test]
fn a_claimed_length_costs_no_memory() {
    let server = Server::start(TransportConfig::default());
    let mut strangers = Vec::new();
    for length in [1 << 63, u64::MAX, (1 << 63) - 1, 1 << 40] {
        let mut stranger = Stranger::upgraded(server.address());
        stranger.must_say(&header(BINARY, length));
        let code = stranger.hear_close();
        assert!(
            [Some(1002), Some(1009)].contains(&code),
            "{length}: {code:?}"
        );
        strangers.push(stranger);
    }
    // What is lawful to claim is waited for, and costs nothing until it comes.
    for _ in 0..100 {
        let mut stranger = Stranger::upgraded(server.address());
        stranger.must_say(&header(BINARY, 64 << 20));
        strangers.push(stranger);
    }
    server.serve_honest_client();
    drop(strangers);
    let peak = server.stop();
    report(&format!("100 claims of 64 MiB, 4 of more: {peak} KiB"));
    assert!(peak < 2 * 1024, "{peak} KiB");
}

#[test]
fn a_million_pings_cost_no_memory() {
    flood("pings", FLOOD, &frame(PING, b""), &[]);
}

#[test]
fn a_million_pongs_cost_no_memory() {
    flood("pongs", FLOOD, &frame(PONG, b""), &[]);
}

#[test]
fn a_million_empty_messages_cost_no_memory() {
    flood("empty messages", FLOOD, &frame(BINARY, b""), &[]);
}

#[test]
fn a_million_empty_fragments_cost_no_memory() {
    flood(
        "empty fragments",
        FLOOD,
        &frame(FRAGMENT, b""),
        &frame(FIRST_FRAGMENT, b""),
    );
}

#[test]
fn pings_inside_of_fragments_cost_no_memory() {
    let both = [frame(PING, b"inside"), frame(FRAGMENT, b"")].concat();
    flood(
        "pings inside of fragments",
        FLOOD / 2,
        &both,
        &frame(FIRST_FRAGMENT, b""),
    );
}

/// Says hello, then `begin`, then `frames` so many times, reads nothing, and is served like any other
/// after it.
fn flood(name: &str, times: usize, frames: &[u8], begin: &[u8]) {
    let server = Server::start(TransportConfig::default());
    let mut stranger = Stranger::upgraded(server.address());
    stranger.must_say(&frame(BINARY, &wire::hello()));
    stranger.must_say(begin);
    let batch = frames.repeat(1000);
    for _ in 0..times / 1000 {
        stranger.must_say(&batch);
    }
    server.serve_honest_client();
    let first = if begin.is_empty() {
        BINARY
    } else {
        LAST_FRAGMENT
    };
    let conversation = [
        wire::open_with(1, 1 << 17, b"echo/1"),
        wire::data(1, wire::END, b"still here"),
    ];
    stranger.must_say(&frame(first, &conversation.concat()));
    let mut heard = Vec::new();
    while !heard.windows(10).any(|part| part == b"still here") {
        match stranger.hear() {
            Said::Data(data) => heard.extend(data),
            Said::Pong(_) => {}
            end => panic!("{end:?} after a lawful flood"),
        }
    }
    drop(stranger);
    let peak = server.stop();
    report(&format!("{times} {name}: {peak} KiB"));
    assert!(peak < 512, "{peak} KiB");
}

/// All that comes back to a peer that reads nothing waits in bounded room, whatever it says meanwhile.
#[test]
fn a_peer_that_never_reads_costs_bounded_memory() {
    let server = Server::start(TransportConfig::default());
    let mut strangers: Vec<_> = (0..10)
        .map(|_| Stranger::upgraded(server.address()))
        .collect();
    let begin = [wire::hello(), wire::open_with(1, 1 << 30, b"echo/1")].concat();
    // As much as the server takes before it has read anything, many times.
    let message = wire::data(1, wire::END, &[1; 16_000]);
    for stranger in &mut strangers {
        stranger.must_say(&frame(BINARY, &begin));
        for _ in 0..4 {
            stranger.must_say(&frame(BINARY, &message));
        }
        for _ in 0..10 {
            stranger.must_say(&frame(PING, b"1").repeat(1000));
            stranger.must_say(&frame(BINARY, &wire::ping(1)));
        }
    }
    server.serve_honest_client();
    drop(strangers);
    let peak = server.stop();
    report(&format!("10 peers that read nothing: {peak} KiB"));
    assert!(peak < 8 * 1024, "{peak} KiB");
}

#[test]
fn a_peer_that_never_answers_a_close_is_left() {
    let websocket = WsConfig::default().close_timeout(Duration::from_millis(100));
    let server = Server::start(TransportConfig::default().websocket(websocket));
    let mut stranger = Stranger::upgraded(server.address());
    let goodbye = [wire::hello(), wire::go_away(0, 0, b"")].concat();
    stranger.must_say(&frame(BINARY, &goodbye));
    assert_eq!(stranger.hear_close(), Some(1000));
    stranger.hear_the_end();
    server.serve_honest_client();
    server.stop();
}
