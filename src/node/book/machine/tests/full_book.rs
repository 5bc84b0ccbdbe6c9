//! What happens when there is no more room.

use super::super::{BookAction, BookConfig, DialFailure};
use super::{Book, SECOND, accepted, address, book, dials, peer};
use crate::node::book::machine::addresses::{MOST_KEPT, PLACES, Place};
use crate::runtime::Instant;

fn is_tried(book: &Book, number: usize) -> bool {
    let entry = book.addresses.get(&address(number));
    entry.is_some_and(|entry| matches!(entry.place, Place::Tried(_)))
}

/// One bucket of tried addresses, which is full.
fn full_of_tried(now: Instant) -> Book {
    let config = BookConfig::default().outbound(0).tried_buckets(1);
    let mut book = book(config, now);
    accepted(&mut book, 50_000, now);
    for number in 0..=PLACES {
        accepted(&mut book, 60_000 + number, now);
        let text = address(number).to_string();
        assert_eq!(book.found(&peer(60_000 + number), &[text], now), 1);
        let seconds = u32::try_from(number).unwrap();
        book.reached(&address(number), peer(number), now + seconds * SECOND);
    }
    book
}

#[test]
fn who_answers_still_keeps_its_place_among_the_tried() {
    let now = Instant::now();
    let mut book = full_of_tried(now);
    assert!((0..PLACES).all(|number| is_tried(&book, number)));
    assert!(!is_tried(&book, PLACES), "there is no room for one more");
    // The one that was up the longest ago is asked whether it still is.
    let later = now + 600 * SECOND;
    let dialled = dials(&mut book, later);
    assert_eq!(dialled.len(), 1);
    assert_eq!(dialled[0].0, address(0));
    book.reached(&address(0), peer(0), later);
    book.reached(&address(PLACES), peer(PLACES), later);
    assert!(is_tried(&book, 0) && !is_tried(&book, PLACES));
}

#[test]
fn who_does_not_answer_any_more_makes_room() {
    let now = Instant::now();
    let mut book = full_of_tried(now);
    let later = now + 600 * SECOND;
    assert_eq!(dials(&mut book, later)[0].0, address(0));
    book.failed(&address(0), DialFailure::Unreachable, later);
    assert!(!is_tried(&book, 0));
    assert!(book.addresses.get(&address(0)).is_some(), "not forgotten");
    book.reached(&address(PLACES), peer(PLACES), later);
    assert!(is_tried(&book, PLACES));
}

#[test]
fn so_many_are_kept_and_no_more() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    assert!((0..MOST_KEPT).all(|number| book.keep(address(number), now)));
    assert!(!book.keep(address(MOST_KEPT), now));
    assert!(book.keep(address(0), now), "that one is kept already");
    assert_eq!(book.len(), MOST_KEPT);
}

#[test]
fn what_has_not_been_up_for_a_month_makes_room() {
    let start = Instant::now();
    let config = BookConfig::default().outbound(0).new_buckets(1);
    let mut book = book(config, start);
    for number in 0..=PLACES {
        accepted(&mut book, 50_000 + number, start);
        let text = address(number).to_string();
        let taken = book.found(&peer(50_000 + number), &[text], start);
        assert_eq!(taken == 1, number < PLACES, "{number}");
    }
    let just_before = start + (30 * 86_400 - 1) * SECOND;
    let text = address(PLACES).to_string();
    assert_eq!(book.found(&peer(50_000), &[&text], just_before), 0);
    assert_eq!(book.found(&peer(50_000), &[&text], just_before + SECOND), 1);
    assert_eq!(book.len(), PLACES);
}

fn full_book(now: Instant) -> Book {
    let mut book = book(BookConfig::default().outbound(0), now);
    for source in 0..800 {
        accepted(&mut book, 50_000 + source, now);
        let told = (0..40).map(|number| address(source * 40 + number));
        let told: Vec<String> = told.map(|endpoint| endpoint.to_string()).collect();
        book.found(&peer(50_000 + source), &told, now);
        for number in (source * 40..source * 40 + 40).step_by(10) {
            book.reached(&address(number), peer(number), now);
        }
        book.disconnected(&peer(50_000 + source), now);
    }
    book
}

#[test]
fn a_full_book_takes_less_than_three_mebibytes() {
    let now = Instant::now();
    let mut kept = None;
    let memory = allocation_counter::measure(|| kept = Some(full_book(now)));
    let addresses = kept.map_or(0, |book| book.len());
    println!("{addresses} addresses in {} bytes", memory.bytes_current);
    assert!(addresses >= 64 * PLACES + 1000, "it is full");
    assert!(memory.bytes_current < 3 * 1024 * 1024);
}

#[test]
fn a_full_book_is_saved_and_restored_as_it_was() {
    let now = Instant::now();
    let book = full_book(now);
    let bytes = book.snapshot(now);
    println!("{} addresses in {} bytes", book.len(), bytes.len());
    assert!(bytes.len() < 1024 * 1024);
    let config = BookConfig::default().outbound(0);
    let restored = Book::restore(config, [9; 32], &bytes, now).unwrap();
    let places = |book: &Book| {
        let entries = book.addresses.iter();
        let places = entries.map(|(_, entry)| (entry.endpoint.to_string(), entry.place));
        places.collect::<std::collections::HashMap<_, _>>()
    };
    let (before, after) = (places(&book), places(&restored));
    let same = before
        .iter()
        .filter(|(text, place)| after.get(*text) == Some(place));
    let (same, all) = (same.count(), before.len());
    println!("{same} of {all} are where they were");
    assert!(same * 100 >= all * 99);
    assert!(Book::restore(BookConfig::default(), [9; 32], b"?", now).is_err());
}

#[test]
fn it_asks_to_be_saved_when_something_changed() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(0), now);
    let saves = |book: &mut Book, now| {
        std::iter::from_fn(|| book.poll(now))
            .filter(|action| *action == BookAction::Save)
            .count()
    };
    let later = now + 120 * SECOND;
    assert_eq!(saves(&mut book, later), 0, "nothing changed");
    book.keep(address(1), later);
    assert_eq!(saves(&mut book, later), 1);
    book.keep(address(2), later);
    assert_eq!(saves(&mut book, later + 119 * SECOND), 0);
    assert_eq!(saves(&mut book, later + 120 * SECOND), 1);
    assert_eq!(saves(&mut book, later + 900 * SECOND), 0);
}
