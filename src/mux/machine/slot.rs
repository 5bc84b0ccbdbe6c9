use super::inbox::{Inbox, Parts};
use super::queue::SendQueue;
use super::schedule::Turn;
use super::state::{ReceiveState, SendState};
use super::window::{ReceiveWindow, SendCredit};
use crate::mux::code::Code;
use crate::mux::error::ChannelError;
use crate::mux::priority::Priority;
use crate::runtime::Instant;

/// All that the machine knows of one channel.
///
/// A slot is kept until the channel is over on the wire *and* both handles here are dropped, so
/// that a peer cannot make room for more channels than this end has work for.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) number: u32,
    pub(crate) opened_here: bool,
    pub(crate) accepted: bool,
    /// Over on the wire: nothing more goes or comes.
    pub(crate) over: bool,
    pub(crate) sender_held: bool,
    pub(crate) receiver_held: bool,
    pub(crate) priority: Priority,
    /// Dropped once the channel is handed to the application.
    pub(crate) protocol: Box<str>,
    pub(crate) sending: Sending,
    pub(crate) receiving: Receiving,
    pub(crate) control: Control,
    /// Why the channel was reset, if it was.
    pub(crate) reset: Option<Box<ChannelError>>,
}

#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) state: SendState,
    pub(crate) queue: SendQueue,
    pub(crate) credit: SendCredit,
    pub(crate) turn: Turn,
    /// A sender waits for room.
    pub(crate) wanted: bool,
    /// Since when something waits for credit.
    pub(crate) blocked_since: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Receiving {
    pub(crate) state: ReceiveState,
    pub(crate) window: ReceiveWindow,
    /// How far the window may grow, if less than on other channels.
    pub(crate) max_window: u32,
    /// How large the first messages may be, if less than others: so many of them, and so many bytes.
    pub(crate) first: (u32, u32),
    /// The messages that have come.
    pub(crate) messages: u32,
    pub(crate) inbox: Inbox,
    pub(crate) parts: Parts,
    /// A receiver waits for a message.
    pub(crate) wanted: bool,
    /// In the line for the shared memory.
    pub(crate) waits_for_memory: bool,
}

/// Frames that are to be sent for the channel, at most one of each kind.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// The slot is in the line of slots with something here.
    pub(crate) queued: bool,
    pub(crate) open: bool,
    pub(crate) accept: bool,
    pub(crate) credit: bool,
    pub(crate) stop: Option<Code>,
    pub(crate) reset: Option<Box<(Code, String)>>,
}

impl Sending {
    /// The queued bytes that count against the connection's send buffer.
    pub(crate) fn counted(&self) -> usize {
        if self.blocked_since.is_some() {
            0
        } else {
            self.queue.bytes()
        }
    }
}

impl Receiving {
    /// The largest that the message may be that comes next.
    pub(crate) fn max_message(&self, max: u32) -> u32 {
        let (messages, most) = self.first;
        if self.messages < messages {
            max.min(most)
        } else {
            max
        }
    }
}

impl Slot {
    pub(crate) fn new(
        number: u32,
        opened_here: bool,
        priority: Priority,
        protocol: &str,
        credit: u32,
        window: ReceiveWindow,
    ) -> Self {
        Self {
            number,
            opened_here,
            accepted: false,
            over: false,
            sender_held: opened_here,
            receiver_held: opened_here,
            priority,
            protocol: protocol.into(),
            sending: Sending {
                state: SendState::Open,
                queue: SendQueue::default(),
                credit: SendCredit::new(credit),
                turn: Turn::default(),
                wanted: false,
                blocked_since: None,
            },
            receiving: Receiving {
                state: ReceiveState::Open,
                window,
                max_window: u32::MAX,
                first: (0, u32::MAX),
                messages: 0,
                inbox: Inbox::default(),
                parts: Parts::default(),
                wanted: false,
                waits_for_memory: false,
            },
            control: Control::default(),
            reset: None,
        }
    }

    /// Whether both directions are finished.
    pub(crate) fn is_finished(&self) -> bool {
        matches!(self.sending.state, SendState::Finished(_))
            && self.receiving.state == ReceiveState::Finished
    }

    /// Whether credit may be granted to the peer.
    pub(crate) fn may_grant(&self) -> bool {
        (self.opened_here || self.accepted)
            && self.receiving.state == ReceiveState::Open
            && !self.over
    }

    /// Whether something may be sent: messages, or the FINISH after them.
    pub(crate) fn has_data(&self) -> bool {
        !self.over && (!self.sending.queue.is_empty() || self.sending.state.is_ending())
    }
}
