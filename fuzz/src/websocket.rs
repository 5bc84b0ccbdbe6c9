use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::{AsyncReadExt, FutureExt};
use sessionwire::transport::{WsConfig, WsRole, WsStream, WsText};

/// The bits of the stage: this end is a client;
const CLIENT: u8 = 1;
/// text is taken;
const TEXT: u8 = 2;
/// the peer takes nothing of what it is sent;
const STUCK: u8 = 4;
/// the bytes are made into frames: a first byte, a length, as many bytes of payload;
const FRAMED: u8 = 8;
/// the first half of the bytes came with the handshake.
const EARLY: u8 = 16;

const KEY: [u8; 4] = [7, 77, 177, 211];
const MAX_MESSAGE: u64 = 300;

/// What a peer may send once the handshake is done, and before the connection is lost.
///
/// The first byte sets the stage, the second how the bytes are split. Reading must end, in an error or
/// after a Close, with the same bytes wherever they are split, and send nothing but control frames.
pub fn websocket_bytes(data: &[u8]) {
    let Some(([stage, split], rest)) = data
        .split_first_chunk::<2>()
        .map(|(two, rest)| (*two, rest))
    else {
        return;
    };
    let framed;
    let bytes = if stage & FRAMED == 0 {
        rest
    } else {
        framed = frames(rest, stage & CLIENT == 0);
        &framed
    };
    let whole = run(stage, bytes, usize::MAX, 4096);
    let size = usize::from(split).max(1);
    for buffer in [1, 10, 4096] {
        assert_eq!(run(stage, bytes, size, buffer), whole);
    }
}

/// Reads to the end: the payload, and how it ended.
fn run(stage: u8, bytes: &[u8], size: usize, buffer: usize) -> (Vec<u8>, Result<u16, String>) {
    let role = if stage & CLIENT == 0 {
        WsRole::Server
    } else {
        WsRole::Client
    };
    let mut config = WsConfig::default().max_message(MAX_MESSAGE);
    if stage & TEXT != 0 {
        config = config.text(WsText::Observed { max: 100 });
    }
    let early = if stage & EARLY == 0 {
        0
    } else {
        bytes.len() / 2
    };
    let (early, late) = bytes.split_at(early);
    let peer = Peer {
        bytes: late.to_vec(),
        place: 0,
        size,
        stuck: stage & STUCK != 0,
        sent: Vec::new(),
    };
    let mut stream = WsStream::new(peer, role, Bytes::copy_from_slice(early), &config);
    let mut heard = Vec::new();
    let mut buffer = vec![0; buffer];
    let end = loop {
        match stream.read(&mut buffer).now_or_never() {
            Some(Ok(0)) => break Ok(stream.peer_close().expect("a close").code),
            Some(Ok(count)) => heard.extend_from_slice(&buffer[..count]),
            Some(Err(error)) => break Err(error.to_string()),
            // It lets other tasks run.
            None => {}
        }
    };
    assert!(heard.len() <= bytes.len());
    check_sent(&stream.get_ref().sent, role);
    (heard, end)
}

fn check_sent(mut sent: &[u8], role: WsRole) {
    while let Some(([first, second], rest)) = sent.split_first_chunk() {
        assert!(matches!(first, 0x88 | 0x8a), "{first:#x}");
        assert_eq!(second & 0x80 != 0, role == WsRole::Client);
        let mask = if role == WsRole::Client { 4 } else { 0 };
        let length = usize::from(second & 0x7f);
        assert!(length <= 125);
        sent = rest.get(mask + length..).expect("whole frames");
        assert!(*first == 0x8a || sent.is_empty(), "nothing follows a close");
    }
}

fn frames(mut rest: &[u8], masked: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(([first, length], after)) = rest.split_first_chunk() {
        let (payload, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        bytes.push(*first);
        let bit = if masked { 0x80 } else { 0 };
        match u8::try_from(payload.len()).expect("a byte's worth") {
            length @ 0..126 => bytes.push(bit | length),
            length => bytes.extend([bit | 0x7e, 0, length]),
        }
        if masked {
            bytes.extend(KEY);
        }
        let key = if masked { KEY } else { [0; 4] };
        let key = key.iter().cycle();
        bytes.extend(payload.iter().zip(key).map(|(byte, key)| byte ^ key));
    }
    bytes
}

/// Has sent it all, in reads of `size`, and goes.
struct Peer {
    bytes: Vec<u8>,
    place: usize,
    size: usize,
    stuck: bool,
    sent: Vec<u8>,
}

impl futures::AsyncRead for Peer {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let rest = &self.bytes[self.place..];
        let count = rest.len().min(buffer.len()).min(self.size);
        buffer[..count].copy_from_slice(&rest[..count]);
        self.place += count;
        Poll::Ready(Ok(count))
    }
}

impl futures::AsyncWrite for Peer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.stuck {
            return Poll::Pending;
        }
        self.sent.extend_from_slice(buffer);
        Poll::Ready(Ok(buffer.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
