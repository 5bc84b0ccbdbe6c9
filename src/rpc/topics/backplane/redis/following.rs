//! Which topics are followed, up to where, and what becomes of those that Redis refuses.

use bytes::Bytes;
use rustc_hash::FxHashMap;

use crate::rpc::topics::cursor::Cursor;
use crate::runtime::Instant;

/// An item, and the place behind it.
pub(super) type Entry = (Cursor, Bytes);

/// The key of a stream, and a place there.
pub(super) type Place = (Bytes, Cursor);

/// Entries of one stream that are asked for at once, at most.
pub(super) const SHARE: usize = 16;

/// Entries of all streams that are asked for at once, at most: an answer is held as a whole.
pub(super) const ANSWER: usize = 1024;

/// Streams of which full shares are asked for at once, at most.
pub(super) const STREAMS: usize = ANSWER / SHARE;

/// The share of each of so many streams; one at least.
pub(super) fn share(streams: usize) -> usize {
    (ANSWER / streams.max(1)).clamp(1, SHARE)
}

/// The topics that are followed, by the keys of their streams, and who reads them. `M` is where items go.
#[derive(Debug)]
pub(super) struct Following<M> {
    topics: FxHashMap<Bytes, Topic<M>>,
    reader: Option<Reader>,
}

#[derive(Debug)]
struct Topic<M> {
    followers: Vec<Follower<M>>,
    standing: Standing,
    /// It was refused, and has not been read since.
    is_suspect: bool,
}

#[derive(Debug)]
struct Follower<M> {
    place: Cursor,
    mirror: M,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It is read.
    Read,
    /// Before it is read, Redis is to be asked whether its origin holds.
    Unsure,
    /// It is not read, and asked about only then.
    Refused { until: Instant },
}

#[derive(Debug, Default)]
struct Reader {
    connection: Option<i64>,
}

/// What is to be done for a topic that is new.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// Nobody reads: a reader is to be started.
    Start,
    /// The reader's connection waits for other topics.
    Unblock(i64),
    /// The reader comes to it.
    Nothing,
}

impl<M> Default for Following<M> {
    fn default() -> Self {
        Self {
            topics: FxHashMap::default(),
            reader: None,
        }
    }
}

impl<M: Clone> Following<M> {
    /// Follows a topic into one more mirror, which has what there is up to `place`.
    pub(super) fn add(&mut self, key: Bytes, place: Cursor, mirror: M) -> Added {
        let topic = self.topics.entry(key).or_insert_with(|| Topic {
            followers: Vec::new(),
            standing: Standing::Read,
            is_suspect: false,
        });
        topic.followers.push(Follower { place, mirror });
        if let Standing::Refused { .. } = topic.standing {
            // Redis has just answered about it.
            topic.standing = Standing::Unsure;
        }
        match &self.reader {
            None => {
                self.reader = Some(Reader::default());
                Added::Start
            }
            Some(Reader { connection }) => connection.map_or(Added::Nothing, Added::Unblock),
        }
    }

    /// The reader has a connection, which Redis calls so: nothing is known of what was before.
    pub(super) fn connected(&mut self, connection: Option<i64>) {
        self.reader = Some(Reader { connection });
        for topic in self.topics.values_mut() {
            topic.standing = Standing::Unsure;
        }
    }

    /// The reader has no connection.
    pub(super) fn disconnected(&mut self) {
        self.reader = Some(Reader::default());
    }

    /// One of the topics that are read is refused: Redis is to be asked about them all.
    pub(super) fn doubt(&mut self) {
        for topic in self.topics.values_mut() {
            if topic.standing == Standing::Read {
                topic.standing = Standing::Unsure;
            }
        }
    }

    /// Whether nothing is left to be read: then the reader ends.
    pub(super) fn is_over(&mut self, is_wanted: impl Fn(&M) -> bool) -> bool {
        self.topics.retain(|_, topic| {
            let followers = &mut topic.followers;
            followers.retain(|follower| is_wanted(&follower.mirror));
            !followers.is_empty()
        });
        let is_over = self.topics.is_empty();
        if is_over {
            self.reader = None;
        }
        is_over
    }

    /// What Redis is to be asked about.
    pub(super) fn unsure(&self, now: Instant) -> Vec<Place> {
        let is_due = |topic: &Topic<M>| match topic.standing {
            Standing::Read => false,
            Standing::Unsure => true,
            Standing::Refused { until } => until <= now,
        };
        let topics = self.topics.iter().filter(|(_, topic)| is_due(topic));
        let places = topics.flat_map(|(key, topic)| {
            let followers = topic.followers.iter();
            followers.map(|follower| (key.clone(), follower.place))
        });
        places.collect()
    }

    /// The origin of a topic is the one that its followers know.
    pub(super) fn accepted(&mut self, key: &Bytes) {
        if let Some(topic) = self.topics.get_mut(key) {
            topic.standing = Standing::Read;
            topic.is_suspect = false;
        }
    }

    /// Redis refuses a topic; whether that is news.
    pub(super) fn refused(&mut self, key: &Bytes, until: Instant) -> bool {
        let Some(topic) = self.topics.get_mut(key) else {
            return false;
        };
        topic.standing = Standing::Refused { until };
        !std::mem::replace(&mut topic.is_suspect, true)
    }

    /// What is read, and from where on.
    pub(super) fn places(&self) -> Vec<Place> {
        let topics = self.topics.iter();
        let topics = topics.filter(|(_, topic)| topic.standing == Standing::Read);
        let places = topics.filter_map(|(key, topic)| {
            let places = topic.followers.iter().map(|follower| follower.place);
            let first = places.min_by_key(|place| order(*place));
            Some((key.clone(), first?))
        });
        places.collect()
    }

    /// Another origin came behind `before`, which is the end of its own: answers who begins anew. One that
    /// lacks what was before that has its turn later.
    pub(super) fn begin(&mut self, key: &Bytes, before: Cursor, place: Cursor) -> Vec<M> {
        let mut mirrors = Vec::new();
        for follower in self.followers(key) {
            let origin = follower.place.origin();
            let is_at_end =
                origin == before.origin() && follower.place.sequence() >= before.sequence();
            if is_at_end && origin != place.origin() {
                follower.place = place;
                mirrors.push(follower.mirror.clone());
            }
        }
        mirrors
    }

    /// The entries behind `after` came, in their order: answers who has not seen all of them, and how many
    /// those are that it has. One that came meanwhile and lacks what was before them has its turn later.
    pub(super) fn put(&mut self, key: &Bytes, after: Cursor, entries: &[Entry]) -> Vec<(M, usize)> {
        let Some((last, _)) = entries.last() else {
            return Vec::new();
        };
        let mut mirrors = Vec::new();
        for follower in self.followers(key) {
            let place = order(follower.place);
            if place < order(after) {
                continue;
            }
            let seen = entries.partition_point(|(cursor, _)| order(*cursor) <= place);
            if seen < entries.len() {
                follower.place = *last;
                mirrors.push((follower.mirror.clone(), seen));
            }
        }
        mirrors
    }

    fn followers(&mut self, key: &Bytes) -> impl Iterator<Item = &mut Follower<M>> {
        let topic = self.topics.get_mut(key).into_iter();
        topic.flat_map(|topic| &mut topic.followers)
    }
}

/// As Redis compares ids.
fn order(cursor: Cursor) -> (u64, u64) {
    (cursor.origin(), cursor.sequence())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEY: Bytes = Bytes::from_static(b"key");
    const OTHER: Bytes = Bytes::from_static(b"other");

    fn following() -> Following<&'static str> {
        let mut following = Following::default();
        assert_eq!(following.add(KEY, Cursor::new(7, 3), "one"), Added::Start);
        following
    }

    fn entries(cursors: &[(u64, u64)]) -> Vec<Entry> {
        let cursors = cursors.iter();
        let entries = cursors.map(|&(origin, sequence)| (Cursor::new(origin, sequence), KEY));
        entries.collect()
    }

    #[test]
    fn an_answer_holds_a_bounded_number_of_entries() {
        let all = [(0, 16), (1, 16), (64, 16), (65, 15), (1023, 1), (1024, 1)];
        for (streams, each) in all {
            assert_eq!(share(streams), each, "{streams}");
            assert!(streams * each <= ANSWER);
        }
        assert_eq!(share(1025), 1, "nothing comes of none");
        assert_eq!(STREAMS * SHARE, ANSWER);
    }

    #[test]
    fn there_is_one_reader_until_nothing_is_left_to_read() {
        let mut following = following();
        let place = Cursor::new(7, 0);
        // All that it had is unwanted, and it has not seen that yet.
        assert_eq!(following.add(OTHER, place, "two"), Added::Nothing);
        following.connected(Some(5));
        assert_eq!(following.add(OTHER, place, "three"), Added::Unblock(5));
        assert!(!following.is_over(|mirror| *mirror == "three"));
        assert_eq!(following.places(), [], "they are to be asked about");
        assert_eq!(following.unsure(Instant::now()), [(OTHER, place)]);
        following.disconnected();
        assert_eq!(following.add(KEY, place, "four"), Added::Nothing);
        following.connected(None);
        assert_eq!(following.add(KEY, place, "five"), Added::Nothing);
        assert!(following.is_over(|_| false));
        assert_eq!(following.add(KEY, place, "six"), Added::Start);
    }

    #[test]
    fn a_place_moves_forward_only() {
        let mut following = following();
        let before = Cursor::new(7, 1);
        assert_eq!(following.put(&KEY, before, &entries(&[(7, 2), (7, 3)])), []);
        assert_eq!(following.put(&KEY, before, &[]), []);
        assert_eq!(following.places(), [(KEY, Cursor::new(7, 3))]);
        let some = entries(&[(7, 2), (7, 3), (7, 4), (9, 1)]);
        assert_eq!(following.put(&KEY, before, &some), [("one", 2)]);
        assert_eq!(following.places(), [(KEY, Cursor::new(9, 1))]);
        assert_eq!(following.put(&KEY, before, &some), []);
        assert_eq!(
            following.put(&OTHER, before, &some),
            [],
            "nobody follows it"
        );
    }

    #[test]
    fn each_mirror_of_a_topic_gets_what_it_has_not_seen() {
        let mut following = following();
        following.add(KEY, Cursor::new(7, 5), "two");
        assert_eq!(following.places(), [(KEY, Cursor::new(7, 3))]);
        let (before, some) = (Cursor::new(7, 3), entries(&[(7, 4), (7, 5)]));
        assert_eq!(following.put(&KEY, before, &some), [("one", 0)]);
        let (before, some) = (Cursor::new(7, 4), entries(&[(7, 5), (7, 6)]));
        let put = following.put(&KEY, before, &some);
        assert_eq!(put, [("one", 1), ("two", 1)]);
        assert_eq!(following.places(), [(KEY, Cursor::new(7, 6))]);
    }

    /// It was opened while Redis waited for more than what it has seen.
    #[test]
    fn a_mirror_that_lacks_what_was_before_an_answer_gets_all_of_it_by_the_next_one() {
        let mut following = following();
        let (seen, all) = (Cursor::new(7, 3), entries(&[(7, 4), (7, 5), (7, 6)]));
        following.put(&KEY, seen, &all[..2]);
        let [(_, asked)] = following.places()[..] else {
            panic!("one topic");
        };
        following.add(KEY, seen, "two");
        assert_eq!(following.put(&KEY, asked, &all[2..]), [("one", 0)]);
        assert_eq!(following.places(), [(KEY, seen)]);
        assert_eq!(following.put(&KEY, seen, &all), [("two", 0)]);
        assert_eq!(following.places(), [(KEY, Cursor::new(7, 6))]);
    }

    /// Between a question and its answer the topic may have been closed and opened again.
    #[test]
    fn only_who_is_still_in_the_origin_that_was_asked_about_begins_anew() {
        let mut following = following();
        following.add(KEY, Cursor::new(9, 5), "two");
        let begin = Cursor::new(9, 0);
        let [end, beyond] = [3, 4].map(|sequence| Cursor::new(7, sequence));
        assert_eq!(following.begin(&KEY, end, Cursor::new(7, 0)), [""; 0]);
        assert_eq!(following.begin(&KEY, beyond, begin), [""; 0]);
        assert_eq!(following.begin(&KEY, end, begin), ["one"]);
        assert_eq!(following.begin(&KEY, end, begin), [""; 0]);
        assert_eq!(following.begin(&KEY, Cursor::new(8, 0), begin), [""; 0]);
        assert!(following.is_over(|mirror| *mirror == "two") || following.places().len() == 1);
        assert_eq!(following.places(), [(KEY, Cursor::new(9, 5))]);
        // A clock that was set back: the next origin is before.
        let end = Cursor::new(9, 5);
        assert_eq!(following.begin(&KEY, end, Cursor::new(8, 0)), ["two"]);
        assert_eq!(following.places(), [(KEY, Cursor::new(8, 0))]);
    }

    #[test]
    fn a_topic_that_is_refused_is_left_out_and_asked_about_later() {
        let mut following = following();
        let (place, now) = (Cursor::new(7, 3), Instant::now());
        let (before, later) = (now + Duration::from_secs(4), now + Duration::from_secs(5));
        following.add(OTHER, place, "two");
        assert_eq!(
            following.unsure(now),
            [],
            "what is new was just asked about"
        );
        assert!(following.refused(&KEY, later));
        assert_eq!(following.places(), [(OTHER, place)]);
        assert_eq!(following.unsure(before), []);
        assert_eq!(following.unsure(later), [(KEY, place)]);
        following.doubt();
        assert_eq!(following.unsure(now), [(OTHER, place)]);
        assert!(!following.refused(&KEY, later), "it is no news");
        following.connected(None);
        assert_eq!(following.unsure(now).len(), 2);
        following.accepted(&OTHER);
        assert!(!following.refused(&KEY, later), "nor on another connection");
        following.add(KEY, place, "three");
        assert_eq!(following.unsure(now).len(), 2, "both who follow it");
        following.accepted(&KEY);
        assert_eq!(following.places().len(), 2);
        assert!(following.refused(&KEY, later), "it was read meanwhile");
        assert!(
            !following.refused(&Bytes::new(), later),
            "nobody follows it"
        );
    }
}
