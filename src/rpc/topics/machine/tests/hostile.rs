//! A server that says whatever it wants: nothing panics, grows, or comes twice without a word.

use proptest::prelude::*;

use super::*;

const CAPACITY: usize = 4;
const CAPACITY_BYTES: usize = 100;
const LONGEST: usize = 60;

/// What comes over one link, on which the server has one origin.
fn messages(origin: u64) -> impl Strategy<Value = Vec<FromServer>> {
    let id = || 1..5_u64;
    let sequence = || prop_oneof![9 => 0..20_u64, 1 => Just(u64::MAX)];
    let cursor = move || sequence().prop_map(move |sequence| Cursor::new(origin, sequence));
    let why = prop_oneof![Just(GapReason::Lagged), Just(GapReason::TooLarge)];
    let message = prop_oneof![
        2 => (id(), cursor(), sequence())
            .prop_map(|(id, cursor, newest)| FromServer::Accepted { id, cursor, newest }),
        9 => (id(), sequence(), 0..=LONGEST).prop_map(|(id, sequence, length)| {
            let body = vec![0; length].into();
            FromServer::Item { id, sequence, body }
        }),
        4 => (id(), cursor(), why).prop_map(|(id, cursor, why)| FromServer::Gap { id, cursor, why }),
        1 => id().prop_map(|id| FromServer::Ended { id, fault: None }),
        1 => id().prop_map(|id| FromServer::Unsubscribed { id }),
    ];
    prop::collection::vec(message, 1..100)
}

fn check(read: &[Entry]) {
    let mut last = Cursor::new(0, 0);
    let mut is_told = true;
    let (mut items, mut bytes) = (0, 0);
    for entry in read {
        match entry {
            Entry::Item(cursor, body) => {
                let place = |cursor: Cursor| (cursor.origin(), cursor.sequence());
                assert!(place(last) < place(*cursor), "twice: {read:?}");
                let is_other = last.origin() != cursor.origin();
                assert!(is_told || !is_other, "without a word: {read:?}");
                (last, is_told) = (*cursor, false);
                (items, bytes) = (items + 1, bytes + body.len());
            }
            Entry::Gap(gap) => is_told |= gap.missed.is_none(),
        }
    }
    assert!(items <= CAPACITY && bytes <= CAPACITY_BYTES + LONGEST);
    assert!(read.len() <= 2 * CAPACITY + 1, "{read:?}");
}

proptest! {
    #[test]
    fn whatever_a_server_says_nothing_grows_or_comes_twice(
        links in (messages(7), messages(8), messages(9)),
    ) {
        let mut machine = Machine::new(4);
        let options = alone().capacity(CAPACITY).capacity_bytes(CAPACITY_BYTES);
        let shared = options.clone().shared(true);
        let numbers = [
            begin(&mut machine, &options.clone().lag(Lag::BackPressure)),
            begin(&mut machine, &options.lag(Lag::Disconnect)),
            begin(&mut machine, &shared),
            begin(&mut machine, &shared.clone()),
            begin(&mut machine, &shared.resume(false)),
        ];
        for messages in [links.0, links.1, links.2] {
            machine.link_up();
            sent(&mut machine);
            for message in messages {
                // The pump would reset the channel if a rule is broken.
                let _ = machine.receive(message);
                sent(&mut machine);
            }
        }
        for number in numbers {
            let mut read = Vec::new();
            while let Taken::Entry(entry) = machine.take(number) {
                read.push(entry);
            }
            check(&read);
            machine.leave(number);
        }
        prop_assert!(machine.subscribers.is_empty());
    }
}
