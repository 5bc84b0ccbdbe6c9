//! How long a full book thinks: `cargo nextest run --lib speed --run-ignored all --no-capture`.

use std::time::Duration;

use super::super::{BookAction, BookConfig, DialFailure};
use super::{Book, SECOND, accepted, address, book, peer};
use crate::node::book::location::Location;
use crate::runtime::Instant;

const TURNS: u32 = 1000;

/// A book with all the new, tried and kept addresses that there may be.
fn full(now: Instant) -> Book {
    let mut book = book(BookConfig::default(), now);
    for number in 0..256 {
        book.keep(address(number), now);
    }
    for number in 256..40_000 {
        let endpoint = address(number);
        let location = Location::of(&endpoint);
        let source = Location::of(&address(number * 7 % 53_000)).group;
        book.addresses.add(endpoint.clone(), location, &source, now);
        if number < 4000 {
            book.addresses.promote(&endpoint);
        }
    }
    book
}

/// The mean time of a turn as the node takes it.
fn measure(book: &mut Book, now: Instant, mut between: impl FnMut(&mut Book)) -> Duration {
    let mut spent = Duration::ZERO;
    for _ in 0..TURNS {
        between(book);
        let start = Instant::now();
        let action = book.poll(now);
        std::hint::black_box(book.poll_timeout(now));
        spent += start.elapsed();
        if let Some(BookAction::Dial { endpoint, .. }) = action {
            book.failed(&endpoint, DialFailure::Unreachable, now);
        }
    }
    spent / TURNS
}

#[test]
#[ignore = "it measures"]
fn a_full_book_is_quick() {
    let now = Instant::now();
    let mut book = full(now);
    accepted(&mut book, 1, now);
    println!("{} addresses", book.len());
    let dials = measure(&mut book, now + SECOND, |_| {});
    println!("to find somebody to dial: {dials:?}");
    while let Some(action) = book.poll(now) {
        if let BookAction::Dial { endpoint, .. } = action {
            let retry_after = Some(Duration::from_hours(1));
            book.failed(&endpoint, DialFailure::Refused { retry_after }, now);
        }
    }
    println!("{} addresses, which all wait", book.len());
    let waits = measure(&mut book, now, |book| accepted(book, 2, now));
    println!("to find nobody, when a peer has come: {waits:?}");
    let idle = measure(&mut book, now, |_| {});
    println!("when nothing has happened: {idle:?}");
    book.disconnected(&peer(1), now);
}
