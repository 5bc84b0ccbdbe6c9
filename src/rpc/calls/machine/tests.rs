use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::rpc::calls::options::Delivery::{AtLeastOnce, AtMostOnce, Idempotent};

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
        self.machine.take(id, || id)
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
    desk.machine.forget(2);
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
    desk.machine.forget(again);
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
    desk.machine.forget(unsent);
    assert_eq!(desk.written(), [2]);
    desk.machine.forget(sent);
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
    desk.machine.forget(id);
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
    desk.machine.forget(given_up);
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
    desk.machine.forget(one);
    assert!(desk.machine.has_news(), "a cancel");
    let new = desk.submit(AtMostOnce);
    assert!(desk.machine.has_news(), "a request");
    desk.machine.forget(other);
    assert!(!desk.machine.has_news(), "another cancel on that channel");
    desk.machine.forget(new);
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

/// What happens to a machine.
#[derive(Debug, Clone)]
enum Happening {
    Submit(u8, u64),
    Write(usize),
    Answer(usize, usize),
    Forget(usize),
    Take(usize),
    Lose(usize),
    /// A new channel, beside the one before or after it.
    Welcome(u32, u128, bool),
    Retire,
    Pass(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let most = 1..6_u32;
    prop_oneof![
        4 => (0..3_u8, 1..50_u64).prop_map(|(kind, time)| Happening::Submit(kind, time)),
        6 => (0..4_usize).prop_map(Happening::Write),
        3 => (0..4_usize, 0..20_usize).prop_map(|(channel, id)| Happening::Answer(channel, id)),
        2 => (0..20_usize).prop_map(Happening::Forget),
        3 => (0..20_usize).prop_map(Happening::Take),
        1 => (0..4_usize).prop_map(Happening::Lose),
        2 => (most, 1..3_u128, any::<bool>())
            .prop_map(|(most, boot, beside)| Happening::Welcome(most, boot, beside)),
        1 => Just(Happening::Retire),
        1 => (1..20_u64).prop_map(Happening::Pass),
    ]
}

/// A channel as the service sees it.
#[derive(Debug, Clone)]
struct There {
    number: ChannelNumber,
    boot: u128,
    most: u32,
    last: u64,
    calls: Vec<u64>,
}

/// The calls that were made and have not been taken, and what was written of each.
#[derive(Debug, Default)]
struct Book {
    open: Vec<(u64, Delivery)>,
    writes: BTreeMap<u64, Vec<u128>>,
}

impl There {
    /// Takes what was written on the channel.
    fn hear(&mut self, numbers: &[i64], book: &mut Book) -> Result<(), TestCaseError> {
        for number in numbers {
            let id = number.unsigned_abs();
            if *number < 0 {
                prop_assert!(self.calls.contains(&id), "a cancel of nothing");
                self.calls.retain(|other| *other != id);
                continue;
            }
            prop_assert!(id > self.last, "out of order");
            self.last = id;
            self.calls.push(id);
            let writes = book.writes.entry(id).or_default();
            writes.push(self.boot);
            let (_, delivery) = book.open.iter().find(|(open, _)| *open == id).unwrap();
            prop_assert!(*delivery != AtMostOnce || writes.len() == 1);
            let is_keyed = matches!(delivery, Idempotent(_));
            prop_assert!(!is_keyed || writes.iter().all(|boot| *boot == self.boot));
        }
        prop_assert!(self.calls.len() <= self.most as usize);
        Ok(())
    }
}

proptest! {
    /// Whatever happens, the service never has more calls than it takes, no call is written twice on
    /// a channel or more often than its delivery allows, none with a key to two starts of the service,
    /// and each has one outcome.
    #[test]
    fn the_rules_hold_whatever_happens(happenings in prop::collection::vec(happening(), 1..200)) {
        const PERMITS: usize = 8;
        let mut desk = Desk::new(PERMITS);
        let mut book = Book::default();
        let mut channels: Vec<There> = Vec::new();
        for happening in happenings {
            let pick = |index: usize| book.open.get(index % book.open.len().max(1)).copied();
            match happening {
                Happening::Submit(kind, time) if book.open.len() < PERMITS => {
                    let delivery = [AtMostOnce, AtLeastOnce, Idempotent(KEY)][usize::from(kind)];
                    book.open.push((desk.submit_for(delivery, time), delivery));
                }
                Happening::Submit(..) => {
                    let mut ticket = None;
                    prop_assert!(desk.machine.reserve(&mut ticket, None, || 0).is_none());
                    desk.machine.abandon(ticket);
                }
                Happening::Write(index) => {
                    if let Some(there) = channels.get_mut(index) {
                        let written = desk.written_on(there.number);
                        there.hear(&written, &mut book)?;
                    }
                }
                Happening::Answer(channel, index) => {
                    if let Some(there) = channels.get_mut(channel).filter(|there| !there.calls.is_empty()) {
                        let id = there.calls.remove(index % there.calls.len());
                        desk.machine.answered(there.number, id, Ok(Bytes::new()));
                        // A cancel that was on its way may go on: the service knows nothing of it.
                        let known = desk.machine.channels.get(there.number).unwrap();
                        there.calls.extend(known.cancels.contains(&id).then_some(id));
                    }
                }
                Happening::Forget(index) => {
                    if let Some((id, _)) = pick(index) {
                        desk.machine.forget(id);
                        book.open.retain(|(other, _)| *other != id);
                    }
                }
                Happening::Take(index) => {
                    if let Some((id, _)) = pick(index)
                        && desk.take(id).is_some()
                    {
                        prop_assert!(desk.take(id).is_none(), "two outcomes");
                        book.open.retain(|(other, _)| *other != id);
                    }
                }
                Happening::Lose(index) => {
                    if index < channels.len() {
                        desk.machine.lost(channels.remove(index).number, &Loss::Finished);
                    }
                }
                Happening::Welcome(most, boot, beside) => {
                    desk.machine.retire(desk.channel);
                    if !beside || channels.len() > 3 {
                        for there in channels.drain(..) {
                            desk.machine.lost(there.number, &Loss::Finished);
                        }
                    }
                    desk.connect(boot, most);
                    let number = desk.channel;
                    channels.push(There { number, boot, most, last: 0, calls: Vec::new() });
                }
                Happening::Retire => desk.machine.retire(desk.channel),
                Happening::Pass(time) => desk.pass(time),
            }
            prop_assert_eq!(desk.machine.len(), book.open.len());
            for there in &channels {
                let known = desk.machine.channels.get(there.number).unwrap();
                prop_assert!(known.cancels.len() <= known.outstanding as usize);
                prop_assert!(known.outstanding as usize <= there.calls.len());
            }
            prop_assert_eq!(desk.machine.channels.iter().count(), channels.len());
        }
        desk.pass(1_000);
        for (id, _) in book.open {
            prop_assert!(desk.take(id).is_some(), "each call has an outcome by its deadline");
        }
        prop_assert_eq!(desk.machine.len(), 0);
    }
}
