use futures_io::{AsyncRead, AsyncWrite};

use crate::runtime::MaybeSend;

/// What a connection runs over: anything that reads and writes bytes in order.
///
/// Every such type is one, so nothing needs to implement it. Closing the writing half should let the
/// peer read to a clean end; a stream whose peer vanished should fail rather than end.
pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + MaybeSend + 'static {}

impl<S: AsyncRead + AsyncWrite + Unpin + MaybeSend + 'static> ByteStream for S {}

/// Some [`ByteStream`]. It forwards vectored reads and writes: one virtual call per batch.
pub type BoxedStream = Box<dyn ByteStream>;
