//! The handshake of two nodes, without I/O: Hello, then Hello or Reject, then Ack or Reject.

mod message;
mod nonces;

use bytes::Bytes;

pub(crate) use self::message::{Hello, LONGEST, Message};
pub(crate) use self::nonces::Nonces;
use super::app::Direction;
use super::identity::PeerId;
use super::rejection::{Reason, Rejection};

/// One end of one handshake.
#[derive(Debug)]
pub(crate) struct Handshake {
    direction: Direction,
    own: Hello,
    expected: Option<PeerId>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The other end's Hello is to come.
    AwaitsHello,
    /// It has come, and is looked at.
    Examines,
    /// This end has answered with its own.
    AwaitsAck,
    Over,
}

/// What a message leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has passed the checks here; the next are the caller's: places, then the application.
    Examine(Hello, u16),
    /// The other end holds the connection too: it is open.
    Open,
}

/// Why a handshake came to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The other end does not want this one.
    Rejected(Rejection),
    /// This end does not want the other, which is to be told.
    Refused(Rejection),
    /// The other end said something else than it should.
    Malformed,
}

impl Handshake {
    pub(crate) fn new(direction: Direction, own: Hello, expected: Option<PeerId>) -> Self {
        Self {
            direction,
            own,
            expected,
            stage: Stage::AwaitsHello,
        }
    }

    /// What the dialer says first.
    pub(crate) fn first(&self) -> Option<Bytes> {
        let dials = self.direction == Direction::Outbound;
        dials.then(|| Message::Hello(self.own.clone()).encode())
    }

    /// Takes a message. Checks, in this order: the network, whether the node hears itself, what `bar`
    /// says (whether the id is proved, and banned), the versions.
    pub(crate) fn receive(
        &mut self,
        message: &Bytes,
        is_own: impl FnOnce(u64) -> bool,
        bar: impl FnOnce(&Hello) -> Result<(), Rejection>,
    ) -> Result<Step, Failure> {
        match (self.stage, Message::decode(message)) {
            (Stage::AwaitsHello, Some(Message::Hello(hello))) => {
                self.stage = Stage::Examines;
                let checked = self.check(&hello, is_own, bar);
                let version = checked.map_err(Failure::Refused)?;
                Ok(Step::Examine(hello, version))
            }
            (Stage::AwaitsAck, Some(Message::Ack)) => {
                self.stage = Stage::Over;
                Ok(Step::Open)
            }
            // The dialer said Hello first: a listener has nothing to reject before it said its own.
            (Stage::AwaitsHello, Some(Message::Reject(rejection)))
                if self.direction == Direction::Outbound =>
            {
                self.stage = Stage::Over;
                Err(Failure::Rejected(rejection))
            }
            (Stage::AwaitsAck, Some(Message::Reject(rejection))) => {
                self.stage = Stage::Over;
                Err(Failure::Rejected(rejection))
            }
            _ => {
                self.stage = Stage::Over;
                Err(Failure::Malformed)
            }
        }
    }

    /// The other end is wanted: answers what it is to be told, and whether that opens the connection.
    pub(crate) fn accept(&mut self) -> (Bytes, bool) {
        if self.direction == Direction::Outbound {
            self.stage = Stage::Over;
            return (Message::Ack.encode(), true);
        }
        self.stage = Stage::AwaitsAck;
        (Message::Hello(self.own.clone()).encode(), false)
    }

    fn check(
        &self,
        hello: &Hello,
        is_own: impl FnOnce(u64) -> bool,
        bar: impl FnOnce(&Hello) -> Result<(), Rejection>,
    ) -> Result<u16, Rejection> {
        if hello.network != self.own.network {
            return Err(Rejection::new(Reason::Network));
        }
        if is_own(hello.nonce) {
            return Err(Rejection::new(Reason::SelfDial));
        }
        if hello.id == self.own.id {
            return Err(Rejection::new(Reason::IdentityClash));
        }
        if self.expected.is_some_and(|expected| expected != hello.id) {
            return Err(Rejection::new(Reason::OtherPeer));
        }
        bar(hello)?;
        common(self.own.versions, hello.versions).ok_or_else(|| Rejection::new(Reason::Version))
    }
}

/// The highest version of both ranges.
fn common(own: (u16, u16), theirs: (u16, u16)) -> Option<u16> {
    let highest = own.1.min(theirs.1);
    (highest >= own.0.max(theirs.0)).then_some(highest)
}

#[cfg(test)]
mod tests;
