//! Whatever happens, in whatever order.

use std::collections::HashSet;

use proptest::prelude::*;

use super::super::{BookAction, BookConfig, DialFailure, Purpose};
use super::{Book, SECOND, accepted, address, dialed, peer};
use crate::node::book::machine::addresses::{MOST_KEPT, PLACES, Place};
use crate::runtime::Instant;

#[derive(Clone, Debug)]
enum Event {
    Keep(usize),
    Listening(usize),
    Accepted(usize),
    Dialed(usize, usize),
    Disconnected(usize),
    Reached(usize, usize),
    Failed(usize, u8),
    Found(usize, Vec<usize>),
    Answered(usize, Vec<usize>),
    Questioned(usize),
    Misbehaved(usize, u32),
    Pass(u32),
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    // Few peers and addresses, of few groups: events are often about the same ones.
    let (peer, place) = (0..12_usize, 0..150_usize);
    let places = || proptest::collection::vec(0..150_usize, 0..30);
    prop_oneof![
        place.clone().prop_map(Event::Keep),
        place.clone().prop_map(Event::Listening),
        peer.clone().prop_map(Event::Accepted),
        (peer.clone(), place.clone()).prop_map(|(id, at)| Event::Dialed(id, at)),
        peer.clone().prop_map(Event::Disconnected),
        (peer.clone(), place.clone()).prop_map(|(id, at)| Event::Reached(id, at)),
        (place, 0..5_u8).prop_map(|(at, how)| Event::Failed(at, how)),
        (peer.clone(), places()).prop_map(|(id, at)| Event::Found(id, at)),
        (peer.clone(), places()).prop_map(|(id, at)| Event::Answered(id, at)),
        peer.clone().prop_map(Event::Questioned),
        (peer, 0..150_u32).prop_map(|(id, points)| Event::Misbehaved(id, points)),
        (0..4000_u32).prop_map(Event::Pass),
        Just(Event::Restart),
    ]
}

fn tell(book: &mut Book, event: Event, now: &mut Instant) {
    let texts = |places: Vec<usize>| -> Vec<String> {
        let texts = places.into_iter().map(|number| address(number).to_string());
        texts.collect()
    };
    match event {
        Event::Keep(at) => drop(book.keep(address(at), *now)),
        Event::Listening(at) => book.listening(address(at)),
        Event::Accepted(id) => accepted(book, id, *now),
        Event::Dialed(id, at) => dialed(book, id, &address(at), *now),
        Event::Disconnected(id) => book.disconnected(&peer(id), *now),
        Event::Reached(id, at) => book.reached(&address(at), peer(id), *now),
        Event::Failed(at, how) => {
            let retry_after = Some(SECOND * u32::from(how));
            let failure = match how {
                0 => DialFailure::Unreachable,
                1 => DialFailure::Refused { retry_after },
                2 => DialFailure::Duplicate { peer: peer(3) },
                3 => DialFailure::OwnAddress,
                _ => DialFailure::Hostile,
            };
            book.failed(&address(at), failure, *now);
        }
        Event::Found(id, at) => drop(book.found(&peer(id), &texts(at), *now)),
        Event::Answered(id, at) => drop(book.answered(&peer(id), &texts(at), *now)),
        Event::Questioned(id) => drop(book.questioned(&peer(id), *now)),
        Event::Misbehaved(id, points) => drop(book.misbehaved(&peer(id), points, *now)),
        Event::Pass(seconds) => *now += seconds * SECOND,
        Event::Restart => {
            let saved = book.snapshot(*now);
            *book = Book::restore(config(), [5; 32], &saved, *now).unwrap();
        }
    }
}

fn config() -> BookConfig {
    BookConfig::default()
        .outbound(5)
        .new_buckets(1)
        .tried_buckets(1)
}

fn check(book: &mut Book, now: Instant) {
    let places = book.addresses.iter().map(|(_, entry)| entry.place);
    let places: Vec<Place> = places.collect();
    let count = |place| places.iter().filter(|it| **it == place).count();
    assert!(count(Place::New(0)) <= PLACES);
    assert!(count(Place::Tried(0)) <= PLACES);
    assert!(count(Place::Kept) <= MOST_KEPT);
    let mut dialled = HashSet::new();
    for turn in 0.. {
        assert!(turn < 100, "it never has enough");
        let Some(action) = book.poll(now) else {
            break;
        };
        if let BookAction::Dial { endpoint, purpose } = action {
            assert!(!book.is_own(&endpoint));
            assert_eq!(book.is_address_banned(&endpoint, now), None);
            assert!(dialled.insert(endpoint));
            assert!(book.outbound() < 5 || purpose == Purpose::Feeler);
        }
    }
    assert!(book.dials.len() <= 5 + 2, "{:?}", book.dials);
    let next = book.poll_timeout(now);
    assert!(next > now, "it was just asked");
    let used = book.addresses.iter().filter(|(_, entry)| entry.in_use);
    let used: HashSet<_> = used.map(|(_, entry)| entry.endpoint.clone()).collect();
    let peers = book.peers.values().filter_map(|peer| peer.dialed.clone());
    let expected = book.dials.iter().map(|dial| dial.endpoint.clone());
    let expected: HashSet<_> = expected.chain(peers).collect();
    assert!(used.is_subset(&expected), "nothing is in use for nothing");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_bound_is_ever_passed(events in proptest::collection::vec(event(), 1..300)) {
        let mut now = Instant::now();
        let mut book = Book::new(config(), [3; 32], now);
        for event in events {
            tell(&mut book, event, &mut now);
            check(&mut book, now);
        }
    }

    #[test]
    fn bytes_that_are_no_book_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let now = Instant::now();
        prop_assert!(Book::restore(config(), [1; 32], &bytes, now).is_err());
        let sealed = crate::node::book::snapshot::seal(&bytes);
        // It may be one by chance; then it has its bounds.
        if let Ok(book) = Book::restore(config(), [1; 32], &sealed, now) {
            prop_assert!(book.len() <= 2 * PLACES);
        }
    }
}
