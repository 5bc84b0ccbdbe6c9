//! The states of the two directions of a channel: every transition is in this file.
//!
//! ```text
//!  sending                              receiving
//!  Open ──finish──▶ Finishing           Open ──stop──▶ Stopped
//!   │                  │ queue empty      │              │ Data FINISH
//!   │ Stop frame       ▼                  │ Data FINISH  ▼
//!   └────────▶ Stopping ─▶ Finished       └────────▶ Finished
//! ```
//! A reset ends both at once, from any state. The channel is over on the wire when both directions
//! are finished.

use crate::mux::code::Code;

/// The direction that this end sends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SendState {
    /// Messages may be sent.
    Open,
    /// `finish` was called; what is queued still goes, then a FINISH.
    Finishing,
    /// The peer reads no more: what was queued is dropped, a FINISH is due.
    Stopping(Code),
    /// The FINISH is sent. If the peer had stopped reading, with which code.
    Finished(Option<Code>),
}

impl SendState {
    /// The application sends nothing more.
    pub(crate) fn finish(&mut self) {
        if *self == Self::Open {
            *self = Self::Finishing;
        }
    }

    /// A Stop frame came: answers whether the queue is to be dropped.
    pub(crate) fn stopped_by_peer(&mut self, code: Code) -> bool {
        match self {
            Self::Open | Self::Finishing => {
                *self = Self::Stopping(code);
                true
            }
            Self::Stopping(_) | Self::Finished(_) => false,
        }
    }

    /// The queue is empty: answers whether a FINISH must go now.
    pub(crate) fn drained(&mut self) -> bool {
        match *self {
            Self::Finishing => *self = Self::Finished(None),
            Self::Stopping(code) => *self = Self::Finished(Some(code)),
            Self::Open | Self::Finished(_) => return false,
        }
        true
    }

    /// Whether a FINISH is due as soon as the queue is empty.
    pub(crate) fn is_ending(self) -> bool {
        matches!(self, Self::Finishing | Self::Stopping(_))
    }
}

/// The direction that the peer sends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReceiveState {
    /// Messages may come.
    Open,
    /// This end reads no more; what still comes is dropped.
    Stopped,
    /// The peer's FINISH has come.
    Finished,
}

impl ReceiveState {
    /// The application reads no more: answers whether the peer must be told.
    pub(crate) fn stop(&mut self) -> bool {
        let tell = *self == Self::Open;
        if tell {
            *self = Self::Stopped;
        }
        tell
    }

    /// The peer's FINISH came: answers false when it had come before.
    pub(crate) fn finish(&mut self) -> bool {
        let first = *self != Self::Finished;
        *self = Self::Finished;
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finish_goes_once_the_queue_is_empty() {
        let mut state = SendState::Open;
        assert!(!state.drained());
        state.finish();
        assert!(state.is_ending());
        assert!(state.drained());
        assert_eq!(state, SendState::Finished(None));
        assert!(!state.drained());
    }

    #[test]
    fn a_stop_is_answered_with_a_finish_that_keeps_its_code() {
        for mut state in [SendState::Open, SendState::Finishing] {
            assert!(state.stopped_by_peer(Code::CANCELLED));
            assert!(!state.stopped_by_peer(Code::NONE));
            assert!(state.drained());
            assert_eq!(state, SendState::Finished(Some(Code::CANCELLED)));
        }
    }

    #[test]
    fn a_stop_after_the_finish_changes_nothing() {
        let mut state = SendState::Finished(None);
        assert!(!state.stopped_by_peer(Code::CANCELLED));
        assert_eq!(state, SendState::Finished(None));
    }

    #[test]
    fn the_peer_is_told_once_that_nobody_reads() {
        let mut state = ReceiveState::Open;
        assert!(state.stop());
        assert!(!state.stop());
        assert!(state.finish());
        assert!(!state.finish());
        assert!(!state.stop());
    }
}
