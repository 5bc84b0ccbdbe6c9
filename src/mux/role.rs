/// Which end of a connection this is: only channel numbers depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// The end that dialled: its channels have odd numbers.
    Dialer,
    /// The end that accepted: its channels have even numbers.
    Acceptor,
}

impl Role {
    pub(crate) fn first_number(self) -> u32 {
        match self {
            Self::Dialer => 1,
            Self::Acceptor => 2,
        }
    }

    /// Whether the other end may open a channel of this number.
    pub(crate) fn peer_opens(self, number: u32) -> bool {
        number != 0 && number % 2 != self.first_number() % 2
    }
}
