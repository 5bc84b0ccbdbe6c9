//! The rules alone: what is sent, and what comes of what is received.

mod credit;
mod hostile;
mod walks;

use bytes::Bytes;

use super::{Entry, Gap, Machine, Taken, Unwanted, Violation};
use crate::rpc::LinkError;
use crate::rpc::fault::{Fault, FaultKind};
use crate::rpc::topics::cursor::Cursor;
use crate::rpc::topics::event::{EndReason, GapReason};
use crate::rpc::topics::options::{Lag, SubscribeOptions};
use crate::rpc::topics::wire::{FromClient, FromServer};

const TOPIC: Bytes = Bytes::from_static(b"topic");
const ORIGIN: u64 = 7;

fn up() -> Machine {
    let mut machine = Machine::new(4);
    machine.link_up();
    machine
}

fn alone() -> SubscribeOptions {
    SubscribeOptions::default().shared(false)
}

fn begin(machine: &mut Machine, options: &SubscribeOptions) -> u64 {
    machine.subscribe(&TOPIC, options).expect("a place")
}

/// What goes out: the ids of what is asked, granted and given up.
fn sent(machine: &mut Machine) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(message) = machine.poll_transmit() {
        sent.push(match message {
            FromClient::Subscribe {
                id, after, credit, ..
            } => {
                let after = after.map(Cursor::sequence);
                let credit = credit.map(|credit| credit.items);
                format!("subscribe {id} {after:?} {credit:?}")
            }
            FromClient::Credit { id, credit } => format!("credit {id} {}", credit.items),
            FromClient::Unsubscribe { id } => format!("unsubscribe {id}"),
        });
    }
    sent
}

fn accepted(id: u64, sequence: u64) -> FromServer {
    accepted_behind(id, sequence, sequence)
}

/// It begins at `sequence`, and more was published already.
fn accepted_behind(id: u64, sequence: u64, newest: u64) -> FromServer {
    let cursor = Cursor::new(ORIGIN, sequence);
    FromServer::Accepted { id, cursor, newest }
}

fn item(id: u64, sequence: u64) -> FromServer {
    let body = Bytes::from_static(b"item");
    FromServer::Item { id, sequence, body }
}

fn read(machine: &mut Machine, number: u64) -> Vec<String> {
    let mut read = Vec::new();
    loop {
        read.push(match machine.take(number) {
            Taken::Nothing => return read,
            Taken::Entry(Entry::Item(cursor, _)) => cursor.sequence().to_string(),
            Taken::Entry(Entry::Gap(Gap { missed, why })) => format!("{missed:?} {why:?}"),
            Taken::End(reason) => {
                read.push(reason.to_string());
                return read;
            }
        });
    }
}

/// A live subscription that has seen everything up to item 10.
fn live(machine: &mut Machine, options: &SubscribeOptions) -> u64 {
    let number = begin(machine, options);
    sent(machine);
    machine.receive(accepted(1, 10)).unwrap();
    number
}

#[test]
fn items_come_once_and_in_order_and_holes_are_said() {
    let mut machine = up();
    let number = live(&mut machine, &alone());
    for sequence in [11, 12, 12, 11, 15, 3, 16] {
        machine.receive(item(1, sequence)).unwrap();
    }
    let expected = ["11", "12", "Some(2) Lagged", "15", "16"];
    assert_eq!(read(&mut machine, number), expected);
}

#[test]
fn subscriptions_are_asked_in_the_order_of_their_ids_on_every_link() {
    let mut machine = up();
    for _ in 0..3 {
        begin(&mut machine, &alone());
    }
    let all = [
        "subscribe 1 None None",
        "subscribe 2 None None",
        "subscribe 3 None None",
    ];
    assert_eq!(sent(&mut machine), all);
    machine.link_lost();
    assert_eq!(sent(&mut machine), [""; 0]);
    begin(&mut machine, &alone());
    machine.link_up();
    assert_eq!(sent(&mut machine).len(), 4);
}

#[test]
fn one_that_is_not_resumed_begins_where_it_was_to_begin() {
    let mut machine = up();
    let options = alone().resume(false).after(Cursor::new(ORIGIN, 5));
    let number = begin(&mut machine, &options);
    assert_eq!(sent(&mut machine), ["subscribe 1 Some(5) Some(1024)"]);
    machine.link_up();
    let again = sent(&mut machine);
    assert_eq!(
        again,
        ["subscribe 1 Some(5) Some(1024)"],
        "it was not accepted"
    );
    machine.receive(accepted(1, 7)).unwrap();
    machine.receive(item(1, 8)).unwrap();
    machine.link_up();
    assert_eq!(sent(&mut machine), ["subscribe 1 None None"]);
    machine.receive(accepted(1, 9)).unwrap();
    let expected = ["Some(2) NotRetained", "8", "Some(1) NotResumed"];
    assert_eq!(read(&mut machine, number), expected);
}

#[test]
fn a_subscription_is_asked_behind_what_it_has_seen() {
    let mut machine = up();
    let number = live(&mut machine, &alone());
    machine.receive(item(1, 11)).unwrap();
    machine.link_lost();
    machine.link_up();
    assert_eq!(sent(&mut machine), ["subscribe 1 Some(11) Some(1023)"]);
    machine.receive(accepted(1, 14)).unwrap();
    machine.receive(item(1, 15)).unwrap();
    let expected = ["11", "Some(3) NotRetained", "15"];
    assert_eq!(read(&mut machine, number), expected);
}

#[test]
fn an_origin_that_counts_anew_or_backwards_has_restarted() {
    for cursor in [Cursor::new(8, 20), Cursor::new(ORIGIN, 9)] {
        let mut machine = up();
        let number = live(&mut machine, &alone());
        machine.link_up();
        sent(&mut machine);
        let newest = cursor.sequence();
        let again = FromServer::Accepted {
            id: 1,
            cursor,
            newest,
        };
        machine.receive(again).unwrap();
        machine.receive(item(1, newest + 1)).unwrap();
        let expected = ["None Restarted".to_owned(), (newest + 1).to_string()];
        assert_eq!(read(&mut machine, number), expected);
    }
}

#[test]
fn what_is_on_its_way_to_one_that_left_is_ignored_until_the_server_confirms() {
    for last in [
        FromServer::Unsubscribed { id: 1 },
        FromServer::Ended { id: 1, fault: None },
        FromServer::Refused {
            id: 1,
            fault: Fault::refused(""),
        },
    ] {
        let mut machine = up();
        let number = begin(&mut machine, &alone());
        sent(&mut machine);
        assert_eq!(machine.leave(number), Some(1));
        assert_eq!(sent(&mut machine), ["unsubscribe 1"]);
        machine.receive(accepted(1, 10)).unwrap();
        machine.receive(item(1, 11)).unwrap();
        assert!(machine.is_on_wire(1));
        machine.receive(last.clone()).unwrap();
        assert!(!machine.is_on_wire(1));
        assert_eq!(machine.receive(last), Err(Violation::Unknown(1)));
    }
}

#[test]
fn one_that_leaves_before_it_was_asked_leaves_no_trace() {
    let mut machine = up();
    let number = begin(&mut machine, &alone());
    assert_eq!(machine.leave(number), None);
    assert_eq!(sent(&mut machine), [""; 0]);
    assert!(!machine.is_on_wire(1));
    assert_eq!(machine.leave(number), None);
}

#[test]
fn who_joins_one_that_is_leaving_begins_another() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    let first = live(&mut machine, &options);
    assert_eq!(machine.leave(first), Some(1));
    let second = begin(&mut machine, &options);
    let third = begin(&mut machine, &options);
    assert_eq!(
        sent(&mut machine),
        ["unsubscribe 1", "subscribe 2 None None"]
    );
    machine.receive(accepted(2, 10)).unwrap();
    machine.receive(item(2, 11)).unwrap();
    for number in [second, third] {
        assert_eq!(read(&mut machine, number), ["11"]);
    }
}

#[test]
fn a_server_that_breaks_the_rules_is_found_out() {
    let mut machine = up();
    let pressing = alone().lag(Lag::BackPressure).capacity(1);
    begin(&mut machine, &pressing);
    assert_eq!(
        machine.receive(accepted(1, 10)),
        Err(Violation::OutOfOrder(1)),
        "it was not asked"
    );
    assert_eq!(sent(&mut machine), ["subscribe 1 None Some(1)"]);
    let early = machine.receive(item(1, 11));
    assert_eq!(early, Err(Violation::OutOfOrder(1)));
    machine.receive(accepted(1, 10)).unwrap();
    let twice = machine.receive(accepted(1, 10));
    assert_eq!(twice, Err(Violation::OutOfOrder(1)));
    machine.receive(item(1, 11)).unwrap();
    let unpaid = machine.receive(item(1, 12));
    assert_eq!(unpaid, Err(Violation::Credit(1)));
    let unknown = machine.receive(item(2, 1));
    assert_eq!(unknown, Err(Violation::Unknown(2)));
    let unasked = machine.receive(FromServer::Unsubscribed { id: 1 });
    assert_eq!(unasked, Err(Violation::OutOfOrder(1)));
}

#[test]
fn at_most_so_many_are_on_the_wire_and_sharing_costs_nothing() {
    let mut machine = up();
    let numbers: Vec<u64> = (0..4).map(|_| begin(&mut machine, &alone())).collect();
    let refused = machine.subscribe(&TOPIC, &SubscribeOptions::default());
    assert!(matches!(refused, Err(Unwanted::TooMany { limit: 4 })));
    sent(&mut machine);
    machine.leave(numbers[0]);
    let refused = machine.subscribe(&TOPIC, &SubscribeOptions::default());
    assert!(refused.is_err(), "the server has not confirmed the end");
    sent(&mut machine);
    machine.receive(FromServer::Unsubscribed { id: 1 }).unwrap();
    for _ in 0..3 {
        begin(&mut machine, &SubscribeOptions::default());
    }
    assert_eq!(sent(&mut machine), ["subscribe 5 None None"]);
}

#[test]
fn a_refusal_on_another_link_ends_what_was_accepted_before() {
    let mut machine = up();
    let options = SubscribeOptions::default().resume(false);
    let number = live(&mut machine, &options);
    machine.link_up();
    sent(&mut machine);
    let joined = begin(&mut machine, &options);
    let fault = Fault::refused("no");
    machine
        .receive(FromServer::Refused { id: 1, fault })
        .unwrap();
    let refused = machine.is_accepted(joined);
    assert!(matches!(refused, Some(Err(EndReason::Refused(_)))));
    let words = "the service refused to go on: the service refused (no)";
    assert_eq!(read(&mut machine, number), [words]);
}

#[test]
fn after_the_end_of_the_link_nothing_is_begun() {
    let mut machine = up();
    let number = live(&mut machine, &alone());
    machine.receive(item(1, 11)).unwrap();
    machine.link_down(&LinkError::Closed);
    let expected = ["11", "the link is down: the link was closed here"];
    assert_eq!(read(&mut machine, number), expected);
    let refused = machine.subscribe(&TOPIC, &alone());
    assert!(matches!(refused, Err(Unwanted::Down(LinkError::Closed))));
    assert_eq!(machine.take_woken(), [number, number, number]);
}

#[test]
fn a_gap_says_the_servers_reason() {
    let mut machine = up();
    let number = live(&mut machine, &alone());
    let cursor = Cursor::new(ORIGIN, 12);
    let why = GapReason::TooLarge;
    machine
        .receive(FromServer::Gap { id: 1, cursor, why })
        .unwrap();
    machine.receive(item(1, 13)).unwrap();
    assert_eq!(read(&mut machine, number), ["Some(2) TooLarge", "13"]);
}

#[test]
fn a_gap_that_goes_back_says_nothing_and_moves_nothing() {
    for why in [GapReason::TooLarge, GapReason::Lagged] {
        for sequence in [3, 12] {
            let mut machine = up();
            let number = live(&mut machine, &alone());
            machine.receive(item(1, 11)).unwrap();
            machine.receive(item(1, 12)).unwrap();
            let cursor = Cursor::new(ORIGIN, sequence);
            let gap = FromServer::Gap { id: 1, cursor, why };
            machine.receive(gap).unwrap();
            for again in [4, 11, 12, 13] {
                machine.receive(item(1, again)).unwrap();
            }
            assert_eq!(read(&mut machine, number), ["11", "12", "13"]);
            machine.link_up();
            assert_eq!(sent(&mut machine), ["subscribe 1 Some(13) Some(1024)"]);
        }
    }
}

#[test]
fn a_gap_of_another_origin_begins_anew_wherever_it_is() {
    for sequence in [3, 10, 20] {
        let mut machine = up();
        let number = live(&mut machine, &alone());
        let (cursor, why) = (Cursor::new(8, sequence), GapReason::Lagged);
        let gap = FromServer::Gap { id: 1, cursor, why };
        machine.receive(gap).unwrap();
        let next = sequence + 1;
        machine.receive(item(1, next)).unwrap();
        let expected = ["None Restarted".to_owned(), next.to_string()];
        assert_eq!(read(&mut machine, number), expected);
    }
}

#[test]
fn what_a_busy_server_cannot_go_on_with_is_asked_for_again_by_another_id() {
    let mut machine = up();
    let options = SubscribeOptions::default();
    let number = live(&mut machine, &options);
    let refuse = |machine: &mut Machine, id, kind| {
        let fault = Fault::new(kind, "");
        machine.receive(FromServer::Refused { id, fault }).unwrap();
    };
    machine.link_up();
    let news = begin(&mut machine, &options.clone().shared(false));
    assert_eq!(sent(&mut machine).len(), 2);
    refuse(&mut machine, 2, FaultKind::Busy);
    assert!(
        matches!(machine.is_accepted(news), Some(Err(_))),
        "it had nothing yet"
    );
    refuse(&mut machine, 1, FaultKind::Busy);
    assert!(machine.has_postponed() && !machine.is_on_wire(1));
    assert_eq!(sent(&mut machine), [""; 0]);
    let joined = begin(&mut machine, &options);
    machine.ask_again();
    let asked = ["subscribe 3 Some(10) Some(1024)", "subscribe 4 None None"];
    assert_eq!(sent(&mut machine), asked);
    refuse(&mut machine, 3, FaultKind::Unavailable);
    machine.link_up();
    assert!(!machine.has_postponed(), "another server may go on with it");
    let asked = ["subscribe 4 None None", "subscribe 5 Some(10) Some(1024)"];
    assert_eq!(sent(&mut machine), asked);
    machine.receive(accepted(4, 10)).unwrap();
    machine.receive(accepted_behind(5, 10, 10)).unwrap();
    assert!(matches!(machine.is_accepted(joined), Some(Ok(()))));
    sent(&mut machine);
    machine.receive(item(5, 11)).unwrap();
    machine.receive(item(4, 11)).unwrap();
    assert_eq!(sent(&mut machine), ["unsubscribe 5"]);
    for number in [number, joined] {
        assert_eq!(read(&mut machine, number), ["11"]);
    }

    machine.link_up();
    sent(&mut machine);
    refuse(&mut machine, 4, FaultKind::DeadlinePassed);
    for number in [number, joined] {
        assert_eq!(machine.leave(number), None);
    }
    machine.ask_again();
    assert_eq!(sent(&mut machine), [""; 0]);
    assert!(machine.by_topic.is_empty() && machine.upstreams.is_empty());
}
