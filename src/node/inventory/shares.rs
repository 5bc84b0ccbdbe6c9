//! Who gives way when all places are taken.

use super::{Inventory, ItemId};
use crate::node::identity::PeerId;
use crate::runtime::Instant;

impl Inventory {
    /// Makes room for a peer with so many places: one of whoever has the most is given up, if that one
    /// has more even so. What another has too that has fewer is that one's from then on.
    pub(super) fn make_room(&mut self, share: usize, now: Instant) -> bool {
        loop {
            let most = self.peers.values().max_by_key(|source| source.share());
            let loudest = most.filter(|source| source.share() > share.saturating_add(1));
            let item =
                loudest.and_then(|source| source.spare.first().or_else(|| source.busy.first()));
            let Some(item) = item.copied() else {
                return false;
            };
            if !self.hand_over(&item) {
                self.displace(item, now);
                return true;
            }
        }
    }

    /// Counts the item as one of another that has it, and has fewer even so; false if there is none.
    fn hand_over(&mut self, item: &ItemId) -> bool {
        let Some(wanted) = self.wanted.get_mut(item) else {
            return false;
        };
        let share = |peer: &PeerId| Some((self.peers.get(peer)?.share(), *peer));
        let others = wanted.turn.iter().chain(&wanted.sources);
        let fewest = others.filter_map(share).min();
        let before = share(&wanted.first).map_or(0, |(share, _)| share);
        let Some((_, heir)) = fewest.filter(|(share, _)| share.saturating_add(1) < before) else {
            return false;
        };
        let owner = std::mem::replace(&mut wanted.first, heir);
        let owner = self.peers.get_mut(&owner);
        let is_spare = owner.is_some_and(|owner| {
            owner.busy.remove(item);
            owner.spare.remove(item)
        });
        if let Some(heir) = self.peers.get_mut(&heir) {
            let items = if is_spare {
                &mut heir.spare
            } else {
                &mut heir.busy
            };
            items.insert(*item);
        }
        true
    }

    /// There is no place for the item: if somebody is asked for it, the answer is still taken.
    pub(super) fn displace(&mut self, item: ItemId, now: Instant) {
        if let Some(wanted) = self.give_up(&item)
            && !wanted.asked.is_empty()
        {
            self.given_up.add(item, wanted.asked, now);
        }
    }
}
