//! Who is banned, and what for.

use super::super::{BookConfig, Breach, DialFailure};
use super::{SECOND, accepted, address, book, dialed, dials, peer};
use crate::runtime::Instant;

const HOUR: u32 = 3600;

#[test]
fn an_answer_that_nobody_asked_for_is_a_ban_by_id_and_dialled_address() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    book.keep(address(1), now);
    dials(&mut book, now);
    dialed(&mut book, 1, &address(1), now);
    // It is asked once, and answers.
    let now = now + SECOND;
    dials(&mut book, now);
    let none: [&str; 0] = [];
    assert_eq!(book.answered(&peer(1), &none, now), Ok(0));
    let false_ones = [address(9).to_string()];
    let answered = book.answered(&peer(1), &false_ones, now);
    assert_eq!(answered, Err(Breach::Unasked));
    assert_eq!(book.is_banned(&peer(1), now), Some(HOUR * SECOND));
    assert!(book.addresses.get(&address(9)).is_none());
    book.disconnected(&peer(1), now);
    let almost = now + (HOUR - 1) * SECOND;
    assert_eq!(dials(&mut book, almost), [], "its address is banned");
    // From another port and connection, it is the same peer.
    assert!(book.is_banned(&peer(1), almost).is_some());
    assert!(book.is_banned(&peer(2), almost).is_none());
    let after = now + HOUR * SECOND;
    assert!(book.is_banned(&peer(1), after).is_none());
    let soon_after = after + 60 * SECOND;
    assert_eq!(dials(&mut book, soon_after).len(), 1);
}

#[test]
fn the_second_ban_is_twice_as_long() {
    let mut now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    for hours in [1, 2, 4] {
        accepted(&mut book, 1, now);
        let banned = book.misbehaved(&peer(1), 100, now);
        assert_eq!(banned, Some(hours * HOUR * SECOND));
        book.disconnected(&peer(1), now);
        now += hours * HOUR * SECOND;
    }
}

#[test]
fn nobody_is_banned_by_the_port_that_they_dialled_from() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    accepted(&mut book, 1, now);
    assert!(book.misbehaved(&peer(1), 100, now).is_some());
    assert!(book.is_address_banned(&address(1), now).is_none());
}

#[test]
fn an_address_of_another_network_is_banned_and_forgotten() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    accepted(&mut book, 7, now);
    book.found(&peer(7), &[address(1).to_string()], now);
    assert_eq!(dials(&mut book, now).len(), 1);
    book.failed(&address(1), DialFailure::Hostile, now);
    assert!(book.is_empty());
    assert!(book.is_address_banned(&address(1), now).is_some());
    // Heard of again, it is not dialled for as long.
    book.found(&peer(7), &[address(1).to_string()], now);
    assert_eq!(dials(&mut book, now + 60 * SECOND), []);
}

#[test]
fn small_breaches_add_up() {
    let start = Instant::now();
    let mut book = book(BookConfig::default(), start);
    accepted(&mut book, 1, start);
    assert!(book.questioned(&peer(1), start).is_ok());
    for breach in 1..=10 {
        assert_eq!(book.points(&peer(1), start), (breach - 1) * 10);
        assert!(book.questioned(&peer(1), start).is_err());
    }
    assert!(book.is_banned(&peer(1), start).is_some());
    book.pardon(&peer(1));
    assert!(book.is_banned(&peer(1), start).is_none());
}

#[test]
fn a_ban_outlives_the_process() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    dialed(&mut book, 1, &address(1), now);
    book.misbehaved(&peer(1), 100, now);
    let saved = book.snapshot(now + 60 * SECOND);
    let config = BookConfig::default();
    let restored = super::Book::restore(config, [8; 32], &saved, now).unwrap();
    let left = restored.is_banned(&peer(1), now).unwrap();
    assert!(left >= 3540 * SECOND && left <= 3541 * SECOND, "{left:?}");
    assert!(restored.is_address_banned(&address(1), now).is_some());
}

#[test]
fn an_address_is_saved_as_up_for_as_long_as_its_peer_is_connected() {
    let start = Instant::now();
    let saved_after = |is_connected: bool| {
        let mut book = book(BookConfig::default(), start);
        dialed(&mut book, 1, &address(1), start);
        if !is_connected {
            book.disconnected(&peer(1), start);
        }
        let later = start + 3600 * SECOND;
        let saved = book.snapshot(later);
        let restored = super::Book::restore(BookConfig::default(), [8; 32], &saved, later);
        let restored = restored.unwrap();
        let entry = restored.addresses.iter().next();
        entry.and_then(|(_, entry)| entry.last_up).unwrap()
    };
    assert_eq!(saved_after(true), start + 3600 * SECOND);
    assert_eq!(saved_after(false), start);
}
