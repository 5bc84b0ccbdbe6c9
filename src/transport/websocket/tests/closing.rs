use super::*;

#[test]
fn a_peer_that_vanishes_is_an_error_wherever_it_stops() {
    let message = frame(BINARY, b"hello");
    for kept in 0..message.len() {
        let (mut stream, mut raw) = server(1024);
        write(&mut raw, &frame(BINARY, b"good"));
        write(&mut raw, &message[..kept]);
        drop(raw);
        let (heard, end) = read_all(&mut stream).now_or_never().unwrap();
        let arrived = kept.saturating_sub(6);
        assert_eq!(
            heard,
            b"goodhello"[..4 + arrived],
            "what came is not held back"
        );
        assert_eq!(
            end.unwrap_err().kind(),
            io::ErrorKind::UnexpectedEof,
            "after {kept} bytes"
        );
    }
}

#[test]
fn the_peers_close_is_a_clean_end_and_is_answered() {
    let (mut stream, mut raw) = server(1024);
    write(
        &mut raw,
        &[frame(BINARY, b"last"), close_frame(1001)].concat(),
    );
    let (heard, end) = read_all(&mut stream).now_or_never().unwrap();
    assert_eq!((heard.as_slice(), end.is_ok()), (&b"last"[..], true));
    let answer = receive(&mut raw).now_or_never().unwrap();
    assert_eq!(answer, (CLOSE, 1001_u16.to_be_bytes().to_vec()));
    assert_eq!(stream.read(&mut [0]).now_or_never().unwrap().unwrap(), 0);
    let error = stream.write(b"late").now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    stream
        .close()
        .now_or_never()
        .expect("nothing to wait for")
        .unwrap();
    assert_eq!(
        raw.read(&mut [0]).now_or_never().unwrap().unwrap(),
        0,
        "closed below"
    );
}

#[test]
fn either_side_may_close_and_both_may_at_once() {
    let clock = VirtualClock::new();
    for (client_closes, server_closes) in [(true, false), (false, true), (true, true)] {
        let (client, server) = both(64, &clock);
        let close_or_read = |mut stream: Ws, closes: bool| async move {
            stream.write_all(b"bye").await.unwrap();
            stream.flush().await.unwrap();
            if closes {
                stream.close().await.unwrap();
            }
            let (heard, end) = read_all(&mut stream).await;
            end.unwrap();
            assert_eq!(heard, b"bye", "what came in while closing can be read");
            stream.close().await.unwrap();
        };
        let (client, server) = (
            close_or_read(client, client_closes),
            close_or_read(server, server_closes),
        );
        block_on(future::join(client, server));
    }
}

#[test]
fn a_reader_on_another_task_hears_of_the_close() {
    let clock = VirtualClock::new();
    let (client, mut server) = both(1 << 16, &clock);
    let (mut reader, mut writer) = client.split();
    let mut read = Box::pin(async { read_all(&mut reader).await });
    assert!(read.as_mut().now_or_never().is_none());
    let mut close = Box::pin(async { writer.close().await });
    assert!(close.as_mut().now_or_never().is_none());
    let answer = async {
        server.write_all(b"still").await.unwrap();
        server.flush().await.unwrap();
        read_all(&mut server).await.1.unwrap();
    };
    let ((heard, end), closed, ()) = block_on(future::join3(read, close, answer));
    end.unwrap();
    closed.unwrap();
    assert_eq!(heard, b"still");
}

#[test]
fn a_peer_that_does_not_answer_the_close_is_waited_for_five_seconds() {
    let clock = VirtualClock::new();
    let (mut client, _silent) = both(1 << 16, &clock);
    let mut close = Box::pin(client.close());
    assert!(close.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(4_999));
    assert!(close.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(1));
    close.now_or_never().unwrap().unwrap();
}

#[test]
fn a_peer_that_takes_nothing_makes_the_close_time_out() {
    let clock = VirtualClock::new();
    let (mut client, _stuck) = both(16, &clock);
    client
        .write_all(b"more than the pipe holds")
        .now_or_never()
        .unwrap()
        .unwrap();
    let mut close = Box::pin(client.close());
    assert!(close.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_secs(5));
    assert_eq!(
        close.now_or_never().unwrap().unwrap_err().kind(),
        io::ErrorKind::TimedOut
    );
}

#[test]
fn what_comes_in_while_closing_is_kept_up_to_a_bound_and_never_with_a_gap() {
    let (mut stream, mut raw) = server(4 << 20);
    write(&mut raw, &frame(BINARY, &vec![1; 100_000]).repeat(4));
    write(&mut raw, &close_frame(1000));
    block_on(stream.close()).unwrap();
    let (heard, end) = read_all(&mut stream).now_or_never().unwrap();
    assert_eq!(heard.len(), 256 * 1024);
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
}

#[test]
fn what_comes_after_a_breach_is_dropped_until_the_peers_end() {
    let (mut stream, mut raw) = server(1 << 20);
    write(&mut raw, &frame(TEXT, b"not here"));
    read_all(&mut stream).now_or_never().unwrap().1.unwrap_err();
    let mut close = stream.close();
    for _ in 0..40 {
        assert!((&mut close).now_or_never().is_none());
        write(&mut raw, &vec![0; 1 << 18]);
    }
    raw.close().now_or_never().unwrap().unwrap();
    block_on(close).unwrap();
    let told = receive(&mut raw).now_or_never().unwrap();
    assert_eq!(told, (CLOSE, 1003_u16.to_be_bytes().to_vec()));
}

#[test]
fn a_peer_that_sends_on_after_a_breach_is_left_after_128_mib() {
    let (mut stream, mut raw) = server(1 << 20);
    write(&mut raw, &frame(TEXT, b"not here"));
    read_all(&mut stream).now_or_never().unwrap().1.unwrap_err();
    let mut close = stream.close();
    let more = vec![0; 1 << 18];
    let mut sent = 0;
    while (&mut close).now_or_never().is_none() {
        write(&mut raw, &more);
        sent += more.len();
        assert!(sent <= 128 << 20, "{sent} bytes");
    }
    assert_eq!(sent, 128 << 20);
}

#[test]
fn a_peer_that_is_silent_after_a_breach_is_left_after_five_seconds() {
    let clock = VirtualClock::new();
    let (here, mut raw) = pipe(1024);
    let mut stream = over(here, WsRole::Server, &clock, &WsConfig::default());
    write(&mut raw, &frame(TEXT, b"not here"));
    read_all(&mut stream).now_or_never().unwrap().1.unwrap_err();
    let mut close = stream.close();
    assert!((&mut close).now_or_never().is_none());
    clock.advance(Duration::from_millis(4_999));
    assert!((&mut close).now_or_never().is_none());
    clock.advance(Duration::from_millis(1));
    close.now_or_never().unwrap().unwrap();
}

#[test]
fn a_breach_is_told_though_something_written_is_lost() {
    let (mut stream, mut raw) = server(16);
    stream.write_all(&[7; 14]).now_or_never().unwrap().unwrap();
    stream.flush().now_or_never().unwrap().unwrap();
    let written = stream.write(b"never flushed").now_or_never().unwrap();
    assert_eq!(written.unwrap(), 13);
    write(&mut raw, &frame(TEXT, b"no"));
    read_all(&mut stream).now_or_never().unwrap().1.unwrap_err();
    let mut close = stream.close();
    assert!((&mut close).now_or_never().is_none(), "the pipe is full");
    let first = receive(&mut raw).now_or_never().unwrap();
    assert_eq!(first, (BINARY, vec![7; 14]));
    raw.close().now_or_never().unwrap().unwrap();
    let error = close.now_or_never().unwrap().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    let told = receive(&mut raw).now_or_never().unwrap();
    assert_eq!(told, (CLOSE, 1003_u16.to_be_bytes().to_vec()));
}
