//! Addresses that somebody made up.

use std::collections::HashSet;
use std::time::Duration;

use super::super::{Book, BookConfig, DialFailure};
use super::world::World;
use super::{SECOND, accepted, address, book, dialed, dials, peer};
use crate::node::book::machine::addresses::{BUCKETS_OF_GROUP, BUCKETS_OF_SOURCE, PLACES, Place};
use crate::runtime::Instant;
use crate::transport::Endpoint;

const HONEST: usize = 2_000;
const FALSE: usize = 100_000;

/// A book with some 2,000 addresses that 40 peers told of, 200 of them tried.
fn honest_book(now: Instant) -> Book {
    let mut book = book(BookConfig::default().outbound(0), now);
    for source in 0..40 {
        accepted(&mut book, source, now);
        let told = (0..HONEST).filter(|number| number % 40 == source);
        let told: Vec<String> = told.map(|number| address(number).to_string()).collect();
        book.found(&peer(source), &told, now);
    }
    for number in 40..240 {
        book.reached(&address(number), peer(number), now);
    }
    assert!(book.len() > HONEST * 19 / 20);
    book
}

/// Tells of that many addresses where nobody is, each source of its part.
fn flood(book: &mut Book, addresses: usize, sources: usize, now: Instant) {
    for source in 0..sources {
        accepted(book, 50_000 + source, now);
        let told = (FALSE..FALSE + addresses).filter(|number| number % sources == source);
        let told: Vec<String> = told.map(|number| address(number).to_string()).collect();
        for some in told.chunks(250) {
            book.found(&peer(50_000 + source), some, now);
        }
    }
}

fn known(book: &Book) -> HashSet<Endpoint> {
    let entries = book.addresses.iter();
    entries
        .map(|(_, entry)| Endpoint::clone(&entry.endpoint))
        .collect()
}

fn tried(book: &Book) -> Vec<Endpoint> {
    let entries = book.addresses.iter().map(|(_, entry)| entry);
    let tried = entries.filter(|entry| entry.last_up.is_some());
    tried
        .map(|entry| Endpoint::clone(&entry.endpoint))
        .collect()
}

fn are_all_known(book: &Book, endpoints: &[Endpoint]) -> bool {
    endpoints.iter().all(|it| book.addresses.get(it).is_some())
}

#[test]
fn a_flood_from_a_few_has_its_share_and_no_more() {
    let now = Instant::now();
    for sources in [1, 4] {
        let mut book = honest_book(now);
        let (honest, tried) = (known(&book), tried(&book));
        flood(&mut book, 100_000, sources, now);
        let all: Vec<_> = book.addresses.iter().map(|(_, entry)| entry).collect();
        let kept = all.iter().filter(|e| honest.contains(&*e.endpoint));
        let (kept, all) = (kept.count(), all.len());
        println!(
            "{sources} sources: {kept} of {} honest ones are left, of {all} in all",
            honest.len()
        );
        assert!(all - kept <= sources * BUCKETS_OF_SOURCE * PLACES);
        assert!(kept * 20 >= honest.len() * 19, "{kept} of {}", honest.len());
        assert!(kept * 2 >= all, "{kept} of {all} are honest");
        assert!(are_all_known(&book, &tried), "tried ones were pushed out");
    }
}

#[test]
fn a_flood_from_everywhere_fills_the_new_ones_at_most() {
    let now = Instant::now();
    let mut book = honest_book(now);
    let tried = tried(&book);
    assert!(tried.len() > 150, "{} are tried", tried.len());
    flood(&mut book, 20_000, 1_000, now);
    assert!(book.len() <= 64 * PLACES + tried.len(), "{}", book.len());
    assert!(are_all_known(&book, &tried));
}

#[test]
fn peers_of_one_group_have_a_quarter_of_the_tried_at_most_however_many_answer() {
    let now = Instant::now();
    let mut book = book(BookConfig::default().outbound(0), now);
    for number in 0..2_000 {
        let (third, fourth) = (number / 250, number % 250);
        let endpoint: Endpoint = format!("tcp://9.9.{third}.{fourth}:1").parse().unwrap();
        dialed(&mut book, number, &endpoint, now);
        book.disconnected(&peer(number), now);
    }
    let entries = book.addresses.iter();
    let tried = entries.filter(|(_, entry)| matches!(entry.place, Place::Tried(_)));
    let tried = tried.count();
    assert!(tried >= PLACES, "{tried}");
    assert!(tried <= BUCKETS_OF_GROUP * PLACES, "{tried}");
}

#[test]
fn at_least_half_of_the_dials_go_to_honest_ones_even_if_they_are_few() {
    let mut now = Instant::now();
    let honest: HashSet<Endpoint> = (0..50).map(address).collect();
    let config = BookConfig::default().outbound(1);
    let mut book = book(config.feeler_interval(Duration::MAX), now);
    for source in 0..10 {
        accepted(&mut book, source, now);
        let told: Vec<String> = (0..50).map(|number| address(number).to_string()).collect();
        book.found(&peer(source), &told[source * 5..source * 5 + 5], now);
    }
    flood(&mut book, 20_000, 1, now);
    assert!(book.len() > 250, "the flood is larger than the honest part");
    let (mut right, mut all) = (0, 0);
    while all < 400 {
        for (endpoint, _) in dials(&mut book, now) {
            all += 1;
            if honest.contains(&endpoint) {
                right += 1;
                dialed(&mut book, 99_999, &endpoint, now);
            } else {
                book.failed(&endpoint, DialFailure::Unreachable, now);
            }
        }
        now += 60 * SECOND;
        book.disconnected(&peer(99_999), now);
    }
    println!("{right} of {all} dials were honest");
    assert!(right * 2 >= all, "{right} of {all}");
}

#[test]
fn a_network_with_a_liar_finds_itself_all_the_same() {
    // Nobody is without a peer for the moment that an exchange takes.
    let config = BookConfig::default().outbound(5);
    let config = config.rotate_interval(Duration::MAX);
    let mut world = World::new(20, &config);
    for node in 0..20 {
        world.nodes[node].keep(address((node + 1) % 20), world.now);
    }
    let false_ones = (100_000..100_250).map(|number| address(number).to_string());
    world.lies.insert(0, false_ones.collect());
    world.run(10 * 60);
    assert!(world.is_connected());
    let reached = (0..20).filter(|node| world.outbound(*node) == 5).count();
    assert_eq!(reached, 20, "all reach their target");
}
