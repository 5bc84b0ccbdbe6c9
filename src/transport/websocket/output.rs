use std::io::IoSlice;
use std::ops::Range;

use async_tungstenite::tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::frame::{Header, MAX_CONTROL, MAX_HEADER, Mask, WsClose, WsRole};
use super::parts::Parts;

/// A buffer for more bytes than this is given back once all is flushed.
const KEPT_CAPACITY: usize = 256;
/// Bytes that are taken at once of a caller who gives more than a message, if no message is longer.
const BATCH: usize = 256 * 1024;
/// Bytes that are copied before they are masked: few enough to be in the nearest cache still.
const BLOCK: usize = 8 * 1024;

/// What is to be sent: a message that collects what is written, or a batch of them, and at most one
/// ping, one pong and one Close, which go before it.
#[derive(Debug)]
pub(super) struct Output {
    role: WsRole,
    max_message: usize,
    /// Room for a header, then the payload, masked already.
    message: Vec<u8>,
    mask: Option<Mask>,
    /// Bytes of `message` that are sent, or room in front of its header; nothing while it collects.
    sent: Option<usize>,
    /// The message has begun to leave, so that nothing can go before what is left of it.
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
        Self {
            role,
            max_message: max_message.max(1),
            message: Vec::new(),
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

    /// Bytes that are collected and in no frame yet.
    pub(super) fn collected(&self) -> usize {
        match self.sent {
            None => self.message.len().saturating_sub(MAX_HEADER),
            Some(_) => 0,
        }
    }

    /// Whether something waits to be sent that nobody writes or flushes.
    pub(super) fn has_control(&self) -> bool {
        let waits = self.pong.is_some() || matches!(self.close, Close::Next(_));
        waits || !self.control.is_empty()
    }

    /// Whether a message waits to be sent or is being sent: nothing can be collected.
    pub(super) fn is_sending(&self) -> bool {
        self.sent.is_some()
    }

    /// Whether so many bytes can be sent as they are, without being collected.
    pub(super) fn can_pass(&self, length: usize) -> bool {
        self.role == WsRole::Server && self.fills_message(length)
    }

    fn fills_message(&self, length: usize) -> bool {
        self.message.is_empty() && length >= self.max_message
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

    /// Collects as many bytes as there is room for, and seals what is a full message, or more.
    pub(super) fn collect(&mut self, mut parts: Parts<'_>) -> usize {
        if self.fills_message(parts.total()) {
            return self.collect_whole(parts);
        }
        let room = self.max_message.saturating_sub(self.collected());
        let taken = parts.total().min(room);
        if self.message.is_empty() {
            self.message.reserve(taken.saturating_add(MAX_HEADER));
            self.message.resize(MAX_HEADER, 0);
            self.mask = self.new_mask();
        }
        let mask = self.mask.map(|mask| mask.turned(self.collected()));
        self.put_payload(&mut parts, taken, mask);
        if taken == room {
            self.seal();
        }
        taken
    }

    /// Makes messages of all that is given, as far as a batch goes.
    fn collect_whole(&mut self, mut parts: Parts<'_>) -> usize {
        let taken = parts.total().min(BATCH.max(self.max_message));
        self.message.reserve(taken.saturating_add(MAX_HEADER));
        for length in self.cut(taken) {
            let mask = self.new_mask();
            let header = Header::new(OpCode::Data(Data::Binary), length, mask);
            self.message.extend_from_slice(header.as_bytes());
            self.put_payload(&mut parts, length, mask);
        }
        self.sent = Some(0);
        taken
    }

    /// Copies, and masks while the copy is near.
    fn put_payload(&mut self, parts: &mut Parts<'_>, count: usize, mut mask: Option<Mask>) {
        for block in parts.take(count).flat_map(|part| part.chunks(BLOCK)) {
            let start = self.message.len();
            self.message.extend_from_slice(block);
            if let (Some(mask), Some(copy)) = (&mut mask, self.message.get_mut(start..)) {
                mask.apply(copy);
                *mask = mask.turned(block.len());
            }
        }
    }

    fn new_mask(&self) -> Option<Mask> {
        (self.role == WsRole::Client).then(Mask::random)
    }

    /// Makes a frame of what is collected.
    pub(super) fn seal(&mut self) {
        if self.sent.is_some() || self.collected() == 0 {
            return;
        }
        let header = Header::new(OpCode::Data(Data::Binary), self.collected(), self.mask);
        let gap = MAX_HEADER.saturating_sub(header.as_bytes().len());
        if let Some(place) = self.message.get_mut(gap..MAX_HEADER) {
            place.copy_from_slice(header.as_bytes());
        }
        self.sent = Some(gap);
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
        if self.is_under_way || self.message.is_empty() {
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
        let message = self.sent.map(|sent| self.message.get(sent..));
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
            if *sent >= self.message.len() {
                self.empty();
            }
        }
    }

    fn empty(&mut self) {
        self.sent = None;
        self.is_under_way = false;
        self.message.clear();
    }

    /// All is sent and flushed: what comes next may be long in coming.
    pub(super) fn rest(&mut self) {
        if self.message.is_empty() && self.message.capacity() > KEPT_CAPACITY {
            self.message = Vec::new();
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
