//! An application's use of one channel: it acts only when it was woken, as a task would.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::mux::error::ChannelError;
use crate::mux::machine::inbox::Inbox;
use crate::mux::machine::window::FRAME_COST;
use crate::mux::machine::{Machine, Received, Room, Wake};
use crate::runtime::Instant;

/// Both handles of a channel, and what is done with them.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) key: usize,
    pub(super) number: u32,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
}

#[derive(Debug)]
pub(super) struct Sender {
    pub(super) held: bool,
    awake: bool,
    pub(super) waiting: VecDeque<Bytes>,
    finish: Finish,
    pub(super) sent: usize,
    pub(super) error: Option<ChannelError>,
}

/// Whether a sender finishes once it has sent everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Finish {
    NotWanted,
    Wanted,
    Done,
}

#[derive(Debug)]
pub(super) struct Receiver {
    pub(super) held: bool,
    awake: bool,
    /// How many messages it reads before it pauses.
    pub(super) appetite: usize,
    inbox: Inbox,
    consumed: u32,
    report_at: u32,
    pub(super) received: Vec<Bytes>,
    /// When each was received.
    pub(super) times: Vec<Instant>,
    pub(super) end: Option<Result<(), ChannelError>>,
}

impl Application {
    pub(super) fn new(key: usize, machine: &Machine) -> Self {
        Self {
            key,
            number: machine.slots[key].number,
            sender: Sender {
                held: true,
                awake: true,
                waiting: VecDeque::new(),
                finish: Finish::NotWanted,
                sent: 0,
                error: None,
            },
            receiver: Receiver {
                held: true,
                awake: true,
                appetite: usize::MAX,
                inbox: Inbox::default(),
                consumed: 0,
                report_at: machine.config().window / 4,
                received: Vec::new(),
                times: Vec::new(),
                end: None,
            },
        }
    }

    pub(super) fn woken(&mut self, wake: Wake) {
        match wake {
            Wake::Reader(key) if key == self.key => self.receiver.awake = true,
            Wake::Writer(key) if key == self.key => self.sender.awake = true,
            _ => {}
        }
    }

    pub(super) fn queue(&mut self, message: Bytes) {
        self.sender.waiting.push_back(message);
    }

    pub(super) fn finish_after(&mut self) {
        self.sender.finish = Finish::Wanted;
    }

    /// Does what can be done, answers whether that was anything.
    pub(super) fn act(&mut self, machine: &mut Machine, now: Instant) -> bool {
        let sent = self.sender.held && self.sender.act(self.key, machine);
        let received = self.receiver.held && self.receiver.act(self.key, machine, now);
        sent || received
    }

    pub(super) fn drop_sender(&mut self, machine: &mut Machine) {
        if std::mem::take(&mut self.sender.held) {
            machine.drop_sender(self.key);
        }
    }

    pub(super) fn drop_receiver(&mut self, machine: &mut Machine) {
        if std::mem::take(&mut self.receiver.held) {
            machine.drop_receiver(self.key);
        }
    }
}

impl Sender {
    /// Whether nothing more can be sent.
    pub(super) fn is_done(&self) -> bool {
        !self.held || self.finish != Finish::NotWanted || self.error.is_some()
    }

    fn act(&mut self, key: usize, machine: &mut Machine) -> bool {
        if !self.awake {
            return false;
        }
        let mut moved = false;
        while let Some(message) = self.waiting.front() {
            match machine.send(key, &mut message.clone()) {
                Ok(Room::Free | Room::FreeWithBatch) => {
                    self.waiting.pop_front();
                    self.sent += 1;
                    moved = true;
                }
                Ok(Room::Full) => {
                    self.awake = false;
                    return moved;
                }
                Err(error) => {
                    self.error = Some(error);
                    self.waiting.clear();
                }
            }
        }
        if self.finish == Finish::Wanted {
            machine.finish(key);
            self.finish = Finish::Done;
            moved = true;
        }
        moved
    }
}

impl Receiver {
    fn act(&mut self, key: usize, machine: &mut Machine, now: Instant) -> bool {
        let mut moved = false;
        while self.appetite > 0 && self.end.is_none() {
            if let Some(message) = self.inbox.next() {
                self.take(message, key, machine);
                self.times.push(now);
                moved = true;
                continue;
            }
            if !self.awake {
                break;
            }
            let consumed = std::mem::take(&mut self.consumed);
            match machine.receive(key, consumed, &mut self.inbox) {
                Ok(Received::Messages) => {}
                Ok(Received::Nothing) => self.awake = false,
                Ok(Received::End) => self.end = Some(Ok(())),
                Err(error) => self.end = Some(Err(error)),
            }
            moved = true;
        }
        moved
    }

    fn take(&mut self, message: Bytes, key: usize, machine: &mut Machine) {
        self.appetite -= usize::from(self.appetite != usize::MAX);
        self.consumed += u32::try_from(message.len()).unwrap() + FRAME_COST;
        self.received.push(message);
        if self.consumed >= self.report_at {
            machine.consumed(key, std::mem::take(&mut self.consumed));
        }
    }
}
