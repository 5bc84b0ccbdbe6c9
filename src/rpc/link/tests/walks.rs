//! Walks at random: when and where a link dials, and what it says of it.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use pharos::{Observable, ObserveConfig};
use proptest::prelude::*;

use super::backoff::{BASE, CAP, STABLE};
use super::{Fate, World, fatal, passing, seconds};
use crate::mux::Code;
use crate::rpc::link::backoff::{Backoff, Ending, Planned, Policy};
use crate::rpc::link::{Attempt, Link, LinkConfig, LinkEvent, LinkState};
use crate::runtime::{Instant, Runtime as _};

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy)]
enum Came {
    Failed {
        for_good: bool,
    },
    /// A connection that was up for so many seconds.
    Up(u64, Ending),
}

fn came() -> impl Strategy<Value = Came> {
    let endings = vec![Ending::Lost, Ending::Lost, Ending::ForGood, Ending::Retired];
    let ending = prop::sample::select(endings);
    prop_oneof![
        2 => any::<bool>().prop_map(|for_good| Came::Failed { for_good }),
        3 => Just(Came::Failed { for_good: false }),
        2 => (0..20_u64, ending).prop_map(|(seconds, ending)| Came::Up(seconds, ending)),
    ]
}

/// What is known of the attempts since the last connection that was stable.
struct Book {
    attempts: u32,
    pauses: u32,
    /// Targets that failed for good when they were last tried.
    hopeless: BTreeSet<usize>,
    /// How many attempts ago each target was tried.
    ages: Vec<usize>,
}

impl Book {
    fn new(targets: usize) -> Self {
        Self {
            attempts: 0,
            pauses: 0,
            hopeless: BTreeSet::new(),
            ages: vec![0; targets],
        }
    }

    fn dial(&mut self, Attempt { number, target }: Attempt) {
        self.attempts += 1;
        assert_eq!(number, self.attempts);
        self.ages.iter_mut().for_each(|age| *age += 1);
        self.ages[target] = 0;
        for (target, age) in self.ages.iter().enumerate() {
            let is_in_turn = *age <= self.ages.len() || self.hopeless.contains(&target);
            assert!(is_in_turn, "target {target} was passed over");
        }
    }

    fn longest_pause(&self) -> Duration {
        CAP.min(BASE * 2_u32.pow(self.pauses.min(10)))
    }
}

proptest! {
    /// Every target has its turn unless it is hopeless, pauses are as long as they are said to be at most, and it is
    /// over when no attempt is left, and not before.
    #[test]
    fn attempts_are_planned_by_the_rules_whatever_becomes_of_them(
        targets in 1..5_usize,
        most in prop::sample::select(vec![1, 3, 10, u32::MAX]),
        steps in prop::collection::vec((came(), 0.0..=1.0_f64), 1..60),
    ) {
        let policy = Policy { base: BASE, cap: CAP, stable_after: STABLE, max_attempts: most };
        let mut now = Instant::now();
        let mut backoff = Backoff::new(policy, targets);
        let (mut book, mut planned) = (Book::new(targets), backoff.first(now));
        prop_assert_eq!(planned.at, now);
        for (came, fraction) in steps {
            let Planned { attempt, at } = planned;
            now = at;
            book.dial(attempt);
            let (next, is_hopeless) = match came {
                Came::Failed { for_good } => (backoff.failed(now, fraction, for_good), for_good),
                Came::Up(time, ending) => {
                    backoff.connected(now);
                    now += seconds(time);
                    if seconds(time) >= STABLE {
                        book = Book::new(targets);
                    }
                    (backoff.ended(now, fraction, ending), ending == Ending::ForGood)
                }
            };
            book.hopeless.remove(&attempt.target);
            if is_hopeless {
                book.hopeless.insert(attempt.target);
            }
            let is_over = book.attempts >= most || book.hopeless.len() == targets;
            let Some(next) = next else {
                prop_assert!(is_over);
                return Ok(());
            };
            prop_assert!(!is_over);
            let longest = book.longest_pause();
            prop_assert_eq!(next.at - now, longest.mul_f64(fraction));
            let is_left_out = book.hopeless.contains(&next.attempt.target);
            prop_assert!(!is_left_out || longest == CAP, "it was to be left out");
            book.pauses += 1;
            planned = next;
        }
    }
}

/// What happens to a link.
#[derive(Debug, Clone)]
enum Act {
    /// What becomes of the next attempt that nothing was said of.
    Next(Fate),
    Pass(u64),
    /// The peer closes the connection, by that code.
    Close(u32),
    /// The peer drains the connection.
    Drain,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let fates = vec![
        Fate::Up,
        Fate::Fails(passing()),
        Fate::Fails(passing()),
        Fate::Fails(fatal()),
        Fate::Hangs,
        Fate::Silent,
        Fate::Goodbye(Code::application(1)),
        Fate::Goodbye(Code::application(7)),
    ];
    let act = prop_oneof![
        3 => prop::sample::select(fates).prop_map(Act::Next),
        4 => (1..25_000_u64).prop_map(Act::Pass),
        1 => prop::sample::select(vec![1, 1, 1, 7]).prop_map(Act::Close),
        1 => Just(Act::Drain),
    ];
    prop::collection::vec(act, 1..60)
}

/// Follows what a link says, and finds it in order.
struct Listener {
    events: pharos::Events<LinkEvent>,
    last: Option<LinkEvent>,
    epoch: u64,
}

impl Listener {
    fn listen(&mut self) {
        while let Some(Some(event)) = self.events.next().now_or_never() {
            assert!(self.may_come(&event), "{event:?} after {:?}", self.last);
            if let LinkEvent::Up(epoch) = event {
                self.epoch = epoch;
            }
            self.last = Some(event);
        }
    }

    fn may_come(&self, event: &LinkEvent) -> bool {
        use LinkEvent::{Dialing, Down, Failed, Lost, Retired, Up, Waiting};
        match (&self.last, event) {
            (None, Dialing(attempt)) => attempt.number == 1,
            (Some(Dialing(dialled)), Failed(attempt, _)) => dialled == attempt,
            (Some(Dialing(_)), Up(epoch)) => *epoch == self.epoch + 1,
            (Some(Up(up)), Lost(epoch, _) | Retired(epoch)) => up == epoch,
            (Some(Failed(..) | Lost(..) | Retired(_)), Waiting(..) | Down(_)) => true,
            (Some(Waiting(planned, _)), Dialing(attempt)) => planned == attempt,
            _ => false,
        }
    }

    /// Whether a state is the one that the events say.
    fn is_in(&self, state: &LinkState) -> bool {
        match (&self.last, state) {
            (None, LinkState::Connecting { attempt: 1, .. })
            | (Some(LinkEvent::Down(_)), LinkState::Down(_)) => true,
            (Some(LinkEvent::Dialing(dialled)), LinkState::Connecting { attempt, .. }) => {
                dialled.number == *attempt
            }
            (Some(LinkEvent::Waiting(planned, at)), LinkState::Waiting { attempt, until, .. }) => {
                planned.number == *attempt && at == until
            }
            // One that is retired stays if no attempt is left.
            (Some(LinkEvent::Up(of) | LinkEvent::Retired(of)), LinkState::Up { epoch, .. }) => {
                of == epoch
            }
            _ => false,
        }
    }
}

fn act(world: &World, link: &Link, act: Act) {
    let there = matches!(link.state(), LinkState::Up { .. }).then(|| world.there());
    match (act, there) {
        (Act::Next(fate), _) => world.next([fate]),
        (Act::Pass(milliseconds), _) => world.pass(Duration::from_millis(milliseconds)),
        (Act::Close(code), Some(there)) => there.close(Code::application(code), "enough"),
        (Act::Drain, Some(there)) => world.clock.spawn(Box::pin(async move {
            let _ = there.drain(seconds(1)).await;
        })),
        (Act::Close(_) | Act::Drain, None) => {}
    }
    world.settle();
}

proptest! {
    /// What it says comes in order and agrees with its state; and it comes up again whatever was, unless it said that
    /// it is down.
    #[test]
    fn a_link_says_what_it_does_and_comes_up_again(
        targets in 1..4_usize,
        most in prop::sample::select(vec![3, u32::MAX, u32::MAX]),
        acts in acts(),
    ) {
        let world = World::new();
        world.peer.targets.store(targets, Ordering::SeqCst);
        let mut link = world.link_with(LinkConfig::default().max_attempts(most));
        let events = world.run(link.observe(ObserveConfig::default()));
        let events = events.expect("at once").expect("a channel with room");
        let mut listener = Listener { events, last: None, epoch: 0 };
        for next in acts {
            act(&world, &link, next);
            listener.listen();
            prop_assert!(listener.is_in(&link.state()), "{:?}: {}", listener.last, link.state());
        }
        world.forget_fates();
        for _ in 0..10 {
            world.pass(seconds(10));
        }
        listener.listen();
        match link.state() {
            LinkState::Up { connection, .. } => {
                prop_assert!(world.run(connection.ping()).expect("an answer").is_ok());
            }
            LinkState::Down(error) => {
                let down = listener.last;
                prop_assert!(matches!(down, Some(LinkEvent::Down(_))), "{:?}: {}", down, error);
            }
            state => prop_assert!(false, "{}", state),
        }
    }
}
