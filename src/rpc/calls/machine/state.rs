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
use crate::rpc::link::{LinkError, LinkFailure};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It waits to be written.
    Queued {
        /// It was written before, on a channel that is lost.
        was_sent: bool,
    },
    /// It was written on a channel that is open.
    Sent,
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
    DeadlinePassed {
        /// What that means for one that was never sent.
        never_sent: CallError,
        /// Why there is no connection.
        away: Option<LinkFailure>,
    },
    Dropped,
}

#[derive(Debug)]
pub(super) enum Step {
    Stay,
    Send,
    Queue,
    Deliver,
    Fail(CallError),
    CancelAndFail(CallError),
    Forget,
    CancelAndForget,
}

impl State {
    pub(super) fn on(self, event: Event<'_>, delivery: Delivery) -> Step {
        use State::{Done, Queued, Sent};
        let may_repeat = delivery != Delivery::AtMostOnce;
        let is_keyed = matches!(delivery, Delivery::Idempotent(_));
        match (self, event) {
            (Queued { .. }, Event::Written) => Step::Send,
            (Sent, Event::Answer) => Step::Deliver,
            (Queued { .. } | Sent, Event::Unsendable(error)) => Step::Fail(error),

            (Sent, Event::ChannelLost(_)) if may_repeat => Step::Queue,
            (Sent, Event::ChannelLost(loss)) => Step::Fail(CallError::Unknown(loss.clone())),

            (Queued { was_sent: true }, Event::ServiceRestarted) if is_keyed => {
                Step::Fail(CallError::Unknown(Loss::Restarted))
            }

            (Queued { was_sent: false }, Event::NotServed(code, reason)) => {
                let reason = Arc::clone(reason);
                Step::Fail(CallError::NotServed { code, reason })
            }
            (Queued { was_sent: false }, Event::LinkDown(error)) => {
                Step::Fail(CallError::NotSent(error.clone()))
            }
            (Queued { was_sent: true }, Event::LinkDown(error)) => {
                Step::Fail(CallError::Unknown(Loss::Link(error.clone())))
            }

            (Queued { was_sent: false }, Event::DeadlinePassed { never_sent, .. }) => {
                Step::Fail(never_sent)
            }
            (Queued { was_sent: true }, Event::DeadlinePassed { away, .. }) => {
                Step::Fail(CallError::Unknown(Loss::NotSentAgain(away)))
            }
            (Sent, Event::DeadlinePassed { .. }) => {
                Step::CancelAndFail(CallError::DeadlinePassed { sent: true })
            }
            (Queued { .. } | Done, Event::Dropped) => Step::Forget,
            (Sent, Event::Dropped) => Step::CancelAndForget,

            (Queued { .. }, Event::Answer | Event::ChannelLost(_))
            | (Queued { .. }, Event::ServiceRestarted | Event::NotServed(..))
            | (
                Sent,
                Event::Written
                | Event::ServiceRestarted
                | Event::NotServed(..)
                | Event::LinkDown(_),
            )
            | (Done, _) => Step::Stay,
        }
    }
}
