//! What a peer may do to hold up, exhaust or mislead this end.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::AsyncWrite;

use super::*;

/// A peer that sends one thing over and over and, if it is stuck, takes nothing.
struct Flood {
    /// Some of it.
    sample: Vec<u8>,
    place: usize,
    left: usize,
    stuck: bool,
    /// It is silent afterwards, instead of gone.
    stays: bool,
}

impl Flood {
    fn new(repeated: &[u8], times: usize) -> Self {
        Self {
            sample: repeated.repeat(100_000 / repeated.len() + 1),
            place: 0,
            left: repeated.len() * times,
            stuck: false,
            stays: false,
        }
    }

    fn below(self, role: WsRole, received: &[u8]) -> WsStream<Self> {
        let received = Bytes::copy_from_slice(received);
        WsStream::new(self, role, received, &WsConfig::default())
    }
}

impl AsyncRead for Flood {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.left == 0 && this.stays {
            return Poll::Pending;
        }
        let rest = &this.sample[this.place..];
        let count = rest.len().min(buffer.len()).min(this.left);
        buffer[..count].copy_from_slice(&rest[..count]);
        this.left -= count;
        this.place = (this.place + count) % this.sample.len();
        Poll::Ready(Ok(count))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.stuck {
            Poll::Pending
        } else {
            Poll::Ready(Ok(buffer.len()))
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Reads to the end: how much payload came, in how many polls, and the most memory held meanwhile.
fn endure(mut stream: WsStream<Flood>, buffer: usize) -> (usize, usize, u64) {
    let (mut payload, mut polls) = (0, 0);
    let mut buffer = vec![0; buffer];
    let measured = allocation_counter::measure(|| {
        loop {
            polls += 1;
            match stream.read(&mut buffer).now_or_never() {
                None => {}
                Some(Ok(count)) => payload += count,
                Some(Err(error)) => {
                    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    break;
                }
            }
        }
    });
    (payload, polls, measured.bytes_max)
}

#[test]
fn a_million_frames_of_any_kind_hold_no_memory_and_let_other_tasks_run() {
    let run = || {
        let million = 1_000_000;
        let few = 20_000;
        let begun = part(BINARY, b"");
        let inside = [part(0, b""), frame(PING, b"inside")].concat();
        let rows = [
            ("empty pings", &[][..], frame(PING, b""), 0),
            ("long pings", &[], frame(PING, &[7; 125]), 0),
            ("pongs", &[], frame(PONG, b"unasked"), 0),
            ("empty messages", &[], frame(BINARY, b""), 0),
            ("one-byte messages", &[], frame(BINARY, b"x"), 1),
            ("empty fragments", &begun, part(0, b""), 0),
            ("one-byte fragments", &begun, part(0, b"x"), 1),
            ("pings between fragments", &begun, inside, 0),
        ];
        for (name, first, repeated, payload_each) in rows {
            for (times, buffer, stuck) in [
                (few, 16, false),
                (few, 100_000, false),
                (million, 100_000, true),
            ] {
                let mut flood = Flood::new(&repeated, times);
                flood.stuck = stuck;
                let stream = flood.below(WsRole::Server, first);
                let (payload, polls, memory) = endure(stream, buffer);
                assert_eq!(payload, payload_each * times, "{name}");
                let sent = repeated.len() * times;
                assert!(polls > sent / 1_000_000, "{name}: {polls} polls");
                assert!(memory < 100_000, "{name}: {memory} bytes");
            }
        }
    };
    let small = std::thread::Builder::new().stack_size(256 * 1024);
    small.spawn(run).unwrap().join().unwrap();
}

#[test]
fn a_claim_of_2_to_the_63_holds_only_what_has_come() {
    let config = WsConfig::default().max_message(u64::MAX);
    let (mut stream, mut raw) = server_with(1024, &config);
    let mut claim = vec![0x80 | BINARY, 0x80 | 0x7f];
    claim.extend((u64::MAX / 2).to_be_bytes());
    claim.extend([0; 4]);
    claim.extend(b"so far");
    write(&mut raw, &claim);
    let mut buffer = [0; 10_000];
    let measured = allocation_counter::measure(|| {
        let count = stream.read(&mut buffer).now_or_never().unwrap().unwrap();
        assert_eq!(&buffer[..count], b"so far");
        assert!(stream.read(&mut buffer).now_or_never().is_none());
    });
    assert!(measured.bytes_max < 1024, "{measured:?}");
    drop(raw);
    let error = stream
        .read(&mut buffer)
        .now_or_never()
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_peer_that_never_reads_stops_the_writer_at_a_batch() {
    for role in [WsRole::Client, WsRole::Server] {
        let (here, _there) = pipe(1);
        let mut stream = over(here, role, &VirtualClock::new(), &WsConfig::default());
        let piece = [0; 10_000];
        let mut accepted = 0;
        let measured = allocation_counter::measure(|| {
            while let Some(count) = stream.write(&piece).now_or_never() {
                accepted += count.unwrap();
            }
        });
        assert!(stream.flush().now_or_never().is_none());
        assert!((262_144..=327_680).contains(&accepted), "{accepted}");
        assert!(measured.bytes_max < 700_000, "{measured:?}");
    }
}

#[test]
fn an_idle_stream_holds_less_than_a_kilobyte() {
    for role in [WsRole::Client, WsRole::Server] {
        let message = match role {
            WsRole::Client => [vec![0x80 | BINARY, 0x7e, 0xff, 0xff], vec![7; 0xffff]].concat(),
            WsRole::Server => frame(BINARY, &vec![7; 0xffff]),
        };
        let mut buffer = vec![0; 100_000];
        let mut flood = Flood::new(&message, 10);
        flood.stays = true;
        let mut kept = None;
        let measured = allocation_counter::measure(|| {
            let mut stream = flood.below(role, b"");
            for size in [10, 1000, 100_000] {
                let piece = &mut buffer[..size];
                let mut heard = 0;
                while let Some(count) = stream.read(piece).now_or_never() {
                    heard += count.unwrap();
                }
                assert_eq!(heard, 10 * 0xffff);
                stream.stream.left = message.len() * 10;
                stream.ping(b"there?").unwrap();
                stream.write_all(piece).now_or_never().unwrap().unwrap();
                stream.flush().now_or_never().unwrap().unwrap();
            }
            let little = stream.read(&mut buffer[..10]).now_or_never();
            assert_eq!(little.unwrap().unwrap(), 10);
            while let Some(count) = stream.read(&mut buffer).now_or_never() {
                count.unwrap();
            }
            kept = Some(stream);
        });
        let heap = usize::try_from(measured.bytes_current).unwrap();
        let own = size_of_val(&kept) - size_of::<Flood>();
        assert!(heap + own < 1024, "{role:?}: {heap} + {own} bytes");
    }
}

#[test]
fn what_came_behind_the_handshake_is_read_first() {
    let (here, mut raw) = pipe(1024);
    let early = frame(BINARY, b"early ");
    let (before, after) = early.split_at(7);
    write(&mut raw, after);
    write(&mut raw, &frame(BINARY, b"late"));
    write(&mut raw, &close_frame(1000));
    let received = Bytes::copy_from_slice(before);
    let mut stream = WsStream::new(here, WsRole::Server, received, &WsConfig::default());
    let (heard, end) = read_all(&mut stream).now_or_never().unwrap();
    end.unwrap();
    assert_eq!(heard, b"early late");
}
