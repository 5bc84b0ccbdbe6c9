use std::io::IoSlice;
use std::ops::Range;

use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame::{Header, MAX_CONTROL, MAX_HEADER, Mask, WsClose, WsRole};
use super::parts::Parts;

/// A buffer for more bytes than this is given back once all is flushed.
const KEPT_CAPACITY: usize = 256;
/// Bytes of messages that are collected before they are sent without a flush.
const BATCH: usize = 256 * 1024;
/// Bytes that are copied before they are masked: few enough to be in the nearest cache still.
const BLOCK: usize = 8 * 1024;

/// What is to be sent: a batch of messages that collects what is written, and at most one ping, one
/// pong and one Close, which go before it.
#[derive(Debug)]
pub(super) struct Output {
    role: WsRole,
    max_message: usize,
    /// Bytes of the header of a full message.
    header_room: usize,
    /// Frames; the last is open while it collects: room for its header, then payload, masked already.
    batch: Vec<u8>,
    /// Where the open frame begins.
    open: usize,
    mask: Option<Mask>,
    /// Bytes of the batch that are sent, or are no part of it; nothing while it collects.
    sent: Option<usize>,
    /// The batch has begun to leave, so that nothing can go before what is left of it.
    is_under_way: bool,
    /// Control frames that are leaving.
    control: Vec<u8>,
    control_sent: usize,
    ping: Option<Vec<u8>>,
    pong: Option<Vec<u8>>,
    close: Close,
}

#[derive(Debug, PartialEq, Eq)]
enum Close {
    NotYet,
    Next(Vec<u8>),
    /// It leaves, or has left.
    Last,
}

impl Output {
    pub(super) fn new(role: WsRole, max_message: usize) -> Self {
        let max_message = max_message.max(1);
        let mask = (role == WsRole::Client).then(Mask::random);
        let full = Header::new(OpCode::Data(Data::Binary), max_message, mask);
        Self {
            role,
            max_message,
            header_room: full.as_bytes().len(),
            batch: Vec::new(),
            open: 0,
            mask: None,
            sent: None,
            is_under_way: false,
            control: Vec::new(),
            control_sent: 0,
            ping: None,
            pong: None,
            close: Close::NotYet,
        }
    }

    /// Whether something waits to be sent that nobody writes or flushes.
    pub(super) fn has_control(&self) -> bool {
        let waits = self.pong.is_some() || matches!(self.close, Close::Next(_));
        waits || !self.control.is_empty()
    }

    /// Whether a batch waits to be sent or is being sent: nothing can be collected.
    pub(super) fn is_sending(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether so many bytes are better sent as they are than copied. One message is not: several of
    /// them in one write cost less.
    pub(super) fn can_pass(&self, length: usize) -> bool {
        let is_much = length >= self.max_message.saturating_mul(2);
        self.role == WsRole::Server && self.batch.is_empty() && is_much
    }

    /// The lengths of the messages that so many bytes are cut into.
    pub(super) fn cut(&self, total: usize) -> impl Iterator<Item = usize> + use<> {
        let (mut left, max) = (total, self.max_message);
        std::iter::from_fn(move || {
            let length = left.min(max);
            left = left.saturating_sub(length);
            (length > 0).then_some(length)
        })
    }

    /// Collects what it is given, until a batch is full.
    pub(super) fn collect(&mut self, mut parts: Parts<'_>) -> usize {
        let wanted = parts.total();
        let mut taken: usize = 0;
        while taken < wanted && self.sent.is_none() {
            if self.open == self.batch.len() {
                let room = wanted.saturating_sub(taken).min(BATCH);
                self.batch.reserve(room.saturating_add(MAX_HEADER));
                self.batch.resize(self.payload_start(), 0);
                self.mask = self.new_mask();
            }
            let collected = self.collected();
            let room = self.max_message.saturating_sub(collected);
            let count = parts.total().min(room);
            let mask = self.mask.map(|mask| mask.turned(collected));
            self.put_payload(&mut parts, count, mask);
            taken = taken.saturating_add(count);
            if count == room {
                self.finish_message();
            }
            if self.batch.len() >= BATCH.max(self.max_message) {
                self.seal();
            }
        }
        taken
    }

    /// Where the payload of the open frame begins: behind the header of a full message.
    fn payload_start(&self) -> usize {
        self.open.saturating_add(self.header_room)
    }

    fn collected(&self) -> usize {
        self.batch.len().saturating_sub(self.payload_start())
    }

    /// Copies, and masks while the copy is near.
    fn put_payload(&mut self, parts: &mut Parts<'_>, count: usize, mut mask: Option<Mask>) {
        for block in parts.take(count).flat_map(|part| part.chunks(BLOCK)) {
            let start = self.batch.len();
            self.batch.extend_from_slice(block);
            if let (Some(mask), Some(copy)) = (&mut mask, self.batch.get_mut(start..)) {
                mask.apply(copy);
                *mask = mask.turned(block.len());
            }
        }
    }

    fn new_mask(&self) -> Option<Mask> {
        (self.role == WsRole::Client).then(Mask::random)
    }

    /// Makes all that is collected ready to be sent.
    pub(super) fn seal(&mut self) {
        if self.sent.is_none() && !self.batch.is_empty() {
            let gap = self.finish_message();
            self.sent = Some(gap);
        }
    }

    /// Writes the header of the open frame, and says how many bytes the batch begins behind its start.
    fn finish_message(&mut self) -> usize {
        let length = self.collected();
        if length == 0 {
            return 0;
        }
        let header = Header::new(OpCode::Data(Data::Binary), length, self.mask);
        let payload_start = self.payload_start();
        let start = payload_start.saturating_sub(header.as_bytes().len());
        if let Some(place) = self.batch.get_mut(start..payload_start) {
            place.copy_from_slice(header.as_bytes());
        }
        let gap = start.saturating_sub(self.open);
        let is_first = self.open == 0;
        if !is_first && gap > 0 {
            self.batch.drain(self.open..start);
        }
        self.open = self.batch.len();
        if is_first { gap } else { 0 }
    }

    /// Keeps this part of frames that were written as they are, since it did not leave.
    pub(super) fn keep(&mut self, frames: &[IoSlice<'_>], part: Range<usize>) {
        if part.is_empty() {
            return;
        }
        let mut parts = Parts::new(frames);
        parts.take(part.start).for_each(drop);
        self.put_payload(&mut parts, part.len(), None);
        self.sent = Some(0);
        self.is_under_way = true;
    }

    /// Forgets the message of which nothing has left, and says whether there was one.
    pub(super) fn discard(&mut self) -> bool {
        if self.is_under_way || self.batch.is_empty() {
            return false;
        }
        self.empty();
        true
    }

    pub(super) fn ping(&mut self, payload: &[u8]) {
        self.ping = Some(payload.to_vec());
    }

    /// Only the latest ping needs an answer (RFC 6455 §5.5.3).
    pub(super) fn pong(&mut self, payload: &[u8]) {
        let pong = self.pong.get_or_insert_default();
        pong.clear();
        pong.extend_from_slice(payload);
    }

    /// The last frame that is sent, after a message that is under way.
    pub(super) fn close(&mut self, close: &WsClose) {
        if self.close == Close::NotYet {
            self.close = Close::Next(close.encode());
        }
    }

    /// Whether the Close and all before it have left.
    pub(super) fn is_closed(&self) -> bool {
        self.close == Close::Last && self.control.is_empty()
    }

    /// What to send next, in this order.
    pub(super) fn next(&mut self) -> (&[u8], &[u8]) {
        if !self.is_under_way && self.control.is_empty() {
            self.load_control();
        }
        let message = self.sent.map(|sent| self.batch.get(sent..));
        let message = message.flatten().unwrap_or_default();
        if self.is_under_way {
            return (message, &[]);
        }
        let control = self.control.get(self.control_sent..).unwrap_or_default();
        (control, message)
    }

    /// So many bytes of what is next were sent.
    pub(super) fn advance(&mut self, mut count: usize) {
        if !self.is_under_way && !self.control.is_empty() {
            let left = self.control.len().saturating_sub(self.control_sent);
            let part = left.min(count);
            count = count.saturating_sub(part);
            self.control_sent = self.control_sent.saturating_add(part);
            if part == left {
                self.control = Vec::new();
                self.control_sent = 0;
            }
        }
        if let Some(sent) = self.sent.as_mut().filter(|_| count > 0) {
            self.is_under_way = true;
            *sent = sent.saturating_add(count);
            if *sent >= self.batch.len() {
                self.empty();
            }
        }
    }

    fn empty(&mut self) {
        self.sent = None;
        self.is_under_way = false;
        self.batch.clear();
        self.open = 0;
    }

    /// All is sent and flushed: what comes next may be long in coming.
    pub(super) fn rest(&mut self) {
        if self.batch.is_empty() && self.batch.capacity() > KEPT_CAPACITY {
            self.batch = Vec::new();
        }
    }

    fn load_control(&mut self) {
        if self.close == Close::Last {
            return;
        }
        if let Some(payload) = self.pong.take() {
            self.put_control(Control::Pong, payload);
        }
        if let Some(payload) = self.ping.take() {
            self.put_control(Control::Ping, payload);
        }
        if let Close::Next(payload) = &mut self.close {
            let payload = std::mem::take(payload);
            self.put_control(Control::Close, payload);
            self.close = Close::Last;
        }
    }

    fn put_control(&mut self, control: Control, mut payload: Vec<u8>) {
        payload.truncate(MAX_CONTROL);
        let mask = self.new_mask();
        let header = Header::new(OpCode::Control(control), payload.len(), mask);
        self.control.extend_from_slice(header.as_bytes());
        if let Some(mask) = mask {
            mask.apply(&mut payload);
        }
        self.control.extend_from_slice(&payload);
    }
}
