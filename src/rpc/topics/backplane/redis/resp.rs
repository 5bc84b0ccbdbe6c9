//! RESP, what Redis speaks: commands to bytes, bytes to replies.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::rpc::topics::backplane::error::BackplaneError::{self, Unexpected};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Status(String),
    Error(String),
    Integer(i64),
    Bytes(Bytes),
    List(Vec<Self>),
    Nothing,
}

/// A reply takes at most so many bytes, and nests at most so deep.
const LARGEST: usize = 256 * 1024 * 1024;
const DEEPEST: usize = 8;

/// Appends a command.
pub(super) fn put_command(buffer: &mut BytesMut, words: &[&[u8]]) {
    put_length(buffer, b'*', words.len());
    for word in words {
        put_length(buffer, b'$', word.len());
        buffer.put_slice(word);
        buffer.put_slice(b"\r\n");
    }
}

fn put_length(buffer: &mut BytesMut, kind: u8, length: usize) {
    buffer.put_u8(kind);
    buffer.put_slice(length.to_string().as_bytes());
    buffer.put_slice(b"\r\n");
}

/// Takes a reply off the front of the buffer, if all of it is there.
pub(super) fn take_reply(buffer: &mut BytesMut) -> Result<Option<Reply>, BackplaneError> {
    let mut reader = Reader {
        rest: buffer,
        read: 0,
    };
    match reader.reply(DEEPEST)? {
        Some(reply) => {
            let read = reader.read;
            buffer.advance(read);
            Ok(Some(reply))
        }
        None if buffer.len() > LARGEST => Err(Unexpected("a reply that is too large")),
        None => Ok(None),
    }
}

struct Reader<'buffer> {
    rest: &'buffer [u8],
    read: usize,
}

impl Reader<'_> {
    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, BackplaneError> {
        let Some(line) = self.line() else {
            return Ok(None);
        };
        let (kind, text) = line
            .split_first()
            .ok_or(Unexpected("an empty line for a reply"))?;
        match kind {
            b'+' => Ok(Some(Reply::Status(words(text)))),
            b'-' => Ok(Some(Reply::Error(words(text)))),
            b':' => Ok(Some(Reply::Integer(number(text)?))),
            b'$' => match length(text)? {
                None => Ok(Some(Reply::Nothing)),
                Some(length) => self.bytes(length),
            },
            b'*' => match length(text)? {
                None => Ok(Some(Reply::Nothing)),
                Some(length) => self.list(length, depth),
            },
            _ => Err(Unexpected("a reply of an unknown kind")),
        }
    }

    fn bytes(&mut self, length: usize) -> Result<Option<Reply>, BackplaneError> {
        if length > LARGEST {
            return Err(Unexpected("a reply that is too large"));
        }
        let bytes = self.rest.get(..length).map(Bytes::copy_from_slice);
        let end = self.rest.get(length..length.saturating_add(2));
        match (bytes, end) {
            (Some(bytes), Some(b"\r\n")) => {
                self.advance(length.saturating_add(2));
                Ok(Some(Reply::Bytes(bytes)))
            }
            (Some(_), Some(_)) => Err(Unexpected("bytes without an end")),
            _ => Ok(None),
        }
    }

    fn list(&mut self, length: usize, depth: usize) -> Result<Option<Reply>, BackplaneError> {
        let depth = depth
            .checked_sub(1)
            .ok_or(Unexpected("a reply that is too deep"))?;
        // No length is believed: each element takes three bytes at least.
        let mut list = Vec::with_capacity(length.min(self.rest.len() / 3));
        for _ in 0..length {
            match self.reply(depth)? {
                Some(reply) => list.push(reply),
                None => return Ok(None),
            }
        }
        Ok(Some(Reply::List(list)))
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.rest.windows(2).position(|pair| pair == b"\r\n")?;
        let line = self.rest.get(..end)?.to_vec();
        self.advance(end.saturating_add(2));
        Some(line)
    }

    fn advance(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
        self.read = self.read.saturating_add(length);
    }
}

fn words(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn number(text: &[u8]) -> Result<i64, BackplaneError> {
    let number = std::str::from_utf8(text).ok();
    let number = number.and_then(|text| text.parse().ok());
    number.ok_or(Unexpected("a number that is none"))
}

/// None for what is not there.
fn length(text: &[u8]) -> Result<Option<usize>, BackplaneError> {
    match number(text)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map(Some)
            .map_err(|_| Unexpected("a negative length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(text: &[u8]) -> Result<Option<Reply>, BackplaneError> {
        take_reply(&mut BytesMut::from(text))
    }

    #[test]
    fn a_command_is_a_list_of_words() {
        let mut buffer = BytesMut::new();
        put_command(&mut buffer, &[b"GET", b"key"]);
        assert_eq!(&buffer[..], b"*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
    }

    #[test]
    fn a_reply_is_taken_once_all_of_it_is_there() {
        let text = b"*4\r\n+OK\r\n:-7\r\n$4\r\nb\r\nb\r\n*-1\r\n";
        for end in 0..text.len() {
            assert_eq!(take(&text[..end]).unwrap(), None);
        }
        let expected = vec![
            Reply::Status("OK".to_owned()),
            Reply::Integer(-7),
            Reply::Bytes(Bytes::from_static(b"b\r\nb")),
            Reply::Nothing,
        ];
        let mut buffer = BytesMut::from(&text[..]);
        buffer.put_slice(b"$-1\r\n-ERR no\r\n");
        let reply = take_reply(&mut buffer).unwrap();
        assert_eq!(reply, Some(Reply::List(expected)));
        assert_eq!(take_reply(&mut buffer).unwrap(), Some(Reply::Nothing));
        let error = Some(Reply::Error("ERR no".to_owned()));
        assert_eq!(take_reply(&mut buffer).unwrap(), error);
        assert!(buffer.is_empty());
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let deep = b"*1\r\n".repeat(9);
        let hostile: [&[u8]; 6] = [
            b"\r\n",
            b"?what\r\n",
            b":x\r\n",
            b"$-2\r\n",
            b"$1\r\nabc",
            b"$99999999999\r\n",
        ];
        for text in hostile.into_iter().chain([&deep[..]]) {
            assert!(take(text).is_err(), "{text:?}");
        }
        assert_eq!(take(b"*4294967296\r\n").unwrap(), None);
    }
}
