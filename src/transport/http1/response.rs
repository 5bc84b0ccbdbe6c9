use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_io::AsyncRead;
use futures_util::AsyncReadExt;
use http::{HeaderMap, header};

use super::head::{self, Incomplete, Limits, Malformed};
use super::single;
use crate::transport::TransportError;

/// Bytes of a refusal's text that are read.
const REFUSAL_TEXT: usize = 1024;

/// What a server answered, without what follows its head.
#[derive(Debug)]
pub(in crate::transport) struct Response {
    pub(in crate::transport) status: u16,
    /// 1 of HTTP/1.1.
    pub(in crate::transport) minor_version: u8,
    pub(in crate::transport) headers: HeaderMap,
}

impl Response {
    /// The answer, and what came behind its head. Errors name the protocol that it is part of.
    pub(in crate::transport) async fn receive<S: AsyncRead + Unpin>(
        stream: &mut S,
        limits: Limits,
        protocol: &'static str,
    ) -> Result<(Self, Bytes), TransportError> {
        let invalid = |problem| TransportError::HandshakeInvalid { protocol, problem };
        match head::read(stream, limits).await {
            Ok((head, received)) => {
                let response = Self::parse(&head, limits).map_err(invalid)?;
                Ok((response, received))
            }
            Err(Incomplete::Broken(error)) => Err(TransportError::HandshakeBroken {
                protocol,
                cause: Arc::new(error),
            }),
            Err(Incomplete::TooLong) => {
                Err(invalid(too_large("bytes", limits.bytes, "max_http_head")))
            }
        }
    }

    fn parse(head: &Bytes, limits: Limits) -> Result<Self, String> {
        let mut headers = vec![httparse::EMPTY_HEADER; limits.headers];
        let mut parsed = httparse::Response::new(&mut headers);
        let none = || "its answer is no HTTP/1.1 response".to_owned();
        let complete = parsed.parse(head).map_err(|error| match error.into() {
            Malformed::TooManyHeaders => too_large("headers", limits.headers, "max_http_headers"),
            Malformed::Version | Malformed::Other(_) => none(),
        })?;
        match (complete.is_complete(), parsed.version, parsed.code) {
            (true, Some(minor_version), Some(status)) => Ok(Self {
                status,
                minor_version,
                headers: head::map(parsed.headers)
                    .map_err(|_| "its answer has a malformed header".to_owned())?,
            }),
            _ => Err(none()),
        }
    }

    /// Reads on behind the head, as far as the text of a refusal goes, into `text`.
    pub(in crate::transport) async fn read_text<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        text: &mut Vec<u8>,
    ) -> io::Result<()> {
        let length = single(&self.headers, &header::CONTENT_LENGTH)
            .and_then(|length| length.parse().ok())
            .unwrap_or(REFUSAL_TEXT);
        let most = length.min(REFUSAL_TEXT);
        let mut buffer = [0; 256];
        while text.len() < most {
            let count = stream.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            text.extend_from_slice(buffer.get(..count).unwrap_or_default());
        }
        text.truncate(most);
        Ok(())
    }

    /// What was read of it, to be shown to people.
    pub(in crate::transport) fn legible(&self, text: &[u8]) -> String {
        let chunked = self.headers.contains_key(header::TRANSFER_ENCODING);
        let text = if chunked { first_chunk(text) } else { text };
        let text = text.get(..REFUSAL_TEXT).unwrap_or(text);
        let legible = |letter: char| if letter.is_control() { ' ' } else { letter };
        let text = String::from_utf8_lossy(text);
        text.trim().chars().map(legible).collect()
    }
}

fn too_large(what: &str, most: usize, limit: &str) -> String {
    format!("its answer has more than {most} {what}; if they belong there, raise {limit}")
}

fn first_chunk(text: &[u8]) -> &[u8] {
    let Ok(httparse::Status::Complete((start, length))) = httparse::parse_chunk_size(text) else {
        return &[];
    };
    let text = text.get(start..).unwrap_or_default();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    text.get(..length).unwrap_or(text)
}
