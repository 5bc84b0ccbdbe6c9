//! One end is the stream under test, the other writes and reads raw frames by hand.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::{AsyncRead, AsyncReadExt, AsyncWriteExt, FutureExt, future};

use super::{WsConfig, WsRole, WsStream};
use crate::runtime::VirtualClock;
use crate::transport::{MemoryStream, pipe};

mod closing;
mod conformance;
mod events;
mod hostile;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

type Ws = WsStream<MemoryStream>;

fn over(stream: MemoryStream, role: WsRole, clock: &VirtualClock, config: &WsConfig) -> Ws {
    let runtime = Arc::new(clock.clone());
    WsStream::with_runtime(stream, role, Bytes::new(), config, runtime)
}

/// A server, and the raw end of its client.
fn server(capacity: usize) -> (Ws, MemoryStream) {
    server_with(capacity, &WsConfig::default())
}

fn server_with(capacity: usize, config: &WsConfig) -> (Ws, MemoryStream) {
    let (here, there) = pipe(capacity);
    (
        over(here, WsRole::Server, &VirtualClock::new(), config),
        there,
    )
}

fn both(capacity: usize, clock: &VirtualClock) -> (Ws, Ws) {
    let (here, there) = pipe(capacity);
    let config = WsConfig::default();
    (
        over(here, WsRole::Client, clock, &config),
        over(there, WsRole::Server, clock, &config),
    )
}

/// A masked frame, as clients send them.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    part(0x80 | opcode, payload)
}

fn part(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    if let Ok(length @ 0..126) = u8::try_from(payload.len()) {
        frame.push(0x80 | length);
    } else if let Ok(length) = u16::try_from(payload.len()) {
        frame.push(0x80 | 0x7e);
        frame.extend(length.to_be_bytes());
    } else {
        frame.push(0x80 | 0x7f);
        frame.extend(u64::try_from(payload.len()).unwrap().to_be_bytes());
    }
    let mask = [7, 77, 177, 211];
    frame.extend(mask);
    frame.extend(
        payload
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask),
    );
    frame
}

fn close_frame(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

/// The next frame that the server sent: its opcode and payload.
async fn receive(raw: &mut (impl AsyncRead + Unpin)) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    raw.read_exact(&mut head).await.unwrap();
    assert_eq!(
        head[0] & 0xf0,
        0x80,
        "whole messages only, and no reserved bits"
    );
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            raw.read_exact(&mut length).await.unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        127 => {
            let mut length = [0; 8];
            raw.read_exact(&mut length).await.unwrap();
            usize::try_from(u64::from_be_bytes(length)).unwrap()
        }
        length => usize::from(length),
    };
    let mut payload = vec![0; length];
    raw.read_exact(&mut payload).await.unwrap();
    (head[0] & 0x0f, payload)
}

async fn read_all(stream: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, io::Result<()>) {
    let mut heard = Vec::new();
    let mut buffer = vec![0; 10_000];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return (heard, Ok(())),
            Ok(count) => heard.extend_from_slice(&buffer[..count]),
            Err(error) => return (heard, Err(error)),
        }
    }
}

fn write(raw: &mut MemoryStream, bytes: &[u8]) {
    raw.write_all(bytes)
        .now_or_never()
        .expect("the pipe is large enough")
        .unwrap();
}

#[test]
fn control_frames_and_empty_messages_between_data_are_no_data() {
    block_on(async {
        let (mut stream, mut raw) = server(1 << 20);
        for part in [
            frame(PING, b""),
            frame(BINARY, b""),
            frame(BINARY, b"ab"),
            frame(PING, b"you?"),
            frame(PONG, b"unasked"),
            frame(BINARY, b""),
            part(BINARY, b"c"),
            frame(PING, b"within"),
            part(0, b""),
            part(0x80, b"d"),
            frame(BINARY, &vec![b'e'; 70_000]),
            close_frame(1000),
        ] {
            write(&mut raw, &part);
        }
        let (heard, end) = read_all(&mut stream).await;
        end.unwrap();
        assert_eq!(heard.len(), 70_004);
        assert_eq!(&heard[..5], b"abcde");
        let latest = (PONG, b"within".to_vec());
        assert_eq!(receive(&mut raw).await, latest, "of those read at once");
        assert_eq!(
            receive(&mut raw).await,
            (CLOSE, 1000_u16.to_be_bytes().to_vec())
        );
    });
}

#[test]
fn a_million_pings_in_one_burst_are_answered_on_a_small_stack() {
    let run = || {
        let (mut stream, mut raw) = server(1 << 20);
        let mut burst = frame(PING, b"").repeat(1_000_000);
        burst.extend(frame(PING, b"last"));
        burst.extend(frame(BINARY, b"after"));
        let (mut reader, mut writer) = (&mut raw).split();
        let flood = async { writer.write_all(&burst).await.unwrap() };
        let read = async { stream.read(&mut [0; 16]).await.unwrap() };
        let answers = async {
            let mut pongs = 1;
            while receive(&mut reader).await != (PONG, b"last".to_vec()) {
                pongs += 1;
            }
            pongs
        };
        let ((), count, pongs) = block_on(future::join3(flood, read, answers));
        assert_eq!(count, 5);
        assert!((2..100_000).contains(&pongs), "{pongs}: one for each read");
    };
    let thread = std::thread::Builder::new()
        .stack_size(256 * 1024)
        .spawn(run)
        .unwrap();
    thread.join().unwrap();
}

#[test]
fn pings_of_a_peer_that_reads_no_pongs_take_bounded_memory_and_stop_nothing() {
    block_on(async {
        let (mut stream, mut raw) = server(64 * 1024);
        let write = async {
            for _ in 0..10_000 {
                raw.write_all(&frame(PING, &[0; 125])).await.unwrap();
            }
            raw.write_all(&frame(BINARY, b"after")).await.unwrap();
            raw
        };
        let read = async {
            let count = stream.read(&mut [0; 16]).await.unwrap();
            (stream, count)
        };
        let (mut raw, (mut stream, count)) = future::join(write, read).await;
        assert_eq!(count, 5);
        let send = async {
            stream.write_all(&vec![1; 100_000]).await.unwrap();
            stream.flush().await.unwrap();
        };
        let receive = async {
            let (mut pongs, mut bytes) = (0, 0);
            while bytes < 100_000 {
                match receive(&mut raw).await {
                    (PONG, _) => pongs += 1,
                    (opcode, payload) => {
                        assert_eq!(opcode, BINARY);
                        bytes += payload.len();
                    }
                }
            }
            pongs
        };
        let ((), pongs) = future::join(send, receive).await;
        assert!((2..2_000).contains(&pongs), "{pongs} pongs were kept");
    });
}

#[test]
fn empty_fragments_without_end_let_other_tasks_run() {
    let (mut stream, mut raw) = server(4 << 20);
    write(&mut raw, &part(BINARY, b""));
    write(&mut raw, &part(0, b"").repeat(500_000));
    let mut polls = 0;
    while stream.get_ref().readable() > 0 {
        assert!(stream.read(&mut [0]).now_or_never().is_none());
        polls += 1;
    }
    assert!(
        (2..20).contains(&polls),
        "{polls} polls for 3 MB at 16 KiB each"
    );
}

#[test]
fn every_breach_is_invalid_data_and_the_peer_is_told() {
    let mut unmasked = frame(BINARY, b"");
    unmasked[1] = 1;
    unmasked.truncate(2);
    unmasked.push(0);
    let most = 1000;
    let config = WsConfig::default().max_message(1000);
    let table = [
        (frame(TEXT, b"hello"), 1003),
        (frame(TEXT, b""), 1003),
        (frame(TEXT, b"\xff"), 1003),
        (frame(BINARY, &vec![0; most + 1]), 1009),
        (
            [part(BINARY, &vec![0; most]), part(0x80, b"1")].concat(),
            1009,
        ),
        (unmasked, 1002),
        (part(0xc0 | BINARY, b"reserved bit"), 1002),
        (frame(3, b"unknown"), 1002),
        (frame(PING, &[0; 126]), 1002),
        (part(0x80, b"nothing to continue"), 1002),
    ];
    for (bytes, code) in table {
        let (mut stream, mut raw) = server_with(4 << 20, &config);
        write(&mut raw, &frame(BINARY, b"good"));
        write(&mut raw, &bytes);
        let (heard, end) = read_all(&mut stream).now_or_never().unwrap();
        assert_eq!(&heard[..4], b"good", "{code}");
        let error = end.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{code}: {error}");
        let told = receive(&mut raw).now_or_never().unwrap();
        assert_eq!(told, (CLOSE, u16::to_be_bytes(code).to_vec()));
        let again = stream.read(&mut [0]).now_or_never().unwrap().unwrap_err();
        assert_eq!(again.to_string(), error.to_string(), "it stays failed");
        let write = stream.write(b"x").now_or_never().unwrap().unwrap_err();
        assert_eq!(write.kind(), io::ErrorKind::BrokenPipe);
        let mut close = stream.close();
        assert!((&mut close).now_or_never().is_none(), "it may send on");
        assert_eq!(raw.read(&mut [0]).now_or_never().unwrap().unwrap(), 0);
        raw.close().now_or_never().unwrap().unwrap();
        close.now_or_never().expect("no more can come").unwrap();
    }
}

#[test]
fn the_largest_message_still_passes() {
    let most = 1000;
    let (mut stream, mut raw) = server_with(4 << 20, &WsConfig::default().max_message(1000));
    write(&mut raw, &frame(BINARY, &vec![5; most]));
    write(&mut raw, &part(BINARY, &vec![5; most - 1]));
    write(&mut raw, &part(0x80, &[5]));
    write(&mut raw, &close_frame(1000));
    let (heard, end) = block_on(read_all(&mut stream));
    end.unwrap();
    assert!(heard == vec![5; 2 * most]);
}

#[test]
fn where_the_pipe_cuts_the_bytes_makes_no_difference() {
    let bytes = [
        frame(BINARY, b"one"),
        frame(PING, b"p"),
        part(BINARY, b"tw"),
        part(0x80, b"o"),
        frame(BINARY, &[b'3'; 130]),
        close_frame(1000),
    ]
    .concat();
    for cut in 0..=bytes.len() {
        let (mut stream, mut raw) = server(1024);
        let mut heard = Vec::new();
        let (first, second) = bytes.split_at(cut);
        for half in [first, second] {
            write(&mut raw, half);
            let mut buffer = [0; 7];
            while let Some(count) = stream.read(&mut buffer).now_or_never() {
                match count.unwrap() {
                    0 => break,
                    count => heard.extend_from_slice(&buffer[..count]),
                }
            }
        }
        assert_eq!(
            heard,
            [b"onetwo".as_slice(), &[b'3'; 130]].concat(),
            "cut at {cut}"
        );
        assert_eq!(stream.read(&mut [0]).now_or_never().unwrap().unwrap(), 0);
    }
}

#[test]
fn writes_are_collected_until_the_flush_and_no_message_is_above_64_kib() {
    let (mut stream, mut raw) = server(1 << 20);
    for _ in 0..100 {
        stream
            .write_all(b"0123456789")
            .now_or_never()
            .unwrap()
            .unwrap();
    }
    assert!(
        raw.read(&mut [0]).now_or_never().is_none(),
        "nothing leaves before the flush"
    );
    stream.flush().now_or_never().unwrap().unwrap();
    assert_eq!(
        receive(&mut raw).now_or_never().unwrap(),
        (BINARY, b"0123456789".repeat(100))
    );

    stream
        .write_all(&vec![1; 65_535])
        .now_or_never()
        .unwrap()
        .unwrap();
    assert!(raw.read(&mut [0]).now_or_never().is_none());
    stream
        .write_all(&vec![2; 100_000])
        .now_or_never()
        .unwrap()
        .unwrap();
    stream.flush().now_or_never().unwrap().unwrap();
    let lengths: Vec<_> = (0..3)
        .map(|_| receive(&mut raw).now_or_never().unwrap().1.len())
        .collect();
    assert_eq!(lengths, [65_536, 65_536, 34_463]);
    stream.flush().now_or_never().unwrap().unwrap();
    assert!(
        raw.read(&mut [0]).now_or_never().is_none(),
        "an empty flush sends nothing"
    );
}

#[test]
fn a_vectored_write_gathers_into_one_message() {
    let (mut stream, mut raw) = server(1 << 20);
    let body = vec![9; 70_000];
    let parts = [
        io::IoSlice::new(b""),
        io::IoSlice::new(b"head"),
        io::IoSlice::new(&body),
    ];
    let written = stream
        .write_vectored(&parts)
        .now_or_never()
        .unwrap()
        .unwrap();
    assert_eq!(written, 70_004);
    stream.flush().now_or_never().unwrap().unwrap();
    let (opcode, payload) = receive(&mut raw).now_or_never().unwrap();
    assert_eq!(
        (opcode, payload.len(), &payload[..5]),
        (BINARY, 65_536, &b"head\x09"[..])
    );
    let rest = receive(&mut raw).now_or_never().unwrap();
    assert_eq!(rest, (BINARY, vec![9; 4468]));
}

#[test]
fn several_small_messages_fill_one_read() {
    let (mut stream, mut raw) = server(1 << 20);
    write(&mut raw, &frame(BINARY, b"0123456789").repeat(100));
    let count = stream
        .read(&mut [0; 10_000])
        .now_or_never()
        .unwrap()
        .unwrap();
    assert_eq!(count, 1000);
    assert!(stream.read(&mut [0]).now_or_never().is_none());
}
