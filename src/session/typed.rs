use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;

use super::error::SessionError;
use super::protocol::{Carries, End, Listens, Speaks, State};
use super::untyped::Untyped;
use crate::mux::{Code, RawChannel};

/// One conversation by a protocol, in the state `S` of it.
///
/// Its methods are what is in order in that state: [`send`](Self::send) where this side has the turn,
/// [`recv`](Self::recv) where the peer has, [`close`](Self::close) at the end. Each step consumes the
/// session and gives it back in the next state, so that nothing can be sent twice, out of order, or
/// after an error.
///
/// Dropping a session resets it, in whatever state: the peer gets [`SessionError::Reset`] with
/// [`Code::CANCELLED`]. So does dropping a future of it, as by `select!` or a timeout, and leaving
/// by `?`. Nothing else of the connection takes notice. What was sent last may be lost
/// then: [`close`](Session::close) a session that came to its end.
///
/// A message that is wrong, too large or cannot be decoded ends the session, and the peer is told.
///
/// ```
/// # futures::executor::block_on(async {
/// use sessionwire::session::{Client, Server};
/// use sessionwire::{Connection, Session, SessionError, protocol};
///
/// protocol! {
///     Guess = "guess" version 1;
///     Guessing: Client(secs(60), 8) { 0 Number: u32 => Judging }
///     Judging: Server(secs(10), 8) { 0 Wrong: bool => Guessing, 1 Right: () => End }
/// }
///
/// let (here, there) = Connection::pair();
/// let session: Session<Guessing<Client>> = here.open_session(Guess).await?;
/// let judging = session.send(7).await?;
///
/// let incoming = there.accept().await?.expect("a session");
/// let judge: Session<Guessing<Server>> = incoming.accept_session(Guess)?;
/// let Guessing::Number(number, judge) = judge.recv().await?;
/// assert_eq!((number, judge.state()), (7, "Judging"));
/// let _ = judge.abort("it is late");
///
/// match judging.recv().await {
///     Ok(Judging::Wrong(too_high, _guessing)) => println!("too high: {too_high}"),
///     Ok(Judging::Right((), session)) => session.close(),
///     Err(SessionError::Reset { reason, .. }) => assert_eq!(&*reason, "it is late"),
///     Err(error) => return Err(error.into()),
/// }
/// # Ok::<(), sessionwire::Error>(())
/// # }).unwrap();
/// ```
#[must_use = "a session that is dropped is reset: `close` it at its end"]
pub struct Session<S> {
    untyped: Vacancy,
    state: PhantomData<fn() -> S>,
}

/// Where the inside of a session goes.
#[doc(hidden)]
pub struct Vacancy(Option<Box<Untyped>>);

impl<S: State> Session<S> {
    pub(super) fn begin(channel: RawChannel) -> Self {
        Self::of(Box::new(Untyped::new(channel)))
    }

    /// Ends the session at once, with [`Code::ABORTED`] and a reason for the peer (at most 128 bytes
    /// of it go). The error that this answers is for the caller to return.
    pub fn abort(self, reason: &str) -> SessionError {
        self.abort_with(Code::ABORTED, reason)
    }

    /// As [`abort`](Self::abort), with a code of one's own.
    pub fn abort_with(self, code: Code, reason: &str) -> SessionError {
        self.into_untyped().reset(code, reason);
        SessionError::Aborted {
            code,
            reason: reason.into(),
        }
    }

    /// The name of the state that the session is in.
    pub const fn state(&self) -> &'static str {
        S::NAME
    }
}

// The bounds are on the methods, so that the compiler says their sentences.
impl<S: State> Session<S> {
    /// Sends a message, answers the session in the next state.
    ///
    /// Waits only while the channel's send buffer is full, and that no longer than the state's deadline.
    /// The message is on its way when this returns, not yet with the peer.
    ///
    /// # Errors
    ///
    /// Why the session is over: if the peer had ended it, its code and reason.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the session.
    pub async fn send<Message>(self, message: Message) -> Result<Session<S::Next>, SessionError>
    where
        S: Speaks + Carries<Message>,
        Message: Serialize,
    {
        let mut untyped = self.into_untyped();
        match untyped.send::<S, Message>(message).await {
            Ok(()) => Ok(Session::of(untyped)),
            Err(error) => Err(untyped.ended(error)),
        }
    }

    /// Receives the peer's message, with the session in the state that follows it.
    ///
    /// Waits no longer than the state's deadline, which runs from the first time that this side waits in
    /// the state.
    ///
    /// # Errors
    ///
    /// Why the session is over; what had come before is received first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future resets the session. To wait along with other things, wait for
    /// [`ready`](Self::ready).
    pub async fn recv(self) -> Result<S, SessionError>
    where
        S: Listens,
    {
        self.receive(None).await
    }

    /// As [`recv`](Self::recv), and waits no longer than `within`.
    pub async fn recv_within(self, within: Duration) -> Result<S, SessionError>
    where
        S: Listens,
    {
        self.receive(Some(within)).await
    }

    /// Waits until [`recv`](Self::recv) has something to answer at once.
    ///
    /// # Errors
    ///
    /// Why the session is over, as [`recv`](Self::recv) would say; the peer is told when the session is
    /// dropped or asked again.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: it is made for `select!`.
    pub async fn ready(&mut self) -> Result<(), SessionError>
    where
        S: Listens,
    {
        self.untyped.inside().ready::<S>().await
    }

    async fn receive(self, within: Option<Duration>) -> Result<S, SessionError>
    where
        S: Listens,
    {
        let mut untyped = self.into_untyped();
        match untyped.receive::<S>(within).await {
            Ok(mut state) => {
                *state.vacancy() = Vacancy(Some(untyped));
                Ok(state)
            }
            Err(error) => Err(untyped.ended(error)),
        }
    }
}

impl<Side> Session<End<Side>> {
    /// Closes the session as it should be: all that was sent arrives.
    pub fn close(self) {
        self.into_untyped().close();
    }
}

impl<S> Session<S> {
    #[doc(hidden)]
    pub(super) fn vacant() -> Self {
        Self {
            untyped: Vacancy(None),
            state: PhantomData,
        }
    }

    #[doc(hidden)]
    pub fn vacancy(&mut self) -> &mut Vacancy {
        &mut self.untyped
    }

    fn of(untyped: Box<Untyped>) -> Self {
        Self {
            untyped: Vacancy(Some(untyped)),
            state: PhantomData,
        }
    }

    fn into_untyped(self) -> Box<Untyped> {
        self.untyped.0.expect(VACANT)
    }
}

const VACANT: &str = "a session is filled before anyone gets it";

impl Vacancy {
    fn inside(&mut self) -> &mut Untyped {
        self.0.as_mut().expect(VACANT)
    }
}

impl<S: State> fmt::Debug for Session<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Session in {}", S::NAME)
    }
}

impl fmt::Debug for Vacancy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Vacancy")
    }
}
