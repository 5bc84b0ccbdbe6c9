//! What Redis is asked, and how its answers are read.

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, Value, cmd};

use crate::rpc::topics::backplane::error::BackplaneError;
use crate::rpc::topics::cursor::Cursor;

/// An item, and the place behind it.
pub(super) type Entry = (Cursor, Bytes);

/// Entries of one topic that are read at once: an answer is held as a whole.
const AT_ONCE: usize = 16;

/// The newest id of a stream, which is made if there is none; and made anew if it does not have what
/// was seen of it.
const BEGIN: &str = "
local newest = nil
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #about, 2 do
    if about[place] == 'last-generated-id' then newest = about[place + 1] end
  end
end
if newest then
  local origin, sequence = string.match(newest, '^(%d+)-(%d+)$')
  if origin ~= ARGV[1] or tonumber(sequence) >= tonumber(ARGV[2]) then return newest end
end
local now = redis.call('TIME')
local first = string.format('%.0f-0', now[1] * 1000000 + now[2])
redis.call('XADD', KEYS[1], first, 'item', '')
redis.call('XDEL', KEYS[1], first)
return first
";

/// Adds an item, and answers its id.
const PUBLISH: &str = "
local origin = nil
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #about, 2 do
    if about[place] == 'last-generated-id' then origin = string.match(about[place + 1], '^(%d+)-') end
  end
end
if not origin then
  local now = redis.call('TIME')
  origin = string.format('%.0f', now[1] * 1000000 + now[2])
  redis.call('XADD', KEYS[1], origin .. '-0', 'item', '')
  redis.call('XDEL', KEYS[1], origin .. '-0')
end
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], origin .. '-*', 'item', ARGV[2])
";

/// Adds an item to a stream, which keeps so many; the answer is its [`cursor`].
pub(super) fn publish(key: &[u8], keep: usize, item: &[u8]) -> Cmd {
    script(PUBLISH, key).arg(keep).arg(item).take()
}

/// Asks for the [`cursor`] of the newest entry of a stream, of which nothing was seen yet.
pub(super) fn begin(key: &[u8]) -> Cmd {
    script(BEGIN, key).arg("").arg(0).take()
}

/// The same when it was seen up to `place`.
pub(super) fn go_on(key: &[u8], place: Cursor) -> Cmd {
    let script = &mut script(BEGIN, key);
    script.arg(place.origin()).arg(place.sequence()).take()
}

/// Asks for some [`entries`] of the same origin: the newest ones up to `end`, or before `end`.
pub(super) fn newest(key: &[u8], end: Cursor, is_before: bool) -> Cmd {
    let open = if is_before { "(" } else { "" };
    let last = format!("{open}{}", id(end));
    let first = format!("{}-0", end.origin());
    let command = &mut cmd("XREVRANGE");
    command.arg(key).arg(last).arg(first);
    command.arg("COUNT").arg(AT_ONCE).take()
}

/// Asks for some entries of all these [`streams`] that come after places in them, and waits for them so
/// many milliseconds.
pub(super) fn read(places: &[(Bytes, Cursor)], block: u128) -> Cmd {
    let command = &mut cmd("XREAD");
    command.arg("COUNT").arg(AT_ONCE);
    command.arg("BLOCK").arg(block.to_string()).arg("STREAMS");
    for (key, _) in places {
        command.arg(&key[..]);
    }
    for (_, place) in places {
        command.arg(id(*place));
    }
    command.take()
}

/// Ends the waiting of another connection.
pub(super) fn unblock(connection: i64) -> Cmd {
    cmd("CLIENT").arg("UNBLOCK").arg(connection).take()
}

/// The place that an id names.
pub(super) fn cursor(answer: Value) -> Result<Cursor, BackplaneError> {
    named(&as_told::<String>(answer)?)
}

/// Entries of one stream.
pub(super) fn entries(answer: Value) -> Result<Vec<Entry>, BackplaneError> {
    read_entries(as_told(answer)?)
}

/// Entries of several streams.
pub(super) fn streams(answer: Value) -> Result<Vec<(Bytes, Vec<Entry>)>, BackplaneError> {
    let streams: Option<Vec<(Bytes, Told)>> = as_told(answer)?;
    let streams = streams.unwrap_or_default().into_iter();
    let streams = streams.map(|(key, told)| Ok((key, read_entries(told)?)));
    streams.collect()
}

/// Of each entry its id, and its fields, each before what is in it: one of ours has one field.
type Told = Vec<(String, Vec<Bytes>)>;

fn read_entries(told: Told) -> Result<Vec<Entry>, BackplaneError> {
    let entries = told.into_iter();
    let entries = entries.map(|(id, fields)| {
        let item = fields.into_iter().nth(1);
        let item = item.ok_or(BackplaneError::Unexpected("an entry with nothing in it"))?;
        Ok((named(&id)?, item))
    });
    entries.collect()
}

fn script(text: &str, key: &[u8]) -> Cmd {
    cmd("EVAL").arg(text).arg(1).arg(key).take()
}

/// The id of an entry, as Redis writes it.
fn id(cursor: Cursor) -> String {
    format!("{}-{}", cursor.origin(), cursor.sequence())
}

fn named(id: &str) -> Result<Cursor, BackplaneError> {
    let parts = id.split_once('-').and_then(|(origin, sequence)| {
        let (origin, sequence) = (origin.parse().ok()?, sequence.parse().ok()?);
        Some(Cursor::new(origin, sequence))
    });
    parts.ok_or(BackplaneError::Unexpected("an id that is none"))
}

fn as_told<T: FromRedisValue>(answer: Value) -> Result<T, BackplaneError> {
    let told = T::from_redis_value(answer);
    told.map_err(|_| BackplaneError::Unexpected("something else than was asked"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(text: &str) -> Value {
        let text = text.replace(' ', "\r\n") + "\r\n";
        redis::parse_redis_value(text.as_bytes()).unwrap()
    }

    #[test]
    fn entries_are_read_from_what_redis_answers() {
        let one = |id: &str, item: &str| {
            format!("*2 ${} {id} *2 $4 item ${} {item}", id.len(), item.len())
        };
        let item = Bytes::from_static(b"b");
        let list = format!("*1 {}", one("7-1", "a"));
        let expected = vec![(Cursor::new(7, 1), Bytes::from_static(b"a"))];
        assert_eq!(entries(answer(&list)).unwrap(), expected);
        let list = format!("*2 {} {}", one("7-1", "a"), one("7-2", "b"));
        let expected = [&expected[..], &[(Cursor::new(7, 2), item.clone())]].concat();
        assert_eq!(entries(answer(&list)).unwrap(), expected);
        let all = format!("*2 *2 $1 k {list} *2 $1 l *1 {}", one("8-9", "b"));
        let expected = [
            (Bytes::from_static(b"k"), expected),
            (Bytes::from_static(b"l"), vec![(Cursor::new(8, 9), item)]),
        ];
        assert_eq!(streams(answer(&all)).unwrap(), expected);
        assert_eq!(streams(answer("*-1")).unwrap(), []);
        assert_eq!(entries(answer("*0")).unwrap(), []);
    }

    /// Read again and again, one that is refused would hold up all topics.
    #[test]
    fn of_an_entry_with_more_fields_the_first_is_the_item() {
        let text = "*1 *2 $3 7-1 *4 $1 f $1 a $1 g $1 b";
        let expected = vec![(Cursor::new(7, 1), Bytes::from_static(b"a"))];
        assert_eq!(entries(answer(text)).unwrap(), expected);
    }

    #[test]
    fn what_was_not_asked_for_is_an_error_and_no_panic() {
        for text in [
            "+OK",
            ":1",
            "$3 a-b",
            "$1 7",
            "$22 18446744073709551616-0",
            "*0",
        ] {
            assert!(cursor(answer(text)).is_err(), "{text}");
        }
        for text in [
            "$1 a",
            "*1 *1 $3 7-1",
            "*1 *2 $3 7-1 *1 $4 item",
            "*1 *2 $1 7 *2 $1 f $1 x",
        ] {
            assert!(entries(answer(text)).is_err(), "{text}");
            assert!(streams(answer(text)).is_err(), "{text}");
        }
    }
}
