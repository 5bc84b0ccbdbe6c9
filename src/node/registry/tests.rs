use super::*;

const SMALL: PeerId = PeerId::new([1; 32]);
const LARGE: PeerId = PeerId::new([2; 32]);
const DRAIN: Duration = Duration::from_secs(5);

fn registry(own: PeerId) -> Registry {
    let limits = Limits {
        pending: 2,
        inbound: 3,
        outbound: 2,
        per_address: 2,
    };
    Registry::new(own, limits, DRAIN)
}

fn now() -> Instant {
    Instant::now()
}

fn entered(registry: &mut Registry, direction: Direction, id: PeerId) -> Key {
    let key = match direction {
        Direction::Inbound => registry.arrive(None).0,
        Direction::Outbound => registry.dial().unwrap(),
    };
    assert_eq!(registry.enter(key, id, 1), Entrance::Granted);
    key
}

fn opened(registry: &mut Registry, direction: Direction, id: PeerId) -> Key {
    let key = entered(registry, direction, id);
    registry.open(key, now()).unwrap();
    key
}

fn may_read(registry: &Registry, key: Key) -> bool {
    registry.view(key).unwrap().may_read
}

#[test]
fn a_session_begins_and_ends_once() {
    let mut registry = registry(SMALL);
    let key = entered(&mut registry, Direction::Inbound, LARGE);
    assert_eq!(registry.writer(&LARGE), None);
    let opened = registry.open(key, now()).unwrap();
    assert!(opened.is_new && opened.retire.is_none() && opened.ended.is_none());
    assert!(may_read(&registry, key));
    assert_eq!(registry.writer(&LARGE), Some(key));
    let closed = registry.close(key, now());
    assert_eq!(closed.down, Some((LARGE, opened.session)));
    assert_eq!(registry.close(key, now()), Closed::default());
    assert!(registry.peers.is_empty() && registry.connections.is_empty());
}

#[test]
fn the_listener_of_the_winner_retires_the_loser() {
    // The larger id has dialed and holds that connection; then the smaller id's comes.
    let mut registry = registry(LARGE);
    let loser = opened(&mut registry, Direction::Outbound, SMALL);
    let winner = entered(&mut registry, Direction::Inbound, SMALL);
    let opened = registry.open(winner, now()).unwrap();
    assert_eq!((opened.is_new, opened.retire), (false, Some(loser)));
    assert_eq!(registry.writer(&SMALL), Some(winner));
    assert!(may_read(&registry, loser) && !may_read(&registry, winner));
    registry.drained(loser);
    assert!(may_read(&registry, winner));
    registry.parted(loser, Parting::Finishes, now());
    assert_eq!(registry.close(loser, now()), Closed::default());
    assert_eq!(
        registry.close(winner, now()).down,
        Some((SMALL, opened.session))
    );
}

#[test]
fn the_dialer_of_the_winner_waits_for_the_goodbye() {
    let mut registry = registry(SMALL);
    let loser = opened(&mut registry, Direction::Inbound, LARGE);
    let winner = entered(&mut registry, Direction::Outbound, LARGE);
    let opened = registry.open(winner, now()).unwrap();
    assert_eq!(opened.retire, None);
    assert_eq!(registry.writer(&LARGE), Some(loser), "until the goodbye");
    assert!(registry.view(loser).unwrap().deadline.is_some());
    assert!(registry.view(winner).unwrap().deadline.is_none());
    assert!(registry.retire(loser, now()) && !registry.retire(loser, now()));
    assert_eq!(registry.writer(&LARGE), Some(winner));
    assert!(!may_read(&registry, winner), "the loser is still read");
}

#[test]
fn the_winner_is_not_read_while_the_loser_is_in_its_handshake() {
    let mut registry = registry(SMALL);
    let winner = opened(&mut registry, Direction::Outbound, LARGE);
    assert!(may_read(&registry, winner));
    let loser = entered(&mut registry, Direction::Inbound, LARGE);
    assert!(!may_read(&registry, winner));
    assert!(registry.open(loser, now()).is_ok(), "the other end decides");
    assert_eq!(registry.writer(&LARGE), Some(winner), "never back");
    registry.retire(loser, now());
    registry.drained(loser);
    assert!(may_read(&registry, winner));
}

#[test]
fn a_dial_that_loses_is_given_up_by_the_dialer_alone() {
    let mut registry = registry(LARGE);
    let late = entered(&mut registry, Direction::Outbound, SMALL);
    opened(&mut registry, Direction::Inbound, SMALL);
    assert_eq!(registry.open(late, now()), Err(Duplicate));
    registry.close(late, now());
    let later = registry.dial().unwrap();
    assert_eq!(registry.enter(later, SMALL, 1), Entrance::Duplicate);
}

#[test]
fn a_second_connection_of_one_dialer_has_the_first_probed() {
    let mut registry = registry(SMALL);
    let old = opened(&mut registry, Direction::Inbound, LARGE);
    let new = registry.arrive(None).0;
    assert_eq!(registry.enter(new, LARGE, 1), Entrance::Probe(old));
    assert!(registry.close(old, now()).down.is_some());
    assert_eq!(registry.enter(new, LARGE, 1), Entrance::Granted);
    assert!(registry.open(new, now()).unwrap().is_new);
}

#[test]
fn another_run_of_a_peer_has_the_connection_of_the_first_probed() {
    let mut registry = registry(SMALL);
    let old = opened(&mut registry, Direction::Outbound, LARGE);
    let new = registry.arrive(None).0;
    assert_eq!(registry.enter(new, LARGE, 2), Entrance::Probe(old));
}

#[test]
fn a_peer_that_comes_back_while_it_leaves_has_a_new_session() {
    let mut registry = registry(SMALL);
    let old = entered(&mut registry, Direction::Inbound, LARGE);
    let first = registry.open(old, now()).unwrap().session;
    registry.retire(old, now());
    let new = entered(&mut registry, Direction::Inbound, LARGE);
    let second = registry.open(new, now()).unwrap();
    assert_eq!((second.is_new, second.ended), (true, Some(first)));
    assert!(!may_read(&registry, new), "after what was sent before");
    assert_eq!(registry.close(old, now()), Closed::default());
    assert!(may_read(&registry, new));
}

#[test]
fn a_connection_that_is_lost_beside_another_ends_both() {
    let mut registry = registry(SMALL);
    let loser = opened(&mut registry, Direction::Inbound, LARGE);
    let winner = opened(&mut registry, Direction::Outbound, LARGE);
    let closed = registry.close(loser, now());
    assert_eq!((closed.cut, closed.down), (vec![winner], None));
    assert!(registry.close(winner, now()).down.is_some());
}

#[test]
fn a_loser_that_was_retired_and_not_read_to_its_end_ends_the_winner_unread() {
    let mut registry = registry(LARGE);
    let loser = opened(&mut registry, Direction::Outbound, SMALL);
    let winner = opened(&mut registry, Direction::Inbound, SMALL);
    assert_eq!(registry.close(loser, now()).cut, [winner]);
    assert!(!may_read(&registry, winner) && registry.view(winner).unwrap().is_cut);
}

#[test]
fn a_handshake_that_is_lost_after_the_answer_ends_the_connection_beside_it() {
    for is_answered in [false, true] {
        for is_rejected in [false, true] {
            let mut registry = registry(SMALL);
            let winner = opened(&mut registry, Direction::Outbound, LARGE);
            let loser = entered(&mut registry, Direction::Inbound, LARGE);
            if is_answered {
                registry.answered(loser);
            }
            if is_rejected {
                registry.rejected(loser);
            }
            let is_lost = is_answered && !is_rejected;
            assert_eq!(registry.close(loser, now()).cut.is_empty(), !is_lost);
            assert_eq!(may_read(&registry, winner), !is_lost);
        }
    }
}

#[test]
fn messages_wait_for_the_winner_until_the_other_end_has_answered_that_they_move() {
    let mut registry = registry(LARGE);
    let loser = opened(&mut registry, Direction::Outbound, SMALL);
    assert_eq!(registry.message_writer(&SMALL), Some(loser));
    let winner = opened(&mut registry, Direction::Inbound, SMALL);
    assert_eq!(registry.writer(&SMALL), Some(winner));
    registry.drained(loser);
    assert_eq!(registry.message_writer(&SMALL), None);
    assert!(registry.view(winner).unwrap().is_held && !registry.view(loser).unwrap().is_held);
    let severed = registry.parted(loser, Parting::Finishes, now());
    assert_eq!(severed, []);
    assert_eq!(registry.message_writer(&SMALL), Some(winner));
    assert!(!registry.view(winner).unwrap().is_held);
}

#[test]
fn the_dialer_of_the_winner_moves_when_the_other_end_does() {
    let mut registry = registry(SMALL);
    let loser = opened(&mut registry, Direction::Inbound, LARGE);
    let winner = opened(&mut registry, Direction::Outbound, LARGE);
    assert_eq!(registry.message_writer(&LARGE), Some(loser));
    assert_eq!(registry.parted(loser, Parting::Moves, now()), []);
    assert_eq!(registry.message_writer(&LARGE), Some(winner));
}

#[test]
fn messages_do_not_follow_to_the_winner_of_whoever_left_the_loser() {
    for (own, other, loses) in [
        (SMALL, LARGE, Direction::Inbound),
        (LARGE, SMALL, Direction::Outbound),
    ] {
        for is_at_end in [false, true] {
            let wins = match loses {
                Direction::Inbound => Direction::Outbound,
                Direction::Outbound => Direction::Inbound,
            };
            let mut registry = registry(own);
            let loser = opened(&mut registry, loses, other);
            let winner = opened(&mut registry, wins, other);
            let left = if is_at_end {
                // It ended well, and nothing was heard on it.
                registry.drained(loser);
                let closed = registry.close(loser, now());
                assert_eq!((closed.cut, closed.down), (vec![], None));
                closed.left
            } else {
                registry.parted(loser, Parting::Leaves, now())
            };
            assert_eq!(left, [winner], "it is left too");
            assert_eq!(registry.message_writer(&other), None);
            assert!(!registry.is_open(&other));
            let view = registry.view(winner).unwrap();
            assert!(view.is_retiring && !view.is_held && !view.is_cut);
            registry.drained(loser);
            assert!(may_read(&registry, winner));
        }
    }
}

#[test]
fn what_waits_goes_out_where_what_was_before_it_went_when_a_peer_is_left() {
    let mut registry = registry(SMALL);
    let loser = opened(&mut registry, Direction::Inbound, LARGE);
    let winner = opened(&mut registry, Direction::Outbound, LARGE);
    assert_eq!(registry.leave(&LARGE, now()), [winner, loser]);
    assert_eq!(registry.message_writer(&LARGE), Some(loser));
    assert_eq!(registry.leave(&LARGE, now()), []);
}

#[test]
fn a_loser_waits_for_the_end_of_a_winner_that_is_left() {
    for (own, other, wins) in [
        (SMALL, LARGE, Direction::Outbound),
        (LARGE, SMALL, Direction::Inbound),
    ] {
        for is_entered_before in [false, true] {
            let mut registry = registry(own);
            let winner = entered(&mut registry, wins, other);
            let loser = match wins {
                Direction::Outbound => registry.arrive(None).0,
                Direction::Inbound => registry.dial().unwrap(),
            };
            if is_entered_before {
                assert_eq!(registry.enter(loser, other, 1), Entrance::Granted);
            }
            registry.open(winner, now()).unwrap();
            registry.leave(&other, now());
            if is_entered_before {
                assert_eq!(registry.open(loser, now()), Err(Duplicate));
            } else {
                assert_eq!(registry.enter(loser, other, 1), Entrance::Wait);
                registry.close(winner, now());
                assert_eq!(registry.enter(loser, other, 1), Entrance::Granted);
                assert!(registry.open(loser, now()).unwrap().is_new);
            }
        }
    }
}

#[test]
fn messages_never_go_back_to_the_loser() {
    let mut registry = registry(SMALL);
    let winner = opened(&mut registry, Direction::Outbound, LARGE);
    let loser = opened(&mut registry, Direction::Inbound, LARGE);
    assert_eq!(registry.message_writer(&LARGE), Some(winner));
    registry.parted(winner, Parting::Leaves, now());
    assert_eq!(registry.writer(&LARGE), Some(winner));
    assert!(!registry.is_open(&LARGE), "nor do new ones");
    assert!(!registry.view(loser).unwrap().is_retiring);
}

#[test]
fn messages_never_move_from_a_connection_that_is_lost() {
    let mut registry = registry(SMALL);
    let loser = opened(&mut registry, Direction::Inbound, LARGE);
    let winner = opened(&mut registry, Direction::Outbound, LARGE);
    registry.retire(loser, now());
    assert_eq!(registry.message_writer(&LARGE), None, "not released");
    assert_eq!(registry.close(loser, now()).cut, [winner]);
    assert_eq!(registry.message_writer(&LARGE), None, "to be cut");
}

#[test]
fn a_handshake_that_is_lost_after_the_answer_ends_what_waits_for_it_in_any_session() {
    let mut registry = registry(SMALL);
    let first = opened(&mut registry, Direction::Outbound, LARGE);
    let lost = entered(&mut registry, Direction::Inbound, LARGE);
    registry.answered(lost);
    registry.retire(first, now());
    let second = opened(&mut registry, Direction::Outbound, LARGE);
    assert_eq!(registry.close(lost, now()).cut, [first, second]);
    assert!(!may_read(&registry, first) && !may_read(&registry, second));
}

#[test]
fn what_is_lost_ends_the_crossing_connection_of_a_session_after_it() {
    let mut registry = registry(SMALL);
    let lost = opened(&mut registry, Direction::Inbound, LARGE);
    registry.retire(lost, now());
    let crossing = opened(&mut registry, Direction::Outbound, LARGE);
    assert_eq!(registry.close(lost, now()).cut, [crossing]);
}

#[test]
fn of_too_many_that_say_nothing_the_oldest_gives_way() {
    let mut registry = registry(SMALL);
    let (first, none) = registry.arrive(None);
    assert_eq!(none, None);
    assert_eq!(registry.arrive(None).1, None);
    let (_, displaced) = registry.arrive(None);
    assert_eq!(displaced, Some(first));
    assert_eq!(registry.occupancy().pending, 2);
    assert_eq!(registry.enter(first, LARGE, 1), Entrance::Full);
}

#[test]
fn who_is_turned_away_is_pending_again_and_nobodys_peer() {
    let mut registry = registry(SMALL);
    let keys = [2, 3, 4]
        .map(|number| entered(&mut registry, Direction::Inbound, PeerId::new([number; 32])));
    let displaced = keys.map(|key| registry.turn_away(key));
    assert_eq!(displaced, [None, None, Some(keys[0])]);
    assert_eq!(
        (registry.occupancy().pending, registry.occupancy().inbound),
        (2, 0)
    );
    assert!(registry.peers.is_empty());
    for key in keys {
        assert_eq!(registry.close(key, now()), Closed::default());
    }
    let dialed = entered(&mut registry, Direction::Outbound, LARGE);
    assert_eq!(registry.turn_away(dialed), None);
    assert_eq!(registry.occupancy(), Occupancy::default());
    registry.close(dialed, now());
    assert!(registry.connections.is_empty());
}

#[test]
fn places_are_limited_and_given_back() {
    let mut registry = registry(SMALL);
    let id = |number| PeerId::new([number; 32]);
    let keys: Vec<Key> = (10..13)
        .map(|number| opened(&mut registry, Direction::Inbound, id(number)))
        .collect();
    let key = registry.arrive(None).0;
    assert_eq!(registry.enter(key, id(13), 1), Entrance::Full);
    registry.close(keys[0], now());
    assert_eq!(registry.enter(key, id(13), 1), Entrance::Granted);
    let dials = [registry.dial().unwrap(), registry.dial().unwrap()];
    assert_eq!(registry.dial(), None);
    for key in keys.into_iter().chain(dials).chain([key]) {
        registry.close(key, now());
        registry.close(key, now());
    }
    assert_eq!(registry.occupancy(), Occupancy::default());
    assert!(registry.places.addresses.is_empty());
}

#[test]
fn one_address_has_a_share_of_the_places() {
    let mut registry = registry(SMALL);
    let id = |number| PeerId::new([number; 32]);
    let come = |registry: &mut Registry, number, address| {
        let key = registry.arrive(Some(address)).0;
        (key, registry.enter(key, id(number), 1))
    };
    let (first, _) = come(&mut registry, 10, "one");
    assert_eq!(come(&mut registry, 11, "one").1, Entrance::Granted);
    assert_eq!(come(&mut registry, 12, "one").1, Entrance::Full);
    assert_eq!(come(&mut registry, 13, "other").1, Entrance::Granted);
    registry.close(first, now());
    assert_eq!(come(&mut registry, 14, "one").1, Entrance::Granted);
}
