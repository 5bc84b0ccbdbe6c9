//! The time that a handshake has, on a clock that is moved by hand.

use std::sync::Mutex;

use super::*;
use crate::runtime::Runtime as _;

type Outcome = Arc<Mutex<Option<TransportError>>>;

/// A server whose client is the other end.
fn serving(clock: &VirtualClock, config: &TransportConfig) -> (MemoryStream, Outcome) {
    let (here, raw) = pipe(ROOM);
    let outcome = Outcome::default();
    let (told, config, deadline) = (outcome.clone(), config.clone(), deadline(clock));
    clock.spawn(Box::pin(async move {
        let accepted = accept(here, "/chat", ConnectionInfo::default(), &config, &deadline).await;
        *told.lock().unwrap() = accepted.err();
    }));
    (raw, outcome)
}

#[test]
fn a_byte_a_second_gets_ten_seconds() {
    let clock = VirtualClock::new();
    let (mut raw, outcome) = serving(&clock, &TransportConfig::default());
    for byte in request("").as_bytes().iter().take(9) {
        block_on(raw.write_all(&[*byte])).unwrap();
        clock.advance(Duration::from_secs(1));
    }
    assert_eq!(clock.run_until_stalled(), 1, "there is a second left");
    clock.advance(Duration::from_millis(999));
    assert_eq!(clock.run_until_stalled(), 1);
    clock.advance(Duration::from_millis(1));
    assert_eq!(clock.run_until_stalled(), 0);
    let error = outcome.lock().unwrap().take().unwrap();
    assert_eq!(
        error.to_string(),
        "the peer did not finish the websocket handshake within 10s; it is slow or hostile, or waits because it does not speak websocket"
    );
}

#[test]
fn a_client_that_does_not_take_its_answer_is_left() {
    let clock = VirtualClock::new();
    let (mut raw, outcome) = serving(&clock, &TransportConfig::default());
    block_on(raw.write_all(b"POST / HTTP/1.1\r\n\r\n")).unwrap();
    clock.advance(Duration::from_millis(1999));
    assert_eq!(clock.run_until_stalled(), 1, "it may still be reading");
    clock.advance(Duration::from_millis(1));
    assert_eq!(clock.run_until_stalled(), 0);
    assert!(matches!(
        outcome.lock().unwrap().take(),
        Some(TransportError::Rejected { status: 405, .. })
    ));
}

#[test]
fn a_refused_client_that_sends_on_is_left_too() {
    let clock = VirtualClock::new();
    let (mut raw, outcome) = serving(&clock, &TransportConfig::default());
    block_on(raw.write_all(b"POST / HTTP/1.1\r\n\r\n")).unwrap();
    clock.run_until_stalled();
    let (mut sent, rubbish) = (0, [0; 1024]);
    while outcome.lock().unwrap().is_none() {
        assert!(sent <= 128 * 1024, "it reads for ever");
        block_on(raw.write_all(&rubbish)).unwrap();
        sent += rubbish.len();
        clock.run_until_stalled();
    }
    assert_eq!(sent, 64 * 1024);
}

#[test]
fn a_silent_server_costs_a_client_ten_seconds() {
    let clock = VirtualClock::new();
    let (here, _raw) = pipe(ROOM);
    let outcome = Outcome::default();
    let (told, deadline) = (outcome.clone(), deadline(&clock));
    clock.spawn(Box::pin(async move {
        let endpoint = "ws://h/".parse().unwrap();
        let config = TransportConfig::default();
        *told.lock().unwrap() = connect(here, &endpoint, &config, &deadline).await.err();
    }));
    clock.advance(Duration::from_millis(9999));
    assert_eq!(clock.run_until_stalled(), 1);
    clock.advance(Duration::from_millis(1));
    assert!(matches!(
        outcome.lock().unwrap().take(),
        Some(TransportError::HandshakeTimeout { .. })
    ));
}
