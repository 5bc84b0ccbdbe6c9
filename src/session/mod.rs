//! Channels → sessions: conversations whose order the compiler checks.
//!
//! [`protocol!`](crate::protocol) makes types from a table of states; a [`Session`] is in one of them, and
//! has only the methods that are in order there. [`Connection::open_session`] opens one as its client;
//! [`Router::on_session`] serves them, [`IncomingChannel::accept_session`] accepts one by hand.
//!
//! [`Connection::open_session`]: crate::Connection::open_session
//! [`Router::on_session`]: crate::Router::on_session
//! [`IncomingChannel::accept_session`]: crate::IncomingChannel::accept_session

mod check;
mod error;
mod macros;
mod open;
mod protocol;
mod table;
mod text;
mod typed;
mod untyped;

pub use self::error::{Fault, SessionError};
pub use self::open::Limits;
pub use self::protocol::{
    Carries, Client, End, Listens, Protocol, Server, Side, Speaks, State, units,
};
#[doc(hidden)]
pub use self::protocol::{Encoded, Undecoded};
pub use self::table::{Edge, Row, Table, Turn};
pub use self::typed::Session;
#[doc(hidden)]
pub use self::typed::Vacancy;

/// A block of Markdown without its first and last line.
#[doc(hidden)]
pub const fn __within_fences(block: &'static str) -> &'static str {
    let (_, rest) = block.split_at("```mermaid\n".len());
    rest.split_at(rest.len() - "```".len()).0
}
