//! Walks at random, before an honest server on a link that fails: nothing comes twice or out of order,
//! what is missing is counted, and in the end everyone has everything.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::rpc::topics::allowance::Allowance;

#[derive(Debug, Clone)]
enum Act {
    /// So many items, of that length.
    Publish(usize, usize),
    /// The server keeps so many of the newest items only.
    Expire(u64),
    Subscribe(usize),
    Leave(usize),
    /// Someone reads so much.
    Read(usize, usize),
    /// So many messages go to the server, and so many to the client.
    Carry(usize, usize),
    Cut,
    Connect,
    /// The server counts anew.
    Restart,
    /// From now on the server refuses what it is asked for at the moment, or no longer.
    Busy(bool),
    /// The pause is over after which what was refused is asked for again.
    Again,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        4 => (1..4_usize, 0..100_usize).prop_map(|(count, length)| Act::Publish(count, length)),
        1 => (0..6_u64).prop_map(Act::Expire),
        2 => (0..10_usize).prop_map(Act::Subscribe),
        1 => (0..4_usize).prop_map(Act::Leave),
        4 => (0..4_usize, 1..4_usize).prop_map(|(nth, count)| Act::Read(nth, count)),
        4 => (0..4_usize, 0..5_usize).prop_map(|(there, back)| Act::Carry(there, back)),
        1 => Just(Act::Cut),
        2 => Just(Act::Connect),
        1 => Just(Act::Restart),
        1 => any::<bool>().prop_map(Act::Busy),
        1 => Just(Act::Again),
    ];
    prop::collection::vec(act, 1..200)
}

/// Bodies of this length fit in no message.
const TOO_LARGE: usize = 95;

struct Served {
    place: u64,
    allowance: Option<Allowance>,
}

/// A server with one topic.
#[derive(Default)]
struct Server {
    origin: u64,
    /// The lengths of all items that there ever were.
    items: Vec<usize>,
    /// The place before the oldest item that is kept.
    begin: u64,
    served: BTreeMap<u64, Served>,
    is_busy: bool,
    heard: VecDeque<FromClient>,
    says: VecDeque<FromServer>,
}

impl Server {
    fn newest(&self) -> u64 {
        self.items.len() as u64
    }

    fn lose_link(&mut self) {
        self.served.clear();
        self.heard.clear();
        self.says.clear();
    }

    fn hear(&mut self) {
        match self.heard.pop_front() {
            Some(FromClient::Subscribe { id, .. }) if self.is_busy => {
                let fault = Fault::new(FaultKind::Busy, "");
                self.says.push_back(FromServer::Refused { id, fault });
            }
            Some(FromClient::Subscribe {
                id, after, credit, ..
            }) => {
                let place = match after {
                    None => self.newest(),
                    Some(after) if after.origin() != self.origin => self.begin,
                    Some(after) if (self.begin..=self.newest()).contains(&after.sequence()) => {
                        after.sequence()
                    }
                    Some(_) => self.begin,
                };
                let allowance = credit.map(Allowance::new);
                self.served.insert(id, Served { place, allowance });
                let cursor = Cursor::new(self.origin, place);
                let newest = self.newest();
                self.says
                    .push_back(FromServer::Accepted { id, cursor, newest });
            }
            Some(FromClient::Credit { id, credit }) => {
                let served = self.served.get_mut(&id);
                if let Some(allowance) = served.and_then(|served| served.allowance.as_mut()) {
                    allowance.grant(credit);
                }
            }
            Some(FromClient::Unsubscribe { id }) => {
                let was_served = self.served.remove(&id).is_some();
                let says = was_served.then_some(FromServer::Unsubscribed { id });
                self.says.extend(says);
            }
            None => {}
        }
        self.say();
    }

    /// Says what there is to say to those who follow.
    fn say(&mut self) {
        for (&id, served) in &mut self.served {
            let gap = |sequence, why| {
                let cursor = Cursor::new(self.origin, sequence);
                FromServer::Gap { id, cursor, why }
            };
            if served.place < self.begin {
                served.place = self.begin;
                self.says.push_back(gap(self.begin, GapReason::Lagged));
            }
            while let Some(&length) = usize::try_from(served.place)
                .ok()
                .and_then(|place| self.items.get(place))
            {
                if served.allowance.is_some_and(Allowance::is_spent) {
                    break;
                }
                served.place += 1;
                let is_too_large = length >= TOO_LARGE;
                if let Some(allowance) = &mut served.allowance {
                    allowance.spend(if is_too_large { 0 } else { length });
                }
                self.says.push_back(if is_too_large {
                    gap(served.place, GapReason::TooLarge)
                } else {
                    item_of(id, served.place, length)
                });
            }
        }
    }
}

fn item_of(id: u64, sequence: u64, length: usize) -> FromServer {
    let body = vec![0; length].into();
    FromServer::Item { id, sequence, body }
}

/// Who reads a subscription, and where, if that is known.
struct Reader {
    number: u64,
    is_begun: bool,
    place: Option<Cursor>,
}

impl Reader {
    /// Reads one thing; false if there is nothing, or nothing any more.
    fn read(&mut self, machine: &mut Machine) -> bool {
        let is_refused = matches!(machine.is_accepted(self.number), Some(Err(_)));
        let entry = match machine.take(self.number) {
            Taken::Entry(entry) => entry,
            Taken::End(EndReason::Lagged) | Taken::Nothing => return false,
            // It was never accepted.
            Taken::End(EndReason::Refused(_)) if is_refused => return false,
            Taken::End(reason) => panic!("{reason}"),
        };
        self.place = match (entry, self.place) {
            (Entry::Item(cursor, _), place) => {
                if let Some(place) = place {
                    let next = Cursor::new(place.origin(), place.sequence() + 1);
                    assert_eq!(cursor, next, "nothing is missing, doubled or out of order");
                }
                Some(cursor)
            }
            (Entry::Gap(Gap { missed, why }), place) => {
                assert_eq!(missed.is_none(), why == GapReason::Restarted);
                let moved =
                    |place: Cursor, missed| Cursor::new(place.origin(), place.sequence() + missed);
                place
                    .zip(missed)
                    .map(|(place, missed)| moved(place, missed))
            }
        };
        true
    }
}

struct Walk {
    machine: Machine,
    server: Server,
    readers: Vec<Reader>,
    is_up: bool,
}

impl Walk {
    fn new() -> Self {
        let (origin, begin) = (ORIGIN, 0);
        Self {
            machine: Machine::new(6),
            server: Server {
                origin,
                begin,
                ..Server::default()
            },
            readers: Vec::new(),
            is_up: false,
        }
    }

    fn act(&mut self, act: &Act) {
        match *act {
            Act::Publish(count, length) => {
                self.server.items.extend(std::iter::repeat_n(length, count));
                self.server.say();
            }
            Act::Expire(kept) => {
                let begin = self.server.newest().saturating_sub(kept);
                self.server.begin = self.server.begin.max(begin);
            }
            Act::Subscribe(kind) => self.subscribe(kind),
            Act::Leave(nth) => {
                if nth < self.readers.len() {
                    self.machine.leave(self.readers.swap_remove(nth).number);
                }
            }
            Act::Read(nth, count) => {
                for _ in 0..count {
                    if let Some(reader) = self.readers.get_mut(nth) {
                        reader.read(&mut self.machine);
                    }
                }
            }
            Act::Carry(there, back) => {
                self.carry(there, back);
            }
            Act::Cut => self.cut(),
            Act::Connect => {
                self.cut();
                self.machine.link_up();
                self.is_up = true;
            }
            Act::Busy(is_busy) => self.server.is_busy = is_busy,
            Act::Again => self.machine.ask_again(),
            Act::Restart => {
                self.cut();
                let origin = self.server.origin + 1;
                self.server = Server {
                    origin,
                    ..Server::default()
                };
            }
        }
    }

    fn subscribe(&mut self, kind: usize) {
        let begin = Cursor::new(self.server.origin, self.server.begin);
        let (alone, small) = (alone(), SubscribeOptions::default().capacity(3));
        let options = match kind {
            0 => alone,
            1 => alone.lag(Lag::BackPressure).capacity(1),
            2 => alone.lag(Lag::BackPressure).capacity(9).capacity_bytes(100),
            3 => small,
            4 => small.resume(false),
            5 => small.lag(Lag::Disconnect),
            6 => small.capacity(9).capacity_bytes(100),
            7 => small.capacity(8),
            8 => small.capacity(8).lag(Lag::Disconnect),
            _ => alone.after(begin),
        };
        if let Ok(number) = self.machine.subscribe(&TOPIC, &options) {
            let place = options.after;
            self.readers.push(Reader {
                number,
                is_begun: place.is_some(),
                place,
            });
            let id = self.machine.subscribers[&number].upstream;
            let seen = self.machine.upstreams[&id].seen;
            self.begin_at(seen);
        }
    }

    /// Those who were just accepted begin at that place.
    fn begin_at(&mut self, place: Option<Cursor>) {
        for reader in &mut self.readers {
            let is_accepted = matches!(self.machine.is_accepted(reader.number), Some(Ok(())));
            if is_accepted && !std::mem::replace(&mut reader.is_begun, true) {
                reader.place = place;
            }
        }
    }

    /// Whether anything went over the link.
    fn carry(&mut self, there: usize, back: usize) -> bool {
        if !self.is_up {
            return false;
        }
        let mut some = false;
        for _ in 0..there {
            self.server.heard.extend(self.machine.poll_transmit());
            some |= !self.server.heard.is_empty();
            self.server.hear();
        }
        for _ in 0..back {
            let Some(message) = self.server.says.pop_front() else {
                break;
            };
            some = true;
            let begin = match message {
                FromServer::Accepted { cursor, newest, .. } => {
                    Some(Cursor::new(cursor.origin(), newest))
                }
                _ => None,
            };
            self.machine.receive(message).expect("no broken rule");
            self.begin_at(begin);
        }
        some
    }

    fn cut(&mut self) {
        self.machine.link_lost();
        self.server.lose_link();
        self.is_up = false;
    }

    /// Has the link up for as long as anything goes over it, and those read whom `reads` says.
    fn settle(&mut self, reads: impl Fn(&Reader) -> bool) {
        let mut some = true;
        while some {
            self.machine.ask_again();
            some = self.carry(10, 100);
            for reader in self.readers.iter_mut().filter(|reader| reads(reader)) {
                while reader.read(&mut self.machine) {
                    some = true;
                }
            }
        }
        let end = self.server_end();
        for reader in self.readers.iter().filter(|reader| reads(reader)) {
            let is_over = matches!(self.machine.take(reader.number), Taken::End(_));
            let place = reader.place.filter(|_| !is_over);
            assert_eq!(place.unwrap_or(end), end, "it has everything");
        }
    }

    fn server_end(&self) -> Cursor {
        Cursor::new(self.server.origin, self.server.newest())
    }

    /// At first, some read nothing, and hold up nobody; then all read.
    fn end(mut self) {
        self.act(&Act::Busy(false));
        if !self.is_up {
            self.act(&Act::Connect);
        }
        self.settle(|reader| reader.number % 2 == 0);
        self.settle(|_| true);
        // Those who have caught up share what comes next.
        self.act(&Act::Publish(1, 0));
        self.settle(|_| true);
        assert!(self.machine.by_topic.values().all(|twins| twins.len() == 1));
        let followed: usize = self.server.served.len();
        assert_eq!(self.machine.upstreams.len(), followed);
        for reader in self.readers {
            self.machine.leave(reader.number);
        }
        assert!(self.machine.subscribers.is_empty());
        while let Some(FromClient::Unsubscribe { id }) = self.machine.poll_transmit() {
            self.machine
                .receive(FromServer::Unsubscribed { id })
                .expect("no broken rule");
        }
        assert!(self.machine.upstreams.is_empty() && self.machine.by_topic.is_empty());
    }
}

proptest! {
    #[test]
    fn whatever_the_link_does_everyone_has_everything_or_knows_what_is_missing(acts in acts()) {
        let mut walk = Walk::new();
        for act in &acts {
            walk.act(act);
        }
        walk.end();
    }
}
