use super::*;

const SECOND: Duration = Duration::from_secs(1);
const ONE: PeerId = PeerId::new([1; 32]);
const TWO: PeerId = PeerId::new([2; 32]);

fn inventory() -> Inventory {
    Inventory::new(Limits {
        remembered: 1000,
        memory: 60 * SECOND,
        wanted: 1500,
        wanted_of_one: 1000,
        timeout: 10 * SECOND,
    })
}

fn item(number: u16) -> ItemId {
    let mut bytes = [0; 32];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    ItemId::new(bytes)
}

fn items(numbers: std::ops::Range<u16>) -> Vec<ItemId> {
    numbers.map(item).collect()
}

fn asked(inventory: &mut Inventory, now: Instant) -> Vec<(PeerId, usize)> {
    std::iter::from_fn(|| inventory.poll(now))
        .map(|request| (request.peer, request.items.len()))
        .collect()
}

#[test]
fn an_item_is_asked_for_once_and_comes_once() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.announced(ONE, &items(0..2), now);
    inventory.announced(TWO, &items(0..2), now);
    assert_eq!(asked(&mut inventory, now), [(ONE, 2)]);
    assert_eq!(inventory.arrived(ONE, &item(0), now), Arrival::Fresh);
    assert_eq!(inventory.arrived(ONE, &item(0), now), Arrival::Unasked);
    assert_eq!(inventory.arrived(TWO, &item(1), now), Arrival::Unasked);
    assert_eq!(inventory.arrived(ONE, &item(1), now), Arrival::Fresh);
    assert_eq!(inventory.poll_timeout(), None);
    inventory.announced(TWO, &items(0..2), now);
    assert_eq!(asked(&mut inventory, now), [], "they are here");
}

#[test]
fn what_is_here_is_not_asked_for_until_it_is_forgotten() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.have(&items(0..1), now);
    let almost = now + 59 * SECOND + SECOND / 2;
    inventory.announced(ONE, &items(0..1), almost);
    assert_eq!(asked(&mut inventory, almost), []);
    inventory.announced(ONE, &items(0..1), now + 60 * SECOND);
    assert_eq!(asked(&mut inventory, now + 60 * SECOND), [(ONE, 1)]);
}

#[test]
fn after_ten_seconds_the_next_is_asked_and_the_first_may_still_answer() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.announced(ONE, &items(0..1), now);
    inventory.announced(TWO, &items(0..1), now);
    assert_eq!(asked(&mut inventory, now), [(ONE, 1)]);
    let deadline = inventory.poll_timeout().unwrap();
    assert_eq!(deadline, now + 10 * SECOND);
    assert_eq!(asked(&mut inventory, now + 9 * SECOND), []);
    assert_eq!(asked(&mut inventory, deadline), [(TWO, 1)]);
    assert_eq!(inventory.arrived(ONE, &item(0), deadline), Arrival::Fresh);
    assert_eq!(
        inventory.arrived(TWO, &item(0), deadline),
        Arrival::Duplicate
    );
    assert_eq!(inventory.arrived(TWO, &item(0), deadline), Arrival::Unasked);
}

#[test]
fn whoever_goes_on_sending_has_more_time_but_not_for_ever() {
    let (mut inventory, start) = (inventory(), Instant::now());
    inventory.announced(ONE, &items(0..100), start);
    inventory.announced(TWO, &items(0..100), start);
    assert_eq!(asked(&mut inventory, start), [(ONE, 100)]);
    for number in 0..6 {
        let now = start + u32::from(number) * 9 * SECOND;
        assert_eq!(asked(&mut inventory, now), []);
        assert_eq!(inventory.arrived(ONE, &item(number), now), Arrival::Fresh);
    }
    assert_eq!(inventory.poll_timeout(), Some(start + 55 * SECOND));
    inventory.arrived(ONE, &item(6), start + 54 * SECOND);
    assert_eq!(inventory.poll_timeout(), Some(start + 60 * SECOND));
    assert_eq!(asked(&mut inventory, start + 60 * SECOND), [(TWO, 93)]);
}

#[test]
fn a_peer_that_is_gone_or_has_it_no_more_gives_the_turn_to_the_next() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.announced(ONE, &items(0..2), now);
    inventory.announced(TWO, &items(0..2), now);
    assert_eq!(asked(&mut inventory, now), [(ONE, 2)]);
    inventory.missing(TWO, &items(0..1));
    assert_eq!(asked(&mut inventory, now), [], "nobody asked it");
    inventory.missing(ONE, &items(0..1));
    assert_eq!(asked(&mut inventory, now), [(TWO, 1)]);
    inventory.gone(&ONE);
    assert_eq!(asked(&mut inventory, now), [(TWO, 1)]);
    inventory.gone(&TWO);
    assert_eq!(asked(&mut inventory, now + SECOND), []);
    inventory.announced(ONE, &items(0..1), now + SECOND);
    assert_eq!(asked(&mut inventory, now + SECOND), [(ONE, 1)], "again");
}

#[test]
fn one_peer_is_asked_for_500_at_once() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.announced(ONE, &items(0..500), now);
    inventory.announced(ONE, &items(500..700), now);
    assert_eq!(asked(&mut inventory, now), [(ONE, 500)]);
    for item in items(0..3) {
        inventory.arrived(ONE, &item, now);
    }
    assert_eq!(asked(&mut inventory, now), [(ONE, 3)]);
}

#[test]
fn what_one_peer_names_leaves_room_for_others() {
    let (mut inventory, now) = (inventory(), Instant::now());
    for start in [0, 500, 1000] {
        inventory.announced(ONE, &items(start..start + 500), now);
    }
    assert_eq!(inventory.wanted.len(), 1000);
    inventory.announced(TWO, &items(2000..2500), now);
    assert_eq!(inventory.wanted.len(), 1500);
    inventory.announced(TWO, &items(3000..3001), now);
    assert_eq!(inventory.wanted.len(), 1500, "all places are taken");
    inventory.gone(&ONE);
    inventory.gone(&TWO);
    let later = now + 61 * SECOND;
    inventory.announced(TWO, &items(4000..4001), later);
    assert_eq!(inventory.wanted.len(), 1, "what nobody has is given up");
}

#[test]
fn a_thousand_are_remembered_and_one_more_pushes_out_the_oldest() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.have(&items(0..1000), now);
    assert_eq!(inventory.seen.len(), 1000);
    assert!(inventory.seen.contains(&item(0), now));
    inventory.have(&items(1000..1001), now);
    assert_eq!(inventory.seen.len(), 1000);
    assert!(!inventory.seen.contains(&item(0), now));
    assert!(inventory.seen.contains(&item(1), now));
    inventory.have(&items(1..2), now + SECOND);
    inventory.have(&items(1001..2001), now + 2 * SECOND);
    assert_eq!(inventory.seen.len(), 1000);
}

/// Whatever peers say, in whatever order, the numbers add up.
#[test]
fn the_accounts_are_right_after_anything() {
    use rand::{RngExt as _, SeedableRng as _};
    for seed in 0..50 {
        let mut random = rand::rngs::StdRng::seed_from_u64(seed);
        let (mut inventory, mut now) = (inventory(), Instant::now());
        for _ in 0..500 {
            let peer = PeerId::new([random.random_range(0..4); 32]);
            let start = random.random_range(0..60);
            let some = items(start..start + random.random_range(1..20));
            match random.random_range(0..7) {
                0 | 1 => inventory.announced(peer, &some, now),
                2 => {
                    inventory.arrived(peer, &some[0], now);
                }
                3 => inventory.missing(peer, &some),
                4 => inventory.have(&some[..1], now),
                5 => {
                    inventory.poll(now);
                }
                _ if random.random_bool(0.1) => inventory.gone(&peer),
                _ => now += SECOND * random.random_range(0..4),
            }
            check(&inventory);
        }
    }
}

fn check(inventory: &Inventory) {
    inventory.seen.len();
    for (peer, source) in &inventory.peers {
        let wanted = inventory.wanted.values();
        let owed = wanted
            .clone()
            .filter(|wanted| wanted.turn == Some(*peer) && wanted.asked.contains(peer));
        assert_eq!(source.owes, owed.count());
        assert_eq!(source.deadline.is_some(), source.owes > 0);
        assert!(source.share <= inventory.limits.wanted_of_one);
    }
    for wanted in inventory.wanted.values() {
        let is_known = |peer: &PeerId| inventory.peers.contains_key(peer);
        assert!(wanted.turn.iter().all(is_known) && wanted.sources.iter().all(is_known));
    }
}
