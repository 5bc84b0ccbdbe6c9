use std::time::Duration;

use crate::rpc::link::backoff::{Backoff, Ending, Planned, Policy};
use crate::runtime::Instant;

pub(super) const BASE: Duration = Duration::from_millis(250);
pub(super) const CAP: Duration = Duration::from_secs(15);
pub(super) const STABLE: Duration = Duration::from_secs(10);
/// The longest pause that may be drawn.
const LONGEST: f64 = 1.0;

fn policy() -> Policy {
    Policy {
        base: BASE,
        cap: CAP,
        stable_after: STABLE,
        max_attempts: u32::MAX,
    }
}

fn patient(max_attempts: u32) -> Policy {
    Policy {
        max_attempts,
        ..policy()
    }
}

/// Numbers from 0 to 1 that look random and are the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(self.0 >> 32).expect("32 bits")) / f64::from(u32::MAX)
    }
}

#[test]
fn the_first_attempt_is_made_at_once_and_no_other() {
    let now = Instant::now();
    let mut backoff = Backoff::new(policy(), 1);
    assert_eq!(backoff.first(now).at, now);
    let second = backoff.failed(now, LONGEST, false).expect("an attempt");
    assert_eq!(second.at, now + BASE);

    let mut backoff = Backoff::new(policy(), 1);
    backoff.first(now);
    backoff.connected(now);
    let after = backoff
        .ended(now + STABLE, 0.5, Ending::Lost)
        .expect("an attempt");
    assert_eq!(
        after.at,
        now + STABLE + BASE / 2,
        "jitter holds for the first one too"
    );
    assert_eq!(after.attempt.number, 1);
}

#[test]
fn pauses_double_up_to_the_cap_and_stay_there() {
    let now = Instant::now();
    let mut backoff = Backoff::new(policy(), 1);
    backoff.first(now);
    let pauses: Vec<u128> = (0..100)
        .map(|_| backoff.failed(now, LONGEST, false).expect("an attempt"))
        .map(|planned| (planned.at - now).as_millis())
        .collect();
    assert_eq!(pauses[..7], [250, 500, 1000, 2000, 4000, 8000, 15_000]);
    assert!(pauses[7..].iter().all(|pause| *pause == 15_000));
}

#[test]
fn a_pause_is_any_part_of_the_longest() {
    let now = Instant::now();
    for (fraction, pause) in [(0.0, 0), (0.25, 62), (0.5, 125), (1.0, 250)] {
        let mut backoff = Backoff::new(policy(), 1);
        backoff.first(now);
        let planned = backoff.failed(now, fraction, false).expect("an attempt");
        assert_eq!((planned.at - now).as_millis(), pause);
    }
}

#[test]
fn only_a_connection_that_was_stable_begins_anew() {
    let now = Instant::now();
    for (up, pause, number) in [
        (Duration::from_millis(9_999), 4 * BASE, 4),
        (STABLE, BASE, 1),
    ] {
        let mut backoff = Backoff::new(policy(), 1);
        backoff.first(now);
        for _ in 0..2 {
            backoff.failed(now, LONGEST, false);
        }
        backoff.connected(now);
        let lost = now + up;
        let planned = backoff
            .ended(lost, LONGEST, Ending::Lost)
            .expect("an attempt");
        assert_eq!(planned.at - lost, pause, "after {up:?}");
        assert_eq!(planned.attempt.number, number);
    }
}

fn targets(backoff: &mut Backoff, count: usize) -> Vec<usize> {
    let now = Instant::now();
    (0..count)
        .filter_map(|_| backoff.failed(now, 0.0, false))
        .map(|planned| planned.attempt.target)
        .collect()
}

#[test]
fn targets_are_tried_in_turn() {
    let mut backoff = Backoff::new(policy(), 3);
    assert_eq!(backoff.first(Instant::now()).attempt.target, 0);
    assert_eq!(targets(&mut backoff, 7), [1, 2, 0, 1, 2, 0, 1]);
}

#[test]
fn a_target_that_was_stable_is_tried_first_again_and_another_not() {
    let now = Instant::now();
    for (up, target) in [(STABLE, 1), (STABLE / 2, 2)] {
        let mut backoff = Backoff::new(policy(), 3);
        backoff.first(now);
        assert_eq!(targets(&mut backoff, 1), [1]);
        backoff.connected(now);
        let planned = backoff
            .ended(now + up, 0.0, Ending::Lost)
            .expect("an attempt");
        assert_eq!(planned.attempt.target, target, "after {up:?}");
    }
}

#[test]
fn a_target_that_failed_for_good_is_left_out() {
    let now = Instant::now();
    let mut backoff = Backoff::new(policy(), 3);
    backoff.first(now);
    let second = backoff.failed(now, 0.0, true).expect("an attempt");
    assert_eq!(second.attempt.target, 1);
    assert_eq!(targets(&mut backoff, 2), [2, 1]);
    let third = backoff.failed(now, 0.0, true).expect("an attempt");
    assert_eq!(third.attempt.target, 2);
    assert_eq!(targets(&mut backoff, 2), [2, 2]);
    assert_eq!(backoff.failed(now, 0.0, true), None, "none is left");
}

/// Whoever changed something need not wait for the others to be there, and it is not dialled in between.
#[test]
fn a_target_that_was_left_out_is_tried_in_turn_when_the_pauses_are_at_their_longest() {
    let now = Instant::now();
    let mut backoff = Backoff::new(policy(), 2);
    backoff.first(now);
    let mut planned = backoff.failed(now, LONGEST, true).expect("an attempt");
    let mut dialled = Vec::new();
    while dialled.len() < 10 {
        let (attempt, pause) = (planned.attempt, planned.at - now);
        assert!(attempt.target == 1 || pause == CAP, "{pause:?}");
        dialled.push(attempt.target);
        let next = backoff.failed(now, LONGEST, attempt.target == 0);
        planned = next.expect("an attempt");
    }
    assert_eq!(dialled, [1, 1, 1, 1, 1, 1, 0, 1, 0, 1]);
    assert_eq!(planned.attempt.target, 0);
    assert!(backoff.failed(now, LONGEST, true).is_some());
    assert_eq!(backoff.failed(now, LONGEST, true), None, "now both");
}

#[test]
fn a_target_that_takes_nothing_new_is_tried_last() {
    let now = Instant::now();
    for (targets, next) in [(1, 0), (3, 1)] {
        let mut backoff = Backoff::new(patient(1), targets);
        backoff.first(now);
        backoff.connected(now);
        let planned = backoff.ended(now + STABLE, LONGEST, Ending::Retired);
        let planned = planned.expect("an attempt");
        assert_eq!((planned.attempt.target, planned.attempt.number), (next, 1));
        assert_eq!(planned.at, now + STABLE + BASE);
    }
}

#[test]
fn all_targets_are_worth_an_attempt_again_after_a_stable_connection() {
    let now = Instant::now();
    let mut backoff = Backoff::new(policy(), 2);
    backoff.first(now);
    backoff.failed(now, 0.0, true);
    backoff.connected(now);
    backoff.ended(now + STABLE, 0.0, Ending::Lost);
    assert_eq!(targets(&mut backoff, 2), [0, 1]);
}

#[test]
fn a_connection_that_is_lost_for_good_ends_it_however_long_it_was_up() {
    let now = Instant::now();
    for up in [Duration::ZERO, STABLE] {
        let mut backoff = Backoff::new(policy(), 1);
        backoff.first(now);
        backoff.connected(now);
        assert_eq!(backoff.ended(now + up, 0.0, Ending::ForGood), None);
    }
}

#[test]
fn it_gives_up_after_so_many_attempts_without_a_stable_connection() {
    let now = Instant::now();
    let mut backoff = Backoff::new(patient(3), 2);
    backoff.first(now);
    assert!(backoff.failed(now, 0.0, false).is_some());
    backoff.connected(now);
    assert!(backoff.ended(now + STABLE / 2, 0.0, Ending::Lost).is_some());
    assert_eq!(backoff.failed(now, 0.0, false), None);

    let mut backoff = Backoff::new(patient(1), 1);
    for _ in 0..5 {
        backoff.first(now);
        backoff.connected(now);
        assert!(backoff.ended(now + STABLE, 0.0, Ending::Lost).is_some());
    }
}

/// A server that accepts and closes at once, for a minute.
fn dials_in_a_minute(dice: &mut Dice) -> usize {
    let start = Instant::now();
    let mut backoff = Backoff::new(policy(), 1);
    let (mut planned, mut dials) = (backoff.first(start), 0);
    while planned.at < start + Duration::from_mins(1) {
        dials += 1;
        backoff.connected(planned.at);
        let next = backoff.ended(planned.at, dice.roll(), Ending::Lost);
        planned = next.expect("an attempt");
    }
    dials
}

#[test]
fn a_server_that_accepts_and_closes_is_dialled_at_most_25_times_a_minute() {
    let mut dice = Dice(14);
    let dials: Vec<usize> = (0..1000).map(|_| dials_in_a_minute(&mut dice)).collect();
    let sum: usize = dials.iter().sum();
    assert!(dials.iter().all(|dials| (5..=25).contains(dials)));
    assert!((10_000..17_000).contains(&sum), "mean of {sum} / 1000");
}

/// What a server sees of 1,000 clients that lost it at once.
#[derive(Debug, Default)]
struct Storm {
    /// Attempts in the first 100 ms of the outage.
    first: usize,
    /// The most in 100 ms once it is back.
    peak: usize,
    /// How long after that 99 % of them were back.
    most_back: Duration,
}

fn storm(outage: Duration) -> Storm {
    let start = Instant::now();
    let mut dice = Dice(13);
    let (mut first, mut returns) = (0, Vec::new());
    for _ in 0..1000 {
        let mut backoff = Backoff::new(policy(), 1);
        backoff.first(start);
        backoff.connected(start);
        let lost = start + STABLE;
        let mut next: Option<Planned> = backoff.ended(lost, dice.roll(), Ending::Lost);
        let returned = loop {
            let planned = next.expect("an attempt");
            let after = planned.at - lost;
            first += usize::from(after < Duration::from_millis(100));
            match after.checked_sub(outage) {
                Some(late) => break late,
                None => next = backoff.failed(planned.at, dice.roll(), false),
            }
        };
        returns.push(returned);
    }
    returns.sort();
    let window = |from: &Duration| *from..*from + Duration::from_millis(100);
    let within = |from| {
        returns
            .iter()
            .filter(|at| window(from).contains(*at))
            .count()
    };
    Storm {
        first,
        peak: returns.iter().map(within).max().unwrap_or_default(),
        most_back: returns[989],
    }
}

#[test]
fn a_thousand_clients_come_back_one_by_one() {
    for (outage, peak, back) in [
        (500, 400, 2),
        (5_000, 60, 15),
        (20_000, 60, 15),
        (60_000, 60, 15),
    ] {
        let storm = storm(Duration::from_millis(outage));
        assert!(storm.first <= 600, "{outage} ms: {storm:?}");
        assert!(storm.peak <= peak, "{outage} ms: {storm:?}");
        assert!(
            storm.most_back <= Duration::from_secs(back),
            "{outage} ms: {storm:?}"
        );
    }
}
