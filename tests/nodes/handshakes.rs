//! Who becomes a peer, and who does not.
