//! What Redis does as one step. No other program's step comes between.

use std::sync::LazyLock;

use redis::{Cmd, cmd};

use super::commands::{Question, id};
use super::following::{ANSWER, SHARE};
use crate::rpc::topics::cursor::Cursor;

/// The stream of a topic, and the hash that says which origins hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'keys> {
    pub(super) stream: &'keys [u8],
    pub(super) origins: &'keys [u8],
}

/// The origin that this run of the server has given to the stream, if it has.
const KNOW: &str = "
local this = ARGV[#ARGV]
local known = redis.call('HMGET', KEYS[2], 'run', 'last', KEYS[1])
local run, last, given = known[1], known[2], known[3]
local exists = redis.call('EXISTS', KEYS[1]) == 1
local origin, sequence = given
";

const ADD: &str = "('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], origin .. '-*', 'item', ARGV[2])";

/// Where the stream ends.
const LOOK: &str = "
origin = nil
if exists then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #about, 2 do
    if about[place] == 'last-generated-id' then
      origin, sequence = string.match(about[place + 1], '^(%d+)-(%d+)$')
    end
  end
end
";

/// Gives the stream another origin, above all there were: the time. If the clock was ahead once, it is as
/// far above them as the run says: another run that has lost this one gives others. Nothing is written of
/// numbers that scripts cannot count, or all streams would get them.
const GIVE: &str = "
local time = redis.call('TIME')
local number = time[1] * 1000000 + time[2]
local before = math.max(last or 0, origin or 0)
if number <= before then
  local part = string.match(string.sub(this, 1, 5), '^%x+') or '0'
  number = before + 1 + tonumber(part, 16)
end
if number >= 9007199254740992 then
  return redis.error_reply('ERR no origin is left above ' .. string.format('%.0f', before))
end
local new = string.format('%.0f', number)
redis.call('XADD', KEYS[1], new .. '-0', 'item', '')
redis.call('XDEL', KEYS[1], new .. '-0')
if run ~= this then redis.call('DEL', KEYS[2]) end
redis.call('HSET', KEYS[2], 'run', this, 'last', new, KEYS[1], new)
origin, sequence = new, '0'
";

/// An origin holds no longer if the stream does not have what was seen of it.
static BEGIN: LazyLock<String> = LazyLock::new(|| {
    let holds = "
local holds = run == this and origin and origin == given
  and (origin ~= ARGV[1] or tonumber(ARGV[2]) <= tonumber(sequence))
if not holds then";
    let answer = "end return origin .. '-' .. sequence";
    [KNOW, LOOK, holds, GIVE, answer].concat()
});

/// The stream is looked at only if it is new in this run, or if another program has put there what is above
/// its origin: Redis answers that with whole items.
static PUBLISH: LazyLock<String> = LazyLock::new(|| {
    let attempt = "
if run == this and given and exists then
  local added = redis.pcall";
    let added = "
  if type(added) == 'string' then return added end
end";
    let answer = "return redis.call";
    [KNOW, attempt, ADD, added, LOOK, GIVE, answer, ADD].concat()
});

/// Entries, a few at a time, until they are so many, or their items so many bytes.
const NEWEST: &str = "
local entries, bytes, last = {}, 0, ARGV[1]
repeat
  local some = redis.call('XREVRANGE', KEYS[1], last, '-', 'COUNT', ARGV[2])
  for _, entry in ipairs(some) do
    entries[#entries + 1] = entry
    bytes = bytes + #entry[2][2]
    last = '(' .. entry[1]
  end
until #some == 0 or #entries >= tonumber(ARGV[3]) or bytes >= tonumber(ARGV[4])
return entries
";

/// Items of one answer, in bytes; one share more at most.
const ANSWER_BYTES: usize = 1024 * 1024;

/// Adds an item to a stream, which keeps so many; the answer is its [`cursor`](super::commands::cursor).
pub(super) fn publish(keys: Keys<'_>, keep: usize, item: &[u8]) -> Question {
    Question::of_run(script(&PUBLISH, keys).arg(keep).arg(item).take())
}

/// Asks for the [`cursor`](super::commands::cursor) of the newest entry of a stream, of which nothing was
/// seen yet. If there is no stream, one is made.
pub(super) fn begin(keys: Keys<'_>) -> Question {
    Question::of_run(script(&BEGIN, keys).arg("").arg(0).take())
}

/// The same when it was seen up to `place`.
pub(super) fn go_on(keys: Keys<'_>, place: Cursor) -> Question {
    let script = &mut script(&BEGIN, keys);
    Question::of_run(script.arg(place.origin()).arg(place.sequence()).take())
}

/// Asks for [`entries`](super::commands::entries): the newest ones up to `end`, or before `end`, until they are
/// so many or one answer has enough.
pub(super) fn newest(keys: Keys<'_>, end: Cursor, is_before: bool, items: usize) -> Question {
    let open = if is_before { "(" } else { "" };
    let script = &mut script(NEWEST, keys);
    script.arg(format!("{open}{}", id(end))).arg(SHARE);
    script
        .arg(items.min(ANSWER))
        .arg(ANSWER_BYTES)
        .take()
        .into()
}

fn script(text: &str, keys: Keys<'_>) -> Cmd {
    let script = &mut cmd("EVAL");
    script.arg(text).arg(2);
    script.arg(keys.stream).arg(keys.origins).take()
}
