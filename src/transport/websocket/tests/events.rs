use futures::StreamExt;
use pharos::{Channel, Events, Filter, Observable, ObserveConfig};

use super::*;
use crate::transport::websocket::{WsClose, WsEvent, WsText};

fn observe(stream: &mut Ws, options: impl Into<ObserveConfig<WsEvent>>) -> Events<WsEvent> {
    let observed = stream.observe(options.into());
    observed.now_or_never().unwrap().unwrap()
}

/// What has been told so far.
fn told(events: &mut Events<WsEvent>) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(Some(event)) = events.next().now_or_never() {
        told.push(match event {
            WsEvent::Error(error) => format!("Error({:?})", error.kind()),
            other => format!("{other:?}"),
        });
    }
    told
}

fn read_now(stream: &mut Ws) -> (Vec<u8>, io::Result<()>) {
    read_all(stream).now_or_never().unwrap()
}

#[test]
fn an_observer_hears_what_is_no_data() {
    let config = WsConfig::default().text(WsText::Observed { max: 100 });
    let (mut stream, mut raw) = server_with(1024, &config);
    let mut events = observe(&mut stream, Channel::Unbounded);
    let close = [&4000_u16.to_be_bytes()[..], b"done"].concat();
    for part in [
        frame(PING, b"p"),
        frame(BINARY, b"data"),
        frame(PONG, b""),
        frame(TEXT, b"hello"),
        frame(CLOSE, &close),
    ] {
        write(&mut raw, &part);
    }
    let (heard, end) = read_now(&mut stream);
    end.unwrap();
    assert_eq!(heard, b"data");
    let closed = WsEvent::Close(WsClose::new(4000, "done"));
    let expected = [
        "Ping(b\"p\")".to_owned(),
        "Pong(b\"\")".to_owned(),
        "Text(\"hello\")".to_owned(),
        format!("{closed:?}"),
        "Closed".to_owned(),
    ];
    assert_eq!(told(&mut events), expected);
    assert_eq!(stream.peer_close(), Some(&WsClose::new(4000, "done")));
}

#[test]
fn both_closes_have_been_sent_before_it_is_told_that_it_is_closed() {
    let (mut stream, mut raw) = server(1024);
    let mut events = observe(&mut stream, Channel::Unbounded);
    let mut close = Box::pin(stream.close_with(1001, "restart"));
    assert!(close.as_mut().now_or_never().is_none());
    assert_eq!(told(&mut events), [""; 0]);
    let sent = receive(&mut raw).now_or_never().unwrap();
    let payload = [&1001_u16.to_be_bytes()[..], b"restart"].concat();
    assert_eq!(sent, (CLOSE, payload));
    write(&mut raw, &close_frame(1001));
    close.now_or_never().unwrap().unwrap();
    let told = told(&mut events);
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!(told[1], "Closed");
}

#[test]
fn an_abnormal_end_is_an_event_too() {
    for (bytes, kind) in [
        (frame(BINARY, b"cut")[..5].to_vec(), "UnexpectedEof"),
        (frame(TEXT, b"text"), "InvalidData"),
    ] {
        let (mut stream, mut raw) = server(1024);
        let mut events = observe(&mut stream, Channel::Unbounded);
        write(&mut raw, &bytes);
        drop(raw);
        read_now(&mut stream).1.unwrap_err();
        assert_eq!(told(&mut events), [format!("Error({kind})")]);
    }
}

#[test]
fn a_full_observer_holds_up_nothing_and_is_told_what_it_missed() {
    let (mut stream, mut raw) = server(1 << 20);
    let mut slow = observe(&mut stream, Channel::Bounded(2));
    let mut quick = observe(&mut stream, Channel::Unbounded);
    for number in 0_u8..10 {
        write(&mut raw, &frame(PING, &[b'0' + number]));
    }
    write(&mut raw, &frame(BINARY, b"data"));
    let mut buffer = [0; 2000];
    let count = stream.read(&mut buffer).now_or_never().unwrap().unwrap();
    assert_eq!(count, 4, "reading goes on");
    stream.write_all(b"x").now_or_never().unwrap().unwrap();
    stream.flush().now_or_never().unwrap().unwrap();
    assert_eq!(told(&mut quick).len(), 10, "nobody else misses any");
    assert_eq!(told(&mut slow), ["Ping(b\"0\")", "Ping(b\"1\")"]);

    write(&mut raw, &frame(PING, b"a"));
    assert!(stream.read(&mut buffer).now_or_never().is_none());
    assert_eq!(told(&mut slow), ["Missed(8)", "Ping(b\"a\")"]);

    // With room for one, what was missed goes first.
    write(&mut raw, &frame(PING, b"b").repeat(3));
    assert!(stream.read(&mut buffer).now_or_never().is_none());
    assert!(matches!(
        slow.next().now_or_never(),
        Some(Some(WsEvent::Ping(_)))
    ));
    write(&mut raw, &frame(PING, b"c"));
    assert!(stream.read(&mut buffer).now_or_never().is_none());
    assert_eq!(told(&mut slow), ["Ping(b\"b\")", "Missed(1)"]);
    write(&mut raw, &frame(PING, b"d"));
    assert!(stream.read(&mut buffer).now_or_never().is_none());
    assert_eq!(told(&mut slow), ["Missed(1)", "Ping(b\"d\")"]);
}

#[test]
fn an_observer_may_go_and_may_choose() {
    let (mut stream, mut raw) = server(1 << 20);
    drop(observe(&mut stream, Channel::Bounded(1)));
    let only_pongs = Filter::Pointer(|event| matches!(event, WsEvent::Pong(_)));
    let mut events = observe(&mut stream, only_pongs);
    write(&mut raw, &frame(PING, b"").repeat(5));
    write(&mut raw, &frame(PONG, b"x"));
    assert!(stream.read(&mut [0; 2000]).now_or_never().is_none());
    assert_eq!(told(&mut events), ["Pong(b\"x\")"]);
    assert_eq!(stream.observers.count(), 1);
    let refused = stream.observe(Channel::Bounded(0).into());
    assert!(refused.now_or_never().unwrap().is_err());
}

#[test]
fn a_text_has_a_limit_and_is_no_data() {
    let config = WsConfig::default().text(WsText::Observed { max: 5 });
    for (bytes, code) in [(frame(TEXT, b"longer"), 1009), (frame(TEXT, b"\xff"), 1007)] {
        let (mut stream, mut raw) = server_with(1024, &config);
        write(&mut raw, &frame(TEXT, b"short"));
        write(&mut raw, &bytes);
        let (heard, end) = read_now(&mut stream);
        assert_eq!(heard, b"");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let told = receive(&mut raw).now_or_never().unwrap();
        assert_eq!(told, (CLOSE, u16::to_be_bytes(code).to_vec()));
    }
}

#[test]
fn a_ping_leaves_with_the_flush_before_what_was_written() {
    let (mut stream, mut raw) = server(1024);
    stream.write_all(b"data").now_or_never().unwrap().unwrap();
    stream.ping(b"one").unwrap();
    stream.ping(b"two").unwrap();
    assert!(raw.read(&mut [0]).now_or_never().is_none());
    stream.flush().now_or_never().unwrap().unwrap();
    for expected in [(PING, b"two".to_vec()), (BINARY, b"data".to_vec())] {
        assert_eq!(receive(&mut raw).now_or_never().unwrap(), expected);
    }
    stream.ping(&[0; 125]).unwrap();
    let error = stream.ping(&[0; 126]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    write(&mut raw, &close_frame(1000));
    read_now(&mut stream).1.unwrap();
    assert_eq!(
        stream.ping(b"").unwrap_err().kind(),
        io::ErrorKind::BrokenPipe
    );
}
