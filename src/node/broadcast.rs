use super::identity::PeerId;

/// Which peers a message is for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Select {
    /// All peers.
    All,
    /// Those that dialed this node.
    Inbound,
    /// Those that this node dialed.
    Outbound,
    /// Those with all of these capabilities.
    Capabilities(u64),
    /// So many, by chance.
    Random(usize),
    /// These.
    Ids(Vec<PeerId>),
    /// All but this one.
    Except(PeerId),
}

/// What became of a message for many peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Peers that it is on its way to.
    pub queued: usize,
    /// Messages that were dropped, this or older ones, because a peer was slow.
    pub shed: usize,
    /// Peers that it was not for, and ids of [`Select::Ids`] that are not connected.
    pub skipped: usize,
}
