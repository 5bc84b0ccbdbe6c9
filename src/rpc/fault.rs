use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a service did not do what it was asked, in words that travel to the caller.
///
/// The errors that belong to an application are better part of its
/// [`Response`](super::Interface::Response): a fault is for what goes wrong around it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}{}", crate::mux::reason_text(reason))]
pub struct Fault {
    kind: FaultKind,
    reason: String,
}

/// What kind of thing went wrong at a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FaultKind {
    /// The service refuses this caller or this request.
    Refused,
    /// The service does not know the topic.
    UnknownTopic,
    /// The service could not decode the request or the topic: do both ends have the same types?
    Undecodable,
    /// The answer could not be encoded, or is larger than a message may be.
    Unencodable,
    /// The time for the call was up before the service had an answer.
    DeadlinePassed,
    /// The service does as much as it can already: trying later is safe.
    Busy,
    /// The service's handler panicked.
    Panicked,
    /// The key of an idempotent call is no longer, or not yet, known to answer it: whether the
    /// call was run is unknown.
    KeyForgotten,
    /// The application's own kind, by number.
    Application(u32),
}

/// The longest reason that travels, in bytes.
const LONGEST_REASON: usize = 512;

impl Fault {
    /// A fault with a reason; at most 512 bytes of it travel.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        let mut reason: String = reason.into();
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        Self { kind, reason }
    }

    /// [`FaultKind::Refused`], with a reason.
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Refused, reason)
    }

    /// What kind of thing went wrong.
    pub fn kind(&self) -> FaultKind {
        self.kind
    }

    /// The service's words, possibly empty.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Refused => "the service refused",
            Self::UnknownTopic => "the service has no such topic",
            Self::Undecodable => "the service could not decode what it was asked",
            Self::Unencodable => "the service's answer could not be encoded",
            Self::DeadlinePassed => "the time was up before the service had an answer",
            Self::Busy => "the service is busy, try later",
            Self::Panicked => "the service's handler panicked",
            Self::KeyForgotten => "the service no longer knows the key, the call may have been run",
            Self::Application(number) => return write!(formatter, "fault {number} of the service"),
        };
        formatter.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_at_a_character() {
        let fault = Fault::refused("é".repeat(300));
        assert_eq!(fault.reason().len(), 512);
        let fault = Fault::refused(format!("x{}", "é".repeat(300)));
        assert_eq!(fault.reason().len(), 511);
    }

    #[test]
    fn a_fault_says_its_reason() {
        let fault = Fault::new(FaultKind::Application(7), "too late");
        assert_eq!(fault.to_string(), "fault 7 of the service (too late)");
    }
}
