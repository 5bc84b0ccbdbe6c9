//! What Redis is asked, and how its answers are read.

use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, FromRedisValue, Value, cmd};

use super::following::{Entry, Place};
use crate::rpc::topics::backplane::error::BackplaneError;
use crate::rpc::topics::cursor::Cursor;

/// What Redis is asked, over whichever connection is there then.
#[derive(Debug)]
pub(super) struct Question {
    command: Cmd,
    is_of_run: bool,
}

impl Question {
    /// A script, whose last argument is the run of the server.
    pub(super) fn of_run(command: Cmd) -> Self {
        let is_of_run = true;
        Self { command, is_of_run }
    }

    /// As it is asked of a server in that run.
    pub(super) fn command(mut self, run: &str) -> Cmd {
        if self.is_of_run {
            self.command.arg(run);
        }
        self.command
    }
}

impl From<Cmd> for Question {
    fn from(command: Cmd) -> Self {
        let is_of_run = false;
        Self { command, is_of_run }
    }
}

/// Asks for entries of all these [`streams`] that come after places in them, so many of each; and waits for
/// the first of them if there is a time.
pub(super) fn read(places: &[Place], count: usize, block: Option<Duration>) -> Question {
    let command = &mut cmd("XREAD");
    command.arg("COUNT").arg(count);
    if let Some(time) = block {
        command.arg("BLOCK").arg(time.as_millis().to_string());
    }
    command.arg("STREAMS");
    for (key, _) in places {
        command.arg(&key[..]);
    }
    for (_, place) in places {
        command.arg(id(*place));
    }
    command.take().into()
}

/// Ends the waiting of another connection.
pub(super) fn unblock(connection: i64) -> Question {
    cmd("CLIENT").arg("UNBLOCK").arg(connection).take().into()
}

/// The place that an id names.
pub(super) fn cursor(answer: Value) -> Result<Cursor, BackplaneError> {
    named(&as_told::<String>(answer)?)
}

/// What a server that tells about itself calls its run; nothing if it does not.
pub(super) fn run(answer: Value) -> Result<String, BackplaneError> {
    // It names files too, whose names need not be text.
    let about: Bytes = as_told(answer)?;
    let about = String::from_utf8_lossy(&about);
    let run = about.lines().find_map(|line| line.strip_prefix("run_id:"));
    Ok(run.unwrap_or_default().trim().to_owned())
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

/// The id of an entry, as Redis writes it.
pub(super) fn id(cursor: Cursor) -> String {
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

    #[test]
    fn a_server_says_its_run_or_else_it_has_none() {
        let told = |text: &str| run(Value::BulkString(text.into()));
        let about = "# Server\r\nredis_version:7.0.15\r\nrun_id:0a1b\r\ntcp_port:0\r\n";
        assert_eq!(told(about).unwrap(), "0a1b");
        for none in ["", "# Server\r\nrun_id:\r\n", "old_run_id:7\r\n"] {
            assert_eq!(told(none).unwrap(), "", "{none}");
        }
        let about = b"executable:/opt/r\xe9dis\r\nrun_id:0a1b\r\n";
        assert_eq!(run(Value::BulkString(about.to_vec())).unwrap(), "0a1b");
        assert!(run(answer("*0")).is_err());
    }

    #[test]
    fn a_script_is_told_the_run_and_nothing_else_is() {
        let packed = |question: Question| question.command("0a1b").get_packed_command();
        let asked = Question::of_run(cmd("EVAL").arg("text").take());
        assert_eq!(
            packed(asked),
            packed(cmd("EVAL").arg("text").arg("0a1b").take().into())
        );
        assert!(packed(unblock(7)).ends_with(b"$1\r\n7\r\n"));
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
