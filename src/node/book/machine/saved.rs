use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};

use super::addresses::Place;
use super::score::SavedBan;
use super::{Book, read_address};
use crate::codec::{MaxMessageSize, decode, encode};
use crate::node::PeerId;
use crate::node::book::BookConfig;
use crate::node::book::location::{Group, Location};
use crate::node::book::snapshot::{LARGEST_SNAPSHOT, SnapshotError, damaged, seal, unseal};
use crate::runtime::Instant;
use crate::transport::Endpoint;

/// What is saved of a book. Times are how long ago or how long yet, for clocks change.
#[derive(Serialize, Deserialize)]
struct Saved {
    secret: [u8; 16],
    addresses: Vec<SavedAddress>,
    banned_peers: Vec<(PeerId, SavedBan)>,
    banned_addresses: Vec<(String, SavedBan)>,
}

#[derive(Serialize, Deserialize)]
struct SavedAddress {
    endpoint: String,
    source: Group,
    is_tried: bool,
    id: Option<PeerId>,
    failures: u32,
    /// Seconds since a peer was there.
    up_ago: Option<u64>,
}

impl Book {
    /// The book as bytes: addresses, and the bans in force. At most
    /// [`LARGEST_SNAPSHOT`](super::super::LARGEST_SNAPSHOT), at default limits 3 MiB.
    ///
    /// That an address is kept is not saved: the user [keeps](Self::keep) it again.
    pub fn snapshot(&self, now: Instant) -> Vec<u8> {
        let connected: HashSet<&Arc<Endpoint>> = self
            .peers
            .values()
            .filter_map(|peer| peer.dialed.as_ref())
            .collect();
        let addresses = self.addresses.iter().map(|(_, entry)| {
            let is_up = connected.contains(&entry.endpoint);
            let ago = |up| {
                now.saturating_duration_since(if is_up { now } else { up })
                    .as_secs()
            };
            SavedAddress {
                endpoint: entry.endpoint.to_string(),
                source: entry.source.clone(),
                is_tried: entry.last_up.is_some() && !matches!(entry.place, Place::New(_)),
                id: entry.id,
                failures: entry.failures,
                up_ago: entry.last_up.map(ago),
            }
        });
        let banned_peers = self.peer_scores.save(now);
        let banned_peers = banned_peers.map(|(peer, ban)| (*peer, ban));
        let banned_addresses = self.address_scores.save(now);
        let banned_addresses = banned_addresses.map(|(at, ban)| (at.to_string(), ban));
        let saved = Saved {
            secret: self.addresses.secret(),
            addresses: addresses.collect(),
            banned_peers: banned_peers.collect(),
            banned_addresses: banned_addresses.collect(),
        };
        let mut body = BytesMut::new();
        if let Err(error) = encode(&saved, &mut body, largest()) {
            tracing::error!(%error, "the address book does not fit into its snapshot");
        }
        seal(&body)
    }

    /// A book from what [`snapshot`](Self::snapshot) made. What the limits of now have no room for
    /// is left out; a ban goes on for as long as it had to go when it was saved.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] if the bytes are no book.
    pub fn restore(
        config: BookConfig,
        seed: [u8; 32],
        snapshot: &[u8],
        now: Instant,
    ) -> Result<Self, SnapshotError> {
        let saved: Saved =
            decode(unseal(snapshot)?, largest()).map_err(|error| damaged(error.to_string()))?;
        let mut book = Self::with_secret(config, StdRng::from_seed(seed), saved.secret, now);
        for address in &saved.addresses {
            book.restore_address(address, now);
        }
        for (peer, ban) in saved.banned_peers {
            book.peer_scores.restore(peer, ban, &book.config, now);
        }
        for (address, ban) in saved.banned_addresses {
            if let Some(endpoint) = read_address(&address, None) {
                let scores = &mut book.address_scores;
                scores.restore(endpoint, ban, &book.config, now);
            }
        }
        Ok(book)
    }

    fn restore_address(&mut self, saved: &SavedAddress, now: Instant) {
        let Some(endpoint) = read_address(&saved.endpoint, None) else {
            return;
        };
        let location = Location::of(&endpoint);
        self.addresses
            .add(endpoint.clone(), location, &saved.source, now);
        let Some(entry) = self.addresses.get_mut(&endpoint) else {
            return;
        };
        let before = |ago| now.checked_sub(Duration::from_secs(ago)).unwrap_or(now);
        entry.id = saved.id;
        entry.failures = saved.failures;
        entry.last_up = saved.up_ago.map(before);
        if saved.is_tried {
            self.addresses.promote(&endpoint);
        }
    }
}

fn largest() -> MaxMessageSize {
    MaxMessageSize::new(LARGEST_SNAPSHOT).unwrap_or_default()
}
