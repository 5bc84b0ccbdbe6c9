//! Frames by hand, for peers that keep no rules: written anew from the format, so that a mistake
//! in the crate's own encoder and decoder cannot hide behind the other.

/// The bytes of a frame's body, field by field.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn new(tag: u8) -> Self {
        Self(vec![tag])
    }

    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// A number in as few bytes as it takes: itself, or a mark and 2, 4 or 8 bytes.
    pub(crate) fn number(mut self, number: u64) -> Self {
        match number {
            0..=250 => self.0.push(number as u8),
            251..=0xffff => {
                self.0.push(251);
                self.0.extend((number as u16).to_le_bytes());
            }
            0x1_0000..=0xffff_ffff => {
                self.0.push(252);
                self.0.extend((number as u32).to_le_bytes());
            }
            _ => {
                self.0.push(253);
                self.0.extend(number.to_le_bytes());
            }
        }
        self
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.number(bytes.len() as u64).raw(bytes)
    }

    /// The whole frame: the body behind its length.
    pub(crate) fn frame(self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).expect("a frame's length");
        [&length.to_be_bytes(), &self.0[..]].concat()
    }
}

pub(crate) const END: u8 = 1;
pub(crate) const FINISH: u8 = 2;

pub(crate) fn data(channel: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    Body::new(0)
        .number(channel.into())
        .byte(flags)
        .bytes(payload)
        .frame()
}

pub(crate) fn open(channel: u32) -> Vec<u8> {
    open_with(channel, 64 * 1024, b"test/1")
}

pub(crate) fn open_with(channel: u32, window: u32, protocol: &[u8]) -> Vec<u8> {
    let open = Body::new(1).number(channel.into()).number(window.into());
    open.byte(1).bytes(protocol).frame()
}

pub(crate) fn accept(channel: u32, window: u32) -> Vec<u8> {
    two(2, channel, window).frame()
}

pub(crate) fn credit(channel: u32, bytes: u32) -> Vec<u8> {
    two(3, channel, bytes).frame()
}

pub(crate) fn stop(channel: u32) -> Vec<u8> {
    two(4, channel, 300).frame()
}

pub(crate) fn reset(channel: u32) -> Vec<u8> {
    two(5, channel, 300).bytes(b"over").frame()
}

pub(crate) fn ping(nonce: u64) -> Vec<u8> {
    Body::new(6).number(nonce).frame()
}

pub(crate) fn pong(nonce: u64) -> Vec<u8> {
    Body::new(7).number(nonce).frame()
}

pub(crate) fn go_away(last: u32, code: u32, reason: &[u8]) -> Vec<u8> {
    two(8, last, code).bytes(reason).frame()
}

pub(crate) fn allow(channels: u32) -> Vec<u8> {
    Body::new(10).number(channels.into()).frame()
}

fn two(tag: u8, first: u32, second: u32) -> Body {
    Body::new(tag).number(first.into()).number(second.into())
}

/// What a peer says first.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) magic: [u8; 4],
    pub(crate) versions: [u8; 2],
    pub(crate) max_frame: u32,
    pub(crate) max_channels: u32,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            magic: *b"swir",
            versions: [1, 1],
            max_frame: 65 * 1024,
            max_channels: 128,
        }
    }
}

impl Hello {
    pub(crate) fn frame(&self) -> Vec<u8> {
        let hello = Body::new(9).raw(&self.magic).raw(&self.versions);
        let hello = hello.number(self.max_frame.into()).number(1 << 20);
        let hello = hello.number(self.max_channels.into()).number(45_000);
        // No capabilities, and a tail from the future.
        hello.number(0).bytes(b"ignore me").frame()
    }
}

pub(crate) fn hello() -> Vec<u8> {
    Hello::default().frame()
}

/// What a frame from the other end says, as far as tests ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Data {
        channel: u64,
        flags: u8,
        payload: Vec<u8>,
    },
    Open(u64),
    Accept {
        channel: u64,
        window: u64,
    },
    Credit {
        channel: u64,
        bytes: u64,
    },
    Stop {
        channel: u64,
        code: u64,
    },
    Reset {
        channel: u64,
        code: u64,
        reason: String,
    },
    Ping(u64),
    Pong(u64),
    GoAway {
        last: u64,
        code: u64,
        reason: String,
    },
    Hello,
    Allow(u64),
}

/// Takes all whole frames from the front of `bytes`.
pub(crate) fn take_frames(bytes: &mut Vec<u8>) -> Vec<Heard> {
    let mut heard = Vec::new();
    let mut rest = &bytes[..];
    while let Some((prefix, after)) = rest.split_first_chunk() {
        let Some((body, after)) = after.split_at_checked(u32::from_be_bytes(*prefix) as usize)
        else {
            break;
        };
        heard.push(read(body));
        rest = after;
    }
    *bytes = rest.to_vec();
    heard
}

fn read(body: &[u8]) -> Heard {
    let mut fields = Fields(body);
    match fields.byte() {
        0 => Heard::Data {
            channel: fields.number(),
            flags: fields.byte(),
            payload: fields.bytes(),
        },
        1 => Heard::Open(fields.number()),
        2 => Heard::Accept {
            channel: fields.number(),
            window: fields.number(),
        },
        3 => Heard::Credit {
            channel: fields.number(),
            bytes: fields.number(),
        },
        4 => Heard::Stop {
            channel: fields.number(),
            code: fields.number(),
        },
        5 => Heard::Reset {
            channel: fields.number(),
            code: fields.number(),
            reason: fields.text(),
        },
        6 => Heard::Ping(fields.number()),
        7 => Heard::Pong(fields.number()),
        8 => Heard::GoAway {
            last: fields.number(),
            code: fields.number(),
            reason: fields.text(),
        },
        9 => Heard::Hello,
        10 => Heard::Allow(fields.number()),
        tag => panic!("no frame has the tag {tag}"),
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take(&mut self, count: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    fn number(&mut self) -> u64 {
        let width = match self.byte() {
            251 => 2,
            252 => 4,
            253 => 8,
            small => return small.into(),
        };
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width));
        u64::from_le_bytes(wide)
    }

    fn bytes(&mut self) -> Vec<u8> {
        let length = self.number() as usize;
        self.take(length).to_vec()
    }

    fn text(&mut self) -> String {
        String::from_utf8(self.bytes()).expect("UTF-8")
    }
}
