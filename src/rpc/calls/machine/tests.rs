use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::rpc::calls::options::Delivery::{AtLeastOnce, AtMostOnce, Idempotent};

const KEY: u128 = 7;

/// A machine, and the time.
struct Desk {
    machine: Machine<u64>,
    now: Instant,
}

impl Desk {
    fn new(calls_at_once: usize) -> Self {
        Self {
            machine: Machine::new(calls_at_once),
            now: Instant::now(),
        }
    }

    /// One whose service is there, and takes so many calls at once.
    fn up(calls_at_once: u32) -> Self {
        let mut desk = Self::new(100);
        desk.machine.welcomed(1, calls_at_once);
        desk
    }

    fn submit(&mut self, delivery: Delivery) -> u64 {
        self.submit_for(delivery, 10_000)
    }

    fn submit_for(&mut self, delivery: Delivery, milliseconds: u64) -> u64 {
        let deadline = self.now + Duration::from_millis(milliseconds);
        let reserved = self.machine.reserve(&mut None, Some(deadline), || 0);
        assert!(matches!(reserved, Some(Ok(()))));
        let body = Bytes::from_static(b"body");
        let caller = self.machine.last_id + 1;
        self.machine
            .submit(body, delivery, deadline, caller)
            .unwrap()
    }

    /// Writes what there is; requests by their ids, cancels by those below zero.
    fn written(&mut self) -> Vec<i64> {
        let mut outgoing = Vec::new();
        self.machine.write(self.now, usize::MAX, &mut outgoing);
        let number = |outgoing: &Outgoing| match outgoing {
            Outgoing::Request { id, .. } => i64::try_from(*id).unwrap(),
            Outgoing::Cancel(id) => -i64::try_from(*id).unwrap(),
        };
        outgoing.iter().map(number).collect()
    }

    fn take(&mut self, id: u64) -> Option<Outcome> {
        self.machine.take(id, || id)
    }

    fn error(&mut self, id: u64) -> CallError {
        self.take(id).expect("an outcome").unwrap_err()
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.machine.time(self.now);
    }

    fn lose(&mut self) {
        self.machine.lost(&Loss::Finished);
    }
}

#[test]
fn a_call_is_written_answered_and_told_once() {
    let mut desk = Desk::up(10);
    let id = desk.submit(AtMostOnce);
    assert!(desk.machine.has_to_write());
    assert_eq!(desk.written(), [1]);
    assert!(!desk.machine.has_to_write());
    assert!(desk.take(id).is_none());
    desk.machine.answered(id, Ok(Bytes::from_static(b"answer")));
    desk.machine
        .answered(id, Ok(Bytes::from_static(b"another")));
    assert_eq!(desk.machine.take_told(), [id]);
    assert_eq!(desk.take(id).unwrap().unwrap(), &b"answer"[..]);
    assert!(desk.take(id).is_none());
    assert_eq!(desk.machine.len(), 0);
}

#[test]
fn the_time_that_is_left_is_rounded_up() {
    let mut desk = Desk::up(10);
    desk.submit_for(AtMostOnce, 5);
    desk.now += Duration::from_micros(4_001);
    let mut outgoing = Vec::new();
    desk.machine.write(desk.now, usize::MAX, &mut outgoing);
    assert!(matches!(
        outgoing[0],
        Outgoing::Request {
            milliseconds: 1,
            ..
        }
    ));
}

#[test]
fn a_call_whose_time_is_up_is_not_written() {
    let mut desk = Desk::up(10);
    let id = desk.submit_for(AtMostOnce, 5);
    desk.now += Duration::from_millis(5);
    assert_eq!(desk.written(), [0_i64; 0]);
    assert!(matches!(
        desk.error(id),
        CallError::DeadlinePassed { sent: false }
    ));
}

#[test]
fn no_more_is_written_than_the_service_takes_at_once() {
    let mut desk = Desk::up(2);
    for _ in 0..4 {
        desk.submit(AtMostOnce);
    }
    assert_eq!(desk.written(), [1, 2]);
    desk.machine.answered(1, Ok(Bytes::new()));
    assert_eq!(desk.written(), [3]);
    desk.machine.forget(2);
    assert_eq!(desk.written(), [-2, 4]);
}

#[test]
fn more_requests_are_expected_of_callers_who_have_not_fetched_their_outcomes() {
    let mut desk = Desk::up(100);
    let calls = [AtMostOnce; 3].map(|delivery| desk.submit(delivery));
    assert_eq!(desk.machine.growing(), None, "nobody was told of anything");
    desk.written();
    for id in [calls[0], calls[1]] {
        desk.machine.answered(id, Ok(Bytes::new()));
    }
    assert_eq!(desk.machine.growing(), None, "there is nothing to write");
    assert!(desk.take(calls[0]).is_some());
    desk.submit(AtMostOnce);
    assert_eq!(desk.machine.growing(), Some(1));
    assert!(desk.take(calls[1]).is_some());
    let again = desk.submit(AtMostOnce);
    assert_eq!(desk.machine.growing(), None, "all have asked again");
    desk.written();
    desk.machine.answered(calls[2], Ok(Bytes::new()));
    desk.machine.forget(again);
    desk.submit(AtMostOnce);
    let growing = desk.machine.growing();
    assert_eq!(growing, Some(1), "one caller was told, another is gone");
}

#[test]
fn what_becomes_of_a_call_when_the_channel_is_lost() {
    let mut desk = Desk::up(10);
    let unknown = desk.submit(AtMostOnce);
    let again = desk.submit(AtLeastOnce);
    let keyed = desk.submit(Idempotent(KEY));
    let answered = desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [1, 2, 3, 4]);
    desk.machine.answered(answered, Ok(Bytes::new()));
    let unsent = desk.submit(AtMostOnce);
    desk.lose();
    assert!(matches!(
        desk.error(unknown),
        CallError::Unknown(Loss::Finished)
    ));
    assert!(desk.take(answered).unwrap().is_ok());
    desk.machine.connected();
    desk.machine.welcomed(1, 10);
    assert_eq!(desk.written(), [2, 3, 5]);
    desk.lose();
    desk.machine.welcomed(2, 10);
    assert!(matches!(
        desk.error(keyed),
        CallError::Unknown(Loss::Restarted)
    ));
    assert!(matches!(desk.error(unsent), CallError::Unknown(_)));
    assert_eq!(desk.written(), [2]);
    desk.lose();
    desk.machine.down(&LinkError::Closed);
    assert!(matches!(
        desk.error(again),
        CallError::Unknown(Loss::Link(_))
    ));
}

#[test]
fn a_call_that_is_given_up_is_cancelled_if_it_was_written() {
    let mut desk = Desk::up(10);
    let (unsent, sent) = (desk.submit(AtMostOnce), desk.submit(AtMostOnce));
    desk.machine.forget(unsent);
    assert_eq!(desk.written(), [2]);
    desk.machine.forget(sent);
    assert_eq!(desk.written(), [-2]);
    desk.machine.answered(sent, Ok(Bytes::new()));
    assert_eq!(desk.machine.len(), 0);
    assert!(desk.machine.is_idle());
    assert_eq!(desk.written(), [0_i64; 0]);
}

#[test]
fn cancels_of_a_lost_channel_do_not_go_on_the_next() {
    let mut desk = Desk::up(10);
    let id = desk.submit(AtLeastOnce);
    assert_eq!(desk.written(), [1]);
    desk.machine.forget(id);
    desk.lose();
    desk.machine.welcomed(1, 10);
    assert_eq!(desk.written(), [0_i64; 0]);
}

#[test]
fn a_welcome_on_a_connection_that_drains_has_no_request_written() {
    let mut desk = Desk::new(100);
    desk.machine.connected();
    desk.submit(AtMostOnce);
    desk.machine.retire();
    desk.machine.welcomed(1, 10);
    assert_eq!(desk.written(), [0_i64; 0]);
    desk.machine.connected();
    desk.machine.welcomed(1, 10);
    assert_eq!(desk.written(), [1]);
}

#[test]
fn a_channel_that_retires_takes_no_requests_and_all_answers() {
    let mut desk = Desk::up(10);
    let sent = desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [1]);
    desk.machine.retire();
    desk.submit(AtMostOnce);
    assert!(!desk.machine.has_to_write() && !desk.machine.is_idle());
    desk.machine.answered(sent, Ok(Bytes::new()));
    assert!(desk.machine.is_idle());
    desk.machine.connected();
    desk.machine.welcomed(1, 10);
    assert_eq!(desk.written(), [2]);
}

#[test]
fn a_call_that_cannot_be_written_fails_and_makes_room() {
    let mut desk = Desk::up(1);
    let id = desk.submit(AtMostOnce);
    desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [1]);
    let error = CallError::TooLarge { length: 2, max: 1 };
    desk.machine.unsendable(id, error);
    assert!(matches!(desk.error(id), CallError::TooLarge { .. }));
    assert_eq!(desk.written(), [2]);
}

#[test]
fn all_outcomes_are_bounded_by_the_permits() {
    let mut desk = Desk::new(2);
    let [first, _] = [desk.submit(AtMostOnce), desk.submit(AtMostOnce)];
    let mut ticket = None;
    assert!(desk.machine.reserve(&mut ticket, None, || 9).is_none());
    desk.pass(10_000);
    assert!(desk.machine.reserve(&mut ticket, None, || 9).is_none());
    assert!(desk.error(first).is_not_run());
    assert_eq!(desk.machine.take_told(), [1, 2, 9]);
    let reserved = desk.machine.reserve(&mut ticket, None, || 9);
    assert!(matches!(reserved, Some(Ok(()))));
}

#[test]
fn the_time_is_asked_for_when_the_next_call_ends() {
    let mut desk = Desk::up(10);
    assert_eq!(desk.machine.next_deadline(), None);
    let start = desk.now;
    desk.submit_for(AtMostOnce, 300);
    desk.submit_for(AtMostOnce, 100);
    let after = |milliseconds| Some(start + Duration::from_millis(milliseconds));
    assert_eq!(desk.machine.next_deadline(), after(100));
    desk.pass(100);
    assert_eq!(desk.machine.next_deadline(), after(300));
    desk.pass(200);
    assert_eq!(desk.machine.next_deadline(), None);
}

/// What happens to a machine.
#[derive(Debug, Clone)]
enum Happening {
    Submit(u8, u64),
    Write,
    Answer(usize),
    Forget(usize),
    Take(usize),
    Lose,
    Welcome(u32, u128),
    Retire,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..3_u8, 1..50_u64).prop_map(|(kind, time)| Happening::Submit(kind, time)),
        4 => Just(Happening::Write),
        3 => (0..20_usize).prop_map(Happening::Answer),
        2 => (0..20_usize).prop_map(Happening::Forget),
        3 => (0..20_usize).prop_map(Happening::Take),
        1 => Just(Happening::Lose),
        2 => (1..6_u32, 1..3_u128).prop_map(|(most, boot)| Happening::Welcome(most, boot)),
        1 => Just(Happening::Retire),
        1 => (1..20_u64).prop_map(Happening::Pass),
    ]
}

proptest! {
    /// Whatever happens, the service never has more calls than it takes, no call is written twice on
    /// a channel or more often than its delivery allows, and each has one outcome.
    #[test]
    fn the_rules_hold_whatever_happens(happenings in prop::collection::vec(happening(), 1..200)) {
        const PERMITS: usize = 8;
        let mut desk = Desk::new(PERMITS);
        let mut open: Vec<(u64, Delivery)> = Vec::new();
        let mut writes: BTreeMap<u64, usize> = BTreeMap::new();
        // What the service has on the present channel, and how many it takes.
        let (mut there, mut most) = (Vec::<u64>::new(), 0_u32);
        for happening in happenings {
            let pick = |index: usize| open.get(index % open.len().max(1)).copied();
            match happening {
                Happening::Submit(kind, time) if open.len() < PERMITS => {
                    let delivery = [AtMostOnce, AtLeastOnce, Idempotent(KEY)][usize::from(kind)];
                    open.push((desk.submit_for(delivery, time), delivery));
                }
                Happening::Submit(..) => {
                    let mut ticket = None;
                    prop_assert!(desk.machine.reserve(&mut ticket, None, || 0).is_none());
                    desk.machine.abandon(ticket);
                }
                Happening::Write => {
                    let mut last = 0;
                    for number in desk.written() {
                        let id = number.unsigned_abs();
                        if number < 0 {
                            prop_assert!(there.contains(&id), "a cancel of nothing");
                            there.retain(|other| *other != id);
                            continue;
                        }
                        prop_assert!(id > last, "out of order");
                        last = id;
                        prop_assert!(!there.contains(&id), "twice on one channel");
                        there.push(id);
                        *writes.entry(id).or_default() += 1;
                        let (_, delivery) = open.iter().find(|(open, _)| *open == id).unwrap();
                        prop_assert!(*delivery != AtMostOnce || writes[&id] == 1);
                    }
                    prop_assert!(there.len() <= most as usize);
                }
                Happening::Answer(index) => {
                    if !there.is_empty() {
                        let id = there.remove(index % there.len());
                        desk.machine.answered(id, Ok(Bytes::new()));
                        // A cancel that was on its way may go on: the service knows nothing of it.
                        there.extend(desk.machine.cancels.contains(&id).then_some(id));
                    }
                }
                Happening::Forget(index) => {
                    if let Some((id, _)) = pick(index) {
                        desk.machine.forget(id);
                        open.retain(|(other, _)| *other != id);
                    }
                }
                Happening::Take(index) => {
                    if let Some((id, _)) = pick(index)
                        && desk.take(id).is_some()
                    {
                        prop_assert!(desk.take(id).is_none(), "two outcomes");
                        open.retain(|(other, _)| *other != id);
                    }
                }
                Happening::Lose => {
                    desk.lose();
                    there.clear();
                    most = 0;
                }
                Happening::Welcome(limit, boot) => {
                    desk.lose();
                    there.clear();
                    desk.machine.welcomed(boot, limit);
                    most = limit;
                }
                Happening::Retire => desk.machine.retire(),
                Happening::Pass(time) => desk.pass(time),
            }
            prop_assert_eq!(desk.machine.len(), open.len());
            prop_assert!(desk.machine.cancels.len() <= desk.machine.outstanding as usize);
            prop_assert!(desk.machine.outstanding as usize <= there.len());
        }
        desk.pass(1_000);
        for (id, _) in open {
            prop_assert!(desk.take(id).is_some(), "each call has an outcome by its deadline");
        }
        prop_assert_eq!(desk.machine.len(), 0);
    }
}
