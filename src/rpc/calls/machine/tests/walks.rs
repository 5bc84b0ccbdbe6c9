//! Walks at random, on channels that come and go.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What happens to a machine.
#[derive(Debug, Clone)]
enum Happening {
    Submit(usize, u64),
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
        4 => (0..4_usize, 1..50_u64).prop_map(|(kind, time)| Happening::Submit(kind, time)),
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
    /// The start of the service that may have run a call with the key.
    boots: BTreeMap<u128, u128>,
    /// Keys of calls whose outcome is known.
    known: BTreeSet<u128>,
}

impl Book {
    /// A call was taken or given up. If what came of it is known, another one with its key is another call, unless one
    /// goes on.
    fn close(&mut self, id: u64, delivery: Delivery, is_known: bool) {
        self.open.retain(|(other, _)| *other != id);
        let Some(key) = delivery.key() else {
            return;
        };
        if is_known {
            self.known.insert(key);
        }
        let goes_on = self.open.iter().any(|(_, open)| open.key() == Some(key));
        if !goes_on && self.known.remove(&key) {
            self.boots.remove(&key);
        }
    }
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
            if let Some(key) = delivery.key() {
                book.known.remove(&key);
                let first = *book.boots.entry(key).or_insert(self.boot);
                prop_assert_eq!(first, self.boot, "it may be run by two");
                prop_assert!(writes.iter().all(|boot| *boot == self.boot));
            }
        }
        prop_assert!(self.calls.len() <= self.most as usize);
        Ok(())
    }
}

proptest! {
    /// Whatever happens, the service never has more calls than it takes, no call is written twice on
    /// a channel or more often than its delivery allows, no key to two starts of the service, and each
    /// call has one outcome.
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
                    let keyed = [KEY, KEY + 1].map(Idempotent);
                    let delivery = [AtMostOnce, AtLeastOnce, keyed[0], keyed[1]][kind];
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
                    if let Some((id, delivery)) = pick(index) {
                        desk.forget(id);
                        book.close(id, delivery, false);
                    }
                }
                Happening::Take(index) => {
                    if let Some((id, delivery)) = pick(index)
                        && let Some(outcome) = desk.take(id)
                    {
                        prop_assert!(desk.take(id).is_none(), "two outcomes");
                        book.close(id, delivery, outcome.is_ok());
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
