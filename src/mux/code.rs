use std::fmt;

/// Why a channel or a connection ended, as a number that travels to the peer.
///
/// Codes below 256 are the crate's, listed here; an application numbers its own from
/// [`Code::application`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Code(u32);

impl Code {
    /// Nothing went wrong.
    pub const NONE: Self = Self(0);
    /// The handle was dropped before it was finished.
    pub const CANCELLED: Self = Self(1);
    /// No handler has the protocol's name.
    pub const UNKNOWN_PROTOCOL: Self = Self(2);
    /// The accepting side has no room for another channel now: trying later is safe.
    pub const REFUSED: Self = Self(3);
    /// A message is larger than the receiver's `max_message_size`.
    pub const TOO_LARGE: Self = Self(4);
    /// A message could not be decoded.
    pub const UNDECODABLE: Self = Self(5);
    /// The connection is shutting down.
    pub const SHUTDOWN: Self = Self(6);
    /// A frame broke the rules of docs/wire.md.
    pub const PROTOCOL_ERROR: Self = Self(7);
    /// More bytes came than credit was given for.
    pub const FLOW_CONTROL: Self = Self(8);
    /// Too many frames without use: resets, pings, frames for channels long closed.
    pub const CALM: Self = Self(9);
    /// The two ends share no protocol version.
    pub const VERSION: Self = Self(10);
    /// The peer was silent, or took nothing, for too long.
    pub const TIMED_OUT: Self = Self(11);
    /// All channel ids of this connection are used: dial again.
    pub const IDS_EXHAUSTED: Self = Self(12);
    /// Both ends know the protocol by this name, but not by the same table.
    pub const OTHER_TABLE: Self = Self(13);
    /// A message that cannot come in the state that its session is in.
    pub const UNEXPECTED: Self = Self(14);
    /// The application gave the session up, for the reason that comes with it.
    pub const ABORTED: Self = Self(15);

    /// The application's own code `number`, 256 higher on the wire.
    ///
    /// ```
    /// use sessionwire::mux::Code;
    /// assert_eq!(Code::application(1).number(), 257);
    /// assert_eq!(Code::application(1).as_application(), Some(1));
    /// ```
    pub const fn application(number: u32) -> Self {
        Self(number.saturating_add(256))
    }

    /// The application's number, if the code is not one of the crate's.
    pub const fn as_application(self) -> Option<u32> {
        self.0.checked_sub(256)
    }

    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_wire(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::NONE => "no error",
            Self::CANCELLED => "cancelled",
            Self::UNKNOWN_PROTOCOL => "unknown protocol",
            Self::REFUSED => "refused",
            Self::TOO_LARGE => "message too large",
            Self::UNDECODABLE => "undecodable message",
            Self::SHUTDOWN => "shutdown",
            Self::PROTOCOL_ERROR => "protocol error",
            Self::FLOW_CONTROL => "flow control broken",
            Self::CALM => "calm down",
            Self::VERSION => "no common version",
            Self::TIMED_OUT => "timed out",
            Self::IDS_EXHAUSTED => "channel ids exhausted",
            Self::OTHER_TABLE => "another table of the protocol",
            Self::UNEXPECTED => "unexpected message",
            Self::ABORTED => "aborted",
            _ => match self.as_application() {
                Some(number) => return write!(formatter, "application code {number}"),
                None => return write!(formatter, "code {}", self.0),
            },
        };
        formatter.write_str(name)
    }
}
