//! What a table becomes: types whose methods are the messages that may be sent or come.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::table::{Table, Turn};
use super::typed::{Session, Vacancy};
use crate::codec::{self, CodecError, MaxMessageSize};

/// A protocol that [`protocol!`](crate::protocol) made.
pub trait Protocol: Copy + 'static {
    /// The table as data.
    const TABLE: &'static Table;
    /// The first state, for the side that opens.
    type Client: State;
    /// The first state, for the side that accepts.
    type Server: State;
}

/// One of the two sides of a session: [`Client`] or [`Server`].
pub trait Side: sealed::Sealed + 'static {
    /// The other one.
    type Peer: Side;
    /// When it has the turn.
    const TURN: Turn;
}

/// The side that opened the session.
#[derive(Debug, Clone, Copy)]
pub enum Client {}

/// The side that accepted the session.
#[derive(Debug, Clone, Copy)]
pub enum Server {}

/// The state in which a session is over: all that is left is [`Session::close`].
#[derive(Debug)]
pub enum End<Side> {
    #[doc(hidden)]
    Never(Infallible, PhantomData<fn() -> Side>),
}

/// A state of a session, seen from one side.
///
/// The type itself is what [`Session::recv`] answers where the peer has the turn: a variant for
/// each message, with the session in the state that follows.
pub trait State: Sized + 'static {
    /// Its name in the table.
    const NAME: &'static str;
    /// How long a side waits for the other.
    const DEADLINE: Duration;
    /// The largest message, in bytes of its encoding without the tag.
    const MAX_SIZE: usize;
    /// Whether the session is over.
    #[doc(hidden)]
    const IS_END: bool = false;
}

/// A state in which this side sends the next message.
#[diagnostic::on_unimplemented(
    message = "in state `{Self}` it is the peer's turn: call `recv`",
    label = "nothing can be sent in this state"
)]
pub trait Speaks: State {}

/// A state in which the peer sends the next message.
#[diagnostic::on_unimplemented(
    message = "in state `{Self}` it is this side's turn: call `send`",
    label = "nothing can come in this state"
)]
pub trait Listens: State {
    #[doc(hidden)]
    fn decode(message: Encoded<'_>) -> Result<Self, Undecoded>;

    #[doc(hidden)]
    fn vacancy(&mut self) -> &mut Vacancy;
}

/// A state in which a message may be sent, by whoever has the turn.
#[diagnostic::on_unimplemented(
    message = "`{Message}` is not a message of state `{Self}`",
    label = "this message cannot be sent in this state"
)]
pub trait Carries<Message>: State {
    /// The first byte of the message on the wire.
    const TAG: u8;
    /// The state that follows.
    type Next: State;
}

impl Side for Client {
    type Peer = Server;
    const TURN: Turn = Turn::Client;
}

impl Side for Server {
    type Peer = Client;
    const TURN: Turn = Turn::Server;
}

impl<S: Side> State for End<S> {
    const NAME: &'static str = super::table::END;
    const DEADLINE: Duration = Duration::MAX;
    const MAX_SIZE: usize = 0;
    const IS_END: bool = true;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Client {}
    impl Sealed for super::Server {}
}

/// A message that came, and the tag that it begins with.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Encoded<'a> {
    /// The tag.
    pub tag: u8,
    body: &'a [u8],
    max: usize,
}

/// Why a message is none of its state.
#[doc(hidden)]
#[derive(Debug)]
pub enum Undecoded {
    Empty,
    Unexpected { tag: u8 },
    TooLarge { tag: u8, length: usize },
    Malformed { tag: u8, error: CodecError },
}

impl<'a> Encoded<'a> {
    /// Splits the tag off, and checks the size of the rest.
    pub(super) fn new(message: &'a [u8], max: usize) -> Result<Self, Undecoded> {
        let (&tag, body) = message.split_first().ok_or(Undecoded::Empty)?;
        if body.len() > max {
            let length = body.len();
            return Err(Undecoded::TooLarge { tag, length });
        }
        Ok(Self { tag, body, max })
    }

    /// The message and the session after it, which has no place in it yet.
    pub fn decode<M: DeserializeOwned, Next: State>(self) -> Result<(M, Session<Next>), Undecoded> {
        let max = MaxMessageSize::new(self.max.max(LEAST_BUDGET)).unwrap_or_default();
        let tag = self.tag;
        match codec::decode(self.body, max) {
            Ok(message) => Ok((message, Session::vacant())),
            Err(error) => Err(Undecoded::Malformed { tag, error }),
        }
    }

    /// No message of the state has the tag.
    pub fn unexpected<T>(self) -> Result<T, Undecoded> {
        Err(Undecoded::Unexpected { tag: self.tag })
    }
}

/// Values are decoded within the memory that messages of this size may take, or more: a few hundred
/// small numbers take eight times as much in memory as on the wire.
const LEAST_BUDGET: usize = 64 * 1024;

/// Durations and sizes for the tables of [`protocol!`](crate::protocol), where these are in scope.
pub mod units {
    use std::time::Duration;

    /// 1,024 bytes.
    pub const KIB: usize = 1024;
    /// 1,048,576 bytes.
    pub const MIB: usize = 1024 * 1024;

    /// So many seconds.
    pub const fn secs(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    /// So many thousandths of a second.
    pub const fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    /// So many minutes.
    pub const fn mins(number: u64) -> Duration {
        Duration::from_secs(number * 60)
    }
}
