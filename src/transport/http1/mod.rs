//! As much of HTTP/1.1 as it takes to be let through to the bytes behind it (RFC 9112).

use http::{HeaderMap, HeaderName};

pub(super) use self::response::Response;

pub(super) mod head;
mod response;

/// The value of a header that is there once.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok().map(str::trim),
        _ => None,
    }
}
