//! The other end is tungstenite itself, or the byte stream that others make of it.

use async_tungstenite::WebSocketStream;
use async_tungstenite::tungstenite::protocol::frame::Frame;
use async_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use async_tungstenite::tungstenite::protocol::{CloseFrame, Message, Role};
use futures::{SinkExt, StreamExt};
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::runtime::{Runtime, Task};

/// What one end does next.
#[derive(Clone, Debug)]
enum Step {
    Write(usize),
    /// One message, in so many frames.
    Fragments(usize, u8),
    Flush,
    Ping,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let size = prop_oneof![0_usize..200, 65_530_usize..65_550, 0_usize..200_000];
    let step = prop_oneof![
        4 => size.prop_map(Step::Write),
        1 => (0_usize..3000, 1_u8..6).prop_map(|(size, parts)| Step::Fragments(size, parts)),
        2 => Just(Step::Flush),
        1 => Just(Step::Ping),
    ];
    proptest::collection::vec(step, 0..12)
}

/// The bytes from `place` on of what every end sends.
fn bytes(place: usize, count: usize) -> Vec<u8> {
    (place..place + count)
        .map(|place| u8::try_from(place % 251).unwrap())
        .collect()
}

fn total(steps: &[Step]) -> usize {
    let sizes = steps.iter().map(|step| match step {
        Step::Write(size) | Step::Fragments(size, _) => *size,
        Step::Flush | Step::Ping => 0,
    });
    sizes.sum()
}

/// Ours writes and reads on two tasks.
fn ours(stream: Ws, steps: Vec<Step>, expected: usize, buffer: usize) -> [Task; 2] {
    let (mut reader, mut writer) = stream.split();
    let write = async move {
        let mut place = 0;
        for step in steps {
            match step {
                Step::Write(size) | Step::Fragments(size, _) => {
                    writer.write_all(&bytes(place, size)).await.unwrap();
                    place += size;
                }
                Step::Flush | Step::Ping => writer.flush().await.unwrap(),
            }
        }
        writer.flush().await.unwrap();
        writer
    };
    let (sender, receiver) = futures::channel::oneshot::channel();
    let read = async move {
        let mut heard = Vec::new();
        let mut buffer = vec![0; buffer];
        while heard.len() < expected {
            let count = reader.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0);
            heard.extend_from_slice(&buffer[..count]);
        }
        assert!(heard == bytes(0, expected), "what was sent, in order");
        sender.send(()).unwrap();
        assert_eq!(reader.read(&mut buffer).await.unwrap(), 0);
    };
    let write = async move {
        let mut writer = write.await;
        receiver.await.unwrap();
        writer.close().await.unwrap();
    };
    [Box::pin(read), Box::pin(write)]
}

/// Tungstenite writes and reads on two tasks, and answers our Close.
fn theirs(socket: WebSocketStream<MemoryStream>, steps: Vec<Step>, expected: usize) -> [Task; 2] {
    let (mut sink, mut stream) = socket.split();
    let write = async move {
        let mut place = 0;
        for step in steps {
            match step {
                Step::Write(size) => {
                    let message = Message::Binary(bytes(place, size).into());
                    sink.send(message).await.unwrap();
                    place += size;
                }
                Step::Fragments(size, parts) => {
                    let whole = bytes(place, size);
                    let parts = usize::from(parts);
                    for number in 0..parts {
                        let part = &whole[size * number / parts..size * (number + 1) / parts];
                        let opcode = if number == 0 {
                            Data::Binary
                        } else {
                            Data::Continue
                        };
                        let is_last = number + 1 == parts;
                        let frame = Frame::message(part.to_vec(), OpCode::Data(opcode), is_last);
                        sink.send(Message::Frame(frame)).await.unwrap();
                        sink.send(Message::Ping(vec![7; number].into()))
                            .await
                            .unwrap();
                    }
                    place += size;
                }
                Step::Flush => sink.flush().await.unwrap(),
                Step::Ping => sink.send(Message::Ping(vec![9].into())).await.unwrap(),
            }
        }
    };
    let read = async move {
        let mut heard = Vec::new();
        let mut close = None;
        while let Some(message) = stream.next().await {
            match message.unwrap() {
                Message::Binary(bytes) => {
                    assert!((1..=65_536).contains(&bytes.len()));
                    heard.extend_from_slice(&bytes);
                }
                Message::Close(frame) => close = frame,
                Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!(heard == bytes(0, expected), "what was sent, in order");
        let normal = CloseFrame {
            code: CloseCode::Normal,
            reason: "".into(),
        };
        assert_eq!(close, Some(normal));
    };
    [Box::pin(read), Box::pin(write)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tungstenite_and_this_understand_each_other(
        here in steps(),
        there in steps(),
        capacity in prop_oneof![1_usize..300, 60_000_usize..300_000],
        buffer in prop_oneof![1_usize..2000, Just(100_000_usize)],
        we_are_the_client in any::<bool>(),
    ) {
        let clock = VirtualClock::new();
        let (one, other) = pipe(capacity);
        let (role, role_of_other) = if we_are_the_client {
            (WsRole::Client, Role::Server)
        } else {
            (WsRole::Server, Role::Client)
        };
        let stream = over(one, role, &clock, &WsConfig::default());
        let socket = WebSocketStream::from_raw_socket(other, role_of_other, None);
        let socket = socket.now_or_never().unwrap();
        let (sent, received) = (total(&here), total(&there));
        for task in ours(stream, here, received, buffer) {
            clock.spawn(task);
        }
        for task in theirs(socket, there, sent) {
            clock.spawn(task);
        }
        prop_assert_eq!(clock.run_until_stalled(), 0, "somebody was not woken");
    }

    #[test]
    fn any_bytes_at_all_end_without_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        cut in any::<Index>(),
        role in prop_oneof![Just(WsRole::Client), Just(WsRole::Server)],
    ) {
        let (here, mut raw) = pipe(1024);
        let mut stream = over(here, role, &VirtualClock::new(), &WsConfig::default());
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        let mut buffer = [0; 100];
        for part in [first, second] {
            write(&mut raw, part);
            while let Some(Ok(1..)) = stream.read(&mut buffer).now_or_never() {}
        }
        raw.close().now_or_never().unwrap().unwrap();
        let (_, end) = read_all(&mut stream).now_or_never().unwrap();
        prop_assert!(end.is_err() || stream.peer_close().is_some());
        prop_assert!(stream.close().now_or_never().is_some());
    }
}

#[test]
fn the_byte_stream_of_others_understands_this() {
    use async_tungstenite_029::WebSocketStream;
    use async_tungstenite_029::tungstenite::protocol::Role;
    for (role, role_of_other) in [
        (WsRole::Client, Role::Server),
        (WsRole::Server, Role::Client),
    ] {
        let (here, there) = pipe(5000);
        let mut stream = over(here, role, &VirtualClock::new(), &WsConfig::default());
        block_on(async {
            let socket = WebSocketStream::from_raw_socket(there, role_of_other, None).await;
            let (mut reader, mut writer) = ws_stream_tungstenite::WsStream::new(socket).split();
            let size = 500_000;
            let ours = async {
                let (mut reader, mut writer) = (&mut stream).split();
                let write = async {
                    for number in 0..5 {
                        let part = bytes(size / 5 * number, size / 5);
                        writer.write_all(&part).await.unwrap();
                    }
                    writer.flush().await.unwrap();
                };
                let mut heard = vec![0; size];
                future::join(write, reader.read_exact(&mut heard))
                    .await
                    .1
                    .unwrap();
                assert!(heard == bytes(0, size));
            };
            let theirs = async {
                let write = async {
                    writer.write_all(&bytes(0, size)).await.unwrap();
                    writer.flush().await.unwrap();
                };
                let mut heard = vec![0; size];
                future::join(write, reader.read_exact(&mut heard))
                    .await
                    .1
                    .unwrap();
                assert!(heard == bytes(0, size));
            };
            future::join(ours, theirs).await;
            let (closed, end) = future::join(stream.close(), read_all(&mut reader)).await;
            closed.unwrap();
            assert_eq!(end.0, b"");
            end.1.unwrap();
        });
    }
}
