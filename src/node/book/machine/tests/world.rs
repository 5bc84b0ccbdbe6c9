//! Nodes with books, without anything between them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{Book, BookAction, BookConfig, DialFailure, Purpose};
use super::{SECOND, address, peer};
use crate::runtime::Instant;

/// How many may be connected to a node that they have dialled.
const INBOUND: usize = 128;

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) nodes: Vec<Book>,
    /// Who has dialled whom.
    pub(super) links: BTreeSet<(usize, usize)>,
    /// Nodes of different parts do not reach each other.
    pub(super) parts: Vec<usize>,
    pub(super) dials: usize,
    /// What the node tells whoever asks, if not what its book does.
    pub(super) lies: BTreeMap<usize, Vec<String>>,
}

impl World {
    pub(super) fn new(nodes: usize, config: &BookConfig) -> Self {
        let now = Instant::now();
        let new = |number| {
            let seed = [u8::try_from(number).unwrap(); 32];
            let mut book = Book::new(config.clone(), seed, now);
            book.listening(address(number));
            book
        };
        Self {
            now,
            nodes: (0..nodes).map(new).collect(),
            links: BTreeSet::new(),
            parts: vec![0; nodes],
            dials: 0,
            lies: BTreeMap::new(),
        }
    }

    /// Lets that many seconds pass.
    pub(super) fn run(&mut self, seconds: u32) {
        for _ in 0..seconds {
            for node in 0..self.nodes.len() {
                while let Some(action) = self.nodes[node].poll(self.now) {
                    self.act(node, action);
                }
            }
            self.now += SECOND;
        }
    }

    pub(super) fn outbound(&self, node: usize) -> usize {
        self.links.iter().filter(|(from, _)| *from == node).count()
    }

    /// Whether every node is linked to every other, through others if need be.
    pub(super) fn is_connected(&self) -> bool {
        let (mut seen, mut ahead) = (BTreeSet::from([0]), vec![0]);
        while let Some(node) = ahead.pop() {
            let next = self.links.iter().filter_map(|(one, other)| match node {
                _ if *one == node => Some(*other),
                _ if *other == node => Some(*one),
                _ => None,
            });
            ahead.extend(next.filter(|node| seen.insert(*node)));
        }
        seen.len() == self.nodes.len()
    }

    /// Cuts what goes from one part to another.
    pub(super) fn divide(&mut self, part_of: impl Fn(usize) -> usize) {
        self.parts = (0..self.nodes.len()).map(part_of).collect();
        let links = self.links.clone();
        for (from, to) in links {
            if self.parts[from] != self.parts[to] {
                self.unlink(from, to);
            }
        }
    }

    fn act(&mut self, node: usize, action: BookAction) {
        match action {
            BookAction::Dial { endpoint, purpose } => {
                self.dials += 1;
                let result = self.dial(node, &endpoint, purpose);
                if let Err(failure) = result {
                    self.nodes[node].failed(&endpoint, failure, self.now);
                }
            }
            BookAction::Ask { peer } => {
                let from = self.number(peer);
                let own = super::peer(node);
                let honest = self.nodes[from].questioned(&own, self.now).unwrap();
                let answer = self.lies.get(&from).unwrap_or(&honest);
                let found = self.nodes[node].answered(&peer, answer, self.now);
                assert!(found.is_ok());
            }
            BookAction::Push { peer, addresses } => {
                let to = self.number(peer);
                let own = super::peer(node);
                self.nodes[to].pushed(&own, &addresses, self.now).unwrap();
            }
            BookAction::Drop { peer } => {
                let to = self.number(peer);
                self.unlink(node, to);
            }
            BookAction::Save => {}
        }
    }

    fn dial(
        &mut self,
        from: usize,
        endpoint: &crate::transport::Endpoint,
        purpose: Purpose,
    ) -> Result<(), DialFailure> {
        let to = (0..self.nodes.len()).find(|node| address(*node) == *endpoint);
        let to = to.ok_or(DialFailure::Unreachable)?;
        if to == from {
            return Err(DialFailure::OwnAddress);
        }
        if self.parts[from] != self.parts[to] {
            return Err(DialFailure::Unreachable);
        }
        if self.links.contains(&(from, to)) || self.links.contains(&(to, from)) {
            return Err(DialFailure::Duplicate { peer: peer(to) });
        }
        if self.links.iter().filter(|link| link.1 == to).count() >= INBOUND {
            let retry_after = Some(60 * SECOND);
            return Err(DialFailure::Refused { retry_after });
        }
        if purpose == Purpose::Feeler {
            self.nodes[from].reached(endpoint, peer(to), self.now);
            return Ok(());
        }
        self.links.insert((from, to));
        self.nodes[from].connected(peer(to), Some(endpoint), None, self.now);
        let remote = address(from);
        self.nodes[to].connected(peer(from), None, Some(&remote), self.now);
        self.nodes[to].found(&peer(from), &[remote.to_string()], self.now);
        Ok(())
    }

    fn unlink(&mut self, from: usize, to: usize) {
        assert!(self.links.remove(&(from, to)));
        self.nodes[from].disconnected(&peer(to), self.now);
        self.nodes[to].disconnected(&peer(from), self.now);
    }

    fn number(&self, id: crate::node::PeerId) -> usize {
        let found = (0..self.nodes.len()).find(|number| peer(*number) == id);
        found.unwrap()
    }
}
