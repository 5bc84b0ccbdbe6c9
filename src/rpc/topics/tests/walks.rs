//! Walks at random: subscribers of every kind to a server that is started anew, over connections that are cut
//! anywhere. Nothing comes twice or out of order, what is missing is counted, and in the end everyone has everything.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::spreading::{Board, board, publish};
use super::world::{Begun, Numbers, World};
use crate::rpc::{
    EndReason, Event, Feed, FeedLimits, GapReason, Lag, LocalBackplane, SubscribeOptions,
    Subscription, TopicLimits,
};

#[derive(Debug, Clone)]
enum Act {
    Publish(u64),
    Subscribe(usize),
    Leave(usize),
    /// Someone reads so much.
    Read(usize, usize),
    Kill,
    /// A new connection, to one of the servers, which is cut behind so many bytes in either direction.
    Connect(usize, usize, usize),
    /// This end or the other drains the connection.
    Drain(bool),
    /// The server that is connected is killed, and there is another one in its place.
    Boot,
    /// The feed is closed, and there is another one for the topic.
    Close,
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let bytes = || prop_oneof![2 => Just(usize::MAX), 1 => 1..1500_usize];
    let act = prop_oneof![
        6 => prop_oneof![1..4_u64, 1..150_u64].prop_map(Act::Publish),
        3 => (0..9_usize).prop_map(Act::Subscribe),
        1 => (0..8_usize).prop_map(Act::Leave),
        6 => (0..8_usize, 1..40_usize).prop_map(|(nth, count)| Act::Read(nth, count)),
        1 => Just(Act::Kill),
        4 => (0..2_usize, bytes(), bytes())
            .prop_map(|(to, forth, back)| Act::Connect(to, forth, back)),
        1 => any::<bool>().prop_map(Act::Drain),
        1 => Just(Act::Boot),
        1 => Just(Act::Close),
        1 => (1..40_u64).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 1..60)
}

/// Kinds of subscriptions that share what comes.
const SHARED: RangeInclusive<usize> = 3..=7;
/// One of them that goes on with what is new after a lost connection,
const ANEW: usize = 4;
/// and one that ends when it lags.
const CUT_OFF: usize = 5;
/// A kind that says where it begins.
const AFTER: usize = 8;

/// Which of the feeds that there were, from 1, and how many of its items.
type Place = (u64, u64);

/// What the item at a place is.
const fn number((feed, item): Place) -> u64 {
    feed * 1_000_000 + item
}

struct Reader {
    subscription: Subscription<Numbers>,
    /// Behind what it has read, if that is known.
    place: Option<Place>,
    end: Option<EndReason>,
    kind: usize,
}

impl Reader {
    /// Reads one thing; false if there is nothing.
    fn read(&mut self) -> bool {
        let Some(Some(event)) = self.subscription.recv().now_or_never() else {
            return false;
        };
        match (event, self.place) {
            (Event::Item { value, cursor }, place) => {
                let next = (value / 1_000_000, value % 1_000_000);
                assert_eq!(cursor.sequence(), next.1);
                if let Some((feed, item)) = place {
                    assert_eq!(next, (feed, item + 1), "missing, doubled or out of order");
                }
                self.place = Some(next);
            }
            (Event::Gap { missed, why }, place) => {
                assert_eq!(missed.is_none(), why == GapReason::Restarted);
                assert!(missed != Some(0), "a gap of nothing: {why:?}");
                self.place = place
                    .zip(missed)
                    .map(|((feed, item), missed)| (feed, item + missed));
            }
            (Event::End(reason), _) => {
                assert!(self.end.is_none(), "nothing comes behind the end");
                self.end = Some(reason);
            }
            (Event::Other { error, .. }, _) => panic!("{error}"),
        }
        true
    }
}

/// Who serves the topic.
enum Servers {
    /// One that has nothing of what was published before it was started.
    One,
    /// Two over a backplane, the first of which is connected or was last.
    Two(LocalBackplane, [Board; 2]),
}

struct Walk {
    world: World,
    servers: Servers,
    limits: FeedLimits,
    readers: Vec<Reader>,
    /// They wait to be accepted; of what kind they are, and where they begin, if they say so.
    begun: Vec<(Begun, usize, Option<Place>)>,
    /// The newest item.
    newest: Place,
    /// The last items of the feeds before.
    lasts: Vec<Place>,
    is_up: bool,
}

impl Walk {
    fn of_one(limits: FeedLimits) -> Self {
        Self::of(World::new(limits), Servers::One, limits)
    }

    fn of_two(limits: FeedLimits) -> Self {
        let world = World::new(limits);
        let backplane = LocalBackplane::with_limits(1, limits);
        let boards = [(); 2].map(|()| board(&world, &backplane, limits));
        Self::of(world, Servers::Two(backplane, boards), limits)
    }

    fn of(world: World, servers: Servers, limits: FeedLimits) -> Self {
        Self {
            world,
            servers,
            limits,
            readers: Vec::new(),
            begun: Vec::new(),
            newest: (1, 0),
            lasts: Vec::new(),
            is_up: false,
        }
    }

    fn act(&mut self, act: &Act) {
        // Whoever joins others while there is no connection begins where those are.
        let mut is_begin_known = self.is_up;
        match *act {
            Act::Publish(count) => {
                let (feed, item) = self.newest;
                let items = item + 1..=item + count;
                self.publish(items.map(|item| number((feed, item))));
                self.newest = (feed, item + count);
                is_begin_known = false;
            }
            Act::Subscribe(kind) => self.subscribe(kind),
            Act::Leave(nth) => {
                if nth < self.readers.len() {
                    self.readers.swap_remove(nth);
                }
            }
            Act::Read(nth, count) => {
                if let Some(reader) = self.readers.get_mut(nth) {
                    let _all = (0..count).all(|_| reader.read());
                }
            }
            Act::Kill => self.kill(),
            Act::Connect(to, forth, back) => {
                self.kill();
                if let Servers::Two(_, boards) = &mut self.servers {
                    boards.rotate_left(to);
                    self.world.serve(boards[0].clone(), TopicLimits::default());
                }
                self.world.connect_until(forth, back);
                (self.is_up, is_begin_known) = (true, true);
            }
            Act::Drain(here) => {
                if self.is_up {
                    self.world.drain(here);
                }
            }
            Act::Boot => {
                self.kill();
                self.boot();
            }
            Act::Close => {
                self.close();
                is_begin_known = false;
            }
            Act::Pass(seconds) => self.world.pass(seconds),
        }
        self.world.run();
        if self.is_up && self.world.is_cut() {
            self.kill();
        }
        self.begin(is_begin_known);
    }

    fn publish(&self, numbers: impl Iterator<Item = u64>) {
        match &self.servers {
            Servers::One => self.world.publish(numbers),
            Servers::Two(_, boards) => publish(&boards[1], numbers),
        }
    }

    fn boot(&mut self) {
        match &mut self.servers {
            Servers::One => {
                self.world.boot(self.limits);
                self.begin_feed();
            }
            Servers::Two(backplane, boards) => {
                boards[0] = board(&self.world, backplane, self.limits);
            }
        }
    }

    fn close(&mut self) {
        match &self.servers {
            Servers::One => {
                self.world.topics.close(&1, None);
                self.world.topics.open(&1).unwrap();
                self.begin_feed();
            }
            Servers::Two(_, boards) => {
                boards[0].0.close(&1, None);
                self.lasts.push(self.newest);
            }
        }
    }

    fn feed(&self) -> Feed<u64> {
        match &self.servers {
            Servers::One => self.world.feed(),
            Servers::Two(_, boards) => {
                let opened = boards[0].0.open(&1).now_or_never();
                opened.expect("no wait").expect("a feed")
            }
        }
    }

    fn begin_feed(&mut self) {
        self.lasts.push(self.newest);
        self.newest = (self.newest.0 + 1, 0);
    }

    fn kill(&mut self) {
        self.is_up = false;
        self.world.kill();
    }

    fn subscribe(&mut self, kind: usize) {
        if self.readers.len() + self.begun.len() >= 8 {
            return;
        }
        let alone = || SubscribeOptions::default().shared(false);
        let small = || SubscribeOptions::default().capacity(3);
        let here = self.feed().cursor();
        let options = match kind {
            0 => alone(),
            1 => alone().lag(Lag::BackPressure).capacity(1),
            2 => alone()
                .lag(Lag::BackPressure)
                .capacity(100)
                .capacity_bytes(32),
            3 => small(),
            ANEW => small().resume(false),
            CUT_OFF => small().lag(Lag::Disconnect),
            6 => small().capacity(100).capacity_bytes(32),
            7 => small().capacity(50),
            AFTER => alone().after(here),
            kind => panic!("{kind} is no kind"),
        };
        let place = (kind == AFTER).then_some(self.newest);
        let begun = self.world.begin(options.deadline(Duration::MAX));
        self.begun.push((begun, kind, place));
    }

    /// Has those who were accepted read.
    fn begin(&mut self, is_known: bool) {
        let newest = self.newest;
        self.begun.retain(|(begun, kind, place)| {
            let Some(accepted) = begun.get() else {
                return true;
            };
            self.readers.push(Reader {
                subscription: accepted.expect("to be accepted"),
                place: place.or(is_known.then_some(newest)),
                end: None,
                kind: *kind,
            });
            false
        });
    }

    /// With a connection that stays, all who read have everything, and share what comes.
    fn end(mut self) {
        self.act(&Act::Connect(1, usize::MAX, usize::MAX));
        assert!(self.begun.is_empty(), "all were accepted");
        self.read_all();
        self.act(&Act::Publish(1));
        self.read_all();
        self.check();
        self.readers.clear();
        self.world.run();
        assert_eq!(self.feed().followers(), 0);
    }

    fn read_all(&mut self) {
        let mut some = true;
        while some {
            some = false;
            for reader in &mut self.readers {
                while reader.read() {
                    some = true;
                }
            }
            self.world.run();
        }
    }

    fn check(&self) {
        for reader in &self.readers {
            match &reader.end {
                None => assert_eq!(reader.place.unwrap_or(self.newest), self.newest),
                Some(EndReason::Closed(None)) => {
                    assert!(reader.place.is_none_or(|place| self.lasts.contains(&place)));
                }
                Some(EndReason::Lagged) => assert_eq!(reader.kind, CUT_OFF),
                Some(other) => panic!("{other}"),
            }
        }
        let open = self.readers.iter().filter(|reader| reader.end.is_none());
        let shared = open.clone().filter(|reader| SHARED.contains(&reader.kind));
        let streams: BTreeSet<bool> = shared.clone().map(|reader| reader.kind == ANEW).collect();
        let alone = open.count() - shared.count();
        assert_eq!(self.feed().followers(), alone + streams.len());
    }
}

/// What a feed keeps.
fn limits() -> impl Strategy<Value = FeedLimits> {
    let items = prop::sample::select(vec![16, 100, 1024]);
    items.prop_map(|items| FeedLimits::default().items(items))
}

proptest! {
    #[test]
    fn whatever_the_connections_and_servers_do_everyone_has_everything_or_knows_what_is_missing(
        limits in limits(),
        age in prop::option::of(10..60_u64),
        acts in acts(),
    ) {
        let of_age = |seconds| limits.age(Duration::from_secs(seconds));
        let mut walk = Walk::of_one(age.map_or(limits, of_age));
        for act in &acts {
            walk.act(act);
        }
        walk.end();
    }

    #[test]
    fn the_same_holds_of_two_servers_over_a_backplane(limits in limits(), acts in acts()) {
        let mut walk = Walk::of_two(limits);
        for act in &acts {
            walk.act(act);
        }
        walk.end();
    }
}
