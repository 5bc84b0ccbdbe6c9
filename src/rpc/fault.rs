use std::convert::Infallible;
use std::fmt;

use bytes::{BufMut, BytesMut};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::codec::VarintError;
use crate::codec::varint::{put_u64, take_u64};

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
    ///
    /// A handler answers a call so before it has done anything: the caller takes the call for one that was
    /// [not run](super::CallError::is_not_run).
    Busy,
    /// The service's handler panicked.
    Panicked,
    /// The key of an idempotent call is no longer, or not yet, known to answer it: whether the
    /// call was run is unknown.
    KeyForgotten,
    /// The service lacks what it needs at the moment, such as its database or its backplane: how much of a call it has
    /// done is unknown. A subscription that goes on over another connection is asked for again.
    Unavailable,
    /// A kind that this end is too old to know, by its number on the wire.
    Unknown(u32),
    /// The application's own kind, by number.
    Application(u32),
}

/// Why the rest of a message is no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum FaultError {
    #[error(transparent)]
    Integer(#[from] VarintError),
    #[error("a kind of fault with the number {0}, which is too large")]
    Kind(u64),
    #[error("the reason of a fault has {0} bytes, and {LONGEST_REASON} are the most")]
    TooLong(usize),
    #[error("the reason of a fault is not UTF-8")]
    NotUtf8,
}

/// The longest reason that travels, in bytes.
const LONGEST_REASON: usize = 512;

/// The application's kinds begin here on the wire.
const FIRST_APPLICATION: u64 = 256;

impl Fault {
    /// A fault with a reason; at most 512 bytes of it travel.
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        let mut reason: String = reason.into();
        reason.truncate(reason.floor_char_boundary(LONGEST_REASON));
        // It may quote a peer at length.
        reason.shrink_to_fit();
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

    /// Appends the fault to a message that ends with it.
    pub(super) fn put(&self, buffer: &mut BytesMut) {
        put_u64(buffer, self.kind.number());
        buffer.put_slice(self.reason.as_bytes());
    }

    /// The fault that the rest of a message is.
    pub(super) fn take(mut rest: &[u8]) -> Result<Self, FaultError> {
        let number = take_u64(&mut rest)?;
        let kind = FaultKind::from_number(number).ok_or(FaultError::Kind(number))?;
        if rest.len() > LONGEST_REASON {
            return Err(FaultError::TooLong(rest.len()));
        }
        let reason = std::str::from_utf8(rest).map_err(|_| FaultError::NotUtf8)?;
        Ok(Self::new(kind, reason))
    }
}

impl FaultKind {
    /// Whether the same may well be answered otherwise a little later.
    pub(super) fn is_passing(self) -> bool {
        matches!(self, Self::Busy | Self::DeadlinePassed | Self::Unavailable)
    }

    fn number(self) -> u64 {
        match self {
            Self::Refused => 0,
            Self::UnknownTopic => 1,
            Self::Undecodable => 2,
            Self::Unencodable => 3,
            Self::DeadlinePassed => 4,
            Self::Busy => 5,
            Self::Panicked => 6,
            Self::KeyForgotten => 7,
            Self::Unavailable => 8,
            Self::Unknown(number) => number.into(),
            Self::Application(number) => FIRST_APPLICATION.saturating_add(number.into()),
        }
    }

    /// None if the number is too large for a kind.
    fn from_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Refused,
            1 => Self::UnknownTopic,
            2 => Self::Undecodable,
            3 => Self::Unencodable,
            4 => Self::DeadlinePassed,
            5 => Self::Busy,
            6 => Self::Panicked,
            7 => Self::KeyForgotten,
            8 => Self::Unavailable,
            other => match other.checked_sub(FIRST_APPLICATION) {
                Some(application) => Self::Application(application.try_into().ok()?),
                None => Self::Unknown(other.try_into().ok()?),
            },
        })
    }
}

impl From<Infallible> for Fault {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Refused => "the service refused",
            Self::UnknownTopic => "the service has no such topic",
            Self::Undecodable => {
                "the service could not decode what it was asked, do both ends have the same types?"
            }
            Self::Unencodable => "the service's answer could not be encoded",
            Self::DeadlinePassed => "the time was up before the service had an answer",
            Self::Busy => "the service is busy, try later",
            Self::Panicked => "the service's handler panicked",
            Self::KeyForgotten => "the service no longer knows the key, the call may have been run",
            Self::Unavailable => "the service lacks what it needs, try later",
            Self::Unknown(number) => {
                return write!(formatter, "a fault unknown here, number {number}");
            }
            Self::Application(number) => return write!(formatter, "fault {number} of the service"),
        };
        formatter.write_str(text)
    }
}

/// Faults in the words of docs/wire.md, for the tests of the messages that have them.
#[cfg(test)]
pub(super) mod vectors {
    use super::{Fault, FaultError, VarintError};
    use crate::codec::vectors::quoted;

    pub(in crate::rpc) fn describe_fault(fault: &Fault) -> String {
        let (kind, reason) = (fault.kind().number(), quoted(fault.reason()));
        format!("kind={kind} reason={reason}")
    }

    pub(in crate::rpc) fn name_of(error: FaultError) -> &'static str {
        match error {
            FaultError::Integer(error) => name_of_integer(error),
            FaultError::Kind(_) => "Number",
            FaultError::TooLong(_) => "TextTooLong",
            FaultError::NotUtf8 => "NotUtf8",
        }
    }

    pub(in crate::rpc) fn name_of_integer(error: VarintError) -> &'static str {
        match error {
            VarintError::Truncated { .. } => "Truncated",
            VarintError::NotCanonical { .. } | VarintError::TooWide { .. } => "Number",
        }
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
    fn a_reason_that_was_cut_keeps_no_memory() {
        let fault = Fault::refused("x".repeat(1024 * 1024));
        assert_eq!(fault.reason().len(), 512);
        assert!(
            fault.reason.capacity() < 1024,
            "{}",
            fault.reason.capacity()
        );
    }

    #[test]
    fn every_kind_travels() {
        let kinds = (0..300).map(|number| FaultKind::from_number(number).unwrap());
        for (number, kind) in (0..).zip(kinds) {
            assert_eq!(kind.number(), number);
            let fault = Fault::new(kind, "wörds");
            let mut message = BytesMut::new();
            fault.put(&mut message);
            assert_eq!(Fault::take(&message), Ok(fault));
        }
        let largest = FaultKind::Application(u32::MAX);
        assert_eq!(FaultKind::from_number(largest.number()), Some(largest));
        assert!(Fault::take(&[]).is_err());
    }

    #[test]
    fn what_no_end_of_this_crate_sends_is_refused() {
        let written = |number, reason: &[u8]| {
            let mut message = BytesMut::new();
            put_u64(&mut message, number);
            message.put_slice(reason);
            Fault::take(&message)
        };
        let beyond = FIRST_APPLICATION + (1 << 32);
        assert_eq!(written(beyond, b""), Err(FaultError::Kind(beyond)));
        assert_eq!(written(u64::MAX, b""), Err(FaultError::Kind(u64::MAX)));
        assert_eq!(written(0, b"\xc3"), Err(FaultError::NotUtf8));
        assert!(written(0, &[b'x'; 512]).is_ok());
        assert_eq!(written(0, &[b'x'; 513]), Err(FaultError::TooLong(513)));
    }

    #[test]
    fn a_fault_says_its_reason() {
        let fault = Fault::new(FaultKind::Application(7), "too late");
        assert_eq!(fault.to_string(), "fault 7 of the service (too late)");
    }
}
