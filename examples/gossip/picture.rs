//! Who is connected to whom, as each node tells all others.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use sessionwire::node::PeerId;

/// A node that has told nothing for so long is gone.
const GONE: Duration = Duration::from_secs(10);
/// The nodes that are drawn at most.
const MOST_NODES: usize = 40;

#[derive(Default)]
pub(crate) struct Picture {
    nodes: BTreeMap<PeerId, View>,
    drawn: String,
}

/// What a node told of itself last.
struct View {
    name: String,
    dialed: Vec<PeerId>,
    at: Instant,
}

impl Picture {
    /// A node tells whom it has dialed.
    pub(crate) fn told(&mut self, node: PeerId, name: String, dialed: Vec<PeerId>) {
        let at = Instant::now();
        self.nodes.retain(|_, view| view.at.elapsed() < GONE);
        if self.nodes.len() < MOST_NODES || self.nodes.contains_key(&node) {
            self.nodes.insert(node, View { name, dialed, at });
        }
    }

    /// Draws who is connected to whom, if that has changed.
    pub(crate) fn draw(&mut self) {
        let picture = self.text();
        if picture == self.drawn {
            return;
        }
        if std::io::stdout().is_terminal() {
            print!("\x1b[2J\x1b[H");
        }
        println!("{picture}");
        self.drawn = picture;
    }

    /// A row and a column for each node: `->` where the row's node has dialed the column's, and
    /// `<-` where it was dialed. Of two that say so of each other, as they dialed at once, the one
    /// with the smaller id has its way.
    fn text(&self) -> String {
        let mut nodes: Vec<(&PeerId, &View)> = self.nodes.iter().collect();
        nodes.sort_by_key(|(_, view)| &view.name);
        let widest = nodes.iter().map(|(_, view)| view.name.chars().count());
        let width = widest.max().unwrap_or(0).max(2) + 1;
        let (mut picture, mut connections) = (" ".repeat(width), 0);
        for (_, view) in &nodes {
            // Writing to a String does not fail.
            let _ = write!(picture, "{:<width$}", view.name);
        }
        for (row, view) in &nodes {
            let _ = write!(picture, "\n{:<width$}", view.name);
            for (column, other) in &nodes {
                let there = view.dialed.contains(column);
                let back = other.dialed.contains(row);
                let mark = match () {
                    () if row == column => "·",
                    () if there && (!back || row < column) => "->",
                    () if back => "<-",
                    () => "",
                };
                connections += usize::from(mark == "->");
                let _ = write!(picture, "{mark:<width$}");
            }
        }
        let _ = write!(
            picture,
            "\n{} nodes, {connections} connections",
            nodes.len()
        );
        picture
    }
}
