//! Whom it dials, and when.

use super::super::{Book, BookAction, BookConfig, DialFailure, Purpose};
use super::{SECOND, accepted, address, book, dialed, dials, peer};
use crate::runtime::Instant;
use crate::transport::Endpoint;

#[test]
fn it_dials_until_the_target_is_met_and_again_when_one_is_lost() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(3), now);
    for number in 0..10 {
        book.keep(address(number), now);
    }
    let first = dials(&mut book, now);
    assert_eq!(first.len(), 3, "those under way count");
    for (number, (endpoint, purpose)) in first.iter().enumerate() {
        assert_eq!(*purpose, Purpose::Outbound);
        dialed(&mut book, number, endpoint, now);
    }
    assert_eq!(dials(&mut book, now), []);
    book.disconnected(&peer(0), now);
    let second = dials(&mut book, now);
    assert_eq!(second.len(), 1);
    assert!(!first.contains(&second[0]), "it was up just now");
}

#[test]
fn two_of_one_group_are_dialled_only_if_there_is_no_other() {
    let now = Instant::now();
    let near = ["tcp://9.9.1.1:1", "tcp://9.9.2.2:1", "ws://9.9.3.3/"];
    let near = near.map(|text| text.parse::<Endpoint>().unwrap());
    let far = ["tcp://8.8.1.1:1", "tcp://example.org:1"];
    let far = far.map(|text| text.parse::<Endpoint>().unwrap());
    for seed in 0..20 {
        let mut book = Book::new(BookConfig::default().outbound(4), [seed; 32], now);
        for endpoint in near.iter().chain(&far) {
            book.keep(endpoint.clone(), now);
        }
        let dialled = dials(&mut book, now);
        let is_near = |dial: &&(Endpoint, Purpose)| near.contains(&dial.0);
        assert_eq!(dialled[..3].iter().filter(is_near).count(), 1);
        assert_eq!(dialled.iter().filter(is_near).count(), 2);
    }
}

#[test]
fn a_server_that_accepts_and_then_closes_is_dialled_less_and_less() {
    let start = Instant::now();
    let mut book = book(BookConfig::default(), start);
    book.keep(address(1), start);
    let (mut now, mut count) = (start, 0);
    while now < start + 60 * SECOND {
        for (endpoint, _) in dials(&mut book, now) {
            count += 1;
            dialed(&mut book, 1, &endpoint, now);
            book.disconnected(&peer(1), now);
        }
        now = book.poll_timeout(now).max(now + SECOND / 100);
    }
    println!("{count} dials in a minute");
    assert!((3..=25).contains(&count), "{count} dials");
}

#[test]
fn only_a_connection_that_lasted_makes_the_next_wait_short() {
    let (start, millisecond) = (Instant::now(), SECOND / 1000);
    for (uptime, is_short) in [(30_000, true), (29_999, false)] {
        let uptime = uptime * millisecond;
        let mut book = book(BookConfig::default(), start);
        book.keep(address(1), start);
        // Peers are there: failures are the address's own.
        accepted(&mut book, 7, start);
        let mut now = start;
        let mut waited = 0;
        while waited < 20 {
            if let [(endpoint, _)] = &dials(&mut book, now)[..] {
                book.failed(endpoint, DialFailure::Unreachable, now);
                waited += 1;
            }
            now += SECOND;
        }
        // Past five minutes, whatever was drawn.
        now += 300 * SECOND;
        assert_eq!(dials(&mut book, now).len(), 1);
        dialed(&mut book, 1, &address(1), now);
        now += uptime;
        book.disconnected(&peer(1), now);
        let within = dials(&mut book, now + SECOND).len() == 1;
        assert_eq!(within, is_short, "after {uptime:?}");
    }
}

#[test]
fn waits_are_at_most_five_minutes_and_differ() {
    let mut now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    book.keep(address(1), now);
    let mut waits = Vec::new();
    for attempt in 0..200 {
        assert_eq!(dials(&mut book, now).len(), 1, "attempt {attempt}");
        book.failed(&address(1), DialFailure::Unreachable, now);
        let ready = book.addresses.get(&address(1)).unwrap().backoff.ready_at();
        waits.push(ready.unwrap() - now);
        now = ready.unwrap();
    }
    assert!(waits[0] <= SECOND && waits[1] <= 2 * SECOND && waits[2] <= 4 * SECOND);
    let late = &waits[9..];
    assert!(late.iter().all(|wait| *wait <= 300 * SECOND));
    assert!(late.iter().any(|wait| *wait > 200 * SECOND));
    assert!(late.iter().any(|wait| *wait < 100 * SECOND));
}

#[test]
fn a_refusal_is_respected_for_a_day_at_most() {
    for (asked, waits) in [(600, 600), (1_000_000, 86_400)] {
        let now = Instant::now();
        let mut book = book(BookConfig::default(), now);
        book.keep(address(1), now);
        dials(&mut book, now);
        let retry_after = Some(asked * SECOND);
        book.failed(&address(1), DialFailure::Refused { retry_after }, now);
        assert_eq!(dials(&mut book, now + (waits - 1) * SECOND), []);
        assert_eq!(dials(&mut book, now + waits * SECOND).len(), 1);
    }
}

#[test]
fn an_own_address_is_never_dialled_again() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    book.keep(address(1), now);
    book.listening(address(2));
    assert!(!book.keep(address(2), now));
    assert_eq!(dials(&mut book, now).len(), 1);
    book.failed(&address(1), DialFailure::OwnAddress, now);
    accepted(&mut book, 7, now);
    let own = [address(1).to_string(), address(2).to_string()];
    assert_eq!(book.found(&peer(7), &own, now), 0);
    assert_eq!(dials(&mut book, now + 3600 * SECOND), []);
    // Not even if somebody else once was there.
    dialed(&mut book, 3, &address(2), now);
    book.disconnected(&peer(3), now);
    assert_eq!(dials(&mut book, now + 7200 * SECOND), []);
}

#[test]
fn who_is_connected_is_not_dialled_at_any_other_address() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(2), now);
    book.keep(address(1), now);
    book.keep(address(2), now);
    assert_eq!(dials(&mut book, now).len(), 2);
    dialed(&mut book, 1, &address(1), now);
    book.failed(&address(2), DialFailure::Duplicate { peer: peer(1) }, now);
    let later = now + 400 * SECOND;
    assert_eq!(dials(&mut book, later), []);
    book.disconnected(&peer(1), later);
    assert!(!dials(&mut book, later).is_empty());
}

#[test]
fn a_feeler_finds_out_whether_a_new_address_answers() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(0), now);
    accepted(&mut book, 7, now);
    book.found(&peer(7), &[address(1).to_string()], now);
    let later = now + 120 * SECOND;
    let dialled = dials(&mut book, later);
    assert_eq!(dialled, [(address(1), Purpose::Feeler)]);
    book.reached(&address(1), peer(1), later);
    let much_later = later + 600 * SECOND;
    assert_eq!(dials(&mut book, much_later), [], "it is tried already");
}

#[test]
fn a_new_address_that_failed_three_times_is_forgotten_unless_all_failed() {
    for is_somebody_there in [true, false] {
        let mut now = Instant::now();
        let mut book = book(BookConfig::default().outbound(2), now);
        accepted(&mut book, 7, now);
        book.found(&peer(7), &[address(1).to_string()], now);
        if !is_somebody_there {
            book.disconnected(&peer(7), now);
        }
        for _ in 0..3 {
            assert_eq!(dials(&mut book, now).len(), 1);
            book.failed(&address(1), DialFailure::Unreachable, now);
            now += 60 * SECOND;
        }
        assert_eq!(book.is_empty(), is_somebody_there);
    }
}

#[test]
fn a_dial_without_news_has_failed_after_two_minutes() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(1), now);
    book.keep(address(1), now);
    assert_eq!(dials(&mut book, now).len(), 1);
    assert_eq!(dials(&mut book, now + 119 * SECOND), []);
    dials(&mut book, now + 120 * SECOND);
    assert_eq!(dials(&mut book, now + 122 * SECOND).len(), 1);
}

#[test]
fn an_outbound_peer_is_exchanged_when_there_is_another() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(1), now);
    accepted(&mut book, 7, now);
    book.found(&peer(7), &[address(1).to_string()], now);
    assert_eq!(dials(&mut book, now).len(), 1);
    dialed(&mut book, 1, &address(1), now);
    let drops = |book: &mut Book, now| {
        let actions: Vec<_> = std::iter::from_fn(|| book.poll(now)).collect();
        let drop = BookAction::Drop { peer: peer(1) };
        actions.into_iter().filter(|it| *it == drop).count()
    };
    assert_eq!(drops(&mut book, now + 600 * SECOND), 0, "there is no other");
    let later = now + 1200 * SECOND;
    book.found(&peer(7), &[address(2).to_string()], later);
    book.reached(&address(2), peer(2), later);
    assert_eq!(drops(&mut book, later + 30 * SECOND), 1);
}
