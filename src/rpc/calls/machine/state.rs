//! All states of a call, and what each event makes of them.
//!
//! ```text
//!             written                answer
//!   Queued ────────────▶ Sent ─────────────────▶ Done, which the caller takes
//!     ▲                   │  ╲ deadline, drop: a Cancel follows the request
//!     └───────────────────┘   ▶ Done, or forgotten
//!      the channel is lost, if the delivery allows a second time
//! ```

use std::sync::Arc;

use crate::mux::Code;
use crate::rpc::calls::error::{CallError, Loss};
use crate::rpc::calls::options::Delivery;
use crate::rpc::link::LinkError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It waits to be written.
    Queued {
        /// It was written before, on a channel that is lost.
        was_sent: bool,
    },
    /// It was written on a channel that is open.
    Sent {
        /// And before on one that is lost.
        again: bool,
    },
    /// It has an outcome, which nobody took yet.
    Done,
}

#[derive(Debug)]
pub(super) enum Event<'e> {
    Written,
    Answer,
    Unsendable(CallError),
    ChannelLost(&'e Loss),
    ServiceRestarted,
    NotServed(Code, &'e Arc<str>),
    LinkDown(&'e LinkError),
    /// And what that means for one that was never sent.
    DeadlinePassed(CallError),
    Dropped,
}

#[derive(Debug)]
pub(super) enum Step {
    Stay,
    Send,
    Queue,
    Deliver,
    /// With this, if it was not sent before.
    Fail(CallError),
    CancelAndFail(CallError),
    Forget,
    CancelAndForget,
}

impl State {
    /// Whether it may have been run before it was written on the channel that is open, if it was.
    pub(super) fn was_sent_before(self) -> bool {
        matches!(
            self,
            Self::Queued { was_sent: true } | Self::Sent { again: true }
        )
    }

    pub(super) fn on(self, event: Event<'_>, delivery: Delivery) -> Step {
        use State::{Done, Queued, Sent};
        let may_repeat = delivery != Delivery::AtMostOnce;
        let is_keyed = matches!(delivery, Delivery::Idempotent(_));
        match (self, event) {
            (Queued { .. }, Event::Written) => Step::Send,
            (Sent { .. }, Event::Answer) => Step::Deliver,
            (Queued { .. } | Sent { .. }, Event::Unsendable(error)) => Step::Fail(error),

            (Sent { .. }, Event::ChannelLost(_)) if may_repeat => Step::Queue,
            (Sent { .. }, Event::ChannelLost(loss)) => Step::Fail(CallError::Unknown(loss.clone())),

            (Queued { was_sent: true }, Event::ServiceRestarted) if is_keyed => {
                Step::Fail(CallError::Unknown(Loss::Restarted))
            }

            (Queued { was_sent: false }, Event::NotServed(code, reason)) => {
                let reason = Arc::clone(reason);
                Step::Fail(CallError::NotServed { code, reason })
            }
            (Queued { .. }, Event::LinkDown(error)) => {
                Step::Fail(CallError::NotSent(error.clone()))
            }

            (Queued { .. }, Event::DeadlinePassed(never_sent)) => Step::Fail(never_sent),
            (Sent { .. }, Event::DeadlinePassed(_)) => {
                Step::CancelAndFail(CallError::DeadlinePassed { sent: true })
            }
            (Queued { .. } | Done, Event::Dropped) => Step::Forget,
            (Sent { .. }, Event::Dropped) => Step::CancelAndForget,

            (Queued { .. }, Event::Answer | Event::ChannelLost(_))
            | (Queued { .. }, Event::ServiceRestarted | Event::NotServed(..))
            | (
                Sent { .. },
                Event::Written
                | Event::ServiceRestarted
                | Event::NotServed(..)
                | Event::LinkDown(_),
            )
            | (Done, _) => Step::Stay,
        }
    }
}
