use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::{AsyncReadExt, AsyncWriteExt};

/// How long a peer that was turned away has to read why, and to close.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);

/// Bytes of it that are read and dropped meanwhile.
const DRAINED: usize = 64 * 1024;

/// Closes the stream and waits for the peer to close it too: were it dropped with bytes unread, TCP would
/// reset the connection, and the peer might never see what was said last.
pub(super) async fn part<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) {
    if let Err(error) = stream.close().await {
        tracing::debug!(%error, "a peer that was turned away did not hear why");
        return;
    }
    let mut rubbish = [0; 1024];
    let mut left = DRAINED;
    while left > 0 {
        match stream.read(&mut rubbish).await {
            Ok(0) | Err(_) => return,
            Ok(count) => left = left.saturating_sub(count),
        }
    }
}
