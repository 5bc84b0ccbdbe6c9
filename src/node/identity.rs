use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::runtime::{MaybeSend, MaybeSync};
use crate::transport::ConnectionInfo;

/// Who a node is: 32 bytes, such as the hash of a key. Written as 64 hexadecimal digits.
///
/// Whether a peer is who it says is a matter of [`Identity`].
///
/// ```
/// use sessionwire::node::PeerId;
///
/// let id = PeerId::random();
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId([u8; 32]);

impl PeerId {
    /// The id of those bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// An id that nobody else has.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(feature = "tls")]
impl From<crate::transport::Fingerprint> for PeerId {
    /// The id of whoever has a certificate: what [`Identity::certificate`] demands.
    fn from(fingerprint: crate::transport::Fingerprint) -> Self {
        Self(*fingerprint.as_bytes())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PeerId({self})")
    }
}

impl FromStr for PeerId {
    type Err = InvalidPeerId;

    fn from_str(text: &str) -> Result<Self, InvalidPeerId> {
        let digits: Option<Vec<u8>> = text
            .chars()
            .map(|letter| letter.to_digit(16)?.try_into().ok())
            .collect();
        let (pairs, rest) = digits.as_deref().ok_or(InvalidPeerId)?.as_chunks::<2>();
        let bytes: Vec<u8> = pairs.iter().map(|[high, low]| high << 4 | low).collect();
        match bytes.try_into() {
            Ok(bytes) if rest.is_empty() => Ok(Self(bytes)),
            _ => Err(InvalidPeerId),
        }
    }
}

/// A text is no [`PeerId`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not the id of a peer: write it as 64 hexadecimal digits")]
pub struct InvalidPeerId;

/// Which network a node is of, by name: nodes of others are refused.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkId(Arc<str>);

impl NetworkId {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 64;

    /// The network of that name, none if it is longer than 64 bytes.
    pub fn new(name: &str) -> Option<Self> {
        (name.len() <= Self::LONGEST).then(|| Self(name.into()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NetworkId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// How a node makes sure that a peer is who it says.
///
/// With [`claimed`](Self::claimed), the default, it does not: every id is believed. Then a stranger
/// that knows a peer's id can be a peer in its place while it is away, can have it banned, and, if it
/// is a peer of that peer, can disturb the connection to it. With
/// [`certificate`](Self::certificate) an id belongs to whoever has the private key of a certificate.
#[derive(Clone)]
pub struct Identity(Arc<dyn Verify>);

trait Verify: Fn(&PeerId, &ConnectionInfo) -> bool + MaybeSend + MaybeSync {}
impl<F: Fn(&PeerId, &ConnectionInfo) -> bool + MaybeSend + MaybeSync> Verify for F {}

impl Identity {
    /// Every id is believed.
    pub fn claimed() -> Self {
        Self::verified_by(|_, _| true)
    }

    /// A peer's id is the fingerprint of its TLS certificate.
    ///
    /// Both ends must show one: it works over `tls://` and `wss://`, with a `TlsServer` that asks
    /// its clients for certificates and a `TlsClient` that has one; over all else every peer is
    /// refused. A node's own id is `PeerId::from(identity.fingerprint())`.
    #[cfg(feature = "tls")]
    pub fn certificate() -> Self {
        Self::verified_by(|id, info| {
            let certificates = info
                .tls
                .as_ref()
                .map(|tls| tls.peer_certificates.as_slice());
            let own = certificates.and_then(<[_]>::first);
            own.is_some_and(|own| PeerId::from(crate::transport::Fingerprint::of(own)) == *id)
        })
    }

    /// Whatever `verify` says, given the id that a peer claims and what the transport knows of it.
    pub fn verified_by(
        verify: impl Fn(&PeerId, &ConnectionInfo) -> bool + MaybeSend + MaybeSync + 'static,
    ) -> Self {
        Self(Arc::new(verify))
    }

    pub(super) fn verify(&self, id: &PeerId, info: &ConnectionInfo) -> bool {
        (self.0)(id, info)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Identity")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = PeerId::new(std::array::from_fn(|place| {
            u8::try_from(place * 7).unwrap()
        }));
        assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
        for wrong in [
            "",
            "00",
            &id.to_string()[1..],
            &format!("{id}0"),
            &"g".repeat(64),
        ] {
            assert_eq!(wrong.parse::<PeerId>(), Err(InvalidPeerId), "{wrong}");
        }
    }

    #[test]
    fn a_network_has_a_name_of_64_bytes_at_most() {
        assert!(NetworkId::new(&"n".repeat(64)).is_some());
        assert!(NetworkId::new(&"n".repeat(65)).is_none());
    }
}
