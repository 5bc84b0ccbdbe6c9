use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use futures_sink::Sink;

use super::cursor::Cursor;
use super::event::GapReason;
use super::source::{Closed, Step};
use super::wire::FromServer;
use crate::mux::{ChannelError, RawSender};

/// The client's next message is not read while so many messages wait to be sent.
const MOST_WAITING: usize = 256;

/// What waits for room in the channel: answers, and the items of one turn.
pub(super) struct Outgoing {
    pub(super) sender: RawSender,
    messages: VecDeque<Message>,
    /// What items would have cost that were too large: whose they were, and how many bytes.
    pub(super) unsent: Vec<(u64, usize)>,
    scratch: BytesMut,
}

struct Message {
    encoded: Bytes,
    item: Option<Item>,
}

/// Whose an item is, where, and how long.
#[derive(Clone, Copy)]
struct Item {
    id: u64,
    cursor: Cursor,
    length: usize,
}

impl Outgoing {
    pub(super) fn new(sender: RawSender) -> Self {
        Self {
            sender,
            messages: VecDeque::new(),
            unsent: Vec::new(),
            scratch: BytesMut::new(),
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.messages.len() >= MOST_WAITING
    }

    pub(super) fn push(&mut self, message: &FromServer) {
        let encoded = self.encode(message);
        let message = Message {
            encoded,
            item: None,
        };
        self.messages.push_back(message);
    }

    pub(super) fn push_step(&mut self, id: u64, step: Step) {
        match step {
            Step::Gap(cursor) => self.push(&FromServer::Gap {
                id,
                cursor,
                why: GapReason::Lagged,
            }),
            Step::Item(cursor, body) => {
                let (sequence, length) = (cursor.sequence(), body.len());
                let encoded = self.encode(&FromServer::Item { id, sequence, body });
                let item = Some(Item { id, cursor, length });
                self.messages.push_back(Message { encoded, item });
            }
            Step::Closed(Closed(fault)) => self.push(&FromServer::Ended { id, fault }),
        }
    }

    /// Nothing more of a subscription goes out.
    pub(super) fn forget(&mut self, id: u64) {
        let is_other = |message: &Message| message.item.is_none_or(|item| item.id != id);
        self.messages.retain(is_other);
    }

    /// Ready when everything is in the channel.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        while let Some(message) = self.messages.front() {
            ready!(Sink::poll_ready(Pin::new(&mut self.sender), context))?;
            let (encoded, item) = (message.encoded.clone(), message.item);
            match Sink::start_send(Pin::new(&mut self.sender), encoded) {
                Err(ChannelError::TooLarge { .. }) if item.is_some() => {
                    self.replace_by_gap(item);
                    continue;
                }
                sent => sent?,
            }
            self.messages.pop_front();
        }
        Poll::Ready(Ok(()))
    }

    /// The first message is an item that the peer takes in no message.
    fn replace_by_gap(&mut self, item: Option<Item>) {
        let Some(Item { id, cursor, length }) = item else {
            return;
        };
        self.unsent.push((id, length));
        let why = GapReason::TooLarge;
        let encoded = self.encode(&FromServer::Gap { id, cursor, why });
        if let Some(first) = self.messages.front_mut() {
            let item = None;
            *first = Message { encoded, item };
        }
    }

    fn encode(&mut self, message: &FromServer) -> Bytes {
        message.encode(&mut self.scratch);
        self.scratch.split().freeze()
    }
}
