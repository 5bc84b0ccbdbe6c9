use std::fmt;
use std::time::Duration;

/// Why a node does not want another for a peer; it is told before the connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    reason: Reason,
    retry_after: Option<Duration>,
}

/// What kind of reason there is for a [`Rejection`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// It is of another network.
    Network,
    /// It is the same node.
    SelfDial,
    /// It has the id of the node that it dialed, and is not that node: one of them must change its id.
    IdentityClash,
    /// It has not proved that the id is its own.
    Identity,
    /// It is not the one that was to be found there.
    OtherPeer,
    /// It has misbehaved.
    Banned,
    /// The two share no version of the application's protocol.
    Version,
    /// There is no room for another peer.
    Full,
    /// The two are connected already.
    Duplicate,
    /// The node is shutting down.
    Stopping,
    /// The node only wanted to know whether anybody is there.
    Feeler,
    /// What the application says of itself cannot be decoded.
    Undecodable,
    /// The application's own reason.
    Application {
        /// The application's number for it.
        code: u32,
        /// The application's words.
        text: String,
    },
    /// A reason that this version does not know.
    Unknown(u32),
}

/// The longest text that travels, in bytes.
const LONGEST_TEXT: usize = 128;

impl Rejection {
    /// A rejection for the application's own reason; at most 128 bytes of the text travel.
    pub fn application(code: u32, text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        text.truncate(text.floor_char_boundary(LONGEST_TEXT));
        Self::new(Reason::Application { code, text })
    }

    /// Says when it is worth another try.
    #[must_use]
    pub fn retry_after(mut self, time: Duration) -> Self {
        self.retry_after = Some(time);
        self
    }

    /// What kind of reason it is.
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// When it is worth another try, if the other node said so.
    pub fn retried_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(super) fn new(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: None,
        }
    }
}

impl Reason {
    /// The number on the wire, and what goes with it.
    pub(super) fn to_wire(&self) -> (u32, u32, &str) {
        let number = match self {
            Self::Network => 1,
            Self::SelfDial => 2,
            Self::IdentityClash => 3,
            Self::Identity => 4,
            Self::OtherPeer => 5,
            Self::Banned => 6,
            Self::Version => 7,
            Self::Full => 8,
            Self::Duplicate => 9,
            Self::Stopping => 10,
            Self::Undecodable => 11,
            Self::Feeler => 13,
            Self::Application { code, text } => return (12, *code, text),
            Self::Unknown(number) => *number,
        };
        (number, 0, "")
    }

    /// None if something goes with the number that cannot.
    pub(super) fn from_wire(number: u32, code: u32, text: &str) -> Option<Self> {
        let reason = match number {
            1 => Self::Network,
            2 => Self::SelfDial,
            3 => Self::IdentityClash,
            4 => Self::Identity,
            5 => Self::OtherPeer,
            6 => Self::Banned,
            7 => Self::Version,
            8 => Self::Full,
            9 => Self::Duplicate,
            10 => Self::Stopping,
            11 => Self::Undecodable,
            12 => {
                let text = text.to_owned();
                return (text.len() <= LONGEST_TEXT).then_some(Self::Application { code, text });
            }
            13 => Self::Feeler,
            // What goes with it, later versions know.
            number => return Some(Self::Unknown(number)),
        };
        (code == 0 && text.is_empty()).then_some(reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Network => "another network: the names in `NetworkId` differ",
            Self::SelfDial => "it is this node itself",
            Self::IdentityClash => "two nodes have the same id: change one of them",
            Self::Identity => "the id was not proved",
            Self::OtherPeer => "another peer than expected",
            Self::Banned => "banned",
            Self::Version => "no common version of the application's protocol",
            Self::Full => "no room for another peer",
            Self::Duplicate => "a node of this id is connected already",
            Self::Stopping => "the node is shutting down",
            Self::Feeler => "it only wanted to know whether anybody is there",
            Self::Undecodable => "the application's hello cannot be decoded",
            Self::Application { code, text } => {
                return write!(formatter, "application reason {code} ({text})");
            }
            Self::Unknown(number) => return write!(formatter, "reason {number}"),
        };
        formatter.write_str(text)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(formatter)?;
        match self.retry_after {
            Some(time) => write!(formatter, "; try again after {time:?}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_goes_with_a_reason_that_says_it_all() {
        for number in (0..20).filter(|number| *number != 12) {
            let reason = Reason::from_wire(number, 0, "").unwrap();
            assert_eq!(reason.to_wire(), (number, 0, ""));
            let is_known = !matches!(reason, Reason::Unknown(_));
            assert_eq!(Reason::from_wire(number, 1, "").is_none(), is_known);
            assert_eq!(Reason::from_wire(number, 0, "x").is_none(), is_known);
        }
    }

    #[test]
    fn a_text_has_128_bytes_at_most() {
        let longest = "x".repeat(LONGEST_TEXT);
        assert!(Reason::from_wire(12, 7, &longest).is_some());
        assert!(Reason::from_wire(12, 7, &format!("{longest}x")).is_none());
        let cut = Rejection::application(7, format!("{longest}x"));
        let text = longest;
        assert_eq!(*cut.reason(), Reason::Application { code: 7, text });
    }
}
