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
    inventory.gone(&ONE, now);
    assert_eq!(asked(&mut inventory, now), [(TWO, 1)]);
    inventory.gone(&TWO, now);
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
    inventory.gone(&ONE, now);
    assert_eq!(inventory.wanted.len(), 500, "what nobody has is given up");
    let later = now + 61 * SECOND;
    inventory.missing(TWO, &items(2000..2500));
    asked(&mut inventory, now);
    inventory.missing(TWO, &items(2000..2500));
    assert_eq!(inventory.wanted.len(), 500, "somebody may have it yet");
    inventory.announced(TWO, &items(4000..4001), later);
    assert_eq!(inventory.wanted.len(), 1, "what nobody has is given up");
}

#[test]
fn when_all_places_are_taken_whoever_has_the_most_gives_way() {
    let (mut inventory, now) = (inventory(), Instant::now());
    let share = |inventory: &Inventory, peer| inventory.peers[&peer].share();
    inventory.announced(ONE, &items(0..1000), now);
    inventory.announced(TWO, &items(2000..2500), now);
    assert_eq!(inventory.wanted.len(), 1500, "the limit itself");
    inventory.announced(TWO, &items(3000..3001), now);
    assert_eq!(inventory.wanted.len(), 1500);
    assert_eq!((share(&inventory, ONE), share(&inventory, TWO)), (999, 501));
    inventory.announced(TWO, &items(3001..3500), now);
    assert_eq!((share(&inventory, ONE), share(&inventory, TWO)), (750, 750));
    inventory.announced(ONE, &items(5000..5001), now);
    assert!(
        !inventory.wanted.contains_key(&item(5000)),
        "no more than others"
    );
    check(&inventory);
}

#[test]
fn what_gave_way_though_it_was_asked_for_is_taken_if_it_comes() {
    let (mut inventory, now) = (inventory(), Instant::now());
    inventory.limits.wanted = 400;
    inventory.announced(ONE, &items(0..400), now);
    assert_eq!(asked(&mut inventory, now), [(ONE, 400)]);
    inventory.announced(TWO, &items(500..502), now);
    assert_eq!(asked(&mut inventory, now), [(TWO, 2)]);
    assert!(!inventory.wanted.contains_key(&item(0)) && !inventory.wanted.contains_key(&item(1)));
    assert_eq!(inventory.arrived(TWO, &item(0), now), Arrival::Unasked);
    assert_eq!(inventory.arrived(ONE, &item(0), now), Arrival::Fresh);
    assert_eq!(inventory.arrived(ONE, &item(0), now), Arrival::Unasked);
    // The other is wanted again, and comes from both.
    inventory.announced(TWO, &items(0..2), now);
    assert_eq!(asked(&mut inventory, now), [(TWO, 1)]);
    assert_eq!(inventory.arrived(ONE, &item(1), now), Arrival::Fresh);
    assert_eq!(inventory.arrived(TWO, &item(1), now), Arrival::Duplicate);
    check(&inventory);
}

#[test]
fn whoever_answers_late_is_believed_though_others_have_gone_or_told_of_the_item_since() {
    let (mut inventory, now) = (inventory(), Instant::now());
    // Who named the item first goes, and who has it too has no place left for it.
    inventory.announced(TWO, &items(0..1), now);
    inventory.announced(ONE, &items(0..1), now);
    assert_eq!(asked(&mut inventory, now), [(TWO, 1)]);
    inventory.missing(TWO, &items(0..1));
    assert_eq!(asked(&mut inventory, now), [(ONE, 1)]);
    inventory.announced(ONE, &items(100..1100), now);
    inventory.gone(&TWO, now);
    check(&inventory);
    assert_eq!(inventory.arrived(ONE, &item(0), now), Arrival::Fresh);
    // One is slow, the other sends the item, and it is told of here, for others.
    let (mut inventory, later) = (self::inventory(), now + 10 * SECOND);
    inventory.announced(ONE, &items(0..1), now);
    inventory.announced(TWO, &items(0..1), now);
    asked(&mut inventory, now);
    assert_eq!(asked(&mut inventory, later), [(TWO, 1)]);
    assert_eq!(inventory.arrived(TWO, &item(0), later), Arrival::Fresh);
    inventory.have(&items(0..1), later);
    assert_eq!(inventory.arrived(ONE, &item(0), later), Arrival::Duplicate);
    assert_eq!(inventory.arrived(ONE, &item(0), later), Arrival::Unasked);
}

#[test]
fn what_gives_way_is_kept_if_somebody_else_has_it_who_has_fewer_places() {
    let (mut inventory, now) = (inventory(), Instant::now());
    let share = |inventory: &Inventory, peer| inventory.peers[&peer].share();
    let [liar, another] = [8, 9].map(|number| PeerId::new([number; 32]));
    inventory.announced(liar, &items(0..1000), now);
    inventory.announced(another, &items(1000..1500), now);
    inventory.announced(ONE, &items(0..2), now);
    inventory.announced(TWO, &items(2000..2700), now);
    check(&inventory);
    assert_eq!(inventory.wanted.len(), 1500);
    assert_eq!((share(&inventory, ONE), share(&inventory, TWO)), (2, 499));
    inventory.gone(&liar, now);
    inventory.gone(&another, now);
    assert_eq!(asked(&mut inventory, now), [(ONE, 2), (TWO, 499)]);
}

#[test]
fn peers_that_name_what_they_do_not_have_keep_nobody_out() {
    let (mut inventory, mut now) = (inventory(), Instant::now());
    let liars: Vec<PeerId> = (10..26).map(|number| PeerId::new([number; 32])).collect();
    let mut number = 0;
    for round in 0..40_u16 {
        for liar in &liars {
            inventory.announced(*liar, &items(number..number + 200), now);
            number = (number + 200) % 60_000;
        }
        asked(&mut inventory, now);
        let honest = item(60_000 + round);
        inventory.announced(ONE, &[honest], now);
        assert_eq!(asked(&mut inventory, now), [(ONE, 1)], "round {round}");
        assert_eq!(inventory.arrived(ONE, &honest, now), Arrival::Fresh);
        check(&inventory);
        now += 3 * SECOND;
    }
    assert_eq!(inventory.wanted.len(), 1499);
    for liar in &liars {
        inventory.gone(liar, now);
    }
    assert!(inventory.wanted.is_empty(), "none of it is left");
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
        if seed % 2 == 0 {
            (inventory.limits.wanted, inventory.limits.wanted_of_one) = (20, 12);
        }
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
                _ if random.random_bool(0.1) => inventory.gone(&peer, now),
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
        assert!(source.share() <= inventory.limits.wanted_of_one);
        let own = wanted.clone().filter(|wanted| wanted.first == *peer);
        assert_eq!(source.share(), own.count());
        for item in &source.spare {
            let wanted = &inventory.wanted[item];
            assert!(wanted.first == *peer && (wanted.turn.is_none() || wanted.ticket.is_some()));
        }
        for item in &source.busy {
            let wanted = &inventory.wanted[item];
            assert!(wanted.first == *peer && wanted.turn.is_some() && wanted.ticket.is_none());
        }
        for (ticket, item) in &source.queue {
            let wanted = &inventory.wanted[item];
            assert_eq!((wanted.turn, wanted.ticket), (Some(*peer), Some(*ticket)));
            assert!(inventory.peers[&wanted.first].spare.contains(item));
        }
    }
    assert!(inventory.wanted.len() <= inventory.limits.wanted);
    for wanted in inventory.wanted.values() {
        let is_known = |peer: &PeerId| inventory.peers.contains_key(peer);
        assert!(is_known(&wanted.first));
        assert!(wanted.turn.iter().all(is_known) && wanted.sources.iter().all(is_known));
    }
}
