use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(any(feature = "async-std", feature = "smol"))]
use async_io::Async;

use super::{BoxedStream, Endpoint, Reactor, TransportError};

pub(super) async fn connect(
    endpoint: &Endpoint,
    reactor: Reactor,
) -> Result<BoxedStream, TransportError> {
    open(endpoint.file(), reactor)
        .await
        .map_err(|error| TransportError::unreachable(endpoint, error))
}

#[derive(Debug)]
pub(in crate::transport) struct Listener {
    // Dropped before the socket: while the socket is open nobody takes its file for a dead one and
    // puts another, perhaps of the same inode, in its place.
    _file: SocketFile,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    #[cfg(feature = "tokio")]
    Tokio(tokio::net::UnixListener),
    #[cfg(any(feature = "async-std", feature = "smol"))]
    Shared(Async<std::os::unix::net::UnixListener>),
}

impl Listener {
    pub(super) async fn bind(
        endpoint: &Endpoint,
        reactor: Reactor,
    ) -> Result<Self, TransportError> {
        let path = endpoint.file();
        let socket = match Socket::bind(path, reactor) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                match open(path, reactor).await.map_err(|error| error.kind()) {
                    Err(io::ErrorKind::ConnectionRefused) => {
                        remove_stale(path).and_then(|()| Socket::bind(path, reactor))
                    }
                    // A listener with a full backlog would block.
                    Ok(_) | Err(io::ErrorKind::WouldBlock) => {
                        return Err(TransportError::InUse {
                            endpoint: endpoint.clone(),
                        });
                    }
                    Err(_) => Err(error),
                }
            }
            bound => bound,
        };
        socket
            .and_then(|socket| {
                Ok(Self {
                    _file: SocketFile::new(path)?,
                    socket,
                })
            })
            .map_err(|error| TransportError::Bind {
                endpoint: endpoint.clone(),
                cause: Arc::new(error),
            })
    }

    pub(super) async fn accept(&self) -> io::Result<BoxedStream> {
        match &self.socket {
            #[cfg(feature = "tokio")]
            Socket::Tokio(listener) => Ok(Box::new(super::TokioStream::new(
                listener.accept().await?.0,
            ))),
            #[cfg(any(feature = "async-std", feature = "smol"))]
            Socket::Shared(listener) => Ok(Box::new(super::reactor::ReactorStream(
                listener.accept().await?.0,
            ))),
        }
    }
}

impl Socket {
    fn bind(path: &Path, reactor: Reactor) -> io::Result<Self> {
        match reactor {
            #[cfg(feature = "tokio")]
            Reactor::Tokio => tokio::net::UnixListener::bind(path).map(Self::Tokio),
            #[cfg(any(feature = "async-std", feature = "smol"))]
            Reactor::Shared => {
                Async::<std::os::unix::net::UnixListener>::bind(path).map(Self::Shared)
            }
        }
    }
}

/// Removes the file on drop, unless another has taken its place.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        // The working directory may change before the drop.
        let path = std::path::absolute(path)?;
        Ok(Self {
            path,
            identity: (metadata.dev(), metadata.ino()),
        })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the socket's file");
        }
    }
}

/// Connecting to a plain file is refused too, so that its type must be looked at.
fn remove_stale(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.file_type().is_socket() {
        tracing::debug!(path = %path.display(), "replacing a socket that nobody listens on");
        return fs::remove_file(path);
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        "a file that is no socket is in the way",
    ))
}

async fn open(path: &Path, reactor: Reactor) -> io::Result<BoxedStream> {
    match reactor {
        #[cfg(feature = "tokio")]
        Reactor::Tokio => {
            let stream = tokio::net::UnixStream::connect(path).await?;
            Ok(Box::new(super::TokioStream::new(stream)))
        }
        #[cfg(any(feature = "async-std", feature = "smol"))]
        Reactor::Shared => {
            let stream = Async::<std::os::unix::net::UnixStream>::connect(path).await?;
            Ok(Box::new(super::reactor::ReactorStream(stream)))
        }
    }
}
