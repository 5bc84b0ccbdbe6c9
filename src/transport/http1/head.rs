use std::io;

use bytes::{Bytes, BytesMut};
use futures_io::AsyncRead;
use futures_util::AsyncReadExt;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::transport::TransportConfig;

/// Bytes that are made room for at first; what comes in doubles it.
const FIRST_ROOM: usize = 512;

/// How much of an HTTP message's head is read.
#[derive(Clone, Copy, Debug)]
pub(in crate::transport) struct Limits {
    pub(in crate::transport) bytes: usize,
    pub(in crate::transport) headers: usize,
}

/// Why there is no head.
#[derive(Debug)]
pub(in crate::transport) enum Incomplete {
    /// Nothing more comes, or that failed.
    Broken(io::Error),
    /// It is longer than it may be.
    TooLong,
}

/// Why a head is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::transport) enum Malformed {
    TooManyHeaders,
    Version,
    Other(&'static str),
}

/// The head up to and with its empty line, and what came in behind it. Of what does not begin like HTTP it
/// is not waited for more: the peer may say nothing else before it has an answer.
pub(in crate::transport) async fn read<S: AsyncRead + Unpin>(
    stream: &mut S,
    limits: Limits,
) -> Result<(Bytes, Bytes), Incomplete> {
    let most = limits.bytes.max(FIRST_ROOM);
    let mut buffer = BytesMut::zeroed(FIRST_ROOM);
    let mut filled: usize = 0;
    loop {
        if filled == buffer.len() {
            if filled >= most {
                return Err(Incomplete::TooLong);
            }
            buffer.resize(filled.saturating_mul(2).min(most), 0);
        }
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let count = stream.read(room).await.map_err(Incomplete::Broken)?;
        if count == 0 {
            return Err(Incomplete::Broken(io::ErrorKind::UnexpectedEof.into()));
        }
        // The end may have begun with what was there before.
        let searched = filled.saturating_sub(3);
        filled = filled.saturating_add(count).min(buffer.len());
        let unsearched = buffer.get(searched..filled).unwrap_or_default();
        let is_foreign = buffer.first().is_some_and(|&byte| !may_begin(byte));
        let end = if is_foreign {
            Some(filled)
        } else {
            end(unsearched)
        };
        if let Some(end) = end {
            buffer.truncate(filled);
            let head = buffer.split_to(searched.saturating_add(end).min(filled));
            return Ok((head.freeze(), buffer.freeze()));
        }
    }
}

/// Whether a head may begin so: by a method, by a version, or by the empty line that RFC 9112, section 2.2,
/// forgives.
fn may_begin(byte: u8) -> bool {
    byte.is_ascii_graphic() || byte == b'\r' || byte == b'\n'
}

/// Where the first empty line ends, whatever ends its lines.
fn end(bytes: &[u8]) -> Option<usize> {
    let at = |index: usize| bytes.get(index).copied();
    (0..bytes.len())
        .filter(|&index| at(index) == Some(b'\n'))
        .find_map(|index| match (at(index + 1), at(index + 2)) {
            (Some(b'\n'), _) => Some(index + 2),
            (Some(b'\r'), Some(b'\n')) => Some(index + 3),
            _ => None,
        })
}

/// Whether each line ends with both of its characters; where not, proxies disagree on where lines end.
pub(in crate::transport) fn has_whole_lines(head: &[u8]) -> bool {
    let mut before = None;
    head.iter().all(|byte| {
        let whole = *byte != b'\n' || before == Some(b'\r');
        before = Some(*byte);
        whole
    })
}

pub(in crate::transport) fn map(headers: &[httparse::Header<'_>]) -> Result<HeaderMap, Malformed> {
    let mut map = HeaderMap::new();
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| Malformed::Other("a header's name is malformed"))?;
        let value = HeaderValue::from_bytes(header.value)
            .map_err(|_| Malformed::Other("a header's value is malformed"))?;
        map.try_append(name, value)
            .map_err(|_| Malformed::TooManyHeaders)?;
    }
    Ok(map)
}

impl Limits {
    pub(in crate::transport) fn of(config: &TransportConfig) -> Self {
        Self {
            bytes: config.max_http_head,
            headers: config.max_http_headers,
        }
    }
}

impl From<httparse::Error> for Malformed {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::Version,
            httparse::Error::HeaderName => Self::Other("a header's name is malformed"),
            httparse::Error::HeaderValue => Self::Other("a header's value is malformed"),
            _ => Self::Other("its first line is malformed"),
        }
    }
}

/// The values of a header that may be a list, or be there several times, as one list.
pub(in crate::transport) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

/// Whether it is what RFC 9110 calls a token.
pub(in crate::transport) fn is_token(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_legal)
}
