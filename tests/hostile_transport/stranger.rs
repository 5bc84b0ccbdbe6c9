//! A client that says what the test wants, byte by byte.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// How long an answer may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(45);

pub(crate) const BINARY: u8 = 0x82;
pub(crate) const FIRST_FRAGMENT: u8 = 0x02;
pub(crate) const FRAGMENT: u8 = 0x00;
pub(crate) const LAST_FRAGMENT: u8 = 0x80;
pub(crate) const PING: u8 = 0x89;
pub(crate) const PONG: u8 = 0x8a;
const CLOSE: u8 = 0x88;

pub(crate) const REQUEST: &str = "GET /wire HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[derive(Debug)]
pub(crate) struct Stranger {
    socket: TcpStream,
}

/// What the server says within a WebSocket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Data(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
    Nothing,
}

impl Stranger {
    pub(crate) fn connect(address: &str) -> Self {
        let socket = TcpStream::connect(address).expect("to connect");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        socket.set_write_timeout(Some(PATIENCE)).expect("a socket");
        socket.set_nodelay(true).expect("a socket");
        Self { socket }
    }

    /// A WebSocket, its handshake done.
    pub(crate) fn upgraded(address: &str) -> Self {
        let mut stranger = Self::connect(address);
        stranger.must_say(format!("{REQUEST}\r\n").as_bytes());
        let answer = stranger.hear_head();
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        stranger
    }

    /// Fails when the server has closed.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    pub(crate) fn must_say(&mut self, bytes: &[u8]) {
        self.say(bytes).expect("the server takes it");
    }

    pub(crate) fn finish(&self) {
        // It may have been closed from the other side.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// An HTTP answer's status line and headers; less if the server closes before.
    pub(crate) fn hear_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.exactly::<1>() {
                Some(byte) => head.extend(byte),
                None => break,
            }
        }
        String::from_utf8(head).expect("text")
    }

    /// The next frame, or nothing after the end of the stream, however that ended.
    pub(crate) fn hear(&mut self) -> Said {
        let Some([first, length]) = self.exactly() else {
            return Said::Nothing;
        };
        let length = match length {
            126 => self.exactly().map(|bytes| u16::from_be_bytes(bytes).into()),
            127 => self.exactly().map(u64::from_be_bytes),
            length => Some(length.into()),
        };
        let mut payload = vec![0; length.expect("a whole frame") as usize];
        self.socket.read_exact(&mut payload).expect("a whole frame");
        match first {
            BINARY => Said::Data(payload),
            PONG => Said::Pong(payload),
            CLOSE => Said::Close(payload.first_chunk().copied().map(u16::from_be_bytes)),
            _ => panic!("a frame of {first:x}"),
        }
    }

    /// The code of the server's Close, whatever came before it.
    pub(crate) fn hear_close(&mut self) -> Option<u16> {
        loop {
            match self.hear() {
                Said::Close(code) => return code,
                Said::Nothing => return None,
                Said::Data(_) | Said::Pong(_) => {}
            }
        }
    }

    /// Reads until the server has closed the connection.
    pub(crate) fn hear_the_end(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
                    return;
                }
            }
        }
    }

    /// Nothing at the end of the stream.
    fn exactly<const COUNT: usize>(&mut self) -> Option<[u8; COUNT]> {
        let mut bytes = [0; COUNT];
        match self.socket.read_exact(&mut bytes) {
            Ok(()) => Some(bytes),
            Err(error) => {
                let ended = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
                assert!(ended.contains(&error.kind()), "{error}");
                None
            }
        }
    }
}

/// A frame as clients send it: masked, here by zeros.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, payload.len() as u64)[..], payload].concat()
}

/// The beginning of a frame that claims to have a payload of `length`.
pub(crate) fn header(first: u8, length: u64) -> Vec<u8> {
    let mut header = vec![first];
    match length {
        0..=125 => header.push(0x80 | length as u8),
        126..=0xffff => {
            header.push(0x80 | 0x7e);
            header.extend((length as u16).to_be_bytes());
        }
        _ => {
            header.push(0x80 | 0x7f);
            header.extend(length.to_be_bytes());
        }
    }
    header.extend([0; 4]);
    header
}
