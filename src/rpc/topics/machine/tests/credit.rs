//! What a server may send with back-pressure, in items and in bytes.

use super::*;

#[test]
fn credit_is_granted_when_half_of_the_capacity_was_read() {
    let mut machine = up();
    let number = live(&mut machine, &alone().lag(Lag::BackPressure).capacity(4));
    for sequence in 11..15 {
        machine.receive(item(1, sequence)).unwrap();
    }
    assert!(matches!(machine.take(number), Taken::Entry(_)));
    assert_eq!(sent(&mut machine), [""; 0]);
    assert!(matches!(machine.take(number), Taken::Entry(_)));
    assert_eq!(sent(&mut machine), ["credit 1 2"]);
    machine.link_up();
    assert_eq!(sent(&mut machine), ["subscribe 1 Some(14) Some(2)"]);
}

#[test]
fn an_item_that_is_too_large_costs_credit_like_any() {
    let mut machine = up();
    let number = live(&mut machine, &alone().lag(Lag::BackPressure).capacity(1));
    let too_large = |sequence| FromServer::Gap {
        id: 1,
        cursor: Cursor::new(ORIGIN, sequence),
        why: GapReason::TooLarge,
    };
    machine.receive(too_large(11)).unwrap();
    let unpaid = machine.receive(too_large(12));
    assert_eq!(unpaid, Err(Violation::Credit(1)));
    assert_eq!(read(&mut machine, number), ["Some(1) TooLarge"]);
    assert_eq!(sent(&mut machine), ["credit 1 1"]);
}

/// There is nothing of it to read, after which credit would be granted.
#[test]
fn what_is_too_large_and_was_seen_costs_credit_that_is_granted_again() {
    for sequence in [3, 10] {
        let mut machine = up();
        let number = live(&mut machine, &alone().lag(Lag::BackPressure).capacity(1));
        for _ in 0..2 {
            let (cursor, why) = (Cursor::new(ORIGIN, sequence), GapReason::TooLarge);
            let gap = FromServer::Gap { id: 1, cursor, why };
            machine.receive(gap.clone()).unwrap();
            assert_eq!(machine.receive(gap), Err(Violation::Credit(1)));
            assert_eq!(sent(&mut machine), ["credit 1 1"]);
        }
        assert_eq!(read(&mut machine, number), [""; 0]);
    }
}

/// What comes of an equal one was published before it, and comes as fast as others read it.
#[test]
fn who_comes_while_others_catch_up_has_a_stream_of_its_own() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    let first = live(&mut machine, &options);
    machine.link_lost();
    begin(&mut machine, &options);
    begin(&mut machine, &options);
    machine.link_up();
    let asked = ["subscribe 1 Some(10) Some(1024)", "subscribe 2 None None"];
    assert_eq!(sent(&mut machine), asked);
    machine.receive(accepted_behind(1, 10, 30)).unwrap();
    machine.receive(accepted(2, 30)).unwrap();
    begin(&mut machine, &options);
    assert_eq!(sent(&mut machine), [""; 0], "it is with the second");

    machine.link_up();
    assert_eq!(sent(&mut machine).len(), 2);
    for id in [1, 2] {
        machine.receive(accepted_behind(id, 30, 40)).unwrap();
    }
    begin(&mut machine, &options);
    assert_eq!(sent(&mut machine), ["subscribe 3 None None"]);
    assert_eq!(machine.leave(first), Some(1));
    assert_eq!(sent(&mut machine), ["unsubscribe 1"]);
    begin(&mut machine, &options);
    assert_eq!(sent(&mut machine), [""; 0], "it is with the third");
}

#[test]
fn who_has_a_stream_of_its_own_shares_when_others_have_caught_up() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    let first = live(&mut machine, &options);
    machine.link_up();
    let [second, third] = [(); 2].map(|()| begin(&mut machine, &options));
    sent(&mut machine);
    machine.receive(accepted_behind(1, 10, 12)).unwrap();
    machine.receive(accepted(2, 12)).unwrap();
    machine.receive(item(1, 11)).unwrap();
    machine.receive(item(2, 13)).unwrap();
    machine.receive(item(1, 12)).unwrap();
    assert_eq!(sent(&mut machine), [format!("credit 1 {}", u64::MAX)]);
    machine.receive(item(2, 14)).unwrap();
    machine.receive(item(1, 13)).unwrap();
    assert_eq!(sent(&mut machine), [""; 0], "the first is behind");
    machine.receive(item(1, 14)).unwrap();
    assert_eq!(sent(&mut machine), ["unsubscribe 1"]);
    machine.receive(item(2, 15)).unwrap();
    machine.receive(item(1, 15)).unwrap();
    let fourth = begin(&mut machine, &options);
    machine.receive(FromServer::Unsubscribed { id: 1 }).unwrap();
    machine.receive(item(2, 16)).unwrap();
    assert_eq!(sent(&mut machine), [""; 0]);
    assert_eq!(
        read(&mut machine, first),
        ["11", "12", "13", "14", "15", "16"]
    );
    for number in [second, third] {
        assert_eq!(read(&mut machine, number), ["13", "14", "15", "16"]);
    }
    assert_eq!(read(&mut machine, fourth), ["16"]);
    for number in [first, second, third] {
        assert_eq!(machine.leave(number), None);
    }
    assert_eq!(machine.leave(fourth), Some(2));
}

#[test]
fn who_comes_when_others_have_caught_up_shares_what_comes() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    let first = live(&mut machine, &options);
    machine.link_up();
    sent(&mut machine);
    machine.receive(accepted_behind(1, 10, 11)).unwrap();
    machine.receive(item(1, 11)).unwrap();
    assert_eq!(sent(&mut machine), [format!("credit 1 {}", u64::MAX)]);
    let second = begin(&mut machine, &options);
    assert_eq!(sent(&mut machine), [""; 0]);
    machine.receive(item(1, 12)).unwrap();
    assert_eq!(read(&mut machine, first), ["11", "12"]);
    assert_eq!(read(&mut machine, second), ["12"]);
}

#[test]
fn who_has_no_room_in_bytes_holds_up_nobody_who_catches_up_on_the_same() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    live(
        &mut machine,
        &options.clone().capacity(100).capacity_bytes(10),
    );
    let reads = begin(&mut machine, &options.capacity(4));
    machine.link_up();
    assert_eq!(sent(&mut machine), ["subscribe 1 Some(10) Some(100)"]);
    machine.receive(accepted_behind(1, 10, 30)).unwrap();
    for sequence in 11..31 {
        machine.receive(item_of(sequence, 10)).unwrap();
        assert_eq!(read(&mut machine, reads), [sequence.to_string()]);
        sent(&mut machine);
    }
}

/// Its queue is so large that what is free of it is not worth a message.
#[test]
fn who_has_a_large_queue_and_does_not_read_holds_up_nobody() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    live(&mut machine, &options.clone().capacity(100));
    for sequence in 11..107 {
        machine.receive(item(1, sequence)).unwrap();
    }
    let reads = begin(&mut machine, &options.capacity(2));
    machine.link_up();
    assert_eq!(sent(&mut machine), ["subscribe 1 Some(106) Some(4)"]);
    machine.receive(accepted_behind(1, 106, 206)).unwrap();
    for sequence in 107..207 {
        machine.receive(item(1, sequence)).unwrap();
        assert_eq!(read(&mut machine, reads), [sequence.to_string()]);
        sent(&mut machine);
    }
}

#[test]
fn who_joins_while_there_is_no_link_does_not_make_those_lag_who_have_not_read() {
    let mut machine = up();
    let options = SubscribeOptions::default().capacity(2);
    let first = live(&mut machine, &options);
    for sequence in [11, 12] {
        machine.receive(item(1, sequence)).unwrap();
    }
    machine.link_lost();
    begin(&mut machine, &options);
    machine.link_up();
    let asked = ["subscribe 1 Some(12) Some(0)", "subscribe 2 None None"];
    assert_eq!(sent(&mut machine), asked);
    machine.receive(accepted_behind(1, 12, 14)).unwrap();
    assert_eq!(sent(&mut machine), [""; 0]);
    assert_eq!(read(&mut machine, first), ["11", "12"]);
    assert_eq!(sent(&mut machine), ["credit 1 2"]);
}

/// The credit in bytes that goes out.
fn bytes_sent(machine: &mut Machine) -> Vec<u64> {
    let mut sent = Vec::new();
    while let Some(message) = machine.poll_transmit() {
        sent.extend(match message {
            FromClient::Subscribe { credit, .. } => credit.map(|credit| credit.bytes),
            FromClient::Credit { credit, .. } => Some(credit.bytes),
            FromClient::Unsubscribe { .. } => None,
        });
    }
    sent
}

fn item_of(sequence: u64, length: usize) -> FromServer {
    let body = vec![0; length].into();
    let id = 1;
    FromServer::Item { id, sequence, body }
}

#[test]
fn who_has_room_in_items_alone_is_granted_nothing_before_who_has_some_in_bytes_too() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    live(
        &mut machine,
        &options.clone().capacity(100).capacity_bytes(10),
    );
    let reads = begin(&mut machine, &options.capacity(8).capacity_bytes(100));
    machine.link_up();
    assert_eq!(sent(&mut machine), ["subscribe 1 Some(10) Some(100)"]);
    machine.receive(accepted_behind(1, 10, 300)).unwrap();
    for sequence in 11..=80 {
        let length = if sequence == 80 { 1000 } else { 1 };
        machine.receive(item_of(sequence, length)).unwrap();
        assert_eq!(read(&mut machine, reads), [sequence.to_string()]);
        if sequence <= 50 {
            sent(&mut machine);
        }
    }
    let granted = bytes_sent(&mut machine).into_iter().sum::<u64>();
    assert!(granted > 0, "nothing can come, and all is read");
}

fn pressing(bytes: usize) -> SubscribeOptions {
    let options = alone().lag(Lag::BackPressure).capacity(100);
    options.capacity_bytes(bytes)
}

#[test]
fn credit_in_bytes_is_granted_when_half_of_them_were_read() {
    let mut machine = up();
    let number = begin(&mut machine, &pressing(100));
    assert_eq!(bytes_sent(&mut machine), [100]);
    machine.receive(accepted(1, 10)).unwrap();
    for (sequence, length) in [(11, 49), (12, 1), (13, 50)] {
        machine.receive(item_of(sequence, length)).unwrap();
    }
    assert!(matches!(machine.take(number), Taken::Entry(_)));
    assert_eq!(bytes_sent(&mut machine), [0; 0]);
    assert!(matches!(machine.take(number), Taken::Entry(_)));
    assert_eq!(bytes_sent(&mut machine), [50]);
    machine.link_up();
    assert_eq!(bytes_sent(&mut machine), [50], "the rest is not read");
}

#[test]
fn items_larger_than_the_capacity_come_one_at_a_time() {
    let mut machine = up();
    let number = live(&mut machine, &pressing(100));
    for sequence in 11..20 {
        machine.receive(item_of(sequence, 1000)).unwrap();
        assert_eq!(bytes_sent(&mut machine), [0; 0]);
        assert!(matches!(machine.take(number), Taken::Entry(_)));
        assert_eq!(bytes_sent(&mut machine), [1000], "and no more is free");
    }
    machine.receive(item_of(20, 100)).unwrap();
    let unpaid = machine.receive(item_of(21, 0));
    assert_eq!(unpaid, Err(Violation::Credit(1)));
}

/// The server sends it for the bytes that are left, however few they are.
#[test]
fn an_item_larger_than_what_is_left_makes_nobody_lag_who_catches_up() {
    for lag in [Lag::DropOldest, Lag::Disconnect, Lag::BackPressure] {
        let mut machine = up();
        let options = alone().after(Cursor::new(ORIGIN, 10));
        let number = begin(&mut machine, &options.lag(lag).capacity_bytes(100));
        assert_eq!(bytes_sent(&mut machine), [100]);
        machine.receive(accepted_behind(1, 10, 20)).unwrap();
        for sequence in [11, 12] {
            machine.receive(item_of(sequence, 60)).unwrap();
        }
        assert_eq!(read(&mut machine, number), ["11", "12"], "{lag:?}");
    }
}

/// A server may keep a subscription waiting for the whole time that its reader needs for the queue.
#[test]
fn what_is_read_while_the_server_is_asked_again_is_granted_when_it_has_answered() {
    let mut machine = up();
    let number = live(&mut machine, &pressing(100));
    machine.receive(item_of(11, 100)).unwrap();
    machine.link_up();
    assert_eq!(bytes_sent(&mut machine), [0]);
    assert!(matches!(machine.take(number), Taken::Entry(_)));
    assert_eq!(bytes_sent(&mut machine), [0; 0], "it may yet refuse");
    machine.receive(accepted(1, 11)).unwrap();
    assert_eq!(bytes_sent(&mut machine), [100]);
}

/// However small its items were before, and whatever it is told.
#[test]
fn a_server_makes_nobody_keep_more_than_the_capacity_and_an_item() {
    const LARGEST: usize = 1000;
    for lag in [Lag::DropOldest, Lag::Disconnect, Lag::BackPressure] {
        let mut machine = up();
        let options = alone().lag(lag).capacity(64).capacity_bytes(2000);
        let number = live(&mut machine, &options);
        for sequence in 11..111 {
            let length = if sequence < 40 { 1 } else { LARGEST };
            if machine.receive(item_of(sequence, length)).is_err() {
                break;
            }
        }
        let mut kept = 0;
        while let Taken::Entry(entry) = machine.take(number) {
            if let Entry::Item(_, body) = entry {
                kept += body.len();
            }
        }
        let most = match lag {
            Lag::BackPressure => 2000 + LARGEST,
            _ => 2000,
        };
        assert!((LARGEST..=most).contains(&kept), "{lag:?}: {kept}");
    }
}
