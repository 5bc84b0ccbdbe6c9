//! The rules alone: what is written, and who is told what.

mod walks;

use std::time::Duration;

use super::*;
use crate::rpc::calls::options::Delivery::{AtLeastOnce, AtMostOnce, Idempotent};
use crate::rpc::fault::{Fault, FaultKind};

const KEY: u128 = 7;

/// A machine, and the time.
struct Desk {
    machine: Machine<u64>,
    /// The present channel.
    channel: ChannelNumber,
    now: Instant,
}

impl Desk {
    fn new(calls_at_once: usize) -> Self {
        Self {
            machine: Machine::new(calls_at_once),
            channel: 0,
            now: Instant::now(),
        }
    }

    /// One whose service is there, and takes so many calls at once.
    fn up(calls_at_once: u32) -> Self {
        let mut desk = Self::new(100);
        desk.connect(1, calls_at_once);
        desk
    }

    /// A new channel, on which that start of the service says its welcome.
    fn connect(&mut self, boot: u128, calls_at_once: u32) {
        self.channel = self.machine.opened();
        self.machine.welcomed(self.channel, boot, calls_at_once);
    }

    fn submit(&mut self, delivery: Delivery) -> u64 {
        self.submit_for(delivery, 10_000)
    }

    fn submit_for(&mut self, delivery: Delivery, milliseconds: u64) -> u64 {
        let deadline = self.now + Duration::from_millis(milliseconds);
        if let Some(key) = delivery.key() {
            self.machine.enter(key);
        }
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
        self.written_on(self.channel)
    }

    fn written_on(&mut self, channel: ChannelNumber) -> Vec<i64> {
        let mut outgoing = Vec::new();
        self.machine
            .write(channel, self.now, usize::MAX, &mut outgoing);
        let number = |outgoing: &Outgoing| match outgoing {
            Outgoing::Request { id, .. } => i64::try_from(*id).unwrap(),
            Outgoing::Cancel(id) => -i64::try_from(*id).unwrap(),
        };
        outgoing.iter().map(number).collect()
    }

    fn take(&mut self, id: u64) -> Option<Outcome> {
        let key = self.key(id);
        let outcome = self.machine.take(id, || id);
        if let (Some(_), Some(key)) = (&outcome, key) {
            self.machine.leave(key);
        }
        outcome
    }

    fn forget(&mut self, id: u64) {
        let key = self.key(id);
        self.machine.forget(id);
        if let Some(key) = key {
            self.machine.leave(key);
        }
    }

    fn key(&self, id: u64) -> Option<u128> {
        self.machine.calls.get(&id)?.delivery.key()
    }

    fn error(&mut self, id: u64) -> CallError {
        self.take(id).expect("an outcome").unwrap_err()
    }

    fn pass(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.machine.time(self.now);
    }

    fn answer(&mut self, id: u64) {
        self.machine.answered(self.channel, id, Ok(Bytes::new()));
    }

    fn lose(&mut self) {
        self.machine.lost(self.channel, &Loss::Finished);
    }
}

#[test]
fn a_call_is_written_answered_and_told_once() {
    let mut desk = Desk::up(10);
    let id = desk.submit(AtMostOnce);
    assert!(desk.machine.has_to_write_on(desk.channel));
    assert_eq!(desk.written(), [1]);
    assert!(!desk.machine.has_to_write_on(desk.channel));
    assert!(desk.take(id).is_none());
    for body in [&b"answer"[..], b"another"] {
        let body = Bytes::from_static(body);
        desk.machine.answered(desk.channel, id, Ok(body));
    }
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
    let channel = desk.channel;
    desk.machine
        .write(channel, desk.now, usize::MAX, &mut outgoing);
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
    desk.answer(1);
    assert_eq!(desk.written(), [3]);
    desk.forget(2);
    assert_eq!(desk.written(), [-2, 4]);
}

#[test]
fn more_requests_are_expected_of_callers_who_have_not_fetched_their_outcomes() {
    let mut desk = Desk::up(100);
    let calls = [AtMostOnce; 3].map(|delivery| desk.submit(delivery));
    assert_eq!(
        desk.machine.growing(desk.channel),
        None,
        "nobody was told of anything"
    );
    desk.written();
    for id in [calls[0], calls[1]] {
        desk.answer(id);
    }
    assert_eq!(
        desk.machine.growing(desk.channel),
        None,
        "there is nothing to write"
    );
    assert!(desk.take(calls[0]).is_some());
    desk.submit(AtMostOnce);
    assert_eq!(desk.machine.growing(desk.channel), Some(1));
    assert!(desk.take(calls[1]).is_some());
    let again = desk.submit(AtMostOnce);
    assert_eq!(
        desk.machine.growing(desk.channel),
        None,
        "all have asked again"
    );
    desk.written();
    desk.answer(calls[2]);
    desk.forget(again);
    desk.submit(AtMostOnce);
    let growing = desk.machine.growing(desk.channel);
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
    desk.answer(answered);
    let unsent = desk.submit(AtMostOnce);
    desk.lose();
    assert!(matches!(
        desk.error(unknown),
        CallError::Unknown(Loss::Finished)
    ));
    assert!(desk.take(answered).unwrap().is_ok());
    desk.connect(1, 10);
    assert_eq!(desk.written(), [2, 3, 5]);
    desk.lose();
    desk.connect(2, 10);
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
    desk.forget(unsent);
    assert_eq!(desk.written(), [2]);
    desk.forget(sent);
    assert_eq!(desk.written(), [-2]);
    desk.answer(sent);
    assert_eq!(desk.machine.len(), 0);
    assert!(desk.machine.is_idle(desk.channel));
    assert_eq!(desk.written(), [0_i64; 0]);
}

#[test]
fn cancels_of_a_lost_channel_do_not_go_on_the_next() {
    let mut desk = Desk::up(10);
    let id = desk.submit(AtLeastOnce);
    assert_eq!(desk.written(), [1]);
    desk.forget(id);
    desk.lose();
    desk.connect(1, 10);
    assert_eq!(desk.written(), [0_i64; 0]);
}

#[test]
fn a_welcome_on_a_connection_that_drains_has_no_request_written() {
    let mut desk = Desk::new(100);
    desk.channel = desk.machine.opened();
    desk.submit(AtMostOnce);
    desk.machine.retire(desk.channel);
    desk.machine.welcomed(desk.channel, 1, 10);
    assert_eq!(desk.written(), [0_i64; 0]);
    desk.connect(1, 10);
    assert_eq!(desk.written(), [1]);
}

#[test]
fn a_channel_that_retires_takes_no_requests_and_all_answers() {
    let mut desk = Desk::up(10);
    let sent = desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [1]);
    desk.machine.retire(desk.channel);
    desk.submit(AtMostOnce);
    assert!(!desk.machine.has_to_write_on(desk.channel) && !desk.machine.is_idle(desk.channel));
    desk.answer(sent);
    assert!(desk.machine.is_idle(desk.channel));
    desk.connect(1, 10);
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

#[test]
fn calls_go_on_over_the_next_channel_while_one_waits_for_answers() {
    let mut desk = Desk::up(10);
    let slow = desk.submit(AtMostOnce);
    let given_up = desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [1, 2]);
    let old = desk.channel;
    desk.machine.retire(old);
    desk.connect(2, 10);
    let new = desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [3]);
    desk.forget(given_up);
    assert!(desk.machine.has_to_write_on(old) && !desk.machine.has_to_write_on(desk.channel));
    assert_eq!((desk.written(), desk.written_on(old)), (vec![], vec![-2]));
    desk.answer(slow);
    assert!(desk.take(slow).is_none(), "it is not on this channel");
    desk.machine.answered(old, slow, Ok(Bytes::new()));
    assert!(desk.take(slow).unwrap().is_ok());
    assert!(desk.machine.is_idle(old) && !desk.machine.is_idle(desk.channel));
    desk.machine.left(old);
    desk.answer(new);
    assert!(desk.take(new).unwrap().is_ok());
}

#[test]
fn what_is_lost_on_an_older_channel_waits_for_a_channel_without_newer_calls() {
    let mut desk = Desk::up(10);
    let older = desk.submit(AtLeastOnce);
    assert_eq!(desk.written(), [1]);
    let old = desk.channel;
    desk.machine.retire(old);
    desk.connect(1, 10);
    desk.submit(AtMostOnce);
    assert_eq!(desk.written(), [2]);
    assert!(!desk.machine.is_overtaken(desk.channel));
    desk.machine.lost(old, &Loss::Finished);
    desk.submit(AtMostOnce);
    assert!(desk.machine.is_overtaken(desk.channel) && !desk.machine.has_to_write_on(desk.channel));
    assert_eq!(desk.written(), [0_i64; 0]);
    desk.machine.retire(desk.channel);
    desk.connect(1, 10);
    assert_eq!(desk.written(), [1, 3]);
    desk.answer(older);
    assert!(desk.take(older).unwrap().is_ok());
}

#[test]
fn what_is_to_be_written_on_one_channel_is_news_whatever_waits_on_another() {
    let mut desk = Desk::up(10);
    let [one, other] = [(); 2].map(|()| desk.submit(AtMostOnce));
    assert!(desk.machine.has_news() && !desk.machine.has_news());
    assert_eq!(desk.written(), [1, 2]);
    let old = desk.channel;
    desk.machine.retire(old);
    desk.connect(1, 10);
    assert!(!desk.machine.has_news());
    desk.forget(one);
    assert!(desk.machine.has_news(), "a cancel");
    let new = desk.submit(AtMostOnce);
    assert!(desk.machine.has_news(), "a request");
    desk.forget(other);
    assert!(!desk.machine.has_news(), "another cancel on that channel");
    desk.forget(new);
    desk.submit(AtMostOnce);
    assert!(!desk.machine.has_news(), "another request on that channel");
    assert_eq!(
        (desk.written(), desk.written_on(old)),
        (vec![4], vec![-1, -2])
    );
    assert!(!desk.machine.has_news());
}

#[test]
fn a_keyed_call_goes_to_no_other_start_of_the_service_than_it_went_to() {
    let mut desk = Desk::up(10);
    let [here, there] = [(); 2].map(|()| desk.submit(Idempotent(KEY)));
    assert_eq!(desk.written(), [1, 2]);
    let old = desk.channel;
    desk.machine.retire(old);
    desk.connect(2, 10);
    desk.machine.answered(old, here, Ok(Bytes::new()));
    assert!(
        desk.take(here).unwrap().is_ok(),
        "it was there all the time"
    );
    desk.machine.lost(old, &Loss::Finished);
    assert!(matches!(
        desk.error(there),
        CallError::Unknown(Loss::Restarted)
    ));
    assert_eq!(desk.written(), [0_i64; 0]);
}

#[test]
fn a_key_goes_to_one_start_of_the_service_while_any_call_has_it() {
    let mut desk = Desk::up(10);
    let first = desk.submit(Idempotent(KEY));
    assert_eq!(desk.written(), [1]);
    desk.machine.retire(desk.channel);
    let (old, second) = (desk.channel, desk.submit(Idempotent(KEY)));
    desk.connect(2, 10);
    assert!(matches!(
        desk.error(second),
        CallError::Unknown(Loss::Restarted)
    ));
    let third = desk.submit(Idempotent(KEY));
    assert!(matches!(
        desk.error(third),
        CallError::Unknown(Loss::Restarted)
    ));
    assert_eq!(desk.written(), [0_i64; 0]);
    desk.machine.answered(old, first, Ok(Bytes::new()));
    assert!(desk.take(first).unwrap().is_ok());
    desk.submit(Idempotent(KEY));
    assert_eq!(desk.written(), [4], "what came of it is known");
}

#[test]
fn of_two_that_waited_with_one_key_the_second_goes_where_the_first_went_or_nowhere() {
    let mut desk = Desk::new(100);
    let [first, second] = [(); 2].map(|()| desk.submit(Idempotent(KEY)));
    desk.connect(1, 1);
    assert_eq!(desk.written(), [1]);
    desk.machine.retire(desk.channel);
    desk.connect(2, 1);
    assert_eq!(desk.written(), [0_i64; 0]);
    assert!(matches!(
        desk.error(second),
        CallError::Unknown(Loss::Restarted)
    ));
    assert!(desk.take(first).is_none());
}

/// Only the first sending may have been run.
#[test]
fn that_a_call_was_not_run_when_it_was_sent_again_is_no_proof_that_it_was_not() {
    let busy = || CallError::Fault(Fault::new(FaultKind::Busy, "so busy"));
    let too_large = CallError::TooLarge { length: 9, max: 8 };
    for again in [false, true] {
        for delivery in [AtLeastOnce, Idempotent(KEY)] {
            let mut desk = Desk::up(10);
            let [answered, unsendable] = [(); 2].map(|()| desk.submit(delivery));
            if again {
                assert_eq!(desk.written(), [1, 2]);
                desk.lose();
                desk.connect(1, 10);
            }
            assert_eq!(desk.written(), [1, 2]);
            let channel = desk.channel;
            desk.machine.answered(channel, answered, Err(busy()));
            desk.machine.unsendable(unsendable, too_large.clone());
            for (id, why) in [(answered, "so busy"), (unsendable, "9 bytes")] {
                let error = desk.error(id);
                assert_eq!(error.is_not_run(), !again, "{delivery:?}: {error}");
                assert!(error.to_string().contains(why), "{error}");
            }
        }
    }
}

#[test]
fn that_a_call_was_not_run_is_no_proof_while_another_one_with_its_key_may_have_been() {
    let mut desk = Desk::up(1);
    let verdict = |desk: &Desk, key| {
        let error = CallError::DeadlinePassed { sent: false };
        let error = desk.machine.verdict(Idempotent(key), error);
        error.is_not_run()
    };
    assert!(verdict(&desk, KEY));
    let call = desk.submit(Idempotent(KEY));
    assert!(!verdict(&desk, KEY), "it may be run yet");
    assert_eq!(desk.written(), [1]);
    assert!(!verdict(&desk, KEY) && verdict(&desk, KEY + 1));
    desk.forget(call);
    assert!(!verdict(&desk, KEY));
    let again = desk.submit(Idempotent(KEY));
    assert_eq!(desk.written(), [-1, 2]);
    desk.answer(again);
    assert!(desk.take(again).unwrap().is_ok());
    assert!(verdict(&desk, KEY));
}

#[test]
fn what_waits_for_answers_may_have_them_when_the_link_is_down() {
    let mut desk = Desk::up(10);
    let [answered, lost, again] = [AtMostOnce, AtMostOnce, AtLeastOnce].map(|how| desk.submit(how));
    assert_eq!(desk.written(), [1, 2, 3]);
    desk.machine.retire(desk.channel);
    let queued = desk.submit(AtLeastOnce);
    desk.machine.down(&LinkError::Closed);
    assert!(matches!(desk.error(queued), CallError::NotSent(_)));
    desk.answer(answered);
    assert!(desk.take(answered).unwrap().is_ok());
    desk.lose();
    assert!(matches!(
        desk.error(lost),
        CallError::Unknown(Loss::Finished)
    ));
    assert!(matches!(
        desk.error(again),
        CallError::Unknown(Loss::Link(_))
    ));
}
