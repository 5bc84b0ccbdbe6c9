//! What peers are told, and what is taken from them.

use super::super::{BookAction, BookConfig, Breach, DialFailure};
use super::{SECOND, accepted, address, book, dialed, peer};
use crate::runtime::Instant;

#[test]
fn it_asks_one_outbound_peer_at_a_time_and_none_twice_within_35_seconds() {
    let start = Instant::now();
    let mut book = book(BookConfig::default().outbound(0), start);
    accepted(&mut book, 7, start);
    dialed(&mut book, 1, &address(1), start);
    dialed(&mut book, 2, &address(2), start);
    let mut asked = Vec::new();
    for second in 0..=65 {
        let now = start + second * SECOND;
        while let Some(action) = book.poll(now) {
            if let BookAction::Ask { peer } = action {
                assert!(book.answered(&peer, &["tcp://9.9.9.9:1"], now).is_ok());
                asked.push((second, peer));
            }
        }
    }
    let seconds: Vec<u32> = asked.iter().map(|(second, _)| *second).collect();
    assert_eq!(seconds, [1, 31, 61]);
    assert_ne!(asked[0].1, asked[1].1);
    assert!(asked.iter().all(|(_, id)| *id != peer(7)));
}

#[test]
fn in_need_it_asks_those_too_that_have_dialled_it() {
    let start = Instant::now();
    for (outbound, is_in_need) in [(0, false), (1, true)] {
        let mut book = book(BookConfig::default().outbound(outbound), start);
        accepted(&mut book, 7, start);
        let later = start + SECOND;
        assert_eq!(book.poll_timeout(start) <= later, is_in_need);
        let asks = BookAction::Ask { peer: peer(7) };
        let mut actions = std::iter::from_fn(|| book.poll(later));
        assert_eq!(actions.any(|action| action == asks), is_in_need);
    }
}

#[test]
fn an_answer_is_a_quarter_of_the_book_or_8_and_250_at_most() {
    for (known, told) in [(7, 7), (9, 8), (32, 8), (33, 9), (1600, 250)] {
        let now = Instant::now();
        let mut book = book(BookConfig::default(), now);
        for source in 0..400 {
            accepted(&mut book, 50_000 + source, now);
        }
        for number in 0..known {
            let source = peer(50_000 + number % 400);
            book.found(&source, &[address(number).to_string()], now);
        }
        assert!(book.len() * 10 > known * 9, "{} of {known}", book.len());
        accepted(&mut book, 40_000, now);
        let answer = book.questioned(&peer(40_000), now).unwrap();
        assert_eq!(answer.len(), told, "of {known}");
        let distinct: std::collections::HashSet<_> = answer.iter().collect();
        assert_eq!(distinct.len(), told);
        let again = book.questioned(&peer(40_000), now + 29 * SECOND);
        assert!(matches!(again, Err(Breach::TooSoon { .. })), "{again:?}");
        assert!(book.questioned(&peer(40_000), now + 30 * SECOND).is_ok());
    }
}

#[test]
fn where_somebody_answered_is_told_first_and_never_to_itself() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    accepted(&mut book, 7, now);
    let told: Vec<String> = (10..110)
        .map(|number| address(number).to_string())
        .collect();
    book.found(&peer(7), &told, now);
    for number in 0..5 {
        dialed(&mut book, number, &address(number), now);
    }
    let answer = book.questioned(&peer(0), now).unwrap();
    assert!(!answer.contains(&address(0).to_string()));
    for number in 1..5 {
        assert!(answer.contains(&address(number).to_string()));
    }
}

#[test]
fn nobody_far_away_tells_of_near_addresses_or_is_told_of_them() {
    let near = [
        "memory://name",
        "unix:///run/x",
        "tcp://127.0.0.1:22",
        "tcp://10.0.0.1:80",
        "ws://printer/",
    ];
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(0), now);
    accepted(&mut book, 7, now);
    assert_eq!(book.found(&peer(7), &near, now), 0);
    let remotes = ["tcp://192.168.0.9:5", "tcp://127.0.0.1:5", "memory://other"];
    for (number, (remote, taken)) in remotes.into_iter().zip([2, 2, 1]).enumerate() {
        let remote = remote.parse().unwrap();
        book.connected(peer(number), None, Some(&remote), now);
        assert_eq!(book.found(&peer(number), &near, now), taken, "{remote}");
    }
    for text in near {
        book.reached(&text.parse().unwrap(), peer(99), now);
    }
    assert_eq!(book.questioned(&peer(7), now), Ok(Vec::new()));
    for (number, told) in [2, 4, 5].into_iter().enumerate() {
        let answer = book.questioned(&peer(number), now).unwrap();
        assert_eq!(answer.len(), told, "{answer:?}");
    }
}

#[test]
fn where_nobody_answered_when_dialled_is_not_told() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    accepted(&mut book, 7, now);
    let told = [address(1).to_string(), address(2).to_string()];
    book.found(&peer(7), &told, now);
    book.failed(&address(1), DialFailure::Unreachable, now);
    assert_eq!(book.questioned(&peer(7), now), Ok(told[1..].to_vec()));
}

#[test]
fn what_is_no_address_is_passed_over() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    accepted(&mut book, 7, now);
    let long = format!("ws://example.org/{}", "x".repeat(256));
    let odd = [
        "",
        "quic://9.9.9.9:1",
        "tcp://9.9.9.9:0",
        "tcp://0.0.0.0:1",
        &long,
    ];
    assert_eq!(book.pushed(&peer(7), &odd, now), Ok(0));
    let path = "x".repeat(256 - "ws://example.org/".len());
    let longest = format!("ws://example.org/{path}");
    assert_eq!(book.found(&peer(7), &[longest], now), 1);
    assert_eq!(
        book.found(&peer(8), &["tcp://9.9.9.9:1"], now),
        0,
        "who is that?"
    );
}

#[test]
fn a_peer_that_listens_everywhere_is_found_where_it_is_seen() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(0), now);
    let remote = "tcp://9.9.9.9:5555".parse().unwrap();
    book.connected(peer(7), None, Some(&remote), now);
    assert_eq!(book.found(&peer(7), &["tcp://0.0.0.0:9000"], now), 1);
    let expected = "tcp://9.9.9.9:9000".parse().unwrap();
    assert!(book.addresses.get(&expected).is_some());
    // Of others it knows better where they are.
    let pushed = book.pushed(&peer(7), &["tcp://0.0.0.0:9001"], now);
    assert_eq!(pushed, Ok(0));
}

#[test]
fn addresses_are_pushed_if_so_set() {
    let start = Instant::now();
    let config = BookConfig::default().outbound(0).push_interval(60 * SECOND);
    let mut book = book(config, start);
    accepted(&mut book, 7, start);
    dialed(&mut book, 1, &address(1), start);
    let mut pushes = Vec::new();
    for second in 0..300 {
        while let Some(action) = book.poll(start + second * SECOND) {
            if let BookAction::Push { peer, addresses } = action {
                pushes.push((peer, addresses));
            }
        }
    }
    assert_eq!(pushes.len(), 5);
    for (to, addresses) in pushes {
        let expected = if to == peer(1) {
            vec![]
        } else {
            vec![address(1).to_string()]
        };
        assert_eq!(addresses, expected);
    }
}

#[test]
fn a_push_too_many_or_too_soon_is_not_taken() {
    let now = Instant::now();
    let mut book = book(BookConfig::default(), now);
    accepted(&mut book, 7, now);
    assert_eq!(book.pushed(&peer(7), &["tcp://9.9.9.9:1"], now), Ok(1));
    let soon = book.pushed(&peer(7), &["tcp://9.9.9.8:1"], now + SECOND);
    assert!(matches!(soon, Err(Breach::TooSoon { .. })));
    assert_eq!(book.points(&peer(7), now + SECOND), 10);
    let many = vec!["tcp://9.9.9.7:1"; 251];
    let later = now + 60 * SECOND;
    assert!(matches!(
        book.pushed(&peer(7), &many, later),
        Err(Breach::TooMany { .. })
    ));
    assert!(book.is_banned(&peer(7), later).is_some());
    assert_eq!(book.len(), 1);
}
