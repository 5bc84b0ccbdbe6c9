use std::io::Cursor;

use async_tungstenite::tungstenite::protocol::frame::FrameHeader;
use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::{Breach, MAX_CONTROL, MAX_HEADER, Mask, WsClose, WsRole};

/// Bytes that are moved and unmasked at once, in registers; a multiple of a mask's length.
const BLOCK: usize = 64;

/// What comes in beside the payload of binary messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport::websocket) enum Heard<'a> {
    Ping(&'a [u8]),
    Pong(&'a [u8]),
    Text(&'a str),
}

/// After this nothing more is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::transport::websocket) enum End {
    Close(WsClose),
    Breach(Breach),
}

/// Where a peer's bytes are in their frames. It holds at most one header, the payload of one
/// control frame, and a text as far as that is wanted.
#[derive(Debug)]
pub(in crate::transport::websocket) struct Receiver {
    role: WsRole,
    max_message: u64,
    /// Bytes of the longest text; without it there must be none.
    max_text: Option<u64>,
    /// The beginning of a header.
    header: [u8; MAX_HEADER],
    header_length: usize,
    /// The frame whose payload is coming in.
    frame: Option<Frame>,
    /// The message that a continuation continues.
    message: Option<Message>,
    control: Vec<u8>,
    text: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    content: Content,
    is_last: bool,
    left: u64,
    mask: Option<Mask>,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    content: Content,
    length: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Binary,
    Text,
    Ping,
    Pong,
    Close,
}

impl Receiver {
    pub(in crate::transport::websocket) fn new(
        role: WsRole,
        max_message: u64,
        max_text: Option<u64>,
    ) -> Self {
        Self {
            role,
            max_message,
            max_text,
            header: [0; MAX_HEADER],
            header_length: 0,
            frame: None,
            message: None,
            control: Vec::new(),
            text: Vec::new(),
        }
    }

    /// Takes the next bytes of the peer and leaves at their beginning what is payload of binary
    /// messages: how much, and how it ends, if it does.
    ///
    /// After an end it must not be asked again.
    pub(in crate::transport::websocket) fn unframe(
        &mut self,
        bytes: &mut [u8],
        mut hear: impl FnMut(Heard<'_>),
    ) -> (usize, Option<End>) {
        let (mut from, mut to): (usize, usize) = (0, 0);
        loop {
            let Some(frame) = &mut self.frame else {
                let rest = bytes.get(from..).unwrap_or_default();
                match self.take_header(rest) {
                    Ok(Some(taken)) => from = from.saturating_add(taken),
                    Ok(None) => return (to, None),
                    Err(breach) => return (to, Some(End::Breach(breach))),
                }
                continue;
            };
            let there = bytes.len().saturating_sub(from);
            let part = usize::try_from(frame.left).map_or(there, |left| left.min(there));
            if frame.content == Content::Binary {
                slide(bytes, from, to, part, frame.mask);
                to = to.saturating_add(part);
            } else if let Some(part) = bytes.get_mut(from..from.saturating_add(part)) {
                if let Some(mask) = frame.mask {
                    mask.apply(part);
                }
                let kept = match frame.content {
                    Content::Text => &mut self.text,
                    _ => &mut self.control,
                };
                kept.extend_from_slice(part);
            }
            from = from.saturating_add(part);
            frame.left = frame.left.saturating_sub(part as u64);
            frame.mask = frame.mask.map(|mask| mask.turned(part));
            if frame.left > 0 {
                return (to, None);
            }
            if let Err(end) = self.finish_frame(&mut hear) {
                return (to, Some(end));
            }
        }
    }

    /// How many of `bytes` complete a header. If there are not enough of them, all are kept.
    fn take_header(&mut self, bytes: &[u8]) -> Result<Option<usize>, Breach> {
        let kept = self.header_length;
        if kept == 0
            && let Some(taken) = self.begin(bytes)?
        {
            return Ok(Some(taken));
        }
        let room = self.header.get_mut(kept..).unwrap_or_default();
        for (kept, byte) in room.iter_mut().zip(bytes) {
            *kept = *byte;
            self.header_length = self.header_length.saturating_add(1);
        }
        let header = self.header;
        let taken = self.begin(header.get(..self.header_length).unwrap_or_default())?;
        Ok(taken.map(|taken| {
            self.header_length = 0;
            taken.saturating_sub(kept)
        }))
    }

    /// Begins the frame whose header `bytes` start with, if it is whole: this is every rule on what may
    /// follow what.
    fn begin(&mut self, bytes: &[u8]) -> Result<Option<usize>, Breach> {
        let mut cursor = Cursor::new(bytes);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Breach::Opcode)?;
        let Some((header, length)) = parsed else {
            return Ok(None);
        };
        let taken = header.len(length);
        if header.rsv1 || header.rsv2 || header.rsv3 {
            return Err(Breach::ReservedBits);
        }
        if cursor.position() != taken as u64 || length > i64::MAX as u64 {
            return Err(Breach::Length);
        }
        match (self.role, header.mask) {
            (WsRole::Server, None) => return Err(Breach::Unmasked),
            (WsRole::Client, Some(_)) => return Err(Breach::Masked),
            _ => {}
        }
        let content = match (header.opcode, self.message) {
            (OpCode::Control(_), _) if !header.is_final => return Err(Breach::ControlInFragments),
            (OpCode::Control(_), _) if length > MAX_CONTROL as u64 => {
                return Err(Breach::ControlTooLong(length));
            }
            (OpCode::Control(Control::Ping), _) => Content::Ping,
            (OpCode::Control(Control::Pong), _) => Content::Pong,
            (OpCode::Control(Control::Close), _) => Content::Close,
            (OpCode::Data(Data::Binary), None) => Content::Binary,
            (OpCode::Data(Data::Text), None) => Content::Text,
            (OpCode::Data(Data::Continue), Some(message)) => message.content,
            (OpCode::Data(Data::Continue), None) => return Err(Breach::NothingToContinue),
            (OpCode::Data(Data::Binary | Data::Text), Some(_)) => {
                return Err(Breach::MessageWithin);
            }
            (OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)), _) => {
                return Err(Breach::Opcode);
            }
        };
        if matches!(content, Content::Binary | Content::Text) {
            let before = self.message.map_or(0, |message| message.length);
            let length = self.check_length(content, before.saturating_add(length))?;
            self.message = (!header.is_final).then_some(Message { content, length });
        }
        self.frame = Some(Frame {
            content,
            is_last: header.is_final,
            left: length,
            mask: header.mask.map(Mask::new),
        });
        Ok(Some(taken))
    }

    fn check_length(&self, content: Content, length: u64) -> Result<u64, Breach> {
        let (max, setting) = match (content, self.max_text) {
            (Content::Text, None) => return Err(Breach::Text),
            (Content::Text, Some(max)) if max < self.max_message => (max, "the limit of text"),
            _ => (self.max_message, "max_message"),
        };
        if length > max {
            return Err(Breach::TooLong {
                length,
                max,
                setting,
            });
        }
        Ok(length)
    }

    /// The frame is complete.
    fn finish_frame(&mut self, hear: &mut impl FnMut(Heard<'_>)) -> Result<(), End> {
        let Some(frame) = self.frame.take() else {
            return Ok(());
        };
        match frame.content {
            Content::Text if frame.is_last => {
                let text = std::mem::take(&mut self.text);
                let text = str::from_utf8(&text).map_err(|_| End::Breach(Breach::NotUtf8))?;
                hear(Heard::Text(text));
            }
            Content::Binary | Content::Text => {}
            Content::Ping => hear(Heard::Ping(&self.control)),
            Content::Pong => hear(Heard::Pong(&self.control)),
            Content::Close => {
                let close = WsClose::decode(&self.control).map_err(End::Breach)?;
                return Err(End::Close(close));
            }
        }
        self.control.clear();
        Ok(())
    }
}

/// Moves `count` bytes to the left, and unmasks them on the way.
fn slide(bytes: &mut [u8], from: usize, to: usize, count: usize, mask: Option<Mask>) {
    let end = from.saturating_add(count);
    let distance = from.saturating_sub(to);
    let Some(bytes) = bytes.get_mut(to..end) else {
        return;
    };
    let Some(mask) = mask else {
        if distance > 0 {
            bytes.copy_within(distance.., 0);
        }
        return;
    };
    let mut done: usize = 0;
    while let Some(mut block) = chunk_at(bytes, distance.saturating_add(done)) {
        mask.apply(&mut block);
        if let Some(place) = bytes
            .get_mut(done..)
            .and_then(|rest| rest.first_chunk_mut())
        {
            *place = block;
        }
        done = done.saturating_add(BLOCK);
    }
    bytes.copy_within(distance.saturating_add(done).., done);
    if let Some(rest) = bytes.get_mut(done..count) {
        mask.apply(rest);
    }
}

fn chunk_at(bytes: &[u8], place: usize) -> Option<[u8; BLOCK]> {
    bytes.get(place..)?.first_chunk().copied()
}
