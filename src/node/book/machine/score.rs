use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::BookConfig;
use crate::runtime::Instant;

/// The points that are a ban.
pub const BAN: u32 = 100;

/// The peers and addresses whose misbehaviour is remembered.
pub(super) const MOST_STANDINGS: usize = 4096;

/// One point is forgiven each time; all but a ban are within ten minutes.
const FORGIVEN_EACH: Duration = Duration::from_secs(6);

/// Who has misbehaved, and who is banned for it: peers, or addresses that can be dialled.
#[derive(Debug)]
pub(super) struct Scores<S> {
    standings: HashMap<S, Standing>,
}

#[derive(Debug)]
struct Standing {
    /// At that time; fewer later.
    points: u32,
    at: Instant,
    /// In a row, each soon after the other.
    bans: u32,
    banned_until: Option<Instant>,
}

/// A ban as it is saved.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct SavedBan {
    bans: u32,
    seconds_left: u64,
}

impl<S> Default for Scores<S> {
    fn default() -> Self {
        let standings = HashMap::new();
        Self { standings }
    }
}

impl<S: Clone + Eq + Hash> Scores<S> {
    /// Adds to what `subject` has done: answers how long it is banned if that was too much.
    pub(super) fn punish(
        &mut self,
        subject: S,
        points: u32,
        config: &BookConfig,
        now: Instant,
    ) -> Option<Duration> {
        let standing = self.standing(subject, config, now);
        if let Some(left) = standing.ban_left(now) {
            return Some(left);
        }
        standing.points = standing.points_at(now).saturating_add(points);
        standing.at = now;
        if standing.points < BAN {
            return None;
        }
        if standing.is_forgotten(config, now) {
            standing.bans = 0;
        }
        let factor = 2_u32.checked_pow(standing.bans).unwrap_or(u32::MAX);
        let ban = config.shortest_ban.saturating_mul(factor);
        let ban = ban.min(config.longest_ban);
        standing.points = 0;
        standing.bans = standing.bans.saturating_add(1);
        standing.banned_until = Some(now + ban);
        Some(ban)
    }

    /// How much longer it is banned.
    pub(super) fn ban_left(&self, subject: &S, now: Instant) -> Option<Duration> {
        self.standings.get(subject)?.ban_left(now)
    }

    /// The points that it has now.
    pub(super) fn points(&self, subject: &S, now: Instant) -> u32 {
        let standing = self.standings.get(subject);
        standing.map_or(0, |standing| standing.points_at(now))
    }

    /// Forgets what it has done.
    pub(super) fn pardon(&mut self, subject: &S) {
        self.standings.remove(subject);
    }

    /// The bans that are in force.
    pub(super) fn save(&self, now: Instant) -> impl Iterator<Item = (&S, SavedBan)> {
        self.standings
            .iter()
            .filter_map(move |(subject, standing)| {
                let left = standing.ban_left(now)?;
                let saved = SavedBan {
                    bans: standing.bans,
                    seconds_left: left.as_secs().saturating_add(1),
                };
                Some((subject, saved))
            })
    }

    /// Takes a ban from what was saved.
    pub(super) fn restore(
        &mut self,
        subject: S,
        saved: SavedBan,
        config: &BookConfig,
        now: Instant,
    ) {
        let left = Duration::from_secs(saved.seconds_left).min(config.longest_ban);
        let standing = self.standing(subject, config, now);
        standing.bans = saved.bans;
        standing.banned_until = Some(now + left);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.standings.len()
    }

    fn standing(&mut self, subject: S, config: &BookConfig, now: Instant) -> &mut Standing {
        let is_known = self.standings.contains_key(&subject);
        if !is_known && self.standings.len() >= MOST_STANDINGS {
            self.make_room(config, now);
        }
        self.standings.entry(subject).or_insert(Standing {
            points: 0,
            at: now,
            bans: 0,
            banned_until: None,
        })
    }

    /// Forgets what no longer matters, or else whom it matters least about.
    fn make_room(&mut self, config: &BookConfig, now: Instant) {
        self.standings.retain(|_, standing| {
            standing.points_at(now) > 0 || !standing.is_forgotten(config, now)
        });
        if self.standings.len() < MOST_STANDINGS {
            return;
        }
        let weight = |standing: &Standing| {
            let left = standing.ban_left(now);
            (left, standing.bans, standing.points_at(now))
        };
        let least = self
            .standings
            .iter()
            .min_by_key(|(_, standing)| weight(standing))
            .map(|(subject, _)| subject.clone());
        if let Some(subject) = least {
            self.standings.remove(&subject);
        }
    }
}

impl Standing {
    fn points_at(&self, now: Instant) -> u32 {
        let passed = now.saturating_duration_since(self.at);
        let forgiven = passed.as_secs() / FORGIVEN_EACH.as_secs();
        let forgiven = u32::try_from(forgiven).unwrap_or(u32::MAX);
        self.points.saturating_sub(forgiven)
    }

    fn ban_left(&self, now: Instant) -> Option<Duration> {
        let left = self.banned_until?.saturating_duration_since(now);
        (left > Duration::ZERO).then_some(left)
    }

    /// Whether its last ban is so long ago that the next is again a first.
    fn is_forgotten(&self, config: &BookConfig, now: Instant) -> bool {
        self.banned_until
            .is_none_or(|until| now.saturating_duration_since(until) >= config.longest_ban)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    #[test]
    fn points_are_forgiven_within_ten_minutes() {
        let (config, start) = (BookConfig::default(), Instant::now());
        let mut scores = Scores::default();
        assert_eq!(scores.punish(1, 99, &config, start), None);
        assert_eq!(scores.points(&1, start), 99);
        let minute = Duration::from_mins(1);
        assert_eq!(scores.points(&1, start + minute), 89);
        assert_eq!(scores.points(&1, start + 10 * minute), 0);
        // What is left of it counts with what comes.
        assert_eq!(scores.punish(1, 10, &config, start + minute), None);
        let ban = scores.punish(1, 1, &config, start + minute);
        assert_eq!(ban, Some(HOUR));
        assert_eq!(scores.ban_left(&2, start), None);
    }

    #[test]
    fn bans_double_to_a_day_and_expire() {
        let (config, mut now) = (BookConfig::default(), Instant::now());
        let mut scores = Scores::default();
        for hours in [1, 2, 4, 8, 16, 24, 24] {
            let ban = scores.punish(1, BAN, &config, now);
            assert_eq!(ban, Some(hours * HOUR));
            // What comes while it is banned changes nothing.
            let left = scores.punish(1, BAN, &config, now + HOUR / 2);
            assert_eq!(left, Some((2 * hours - 1) * HOUR / 2));
            let just_before = now + (hours * HOUR).saturating_sub(Duration::from_nanos(1));
            assert!(scores.ban_left(&1, just_before).is_some());
            now += hours * HOUR;
            assert_eq!(scores.ban_left(&1, now), None);
        }
        now += 24 * HOUR;
        let ban = scores.punish(1, BAN, &config, now);
        assert_eq!(ban, Some(HOUR), "a day later it is a first one");
    }

    #[test]
    fn the_most_are_remembered_and_bans_the_longest() {
        let (config, start) = (BookConfig::default(), Instant::now());
        let mut scores = Scores::default();
        scores.punish(0, BAN, &config, start);
        for number in 1..=u32::try_from(MOST_STANDINGS).unwrap() {
            scores.punish(number, 1 + number % 9, &config, start);
        }
        assert_eq!(scores.len(), MOST_STANDINGS);
        assert!(scores.ban_left(&0, start).is_some());
        // Once its points are forgiven, nothing is remembered of the rest.
        let later = start + Duration::from_mins(10);
        scores.punish(u32::MAX, 1, &config, later);
        assert_eq!(scores.len(), 2);
        scores.pardon(&0);
        assert_eq!(scores.ban_left(&0, later), None);
    }
}
