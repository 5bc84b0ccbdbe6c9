use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::{ItemId, Ticket};
use crate::node::identity::PeerId;
use crate::runtime::Instant;

/// An item that was announced and is not here.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Whose share of the places it takes.
    pub(super) first: PeerId,
    /// Who else has it, and was not asked yet.
    pub(super) sources: VecDeque<PeerId>,
    /// Whose turn it is, asked or about to be.
    pub(super) turn: Option<PeerId>,
    /// Its place in that peer's queue, until it is asked for.
    pub(super) ticket: Option<Ticket>,
    /// Who was asked, and may answer still.
    pub(super) asked: Vec<PeerId>,
    /// When it is given up.
    pub(super) until: Instant,
}

/// A peer that has announced something.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// What it is to be asked for.
    pub(super) queue: BTreeMap<Ticket, ItemId>,
    /// How many items it was asked for and owes.
    pub(super) owes: usize,
    /// When others are asked for what it owes; not later than `latest`, however much it sends.
    pub(super) deadline: Option<Instant>,
    pub(super) latest: Option<Instant>,
    /// The items that it named first and nobody is asked for at the moment, and those that somebody is.
    pub(super) spare: BTreeSet<ItemId>,
    pub(super) busy: BTreeSet<ItemId>,
}

impl Source {
    /// How many places it has.
    pub(super) fn share(&self) -> usize {
        self.spare.len().saturating_add(self.busy.len())
    }
}
