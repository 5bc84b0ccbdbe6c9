//! The other contestants, each used the way its documentation shows, at its defaults.

pub mod framing;
mod length_delimited;
mod raw;
mod remoc;
mod tungstenite;
mod websocket;
mod yamux;

pub use self::websocket::names;
use self::websocket::{Bytes, Framed, Ours, Theirs};
use crate::measure::Contestant;
use crate::network::{AsyncStd, Tokio};

/// All of them, in the order of the tables.
pub fn table() -> Vec<Box<dyn Contestant>> {
    vec![
        Box::new(raw::Raw(AsyncStd)),
        Box::new(raw::Raw(Tokio)),
        Box::new(framing::OverTcp(AsyncStd)),
        Box::new(framing::OverTcp(Tokio)),
        Box::new(length_delimited::LengthDelimited),
        Box::new(tungstenite::TokioTungstenite),
        Box::new(Framed(Theirs)),
        Box::new(Framed(Ours)),
        Box::new(Bytes::from_client(Theirs)),
        Box::new(Bytes::from_client(Ours)),
        Box::new(Bytes::from_server(Theirs)),
        Box::new(Bytes::from_server(Ours)),
        Box::new(yamux::Yamux(AsyncStd)),
        Box::new(yamux::Yamux(Tokio)),
        Box::new(yamux::YamuxFrames),
        Box::new(remoc::Remoc),
    ]
}
