//! What Redis does as one step. No other program's step comes between.

use std::sync::LazyLock;

use redis::{Cmd, cmd};

use super::commands::Question;
use crate::rpc::topics::cursor::Cursor;

/// The keys of a topic: its stream, and where it is written down which origins hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys<'keys> {
    pub(super) stream: &'keys [u8],
    pub(super) origins: &'keys [u8],
}

/// Where the stream ends, and whether its origin holds: it is one of those, from the first to the last, that
/// this run of the server has given.
const LOOK: &str = "
local origin, sequence
if redis.call('EXISTS', KEYS[1]) == 1 then
  local about = redis.call('XINFO', 'STREAM', KEYS[1])
  for place = 1, #about, 2 do
    if about[place] == 'last-generated-id' then
      origin, sequence = string.match(about[place + 1], '^(%d+)-(%d+)$')
    end
  end
end
local this = ARGV[#ARGV]
local first, last, run = string.match(redis.call('GET', KEYS[2]) or '', '^(%d+) (%d+) (.*)$')
local holds = origin and run == this
  and tonumber(first) <= tonumber(origin) and tonumber(origin) <= tonumber(last)
";

/// Gives a stream another origin, above all there were, if its own does not hold. That is the time, unless the clock
/// was ahead once.
const MEND: &str = "
if not holds then
  local time = redis.call('TIME')
  local now = time[1] * 1000000 + time[2]
  local new = string.format('%.0f', math.max(now, (last or 0) + 1, (origin or 0) + 1))
  if run ~= this then first = new end
  redis.call('SET', KEYS[2], first .. ' ' .. new .. ' ' .. this)
  redis.call('XADD', KEYS[1], new .. '-0', 'item', '')
  redis.call('XDEL', KEYS[1], new .. '-0')
  origin, sequence = new, '0'
end
";

/// An origin does not hold either if it does not have what was seen of it.
const COMPARE: &str = "
holds = holds and (origin ~= ARGV[1] or tonumber(ARGV[2]) <= tonumber(sequence))
";

static BEGIN: LazyLock<String> = LazyLock::new(|| {
    let answer = "return origin .. '-' .. sequence";
    [LOOK, COMPARE, MEND, answer].concat()
});

static PUBLISH: LazyLock<String> = LazyLock::new(|| {
    let answer = "
return redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], origin .. '-*', 'item', ARGV[2])";
    [LOOK, MEND, answer].concat()
});

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

fn script(text: &str, keys: Keys<'_>) -> Cmd {
    let script = &mut cmd("EVAL");
    script.arg(text).arg(2);
    script.arg(keys.stream).arg(keys.origins).take()
}
