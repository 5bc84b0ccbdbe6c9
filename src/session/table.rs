//! What a protocol's table says: its states, and what leads from one to the next.

use std::fmt;
use std::time::Duration;

use super::check;
use super::text::Text;
use crate::mux::MAX_PROTOCOL_NAME;

/// The name of the state in which a session is over.
pub(super) const END: &str = "End";

/// The longest name of a protocol, in bytes: behind it the wire has `#` and 16 digits.
pub(super) const MAX_NAME: usize = MAX_PROTOCOL_NAME - 17;

/// A protocol as data: what [`protocol!`](crate::protocol) made of its table.
///
/// It is for documents, traces and tests; [`Protocol::TABLE`](super::Protocol::TABLE) has it.
#[derive(Clone, Copy)]
pub struct Table {
    /// The protocol's name.
    pub name: &'static str,
    /// The version that the author counts up when messages change.
    pub version: u32,
    /// All states but the end; sessions begin in the first one.
    pub states: &'static [Row],
    /// All messages, in the order of the table.
    pub edges: &'static [Edge],
    /// The hash of the states, turns, tags, messages and the version, as docs/wire.md defines it.
    pub fingerprint: u64,
    wire_name: Text<MAX_PROTOCOL_NAME>,
}

/// A state of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The state's name.
    pub state: &'static str,
    /// Who sends the next message.
    pub turn: Turn,
    /// How long the other side waits for it.
    pub deadline: Duration,
    /// The largest message, in bytes of its encoding without the tag.
    pub max_size: usize,
}

/// A message of a protocol: what leads from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Edge {
    /// The name of the state in which it may be sent.
    pub from: &'static str,
    /// Its first byte on the wire.
    pub tag: u8,
    /// Its name.
    pub message: &'static str,
    /// The name of the state that follows; `End` when the session is over.
    pub to: &'static str,
}

/// Which side sends the next message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The side that opened the session.
    Client,
    /// The side that accepted it.
    Server,
}

impl Table {
    /// A table as it is written, which [`validate`](Self::validate) has to see.
    #[doc(hidden)]
    pub const fn new(
        name: &'static str,
        version: u32,
        states: &'static [Row],
        edges: &'static [Edge],
    ) -> Self {
        let fingerprint = fingerprint(version, states, edges);
        let wire_name = Text::new().and(name).and("#").and_hexadecimal(fingerprint);
        Self {
            name,
            version,
            states,
            edges,
            fingerprint,
            wire_name,
        }
    }

    /// Sees to it that the table is a protocol; in a constant, a fault is a compiler's error.
    ///
    /// # Panics
    ///
    /// With a sentence about the first fault that there is.
    pub const fn validate(&self) {
        if let Some(fault) = check::name(self.name) {
            panic!("{}", fault.as_str());
        }
        if let Some(fault) = check::states(self.states, self.edges) {
            panic!("{}", fault.as_str());
        }
    }

    /// Whether states and messages make a protocol, as [`validate`](Self::validate) demands.
    ///
    /// # Errors
    ///
    /// A sentence about the first fault that there is.
    pub fn check(states: &[Row], edges: &[Edge]) -> Result<(), String> {
        match check::states(states, edges) {
            Some(fault) => Err(fault.as_str().to_owned()),
            None => Ok(()),
        }
    }

    /// What the Open frame of a session calls the protocol: its name, `#` and the fingerprint.
    pub const fn wire_name(&self) -> &str {
        self.wire_name.as_str()
    }
}

impl fmt::Debug for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Table")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("states", &self.states)
            .field("edges", &self.edges)
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Turn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Turn {
    const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// Hashes a line of words for the version, then one for each state with one for each of its messages.
const fn fingerprint(version: u32, states: &[Row], edges: &[Edge]) -> u64 {
    let mut hash = Fnv::new().number(version).text("\n");
    let mut row = 0;
    while row < states.len() {
        let state = states[row].state;
        hash = hash.text(state).text(" ").text(states[row].turn.name());
        hash = hash.text("\n");
        let mut index = 0;
        while index < edges.len() {
            let edge = &edges[index];
            if super::text::equal(edge.from, state) {
                hash = hash.number(edge.tag as u32).text(" ").text(edge.message);
                hash = hash.text(" ").text(edge.to).text("\n");
            }
            index += 1;
        }
        row += 1;
    }
    hash.0
}

/// FNV-1a with 64 bits: it guards against mistakes, not against attacks.
#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    const fn text(mut self, text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut index = 0;
        while index < bytes.len() {
            self.0 = (self.0 ^ bytes[index] as u64).wrapping_mul(0x0100_0000_01b3);
            index += 1;
        }
        self
    }

    const fn number(self, number: u32) -> Self {
        self.text(Text::<10>::new().and_number(number as u64).as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // From the reference implementation's test suite.
        assert_eq!(Fnv::new().0, 0xcbf2_9ce4_8422_2325);
        assert_eq!(Fnv::new().text("a").0, 0xaf63_dc4c_8601_ec8c);
        assert_eq!(Fnv::new().text("foobar").0, 0x8594_4171_f739_67e8);
    }
}
