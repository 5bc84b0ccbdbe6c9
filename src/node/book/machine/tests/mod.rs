mod bounds;
mod dialing;
mod flood;
mod full_book;
mod networks;
mod shunning;
mod speed;
mod telling;
mod world;

use std::time::Duration;

use super::{Book, BookAction, BookConfig, Purpose};
use crate::node::PeerId;
use crate::runtime::Instant;
use crate::transport::Endpoint;

const SECOND: Duration = Duration::from_secs(1);

fn book(config: BookConfig, now: Instant) -> Book {
    Book::new(config, [7; 32], now)
}

fn peer(number: usize) -> PeerId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    PeerId::new(bytes)
}

/// An address on the internet; the first 60,000 are each of a group of their own.
fn address(number: usize) -> Endpoint {
    let group = 256 + number % 0xd000;
    let host = number / 0xd000;
    let text = format!("tcp://{}.{}.0.{host}:9000", group / 256, group % 256);
    text.parse().unwrap()
}

/// Connects `peer`, by dialling `endpoint`.
fn dialed(book: &mut Book, number: usize, endpoint: &Endpoint, now: Instant) {
    book.connected(peer(number), Some(endpoint), None, now);
}

/// Connects `peer`, which dialled from its address and some port.
fn accepted(book: &mut Book, number: usize, now: Instant) {
    book.connected(peer(number), None, Some(&address(number)), now);
}

/// Does what the book asks for now: answers the dials.
fn dials(book: &mut Book, now: Instant) -> Vec<(Endpoint, Purpose)> {
    let mut dials = Vec::new();
    while let Some(action) = book.poll(now) {
        if let BookAction::Dial { endpoint, purpose } = action {
            dials.push((endpoint, purpose));
        }
    }
    dials
}
